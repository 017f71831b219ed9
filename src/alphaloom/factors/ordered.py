"""Compiled window kernels that need the order of values: rank, median, quantile."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ts_median",
    "ts_quantile",
    "ts_rank",
]

Grid = NDArray[np.float64]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _ranked(x: Grid, d: int) -> Grid:
    """(rows below + half of the ties) of today's value, over every row of the window."""
    T, N = x.shape
    out = np.full((T, N), np.nan)
    below = np.empty(N)
    for t in range(d - 1, T):
        below[:] = 0.0
        today = x[t]
        for s in range(t - d + 1, t + 1):
            row = x[s]
            for j in range(N):
                # below + (ties + 1) / 2 = half of (strictly below + not above + 1)
                below[j] += (row[j] < today[j]) + 1.0 * (row[j] <= today[j]) + (np.nan if row[j] != row[j] else 0.0)
        for j in range(N):
            out[t, j] = (below[j] + 1.0) / (2.0 * d) if today[j] == today[j] else np.nan
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _quantiles(x: Grid, d: int, q: float) -> Grid:
    """Linear quantile from a sorted window that is updated value by value."""
    T, N = x.shape
    out = np.full((T, N), np.nan)
    kept = np.empty(d)
    place = q * (d - 1)
    low = int(np.floor(place))
    high = min(low + 1, d - 1)
    for j in range(N):
        size = 0
        for t in range(T):
            if t >= d and x[t - d, j] == x[t - d, j]:
                at = np.searchsorted(kept[:size], x[t - d, j])
                for i in range(at, size - 1):
                    kept[i] = kept[i + 1]
                size -= 1
            value = x[t, j]
            if value == value:
                at = np.searchsorted(kept[:size], value)
                for i in range(size, at, -1):
                    kept[i] = kept[i - 1]
                kept[at] = value
                size += 1
            if size == d:
                out[t, j] = kept[low] + (place - low) * (kept[high] - kept[low])
    return out


def ts_rank(x: Grid, d: int) -> Grid:
    """Average-tie percentile of today's value in the window."""
    return np.asarray(_ranked(np.ascontiguousarray(x), d))


def ts_quantile(x: Grid, d: int, q: float) -> Grid:
    """Quantile q of the last d values, linear."""
    return np.asarray(_quantiles(np.ascontiguousarray(x), d, float(q)))


def ts_median(x: Grid, d: int) -> Grid:
    """Median of the last d values."""
    return ts_quantile(x, d, 0.5)
