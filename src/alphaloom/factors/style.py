"""Style exposures: how large, cheap, volatile, liquid... each asset is against the others of its day.

Definitions follow the published descriptions of the Barra equity models (USE4, CNE5); where the panel lacks a field the
style is left out and a note says so. Windows are exact: a value that has left the window is forgotten entirely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors.neutralise import regress_out
from alphaloom.factors.style_windows import MONTH, YEAR, Returns, busyness, drift, in_tiles, later, market_value, swings
from alphaloom.panel import Panel

__all__ = [
    "LOOKBACKS",
    "STYLES",
    "StyleExposures",
    "average_filled",
    "exposures_named",
    "market_value",
    "standardised",
    "style_exposures",
]

Grid = NDArray[np.float64]
_CUT = 3.0
_ROWS = 64
_COVERAGE = 0.3

# Rows before today that each style reads; older ones where an asset was halted when its window began.
LOOKBACKS: dict[str, int] = {
    "size": 0,
    "beta": YEAR,
    "momentum": 504 + MONTH,
    "residual_volatility": YEAR,
    "nonlinear_size": 0,
    "book_to_price": 0,
    "liquidity": YEAR - 1,
    "earnings_yield": 0,
    "growth": YEAR,
    "leverage": 0,
}
STYLES: tuple[str, ...] = tuple(LOOKBACKS)


@dataclass(frozen=True, eq=False)
class StyleExposures:
    """Standardised exposures of every asset on every date.

    Shape: values (T, N, K) float64.   Unit: deviations of the day's members from their market-value-weighted mean.
    Time: row t reads rows t - LOOKBACKS[name]..t.   Missing: NaN = not known, or not a member.
    """

    names: tuple[str, ...]
    values: Grid
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Grid:
        """One style.   Shape: (T, N)."""
        return np.asarray(self.values[:, :, self.names.index(name)])


def style_exposures(panel: Panel, names: Sequence[str] = STYLES) -> StyleExposures:
    """The named styles of a panel, those without their fields left out with a note.

    size: log market value. beta: 252 days, half-life 63, on the members' market-value-weighted return. momentum: log
    returns over the riskless rate of 504 days, 21 days ago, half-life 126. residual_volatility: 0.74 * daily deviation
    (252 days, half-life 42) + 0.16 * range of cumulative monthly returns over a year + 0.10 * deviation of beta's
    residual. nonlinear_size: cube of size without what size explains. book_to_price, earnings_yield: accounts over
    market value. liquidity: 0.35 * month + 0.35 * quarter + 0.30 * year log turnover. growth: mean change over a year
    of sales and earnings over their mean size. leverage: 0.38 * market + 0.35 * debt to assets + 0.27 * book.
    Each is cut at 3 deviations and has market-value-weighted mean 0 and deviation 1 over the day's members. A window
    needs half of its rows.
    Shape: values (T, N, K).   Raises: DataError for a name that is no style.
    """
    unknown = [name for name in names if name not in LOOKBACKS]
    if unknown:
        raise DataError(
            "a style has one of these names", found=", ".join(unknown), where="style_exposures", fix=", ".join(STYLES)
        )
    fields = set(panel.fields)
    found = tuple(name for name in names if any(need <= fields for need in _FIELDS.get(name, _CLOSE)))
    lacking = [name for name in names if name not in found]
    notes = tuple(f"The style {name} is left out: the panel lacks {_needs(name)}." for name in lacking)
    values = np.empty((*panel.shape, len(found)))
    prices = Returns(panel)
    for k, name in enumerate(found):
        values[:, :, k] = standardised(panel, _RAW[name](panel, prices))
    return StyleExposures(found, values, notes)


def exposures_named(panel: Panel, names: Sequence[str]) -> Grid:
    """Styles and panel fields as regressors: unknown values of members count as average where 30 % know theirs.

    Shape: (T, N, K).   Raises: DataError for a name that is neither, or a style whose fields are missing.
    """
    neither = [name for name in names if name not in LOOKBACKS and name not in panel.fields]
    styles = style_exposures(panel, [name for name in names if name in LOOKBACKS and name not in neither])
    missing = neither + [name for name in names if name in LOOKBACKS and name not in styles.names]
    if missing:
        raise DataError(
            "an exposure is a style whose fields the panel has, or a field of the panel",
            found=", ".join(missing),
            where="Neutralise.exposures",
            fix=" ".join(styles.notes) or f"styles: {', '.join(STYLES)}",
        )
    values = np.empty((*panel.shape, len(names)))
    for k, name in enumerate(names):
        values[:, :, k] = styles[name] if name in LOOKBACKS else panel[name]
    return average_filled(panel, values)


def average_filled(panel: Panel, values: Grid) -> Grid:
    """Exposures whose unknown values of members became the date's mean, where 30 % of the members know theirs.

    Shape: (T, N, K), changed in place.   Missing: a date on which fewer know an exposure is NaN in it.
    """
    seen = panel.member & np.isfinite(panel["close"]) if "close" in panel.fields else panel.member
    least = np.maximum(1, _COVERAGE * seen.sum(axis=1, keepdims=True))
    for k in range(values.shape[2]):
        x = values[:, :, k]
        known = panel.member & np.isfinite(x)
        count = known.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(known, x, 0.0).sum(axis=1, keepdims=True) / count
        values[:, :, k] = np.where(count >= least, np.where(known, x, np.where(panel.member, mean, np.nan)), np.nan)
    return values


def standardised(panel: Panel, raw: Grid) -> Grid:
    """Cut at 3 deviations, then market-value-weighted mean 0 and deviation 1 over each date's members.

    Shape: (T, N) -> (T, N).   Missing: NaN where not known or no member; a date on which all are equal is 0.
    """
    cap = np.nan_to_num(market_value(panel))
    out = np.empty(panel.shape)
    for start in range(0, len(panel), _ROWS):  # a few dates at a time stay in the processor's cache
        rows = slice(start, start + _ROWS)
        x = np.where(panel.member[rows] & np.isfinite(raw[rows]), raw[rows], np.nan)
        out[rows] = _scaled(np.clip(_scaled(x, cap[rows]), -_CUT, _CUT), cap[rows])
    return out


def _scaled(x: Grid, cap: Grid) -> Grid:
    """Market-value-weighted mean 0 and deviation 1 on each date; a date without market values takes the plain mean."""
    known = np.isfinite(x)
    count = known.sum(axis=1, keepdims=True)
    filled, weight = np.where(known, x, 0.0), np.where(known, cap, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = filled.sum(axis=1, keepdims=True) / count
        square = np.where(known, (x - middle) ** 2, 0.0).sum(axis=1, keepdims=True) / count
        centre = (weight * filled).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
        centre = np.where(np.isfinite(centre), centre, middle)
        flat = square <= (1e-12 * middle) ** 2
        return np.where(known, np.where(flat, 0.0, (x - centre) / np.sqrt(square)), np.nan)


def _size(panel: Panel, prices: Returns) -> Grid:
    return np.log(market_value(panel))


def _beta(panel: Panel, prices: Returns) -> Grid:
    return prices.fit[0]


def _momentum(panel: Panel, prices: Returns) -> Grid:
    return in_tiles(drift, prices.excess)[0]


def _residual_volatility(panel: Panel, prices: Returns) -> Grid:
    daily, spread = in_tiles(swings, prices.excess)
    return _blend(panel, ((0.74, daily), (0.16, spread), (0.10, prices.fit[1])))


def _nonlinear_size(panel: Panel, prices: Returns) -> Grid:
    plain = standardised(panel, _size(panel, prices))
    return np.asarray(regress_out(plain**3, [plain], np.sqrt(market_value(panel)), member=panel.member))


def _book_to_price(panel: Panel, prices: Returns) -> Grid:
    return _over_cap(panel, "book_equity")


def _earnings_yield(panel: Panel, prices: Returns) -> Grid:
    return _over_cap(panel, "net_income")


def _liquidity(panel: Panel, prices: Returns) -> Grid:
    if set(panel.fields) >= {"volume", "shares_out"}:
        traded, whole = panel["volume"], panel["shares_out"]
    else:
        traded, whole = panel["amount"], panel["cap"]
    with np.errstate(invalid="ignore", divide="ignore"):
        turnover = np.asarray(traded, dtype=np.float64) / whole
    return in_tiles(busyness, np.where(np.isfinite(turnover), turnover, np.nan))[0]


def _growth(panel: Panel, prices: Returns) -> Grid:
    parts = [(0.5, _change(panel[name])) for name in ("revenue", "net_income") if name in panel.fields]
    return _blend(panel, parts)


def _change(values: Any) -> Grid:
    now = np.asarray(values, dtype=np.float64)
    before = later(now, YEAR)
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = (now - before) / (0.5 * (np.abs(now) + np.abs(before)))
    return np.where(np.isfinite(moved), moved, np.nan)


def _leverage(panel: Panel, prices: Returns) -> Grid:
    assets, book = (np.asarray(panel[name], dtype=np.float64) for name in ("total_assets", "book_equity"))
    cap, debt = market_value(panel), assets - book
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = ((0.38, (cap + debt) / cap), (0.35, debt / assets), (0.27, np.where(book > 0, assets / book, np.nan)))
    return _blend(panel, ratios)


def _over_cap(panel: Panel, name: str) -> Grid:
    return np.asarray(panel[name], dtype=np.float64) / market_value(panel)


def _blend(panel: Panel, parts: Sequence[tuple[float, Grid]]) -> Grid:
    """Weighted mean of standardised descriptors, over those that are known.   Shape: (T, N)."""
    total, weight = np.zeros(panel.shape), np.zeros(panel.shape)
    for share, raw in parts:
        plain = standardised(panel, raw)
        known = np.isfinite(plain)
        total += np.where(known, share * plain, 0.0)
        weight += np.where(known, share, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0, total / weight, np.nan)


def _with_value(*fields: str) -> tuple[frozenset[str], ...]:
    return frozenset({*fields, "cap"}), frozenset({*fields, "close", "shares_out"})


def _needs(name: str) -> str:
    return " or ".join(" and ".join(sorted(need)) for need in _FIELDS.get(name, _CLOSE))


_RAW: dict[str, Callable[[Panel, Returns], Grid]] = {
    "size": _size,
    "beta": _beta,
    "momentum": _momentum,
    "residual_volatility": _residual_volatility,
    "nonlinear_size": _nonlinear_size,
    "book_to_price": _book_to_price,
    "liquidity": _liquidity,
    "earnings_yield": _earnings_yield,
    "growth": _growth,
    "leverage": _leverage,
}
# Any one of these sets of fields will do.
_CLOSE: tuple[frozenset[str], ...] = (frozenset({"close"}),)
_FIELDS: dict[str, tuple[frozenset[str], ...]] = {
    "size": _with_value(),
    "nonlinear_size": _with_value(),
    "book_to_price": _with_value("book_equity"),
    "earnings_yield": _with_value("net_income"),
    "liquidity": (frozenset({"volume", "shares_out"}), frozenset({"amount", "cap"})),
    "growth": (frozenset({"revenue"}), frozenset({"net_income"})),
    "leverage": _with_value("total_assets", "book_equity"),
}
