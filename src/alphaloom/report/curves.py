"""Curves that the figures draw: growth, drawdown, rolling windows, months, and thinning for the browser."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Drawdown",
    "Months",
    "block_means",
    "deepest",
    "drawdowns",
    "gross_returns",
    "months_of",
    "rolling_mean",
    "rolling_sharpe",
    "thin",
]

Array = NDArray[np.float64]
MOST_POINTS: Final = 6000


def drawdowns(equity: Array) -> Array:
    """How far each bar stands below the highest bar so far, as a fraction not above zero.

    Shape: (K,) -> (K,).   Missing: NaN where equity is NaN.
    """
    peak = np.fmax.accumulate(equity)
    share: Array = np.divide(equity, peak, out=np.full_like(equity, np.nan), where=peak > 0)
    return share - 1.0


@dataclass(frozen=True)
class Drawdown:
    """The deepest fall: the row of its peak, of its bottom, and of the recovery (None while it lasts)."""

    depth: float
    peak: int
    bottom: int
    recovery: int | None


def deepest(equity: Array) -> Drawdown | None:
    """The deepest drawdown of an equity curve, or None where it never fell."""
    under = drawdowns(equity)
    if not np.isfinite(under).any() or np.nanmin(under) >= 0:
        return None
    bottom = int(np.nanargmin(under))
    peak = int(np.nanargmax(equity[: bottom + 1]))
    later = np.flatnonzero(equity[bottom:] >= equity[peak])
    return Drawdown(float(-under[bottom]), peak, bottom, bottom + int(later[0]) if later.size else None)


def rolling_mean(values: Array, window: int) -> Array:
    """The mean of the last `window` values, of those that are known.

    Time: rows t-window+1..t.   Missing: NaN before the window is full and where fewer than half are known.
    """
    known = np.isfinite(values)
    total = _trailing(np.where(known, values, 0.0), window)
    count = _trailing(known.astype(np.float64), window)
    mean: Array = np.divide(total, count, out=np.full(values.shape, np.nan), where=count >= max(1, window / 2))
    mean[: window - 1] = np.nan
    return mean


def rolling_sharpe(returns: Array, window: int, periods_per_year: float) -> Array:
    """The yearly Sharpe ratio of the last `window` returns.

    Time: rows t-window+1..t.
    Missing: NaN before the window is full and where the returns of a window never vary.
    """
    from alphaloom.metrics import performance

    out = np.full(returns.shape, np.nan)
    if returns.size < window or window < 2:
        return out
    views = np.lib.stride_tricks.sliding_window_view(returns, window)
    # In blocks, because the measure copies its columns and a long history has many windows.
    for first in range(0, len(views), 4096):
        block = views[first : first + 4096]
        found = performance.sharpe(block.T, periods_per_year=periods_per_year)
        out[first + window - 1 : first + window - 1 + len(block)] = found
    return out


def gross_returns(returns: Array, cost: Array, equity: Array) -> Array:
    """Returns as they would be if every cost of a bar were given back at its end.

    Unit: `returns` are fractions; `cost` and `equity` are money.
    """
    before = np.concatenate([equity[:1], equity[:-1]])
    share: Array = np.divide(cost, before, out=np.zeros_like(cost), where=before > 0)
    return returns + share


@dataclass(frozen=True)
class Months:
    """Returns by calendar month and year.

    Shape: years (Y,), table (Y, 12), totals (Y,).   Missing: NaN for a month outside the study.
    """

    years: NDArray[np.int64]
    table: Array
    totals: Array


def months_of(times: NDArray[np.datetime64], returns: Array) -> Months:
    """Compound the returns of each calendar month and year.   Missing: a NaN return counts as zero."""
    month = times.astype("datetime64[M]").astype(np.int64)
    year = month // 12 + 1970
    steps = np.log1p(np.maximum(np.nan_to_num(returns, nan=0.0), -1.0 + 1e-15))
    years = np.unique(year)
    sums = np.zeros((years.size, 12))
    seen = np.zeros((years.size, 12), dtype=bool)
    place = np.searchsorted(years, year), month % 12
    np.add.at(sums, place, steps)
    seen[place] = True
    return Months(years, np.where(seen, np.expm1(sums), np.nan), np.expm1(sums.sum(axis=1)))


def thin(values: Array, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """The rows of a long curve that a screen can show: first, last, lowest and highest of each block.

    Shape: (K,) -> (at most about `most`,) rows, ascending; all rows when the curve is short.
    """
    count = values.size
    if count <= most:
        return np.arange(count)
    edges = np.linspace(0, count, most // 4 + 1).astype(np.int64)
    rows: set[int] = set()
    for first, stop in pairwise(edges):
        block = values[first:stop]
        rows.update((int(first), int(stop) - 1))
        if np.isfinite(block).any():
            rows.update((int(first + np.nanargmin(block)), int(first + np.nanargmax(block))))
    return np.array(sorted(rows), dtype=np.int64)


def block_means(values: Array, most: int = 2500) -> tuple[NDArray[np.int64], Array, int]:
    """Means of blocks of equal length, so that at most `most` bars are drawn: last rows, means, block length."""
    length = max(1, -(-values.size // most))
    starts = np.arange(0, values.size, length)
    known = np.isfinite(values)
    count = np.add.reduceat(known.astype(np.float64), starts)
    total = np.add.reduceat(np.where(known, values, 0.0), starts)
    means = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return np.minimum(starts + length, values.size) - 1, means, length


def _trailing(values: Array, window: int) -> Array:
    sums = np.cumsum(values)
    sums[window:] = sums[window:] - sums[:-window]
    return sums
