"""Kernels that compare the assets of one day; the engine has already set non-members to NaN."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "cs_frac",
    "cs_mean",
    "cs_std",
    "demean",
    "group_mean",
    "group_rank",
    "group_zscore",
    "indneutralize",
    "rank",
    "regress_out",
    "scale",
    "winsorize",
    "winsorize_quantile",
    "winsorize_sigma",
    "zscore",
]

Grid = NDArray[np.float64]
Codes = NDArray[np.int16]
# A standard normal sample has MAD 0.6745: this makes the MAD comparable with a standard deviation.
MAD_TO_SIGMA = 1.4826
# Below this share of its variance a regressor is a combination of those before it but for rounding.
FLAT = 1e-12
# Below this share of its deviation what is left of y is rounding: it must never be blown up to unit variance.
FULL = 1e-6


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _ranked(x: Grid, groups: Codes, count: int) -> Grid:
    """Average-tie percentile of every value among the values of its row and group."""
    T, N = x.shape
    out = np.full((T, N), np.nan)
    values, places, sorted_places = np.empty(N), np.empty(N, np.int64), np.empty(N, np.int64)
    ends = np.empty(count + 1, np.int64)
    for t in range(T):
        n = 0
        ends[:] = 0
        for j in range(N):
            if groups[t, j] >= 0 and x[t, j] == x[t, j]:
                values[n], places[n] = x[t, j], j
                ends[groups[t, j] + 1] += 1
                n += 1
        for g in range(count):
            ends[g + 1] += ends[g]
        starts = ends[:count].copy()
        # One sort a row: dealing the sorted values out keeps every group sorted.
        for i in np.argsort(values[:n]):
            g = groups[t, places[i]]
            sorted_places[starts[g]] = places[i]
            starts[g] += 1
        for g in range(count):
            first, last = ends[g], ends[g + 1]
            start = first
            while start < last:
                stop = start + 1
                while stop < last and x[t, sorted_places[stop]] == x[t, sorted_places[start]]:
                    stop += 1
                for i in range(start, stop):
                    out[t, sorted_places[i]] = (start + stop + 1 - 2 * first) / (2.0 * (last - first))
                start = stop
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _spread(x: Grid, groups: Codes, count: int) -> tuple[Grid, Grid]:
    """Mean and population deviation of every asset's group, by two passes; NaN for an unknown group."""
    T, N = x.shape
    mean, deviation = np.full((T, N), np.nan), np.full((T, N), np.nan)
    n, total, square, low, high = np.empty(count), np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    for t in range(T):
        n[:], total[:], square[:], low[:], high[:] = 0.0, 0.0, 0.0, np.inf, -np.inf
        for j in range(N):
            g, value = groups[t, j], x[t, j]
            if g >= 0 and value == value:
                n[g] += 1.0
                total[g] += value
                low[g], high[g] = min(low[g], value), max(high[g], value)
        for g in range(count):
            # Equal values have no spread; their summed mean may miss them by a rounding error.
            total[g] = low[g] if low[g] == high[g] else total[g] / n[g]
        for j in range(N):
            g, value = groups[t, j], x[t, j]
            if g >= 0 and value == value:
                square[g] += (value - total[g]) ** 2
        for j in range(N):
            g = groups[t, j]
            if g >= 0 and n[g] > 0.0:
                mean[t, j] = total[g]
                deviation[t, j] = np.sqrt(square[g] / n[g])
    return mean, deviation


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _winsorized(x: Grid, k: float) -> Grid:
    T, N = x.shape
    out = np.full((T, N), np.nan)
    values = np.empty(N)
    for t in range(T):
        n = 0
        for j in range(N):
            if x[t, j] == x[t, j]:
                values[n] = x[t, j]
                n += 1
        if n:
            middle = np.median(values[:n])
            reach = k * np.median(np.abs(values[:n] - middle))
            for j in range(N):
                if x[t, j] == x[t, j]:
                    out[t, j] = min(max(x[t, j], middle - reach), middle + reach)
    return out


def _everyone(x: Grid) -> Codes:
    return np.zeros(x.shape, np.int16)


def _count(groups: Codes) -> int:
    return int(groups.max(initial=-1)) + 1


def rank(x: Grid) -> Grid:
    """Average-tie percentile among the day's members."""
    return group_rank(x, _everyone(x))


def zscore(x: Grid) -> Grid:
    """Mean 0 and population deviation 1 each day; 0 where all are equal."""
    return group_zscore(x, _everyone(x))


def demean(x: Grid) -> Grid:
    """X minus the day's mean."""
    return indneutralize(x, _everyone(x))


def scale(x: Grid, a: float) -> Grid:
    """A * x / sum of abs(x) each day."""
    return np.asarray(a * x / np.nansum(np.abs(x), axis=1, keepdims=True))


def winsorize(x: Grid, k: float) -> Grid:
    """Held within median +- k * 1.4826 * MAD each day."""
    return np.asarray(_winsorized(x, MAD_TO_SIGMA * k))


def winsorize_sigma(x: Grid, k: float) -> Grid:
    """Held within mean +- k population deviations each day."""
    mean, deviation = _spread(x, _everyone(x), 1)
    return np.asarray(np.minimum(np.maximum(x, mean - k * deviation), mean + k * deviation))


def winsorize_quantile(x: Grid, tail: float) -> Grid:
    """Held within the linear quantiles tail and 1 - tail each day."""
    out = np.full(x.shape, np.nan)
    for t, row in enumerate(x):
        known = ~np.isnan(row)
        if known.any():
            low, high = np.quantile(row[known], (tail, 1.0 - tail))
            out[t, known] = np.clip(row[known], low, high)
    return out


def indneutralize(x: Grid, groups: Codes) -> Grid:
    """X minus the mean of its group that day."""
    return np.asarray(x - _spread(x, groups, _count(groups))[0])


def group_mean(x: Grid, groups: Codes) -> Grid:
    """Mean of the asset's group that day."""
    return np.asarray(np.where(np.isnan(x), np.nan, _spread(x, groups, _count(groups))[0]))


def group_zscore(x: Grid, groups: Codes) -> Grid:
    """Z-score inside the asset's group that day."""
    mean, deviation = _spread(x, groups, _count(groups))
    return np.asarray(np.where(deviation == 0.0, x - mean, (x - mean) / deviation))


def group_rank(x: Grid, groups: Codes) -> Grid:
    """Percentile inside the asset's group that day."""
    return np.asarray(_ranked(x, groups, _count(groups)))


def cs_mean(x: Grid) -> Grid:
    """The day's mean over members, given to every asset."""
    return np.asarray(_spread(x, _everyone(x), 1)[0])


def cs_std(x: Grid) -> Grid:
    """The day's population deviation over members, given to every asset."""
    return np.asarray(_spread(x, _everyone(x), 1)[1])


def cs_frac(c: Grid) -> Grid:
    """The day's share of members where c is not 0, given to every asset."""
    return cs_mean(np.where(np.isnan(c), np.nan, np.not_equal(c, 0)))


def regress_out(y: Grid, x1: Grid, x2: Grid, x3: Grid, w: Grid) -> Grid:
    """Residual of y on a constant and up to three series, by weighted least squares each day.

    A series of zeros is as good as none. Missing: an asset with an unknown value or a weight that is not positive
    has no residual and no say; NaN where the fit explains y fully, and on days with fewer assets than unknowns.
    """
    known = ~np.isnan(y + x1 + x2 + x3 + w) & (w > 0)
    weight = np.where(known, w, 0.0)
    total = weight.sum(axis=1, keepdims=True)
    kept: list[Grid] = []
    left = _centred(y, known, weight, total)
    scale = np.sqrt((weight * left * left).sum(axis=1, keepdims=True))
    for x in (x1, x2, x3):
        # Gram and Schmidt: each series is first freed of those before it, and dropped where nothing is left of it.
        fresh = _centred(x, known, weight, total)
        size = (weight * np.where(known, x, 0.0) ** 2).sum(axis=1, keepdims=True)
        for direction in (*kept, *kept):
            fresh = fresh - (weight * direction * fresh).sum(axis=1, keepdims=True) * direction
        rest = (weight * fresh * fresh).sum(axis=1, keepdims=True)
        real = rest > FLAT * size
        direction = np.where(real, fresh / np.sqrt(np.where(real, rest, 1.0)), 0.0)
        kept.append(direction)
        left = left - (weight * direction * left).sum(axis=1, keepdims=True) * direction
    count = 1 + sum((direction != 0).any(axis=1, keepdims=True).astype(np.int64) for direction in kept)
    rest = np.sqrt((weight * left * left).sum(axis=1, keepdims=True))
    noise = (rest <= FULL * scale) | (known.sum(axis=1, keepdims=True) <= count)
    return np.asarray(np.where(known & ~noise, left, np.nan))


def _centred(x: Grid, known: NDArray[np.bool_], weight: Grid, total: Grid) -> Grid:
    values = np.where(known, x, 0.0)
    return np.where(known, values - (weight * values).sum(axis=1, keepdims=True) / total, 0.0)
