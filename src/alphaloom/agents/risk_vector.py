"""The market as a whole, row by row: how it moved, how wild it is, how far down, how much its assets move together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.panel import Panel

__all__ = ["RISK_LOOKBACK", "risk_names", "risk_vector"]

Grid = NDArray[np.float64]

_YEAR, _QUARTER, _STALE = 252, 63, 5
# Of a panel's own index the close before the oldest of 253 returns is read, which may itself be 5 rows old.
RISK_LOOKBACK = _YEAR + 1 + _STALE
_INDEX = ("index_return_1", "index_return_5", "index_return_21", "index_volatility_21", "index_volatility_63")
_OWN = (*_INDEX, "drawdown_252", "dispersion", "breadth_50", "correlation_63", "turbulence_252")
_VIX = "vix"


def risk_names(panel: Panel) -> tuple[str, ...]:
    """The columns of `risk_vector` on this panel; the last one is `vix` where the panel has a series of that name."""
    return (*_OWN, _VIX) if _VIX in panel.series else _OWN


def risk_vector(panel: Panel, *, index: str = "", since: int = 0) -> Grid:
    """The state of the whole market on each row.

    Returns of the index over 1, 5 and 21 bars, its deviation over 21 and 63, its distance from its 252-bar high (at
    most 0), the deviation of the members' returns today, the share of members above their mean of 50 closes, the mean
    correlation of pairs over 63 bars, the turbulence of today's returns against the 252 bars before, divided by the
    number of assets, and VIX / 100. The index is the series `index`, else the mean return of the members of the day
    before.
    Shape: (T, M), the columns of `risk_names`; rows before `since` are not computed.   Unit: fractions; deviations of
    one bar's return, ddof 1, not annualised.   Time: row t uses rows t - RISK_LOOKBACK..t.
    Missing: NaN until a window is full; a series may be five rows old.   Raises: DataError for an unknown `index`.
    Source: turbulence Kritzman and Li 2010; the choice of the others is ours.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if index and index not in panel.series:
        raise DataError(
            "the index is one of the panel's series",
            found=index,
            where="observation.index",
            fix=f"one of: {', '.join(panel.series) or 'none, the panel has no series'}",
        )
    close = np.asarray(panel["close"], dtype=np.float64)
    returns = _changes(close)
    level = _recent(panel.series[index]) if index else None
    market = _changes(level[:, None])[:, 0] if level is not None else _equal_weight(returns, panel.member)
    out = np.full((len(panel), len(risk_names(panel))), np.nan)
    # One thread: small matrices gain nothing from more, and how a product is cut would show in its last digits.
    with threadpool_limits(limits=1):
        for t in range(max(since, 1), len(panel)):
            out[t, :6] = _of_index(market, t)
            out[t, 6] = _spread(returns[t, panel.member[t - 1]])
            out[t, 7] = _breadth(close, panel.member[t], t)
            out[t, 8] = _correlation(_complete(returns, panel.member[t], t, _QUARTER))
            out[t, 9] = _turbulence(_complete(returns, panel.member[t], t, _YEAR + 1))
    if _VIX in panel.series:
        out[:, len(_OWN)] = _recent(panel.series[_VIX]) / 100.0
    return out


def _changes(level: Grid) -> Grid:
    """Returns from row to row; NaN where one of the two levels is not known."""
    out = np.full(level.shape, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        out[1:] = level[1:] / level[:-1] - 1.0
    out[~np.isfinite(out)] = np.nan
    return out


def _recent(values: Grid) -> Grid:
    """The last known value, at most five rows old."""
    out = values.copy()
    for age in range(1, min(_STALE, len(values) - 1) + 1):
        hole = np.isnan(out[age:])
        out[age:][hole] = values[:-age][hole]
    return out


def _equal_weight(returns: Grid, member: NDArray[np.bool_]) -> Grid:
    """The mean return of what was a member the day before: what one could have held.   Shape: (T,)."""
    held = np.isfinite(returns)
    held[1:] &= member[:-1]
    count = held.sum(axis=1)
    total = np.where(held, returns, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _of_index(market: Grid, t: int) -> list[float]:
    """Returns, deviations and drawdown of the index at row t."""

    def over(d: int, measure: Callable[[Grid], float]) -> float:
        return measure(market[t - d + 1 : t + 1]) if t >= d else np.nan

    def grown(r: Grid) -> float:
        return float(np.prod(1.0 + r) - 1.0)

    def deviation(r: Grid) -> float:
        return float(r.std(ddof=1))

    return [*(over(d, grown) for d in (1, 5, 21)), *(over(d, deviation) for d in (21, 63)), over(_YEAR - 1, _drawdown)]


def _drawdown(r: Grid) -> float:
    level = np.append(1.0, np.cumprod(1.0 + r))
    return float(level[-1] / level.max() - 1.0)


def _spread(r: Grid) -> float:
    known = r[np.isfinite(r)]
    return float(known.std()) if len(known) else np.nan


def _breadth(close: Grid, member: NDArray[np.bool_], t: int, d: int = 50) -> float:
    if t < d - 1:
        return np.nan
    window = close[t - d + 1 : t + 1, member]
    window = window[:, np.isfinite(window).all(axis=0)]
    return float((window[-1] > window.mean(axis=0)).mean()) if window.shape[1] else np.nan


def _complete(returns: Grid, member: NDArray[np.bool_], t: int, d: int) -> Grid | None:
    """The last d returns of the members that have all of them; None before there are so many.   Shape: (d, k)."""
    if t < d:
        return None
    window = returns[t - d + 1 : t + 1]
    return window[:, member & np.isfinite(window).all(axis=0)]


def _correlation(window: Grid | None) -> float:
    """The mean correlation of all pairs, from the variance of the mean of the assets' standardised returns."""
    if window is None:
        return np.nan
    # An asset that never moved has no correlation with anything.
    moving = window[:, np.ptp(window, axis=0) > 0.0]
    n = moving.shape[1]
    if n < 2:
        return np.nan
    z = (moving - moving.mean(axis=0)) / moving.std(axis=0)
    return float((z.mean(axis=1).var() - 1.0 / n) / (1.0 - 1.0 / n))


def _turbulence(window: Grid | None) -> float:
    """The squared distance of the last row from the rows before, in their own covariance, divided by the assets."""
    if window is None or not window.shape[1]:
        return np.nan
    past, n = window[:-1], window.shape[1]
    mean = past.mean(axis=0)
    moves, away = past - mean, window[-1] - mean
    free = len(past) - 1
    # With more assets than rows the rows span all directions that have a variance: their products hold the same
    # eigenvalues in a smaller matrix.
    wide = n > len(past)
    matrix = moves @ moves.T / free if wide else moves.T @ moves / free
    target = moves @ away if wide else away
    if wide:
        # Deviations from a mean sum to nothing: the one direction without a variance, in which `target` has no part.
        matrix = matrix + np.trace(matrix) / matrix.size
    found = _solved(matrix, target)
    return float((found @ found / free if wide else target @ found) / n)


def _solved(matrix: Grid, target: Grid) -> Grid:
    """The pseudo-inverse of a covariance times a vector; by elimination, which is faster, where it has full rank."""
    try:
        pivots = np.diag(np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError:
        pivots = np.zeros(1)
    if pivots.min() > 1e-4 * pivots.max():
        return np.asarray(np.linalg.solve(matrix, target))
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-10 * values.max(initial=0.0)
    return np.asarray(vectors[:, kept] @ (vectors[:, kept].T @ target / values[kept]))
