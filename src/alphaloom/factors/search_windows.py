"""Window kernels of the search: the same numbers as the engine's to rounding, in fewer steps.

The engine sums every window by its own tree, so that a slice gives the same bits as the whole. A search looks at one
panel only and may take sums of neighbouring windows from common parts: time is cut into blocks of d rows, and a window
is the end of one block and the beginning of the next. Nothing is subtracted, so nothing drifts, and an unknown value
spoils its own windows only. Every value of a window must be known.
Shape: flat float32 arrays of rows of `width` cells, the same for the result.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from alphaloom.factors.cell_kernels import NAN, ZERO, plain
from alphaloom.factors.moment_kernels import FLAT

__all__ = ["PAIRS", "SINGLES", "averaged", "paired", "quantile", "single"]

Flat = Any
SINGLES = ("ts_sum", "ts_mean", "ts_var", "ts_std", "ts_skew", "ts_kurt")
PAIRS = ("ts_cov", "ts_corr")
LANES = 512
INF = np.float32(np.inf)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _powers(x: Flat, around: Flat, cells: Flat, count: int) -> None:
    """The distances from a value of the window itself, and their powers: small numbers keep their digits."""
    m = len(x)
    first, second, shift = cells[0][:m], cells[1][:m], around[:m]
    for j in range(m):
        first[j] = np.float64(x[j]) - shift[j]
    if count > 1:
        for j in range(m):
            second[j] = first[j] * first[j]
    for k in range(2, count):
        lower, here = cells[k - 1][:m], cells[k][:m]
        for j in range(m):
            here[j] = lower[j] * first[j]


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _products(x: Flat, y: Flat, around: Flat, cells: Flat, count: int) -> None:
    """The same for two sides: both distances, their product, their squares; unknown where either is."""
    m = len(x)
    c, d = around[0][:m], around[1][:m]
    a, b, ab = cells[0][:m], cells[1][:m], cells[2][:m]
    for j in range(m):
        u, v = np.float64(x[j]) - c[j], np.float64(y[j]) - d[j]
        ab[j] = u * v
        a[j] = u if v == v else np.nan
        b[j] = v if u == u else np.nan
    if count > 3:
        aa, bb = cells[3][:m], cells[4][:m]
        for j in range(m):
            aa[j] = a[j] * a[j]
            bb[j] = b[j] * b[j]


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _joined(a: Flat, b: Flat, out: Flat, m: int) -> None:
    a, b, out = a[:m], b[:m], out[:m]
    for j in range(m):
        out[j] = a[j] + b[j]


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _added(a: Flat, out: Flat, m: int) -> None:
    a, out = a[:m], out[:m]
    for j in range(m):
        out[j] += a[j]


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _told(code: int, around: Flat, sums: Flat, d: int, to: Flat) -> None:
    """Sum, mean, variance or deviation from the sums of a window's powers."""
    n, m = float(d), len(to)
    total, square, shift = sums[0][:m], sums[1][:m], around[:m]
    if code < 2:
        share = n if code else 1.0
        for j in range(m):
            to[j] = plain(np.float32(total[j] / share))
        return
    scale = n / (n - 1.0)
    for j in range(m):
        gap = total[j] / n
        mean, spread = shift[j] + gap, square[j] / n - gap * gap
        variance = (0.0 if spread <= FLAT * (mean * mean) else spread) * scale
        to[j] = plain(np.float32(variance if code == 2 else np.sqrt(variance)))


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _told_higher(kurtosis: bool, population: bool, around: Flat, sums: Flat, d: int, to: Flat) -> None:
    """Skewness or excess kurtosis; with `population` without the adjustment for bias."""
    n, m = float(d), len(to)
    one, two, three, four, shift = sums[0][:m], sums[1][:m], sums[2][:m], sums[3][:m], around[:m]
    for j in range(m):
        gap = one[j] / n
        mean, square, cube = shift[j] + gap, two[j] / n, three[j] / n
        spread = square - gap * gap
        if kurtosis:
            top = four[j] / n - 4.0 * gap * cube + 6.0 * gap * gap * square - 3.0 * gap * gap * gap * gap
            value = top / (spread * spread) - 3.0
            if not population:
                value = (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * value + 6.0)
        else:
            value = (cube - 3.0 * gap * square + 2.0 * gap * gap * gap) / (spread * np.sqrt(spread))
            if not population:
                value *= np.sqrt(n * (n - 1.0)) / (n - 2.0)
        to[j] = NAN if spread <= FLAT * (mean * mean) else plain(np.float32(value))


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _told_pair(code: int, around: Flat, sums: Flat, d: int, empty: float, to: Flat) -> None:
    """Covariance or correlation from the sums of both sides, their products and their squares."""
    n, m = float(d), len(to)
    a, b, ab, aa, bb = sums[0][:m], sums[1][:m], sums[2][:m], sums[3][:m], sums[4][:m]
    u, v = around[0][:m], around[1][:m]
    if code == 0:
        for j in range(m):
            to[j] = plain(np.float32((ab[j] - a[j] * (b[j] / n)) / (n - 1.0)))
        return
    for j in range(m):
        ga, gb = a[j] / n, b[j] / n
        ma, mb = u[j] + ga, v[j] + gb
        va, vb = aa[j] / n - ga * ga, bb[j] / n - gb * gb
        flat = (va <= FLAT * (ma * ma)) | (vb <= FLAT * (mb * mb))
        value = (ab[j] / n - ga * gb) / np.sqrt(va * vb)
        value = -1.0 if value < -1.0 else (1.0 if value > 1.0 else value)
        to[j] = np.float32(empty) if flat else plain(np.float32(value))


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _centred(x: Flat, around: Flat) -> None:
    """The value that all windows of a block share."""
    for j in range(len(x)):
        around[j] = np.float64(x[j])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _windows(code: int, pair: bool, x: Flat, y: Flat, width: int, d: int, empty: float, out: Flat) -> None:
    """All windows of d rows, block by block; for skewness and kurtosis `empty` of 1 asks for population moments."""
    T = len(x) // width
    out[: min(d - 1, T) * width] = NAN
    count = (3 + 2 * code) if pair else (1 if code < 2 else max(2, code - 1))
    ends, around = np.empty((count, d + 1, LANES)), np.zeros((2, LANES))
    cells, begun, sums = np.empty((5, LANES)), np.empty((5, LANES)), np.empty((5, LANES))
    for left in range(0, width, LANES):
        m = min(LANES, width - left)
        for start in range(0, T - d + 1, d):
            ends[:, d] = 0.0
            begun[:] = 0.0
            middle = (start + d - 1) * width + left
            if pair or code > 1:
                _centred(x[middle : middle + m], around[0])
                _centred(y[middle : middle + m], around[1])
            for i in range(d - 1, -1, -1):
                at = (start + i) * width + left
                if pair:
                    _products(x[at : at + m], y[at : at + m], around, cells, count)
                else:
                    _powers(x[at : at + m], around[0], cells, count)
                for k in range(count):
                    _joined(ends[k, i + 1], cells[k], ends[k, i], m)
            for i in range(min(d, T - start - d + 1)):
                at = (start + d - 1 + i) * width + left
                if i:
                    if pair:
                        _products(x[at : at + m], y[at : at + m], around, cells, count)
                    else:
                        _powers(x[at : at + m], around[0], cells, count)
                    for k in range(count):
                        _added(cells[k], begun[k], m)
                for k in range(count):
                    _joined(ends[k, i], begun[k], sums[k], m)
                to = out[at : at + m]
                if pair:
                    _told_pair(code, around, sums, d, empty, to)
                elif code > 3:
                    _told_higher(code == 5, empty == 1.0, around[0], sums, d, to)
                else:
                    _told(code, around[0], sums, d, to)


def single(op: str, x: Flat, *, width: int, d: int, population: bool, out: Flat) -> None:
    """Sum, mean, variance, deviation (d - 1 degrees of freedom), skewness or excess kurtosis."""
    _windows(SINGLES.index(op), False, x, x, width, d, 1.0 if population else np.nan, out)


def paired(op: str, x: Flat, y: Flat, *, width: int, d: int, zero: bool, out: Flat) -> None:
    """Covariance or correlation; where a side is constant the latter is 0 if `zero`, else not known."""
    _windows(PAIRS.index(op), True, x, y, width, d, 0.0 if zero else np.nan, out)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _settled(here: Flat, above: Flat, old: Flat, new: Flat, last: Flat) -> None:
    """One row of sorted columns, without the old value and with the new one; `last` is the row below without it."""
    # A function of its own, and everything read before it is compared: else no compiler does the columns side by side.
    for j in range(len(here)):
        a, b, gone, come, below = here[j], above[j], old[j], new[j], last[j]
        value = a if a < gone else b
        held = value if value < come else come
        here[j] = held if held > below else below
        last[j] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def quantile(x: Flat, width: int, d: int, q: float, out: Flat) -> None:
    """Linear quantile of the last d values, from sorted windows that are updated value by value."""
    T = len(x) // width
    place = q * (d - 1)
    low = int(np.floor(place))
    high, share = min(low + 1, d - 1), place - low
    kept = np.empty((d + 1, LANES), np.float32)
    old, new, last = np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    unknown = np.empty(LANES, np.int32)
    for left in range(0, width, LANES):
        m = min(LANES, width - left)
        kept[:] = INF
        # An unknown value is the largest of all; a window starts with nothing else.
        unknown[:] = d
        gone, into = unknown[:m], new[:m]
        for t in range(T):
            row = x[t * width + left : t * width + left + m]
            old[:] = INF
            if t >= d:
                past = x[(t - d) * width + left : (t - d) * width + left + m]
                for j in range(m):
                    old[j] = past[j] if past[j] == past[j] else INF
            for j in range(m):
                into[j] = row[j] if row[j] == row[j] else INF
                gone[j] += np.int32(into[j] == INF) - np.int32(old[j] == INF)
            last[:] = -INF
            for k in range(d):
                _settled(kept[k][:m], kept[k + 1][:m], old[:m], into, last[:m])
            to, a, b = out[t * width + left : t * width + left + m], kept[low][:m], kept[high][:m]
            for j in range(m):
                value = np.float64(a[j]) + share * (np.float64(b[j]) - np.float64(a[j]))
                to[j] = plain(np.float32(value)) if gone[j] == 0 else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def averaged(x: Flat, width: int, d: int, terms: int, out: Flat) -> None:
    """Exponential mean of a span over `terms` rows: the recursion over all rows less what it held `terms` rows ago."""
    T = len(x) // width
    fade = 1.0 - 2.0 / (d + 1.0)
    rest = fade**terms
    state, past = np.empty((2, LANES)), np.empty((2, LANES))
    count = np.empty(LANES)
    for left in range(0, width, LANES):
        m = min(LANES, width - left)
        state[:] = 0.0
        past[:] = 0.0
        count[:] = 0.0
        top, weight, old_top, old_weight, known = state[0][:m], state[1][:m], past[0][:m], past[1][:m], count[:m]
        for t in range(T):
            row = x[t * width + left : t * width + left + m]
            to = out[t * width + left : t * width + left + m]
            if t >= terms:
                then = x[(t - terms) * width + left : (t - terms) * width + left + m]
                for j in range(m):
                    seen = 1.0 if then[j] == then[j] else 0.0
                    old_top[j] = fade * old_top[j] + (np.float64(then[j]) if then[j] == then[j] else 0.0)
                    old_weight[j] = fade * old_weight[j] + seen
                    known[j] -= seen
            for j in range(m):
                seen = 1.0 if row[j] == row[j] else 0.0
                top[j] = fade * top[j] + (np.float64(row[j]) if row[j] == row[j] else 0.0)
                weight[j] = fade * weight[j] + seen
                known[j] += seen
                value = (top[j] - rest * old_top[j]) / (weight[j] - rest * old_weight[j])
                to[j] = plain(np.float32(value)) if (seen > ZERO) & (known[j] >= d) else NAN
