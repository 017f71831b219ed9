"""Compiled kernels that compare the assets of one day, over rows of whole (T, N) float32 arrays.

Members only are seen. Each kernel may write over its input: a row is read before it is written.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from alphaloom.factors.cell_kernels import NAN, ZERO, plain

__all__ = ["SPREAD", "grouped", "ranked_rows", "scaled_rows", "spread_rows"]

Full = Any

SPREAD = ("demean", "zscore", "cs_mean", "cs_std")
GROUPED = ("indneutralize", "group_zscore", "group_mean")


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _bits(span):  # type: ignore[no-untyped-def]
    """How many binary digits a number has."""
    found = 0
    while span:
        span >>= np.uint32(1)
        found += 1
    return found


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _dealt(keys: Full, items: Full, n: int, shift: int, ends: Full, to: Full, to_items: Full) -> None:
    """One pass of a radix sort; `ends` holds the histogram of the digit and is used up."""
    total = np.uint32(0)
    for k in range(len(ends)):
        count = ends[k]
        ends[k] = total
        total += count
    move, mask = np.uint32(shift), np.uint32(len(ends) - 1)
    for i in range(n):
        digit = (keys[i] >> move) & mask
        at = ends[digit]
        ends[digit] = at + np.uint32(1)
        to[at] = keys[i]
        to_items[at] = items[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _settled(keys: Full, items: Full, n: int, allowed: int) -> bool:
    """Insertion sort of an almost sorted list; False when it takes too many moves."""
    moves = 0
    for i in range(1, n):
        key = keys[i]
        if keys[i - 1] > key:
            item, at = items[i], i
            while at > 0 and keys[at - 1] > key:
                keys[at], items[at] = keys[at - 1], items[at - 1]
                at -= 1
            keys[at], items[at] = key, item
            moves += i - at
            if moves > allowed:
                return False
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sorted(keys: Full, items: Full, n: int, spare: Full, spare_items: Full, ends: Full) -> None:
    """Sort keys with their items: two radix passes over the leading digits, then what little is left to do."""
    low, high = np.uint32(0xFFFFFFFF), np.uint32(0)
    for i in range(n):
        low = min(low, keys[i])
        high = max(high, keys[i])
    digit = _bits(np.uint32(ends.shape[1] - 1))
    shift = max(0, _bits(high - low) - 2 * digit)
    move, up, mask = np.uint32(shift), np.uint32(digit), np.uint32(ends.shape[1] - 1)
    first, second = ends[0], ends[1]
    first[:] = 0
    second[:] = 0
    for i in range(n):
        keys[i] -= low
        part = keys[i] >> move
        first[part & mask] += np.uint32(1)
        second[part >> up] += np.uint32(1)
    _dealt(keys, items, n, shift, first, spare, spare_items)
    _dealt(spare, spare_items, n, shift + digit, second, keys, items)
    if shift and not _settled(keys, items, n, 8 * n):
        for lowest in range(0, 32, digit):
            first[:] = 0
            move = np.uint32(lowest)
            for i in range(n):
                first[(keys[i] >> move) & mask] += np.uint32(1)
            _dealt(keys, items, n, lowest, first, spare, spare_items)
            keys[:n] = spare[:n]
            items[:n] = spare_items[:n]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def ranked_rows(x: Full, member: Full, out: Full, start: int, stop: int) -> None:
    """Average-tie percentile of every value among the day's members."""
    N = x.shape[1]
    keys, spare = np.empty(N, np.uint32), np.empty(N, np.uint32)
    items, spare_items = np.empty(N, np.uint32), np.empty(N, np.uint32)
    bits = np.empty(N, np.uint32)
    row = bits.view(np.float32)
    # Counters to clear and add up for each row against values to move: few assets want short digits.
    ends = np.empty((2, 512 if N <= 600 else (1024 if N <= 8000 else 2048)), np.uint32)
    sign = np.uint32(0x80000000)
    for t in range(start, stop):
        seen, source, to = member[t], x[t], out[t]
        for j in range(N):
            row[j] = source[j] + ZERO
        n = 0
        for j in range(N):
            keys[n] = bits[j] ^ (np.uint32(0xFFFFFFFF) if bits[j] & sign else sign)
            items[n] = j
            n += (row[j] == row[j]) & seen[j]
        to[:] = NAN
        _sorted(keys, items, n, spare, spare_items, ends)
        half, i = 0.5 / max(n, 1), 0
        while i < n:
            after = i + 1
            while after < n and keys[after] == keys[i]:
                after += 1
            share = np.float32((i + after + 1) * half)
            for k in range(i, after):
                to[items[k]] = share
            i = after


@numba.njit(cache=True, nogil=True, error_model="numpy")
def scaled_rows(x: Full, member: Full, a: float, out: Full, start: int, stop: int) -> None:
    """A * x / the sum of abs(x) over the day's members."""
    N = x.shape[1]
    for t in range(start, stop):
        seen, source, to = member[t], x[t], out[t]
        total = 0.0
        for j in range(N):
            if seen[j] and source[j] == source[j]:
                total += abs(np.float64(source[j]))
        for j in range(N):
            to[j] = plain(np.float32(a * np.float64(source[j]) / total)) if seen[j] else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def spread_rows(code: int, x: Full, member: Full, out: Full, start: int, stop: int) -> None:
    """The day's mean and population deviation over members: taken off, divided by, or given to every asset."""
    N = x.shape[1]
    for t in range(start, stop):
        seen, source, to = member[t], x[t], out[t]
        total, n, low, high = 0.0, 0, np.inf, -np.inf
        for j in range(N):
            value = np.float64(source[j])
            if seen[j] and value == value:
                total += value
                n += 1
                low, high = min(low, value), max(high, value)
        # Equal values have no spread; their summed mean may miss them by a rounding error.
        mean = np.nan if n == 0 else (low if low == high else total / n)
        square = 0.0
        for j in range(N):
            value = np.float64(source[j])
            if seen[j] and value == value:
                square += (value - mean) ** 2
        deviation = np.sqrt(square / n) if n else np.nan
        for j in range(N):
            gap = np.float64(source[j]) - mean
            if code == 0:
                to[j] = plain(np.float32(gap)) if seen[j] else NAN
            elif code == 1:
                to[j] = plain(np.float32(gap if deviation == 0.0 else gap / deviation)) if seen[j] else NAN
            else:
                to[j] = plain(np.float32(mean if code == 2 else deviation))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def grouped(code: int, x: Full, member: Full, groups: Full, count: int, out: Full, start: int, stop: int) -> None:
    """The same inside each asset's group; an asset of no known group has no value."""
    N = x.shape[1]
    n, total, square, low, high = np.empty(count), np.empty(count), np.empty(count), np.empty(count), np.empty(count)
    for t in range(start, stop):
        seen, source, to, group = member[t], x[t], out[t], groups[t]
        n[:], total[:], square[:], low[:], high[:] = 0.0, 0.0, 0.0, np.inf, -np.inf
        for j in range(N):
            g, value = group[j], np.float64(source[j])
            if g >= 0 and seen[j] and value == value:
                n[g] += 1.0
                total[g] += value
                low[g], high[g] = min(low[g], value), max(high[g], value)
        for g in range(count):
            total[g] = low[g] if low[g] == high[g] else total[g] / n[g]
        if code == 1:
            for j in range(N):
                g, value = group[j], np.float64(source[j])
                if g >= 0 and seen[j] and value == value:
                    square[g] += (value - total[g]) ** 2
        for j in range(N):
            g, value = group[j], np.float64(source[j])
            if g < 0 or not seen[j] or value != value:
                to[j] = NAN
            elif code == 0:
                to[j] = plain(np.float32(value - total[g]))
            elif code == 1:
                deviation = np.sqrt(square[g] / n[g])
                gap = value - total[g]
                to[j] = plain(np.float32(gap if deviation == 0.0 else gap / deviation))
            else:
                to[j] = plain(np.float32(total[g]))
