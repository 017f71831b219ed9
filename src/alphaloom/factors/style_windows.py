"""Decaying windows over the returns of a panel: what the styles that look back are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.panel import Panel

__all__ = [
    "MONTH",
    "YEAR",
    "Returns",
    "busyness",
    "decayed_sum",
    "drift",
    "in_tiles",
    "later",
    "market_value",
    "swings",
]

Grid = NDArray[np.float64]
YEAR, MONTH = 252, 21
_ENOUGH = 0.5  # of a window's rows must be known
_TILE = 32


def market_value(panel: Panel) -> Grid:
    """Market value of every asset: the field `cap`, else close * shares_out, else 1 for all.   Shape: (T, N)."""
    if "cap" in panel.fields:
        value = np.asarray(panel["cap"], dtype=np.float64)
    elif {"close", "shares_out"} <= set(panel.fields):
        value = np.asarray(panel["close"], dtype=np.float64) * panel["shares_out"]
    else:
        return np.ones(panel.shape)
    return np.where(np.isfinite(value) & (value > 0), value, np.nan)


class Returns:
    """Returns of a panel, made when a style first asks for them."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._made: dict[str, Any] = {}

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @property
    def excess(self) -> Grid:
        """Return over the riskless rate; after a halt it spans the halt.   Shape: (T, N)."""
        return np.asarray(self._once("excess", lambda: _excess(self.panel)))

    @property
    def fit(self) -> tuple[Grid, Grid]:
        """Beta and the deviation of its residual.   Shape: (T, N) each."""
        found: tuple[Grid, Grid] = self._once("fit", lambda: _market_fit(self.panel, self.excess))
        return found


def decayed_sum(x: Grid, window: int, half_life: float) -> Grid:
    """Sum of the last `window` rows, each worth half of the one `half_life` rows later.   Shape: (T, N) -> (T, N).

    Windows are put together from windows of half the length, so nothing outside them is ever subtracted again.
    """
    decay = 0.5 ** (1.0 / half_life)
    part, total, done, size = x, np.zeros_like(x), 0, 1
    while True:
        if window & size:
            total[done:] += decay**done * part[: max(0, len(x) - done)]
            done += size
        if 2 * size > window:
            return total
        longer = part.copy()
        longer[size:] += decay**size * part[: max(0, len(x) - size)]
        part, size = longer, 2 * size


def _moment(x: Grid, window: int, half_life: float) -> tuple[Grid, Grid]:
    """Sum and weight of the known values of a window; the weight is NaN where fewer than half are known."""
    known = np.isfinite(x)
    ones = known.astype(np.float64)
    enough = decayed_sum(ones, window, math.inf) >= _ENOUGH * window - 1e-6
    weight = np.where(enough, decayed_sum(ones, window, half_life), np.nan)
    return decayed_sum(np.where(known, x, 0.0), window, half_life), weight


def _excess(panel: Panel) -> Grid:
    close = np.asarray(panel["close"], dtype=np.float64)
    rows = np.maximum.accumulate(np.where(np.isfinite(close), np.arange(len(close))[:, None], -1), axis=0)
    before = np.concatenate([np.full_like(rows[:1], -1), rows[:-1]])
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = close / np.take_along_axis(close, np.maximum(before, 0), axis=0) - 1.0
    free = panel.series.get("risk_free")
    if free is not None:
        moved = moved - np.nan_to_num(free / panel.periods_per_year)[:, None]
    return np.where((before >= 0) & np.isfinite(moved), moved, np.nan)


def in_tiles(work: Callable[..., Sequence[Grid]], *grids: Grid) -> list[Grid]:
    """Apply `work` to a few columns at a time: its many passes then run in the processor's cache."""
    T, N = grids[0].shape
    out: list[Grid] = []
    for start in range(0, N, _TILE):
        columns = slice(start, start + _TILE)
        parts = work(*(np.ascontiguousarray(grid[:, columns]) for grid in grids))
        out = out or [np.empty((T, N)) for _ in parts]
        for whole, part in zip(out, parts, strict=True):
            whole[:, columns] = part
    return out


def _market_fit(panel: Panel, excess: Grid) -> tuple[Grid, Grid]:
    cap = market_value(panel)
    weight = np.concatenate([np.zeros_like(cap[:1]), np.where(panel.member, np.nan_to_num(cap), 0.0)[:-1]])
    weight = np.where(np.isfinite(excess), weight, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        market = (weight * np.nan_to_num(excess)).sum(axis=1) / weight.sum(axis=1)
    slope, rest = in_tiles(lambda y: _line(y, market), excess)
    return slope, rest


def _line(excess: Grid, market: Grid) -> tuple[Grid, Grid]:
    x = np.where(np.isfinite(excess), market[:, None], np.nan)
    y = np.where(np.isfinite(x), excess, np.nan)
    _, weight = _moment(x, YEAR, 63.0)
    y, x = np.where(np.isfinite(x), y, 0.0), np.where(np.isfinite(x), x, 0.0)
    sums = [decayed_sum(part, YEAR, 63.0) for part in (x, y, x * x, x * y, y * y)]
    with np.errstate(invalid="ignore", divide="ignore"):
        mx, my, mxx, mxy, myy = (total / weight for total in sums)
        variance = mxx - mx * mx
        slope = np.where(variance > 1e-12 * mxx, (mxy - mx * my) / variance, np.nan)
        rest = np.maximum(myy - my * my - slope * (mxy - mx * my), 0.0)
    return slope, np.sqrt(rest)


def drift(excess: Grid) -> tuple[Grid]:
    """Log returns of 504 bars, up to a month ago, each worth half of the one 126 bars later.   Shape: (T, N)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        grown = np.log1p(excess)
    total, weight = _moment(np.where(np.isfinite(grown), grown, np.nan), 504, 126.0)
    return (later(np.where(np.isfinite(weight), total, np.nan), MONTH),)


def later(x: Grid, rows: int) -> Grid:
    """The values some rows later, NaN before.   Shape: (T, N)."""
    out = np.full_like(x, np.nan)
    out[rows:] = x[: max(0, len(x) - rows)]
    return out


def swings(excess: Grid) -> tuple[Grid, Grid]:
    """Daily deviation, and the range that the cumulative return of 1 to 12 months spans."""
    (first, weight), (second, _) = _moment(excess, YEAR, 42.0), _moment(excess * excess, YEAR, 42.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        daily = np.sqrt(np.maximum(second / weight - (first / weight) ** 2, 0.0))
        log_value = np.cumsum(np.nan_to_num(np.log1p(excess)), axis=0)
    ever = np.isfinite(excess)
    started = np.cumsum(ever, axis=0)
    high, low = np.full_like(excess, -np.inf), np.full_like(excess, np.inf)
    for month in range(1, 13):
        gained = log_value - later(log_value, MONTH * month)
        high, low = np.maximum(high, gained), np.minimum(low, gained)
    older = np.nan_to_num(later(started.astype(np.float64), YEAR))
    spread = np.where((started - older >= _ENOUGH * YEAR) & ever, high - low, np.nan)
    return daily, spread


def busyness(turnover: Grid) -> tuple[Grid]:
    """How much of an asset is traded in a month, by the month, quarter and year, in logarithms.   Shape: (T, N)."""
    total = np.zeros_like(turnover)
    for share, window in ((0.35, MONTH), (0.35, 3 * MONTH), (0.30, YEAR)):
        amount, count = _moment(turnover, window, math.inf)
        with np.errstate(invalid="ignore", divide="ignore"):
            monthly = np.log(amount / count * MONTH)
        total += share * np.where(np.isfinite(monthly), monthly, np.nan)
    return (total,)
