"""Compiled loops of the chain: every date's cross-section of many factors at once, in place.

Features lie as (T, N, F). A few neighbouring factors of one date are copied out together, so that a cache line is
fetched once; all arithmetic is in float64, whatever the storage.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["filled", "percentiles", "rank_ics", "rank_scores", "winsorised", "zscored"]

Cube = NDArray[Any]
Grid = NDArray[np.float64]
Mask = NDArray[np.bool_]
Codes = NDArray[np.int16]
_WIDE = 16
_SIGN = np.uint64(1 << 63)
_ALL = np.uint64((1 << 64) - 1)
_LOW = np.uint64(255)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _load(block: Any, member: Any, first: int, width: int, room: Grid) -> None:
    for j in range(block.shape[0]):
        for k in range(width):
            value = np.float64(block[j, first + k])
            room[k, j] = value if member[j] and np.isfinite(value) else np.nan


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _store(block: Any, first: int, width: int, room: Grid) -> None:
    for j in range(block.shape[0]):
        for k in range(width):
            block[j, first + k] = room[k, j]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _order(x: Grid, n: int, keys: Any, spare: Any, order: Any, other: Any) -> Any:
    """The places of x[:n] from the least to the largest, by radix sort; bytes that all share are skipped."""
    for i in range(n):
        spare[i] = x[i] + 0.0  # minus zero becomes zero
    bits = spare.view(np.uint64)
    for i in range(n):
        key = bits[i]
        keys[i] = key ^ _ALL if key & _SIGN else key ^ _SIGN
        order[i] = i
    now, then = order, other
    for step in range(8):
        shift = np.uint64(8 * step)
        ends = np.zeros(257, np.int64)
        for i in range(n):
            ends[np.int64((keys[i] >> shift) & _LOW) + 1] += 1
        if n and ends[np.int64((keys[0] >> shift) & _LOW) + 1] == n:
            continue
        for b in range(256):
            ends[b + 1] += ends[b]
        for i in range(n):
            place = now[i]
            digit = np.int64((keys[place] >> shift) & _LOW)
            then[ends[digit]] = place
            ends[digit] += 1
        now, then = then, now
    return now


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _ranks(x: Grid, n: int, keys: Any, spare: Any, order: Any, other: Any, out: Grid) -> None:
    """Average-tie ranks 1..n of x[:n]."""
    places = _order(x, n, keys, spare, order, other)
    start = 0
    while start < n:
        stop = start + 1
        while stop < n and keys[places[stop]] == keys[places[start]]:
            stop += 1
        for i in range(start, stop):
            out[places[i]] = 0.5 * (start + stop + 1)
        start = stop


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fences(known: Grid, method: int, k: float) -> tuple[float, float]:
    n = len(known)
    middle: Any
    reach: Any
    if method == 0:
        middle = np.median(known)
        away = np.abs(known - middle)
        reach = 1.4826 * np.median(away)
        if reach == 0.0:  # more than half are equal: the mean deviation still says how far the others lie
            reach = 1.2533 * np.mean(away)
        return middle - k * reach, middle + k * reach
    if method == 1:
        middle = np.mean(known)
        reach = k * np.sqrt(np.mean((known - middle) ** 2))
        return middle - reach, middle + reach
    known.sort()
    low, high = (n - 1) * k, (n - 1) * (1.0 - k)
    a, b = int(np.floor(low)), int(np.floor(high))
    first = known[a] + (low - a) * (known[min(a + 1, n - 1)] - known[a])
    last = known[b] + (high - b) * (known[min(b + 1, n - 1)] - known[b])
    return first, last


@numba.njit(cache=True, nogil=True, error_model="numpy")
def winsorised(values: Cube, member: Mask, method: int, k: float) -> None:
    """Hold every factor of every date within its fences (0: MAD, 1: sigma, 2: quantile)."""
    T, N, F = values.shape
    room, known = np.empty((_WIDE, N)), np.empty(N)
    for t in range(T):
        for first in range(0, F, _WIDE):
            width = min(_WIDE, F - first)
            _load(values[t], member[t], first, width, room)
            for i in range(width):
                n = 0
                for j in range(N):
                    if room[i, j] == room[i, j]:
                        known[n] = room[i, j]
                        n += 1
                if n:
                    low, high = _fences(known[:n], method, k)
                    for j in range(N):
                        if room[i, j] < low:
                            room[i, j] = low
                        elif room[i, j] > high:
                            room[i, j] = high
            _store(values[t], first, width, room)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def zscored(values: Cube, member: Mask) -> None:
    """Mean 0 and population deviation 1; 0 where all are equal."""
    T, N, F = values.shape
    room = np.empty((_WIDE, N))
    for t in range(T):
        for first in range(0, F, _WIDE):
            width = min(_WIDE, F - first)
            _load(values[t], member[t], first, width, room)
            for i in range(width):
                n, total, low, high = 0, 0.0, np.inf, -np.inf
                for j in range(N):
                    x = room[i, j]
                    if x == x:
                        n += 1
                        total += x
                        low, high = min(low, x), max(high, x)
                mean, square = total / n, 0.0
                for j in range(N):
                    if room[i, j] == room[i, j]:
                        square += (room[i, j] - mean) ** 2
                spread = np.sqrt(square / n)
                for j in range(N):
                    if room[i, j] == room[i, j]:
                        room[i, j] = 0.0 if low == high else (room[i, j] - mean) / spread
            _store(values[t], first, width, room)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def percentiles(values: Cube, member: Mask, out: Grid) -> None:
    """(rank - 1/2) / n of every factor of every date, ties sharing their mean rank."""
    T, N, F = values.shape
    room, known, ranks, spare = np.empty((_WIDE, N)), np.empty(N), np.empty(N), np.empty(N)
    keys, order, other = np.empty(N, np.uint64), np.empty(N, np.int64), np.empty(N, np.int64)
    at = np.empty(N, np.int64)
    for t in range(T):
        for first in range(0, F, _WIDE):
            width = min(_WIDE, F - first)
            _load(values[t], member[t], first, width, room)
            for i in range(width):
                n = 0
                for j in range(N):
                    if room[i, j] == room[i, j]:
                        known[n], at[n] = room[i, j], j
                        n += 1
                _ranks(known, n, keys, spare, order, other, ranks)
                for k in range(n):
                    room[i, at[k]] = (ranks[k] - 0.5) / n
            _store(out[t], first, width, room)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def filled(values: Cube, member: Mask, fillable: Mask, groups: Codes, count: int, coverage: float) -> None:
    """Missing cells become their group's median, or all medians' where the group has none; thin dates become NaN."""
    T, N, F = values.shape
    room, known, spare = np.empty((_WIDE, N)), np.empty(N), np.empty(N)
    keys, order, other = np.empty(N, np.uint64), np.empty(N, np.int64), np.empty(N, np.int64)
    at, sizes, medians = np.empty(N, np.int64), np.empty(count + 1, np.int64), np.empty(count + 1)
    dealt = np.empty((count + 1, N))
    for t in range(T):
        expected = 0
        for j in range(N):
            expected += 1 if member[t, j] and fillable[t, j] else 0
        for first in range(0, F, _WIDE):
            width = min(_WIDE, F - first)
            _load(values[t], member[t], first, width, room)
            for i in range(width):
                n, holes = 0, 0
                for j in range(N):
                    if room[i, j] == room[i, j]:
                        known[n], at[n] = room[i, j], j
                        n += 1
                    elif member[t, j] and fillable[t, j]:
                        holes += 1
                if n == 0 or n < coverage * expected - 1e-9:
                    room[i, :] = np.nan
                elif holes:
                    places = _order(known, n, keys, spare, order, other)
                    sizes[:] = 0
                    for k in range(n):  # dealt in ascending order, so each hand is sorted
                        g = groups[t, at[places[k]]]
                        if g >= 0:
                            dealt[g, sizes[g]] = known[places[k]]
                            sizes[g] += 1
                        dealt[count, k] = known[places[k]]
                    sizes[count] = n
                    for g in range(count + 1):
                        size = sizes[g] if sizes[g] else 1
                        medians[g] = 0.5 * (dealt[g, (size - 1) // 2] + dealt[g, size // 2])
                    for j in range(N):
                        if member[t, j] and fillable[t, j] and room[i, j] != room[i, j]:
                            g = groups[t, j]
                            room[i, j] = medians[g] if g >= 0 and sizes[g] else medians[count]
            _store(values[t], first, width, room)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def rank_ics(values: Cube, member: Mask, later: Grid, least: int) -> Grid:
    """Spearman correlation of every factor with the later return, date by date.   Shape: (T, F)."""
    T, N, F = values.shape
    out = np.full((T, F), np.nan)
    room, x, y, rx, ry = np.empty((_WIDE, N)), np.empty(N), np.empty(N), np.empty(N), np.empty(N)
    spare = np.empty(N)
    keys, order, other = np.empty(N, np.uint64), np.empty(N, np.int64), np.empty(N, np.int64)
    for t in range(T):
        pairs = 0
        for j in range(N):
            if member[t, j] and np.isfinite(later[t, j]):
                y[pairs] = later[t, j]
                pairs += 1
        if pairs < least:
            continue
        whole = True
        _ranks(y, pairs, keys, spare, order, other, ry)
        for first in range(0, F, _WIDE):
            width = min(_WIDE, F - first)
            _load(values[t], member[t], first, width, room)
            for i in range(width):
                n = 0
                for j in range(N):
                    if room[i, j] == room[i, j] and np.isfinite(later[t, j]):
                        x[n], y[n] = room[i, j], later[t, j]
                        n += 1
                if n < least:
                    continue
                # The later returns are ranked again only for factors that lack some of the assets.
                if n < pairs or not whole:
                    _ranks(y, n, keys, spare, order, other, ry)
                    whole = n == pairs
                _ranks(x, n, keys, spare, order, other, rx)
                middle, xx, yy, xy = 0.5 * (n + 1), 0.0, 0.0, 0.0
                for k in range(n):
                    a, b = rx[k] - middle, ry[k] - middle
                    xx += a * a
                    yy += b * b
                    xy += a * b
                if xx > 0.0 and yy > 0.0:
                    out[t, first + i] = xy / np.sqrt(xx * yy)
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def rank_scores(block: Any, member: Any, out: Grid) -> None:
    """Centred ranks of each factor on one date, 0 where unknown.   Shape: (N, F) -> (F, N)."""
    N, F = block.shape
    room, x, ranks, spare = np.empty((_WIDE, N)), np.empty(N), np.empty(N), np.empty(N)
    keys, order, other = np.empty(N, np.uint64), np.empty(N, np.int64), np.empty(N, np.int64)
    at = np.empty(N, np.int64)
    for first in range(0, F, _WIDE):
        width = min(_WIDE, F - first)
        _load(block, member, first, width, room)
        for i in range(width):
            n = 0
            for j in range(N):
                if room[i, j] == room[i, j]:
                    x[n], at[n] = room[i, j], j
                    n += 1
            _ranks(x, n, keys, spare, order, other, ranks)
            out[first + i, :] = 0.0
            for k in range(n):
                out[first + i, at[k]] = (ranks[k] - 0.5 * (n + 1)) / n
