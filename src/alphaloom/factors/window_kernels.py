"""Compiled window kernels over flat float32 tiles: lag d of a tile `width` columns wide is `d * width` cells back.

Sums are trees over the window's own values in float64: windows of 2k rows are made from two windows of k rows. So
nothing drifts, an unknown value spoils its own windows only, and any slice with its look-back rows gives the same bits.
`least` is the number of known values that a window needs; below d, unknown values are skipped.
All loops run over slices: index arithmetic inside them would keep the compiler from using the processor's full width.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from alphaloom.factors.cell_kernels import NAN, ZERO, plain

__all__ = [
    "counted",
    "decayed",
    "delayed",
    "differenced",
    "extreme",
    "extreme_age",
    "filled",
    "multiplied",
    "quantiles",
    "ranked",
    "slide",
    "summed",
]

Tile = Any
INF = np.float32(np.inf)
ROWS = 128


@numba.njit(cache=True, nogil=True, error_model="numpy")
def delayed(x: Tile, width: int, d: int, out: Tile) -> None:
    """The value d rows ago."""
    lag = min(d * width, len(out))
    out[:lag] = NAN
    out[lag:] = x[: len(out) - lag]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def differenced(x: Tile, width: int, d: int, out: Tile) -> None:
    """The value less the one d rows ago."""
    lag = min(d * width, len(out))
    out[:lag] = NAN
    now, then, to = x[lag:], x[: len(out) - lag], out[lag:]
    for i in range(len(to)):
        to[i] = plain(now[i] - then[i])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _joined(older: Tile, newer: Tile, out: Tile) -> None:
    # A loop in a function of its own: inside the changing buffers of its callers it would not use the full width.
    for i in range(len(out)):
        out[i] = older[i] + newer[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def slide(level: Tile, other: Tile, out: Tile, spare: Tile, n: int, d: int, width: int) -> None:
    """Sums of d rows: cell i of `out` sums cells i, i + width, ... of `level`, which is used up; n cells come in."""
    parts, rest = 0, d
    while rest:
        parts += rest & 1
        rest >>= 1
    if parts % 2 == 0:
        out, spare = spare, out
    have, size, m = 0, 1, n
    while True:
        if d & size:
            if have == 0:
                out[:m] = level[:m]
            else:
                count = n - (have + size - 1) * width
                _joined(out[:count], level[have * width : have * width + count], spare[:count])
                out, spare = spare, out
            have += size
        if have == d:
            return
        m -= size * width
        _joined(level[:m], level[size * width : size * width + m], other[:m])
        level, other = other, level
        size *= 2


@numba.njit(cache=True, nogil=True, error_model="numpy")
def block_rows(d: int) -> int:
    """How many rows of results are worked on at a time, so that the pieces stay in the cache."""
    return max(ROWS, 2 * d)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def entered(x: Tile, first: int, n: int, absent: float, buffer: Tile) -> None:
    """N cells of x from `first` on as float64; those before row 0, and with 0 the unknown ones, are `absent`."""
    ahead = min(max(0, -first), n)
    for i in range(ahead):
        buffer[i] = absent
    source, to = x[first + ahead : first + n], buffer[ahead:n]
    if absent == 0.0:
        for i in range(len(to)):
            to[i] = np.float64(source[i]) if source[i] == source[i] else 0.0
    else:
        for i in range(len(to)):
            to[i] = np.float64(source[i])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def known(x: Tile, first: int, n: int, buffer: Tile) -> None:
    """1 for a known cell, 0 for an unknown one or one before the first row."""
    ahead = min(max(0, -first), n)
    for i in range(ahead):
        buffer[i] = 0.0
    source, to = x[first + ahead : first + n], buffer[ahead:n]
    for i in range(len(to)):
        to[i] = 1.0 if source[i] == source[i] else 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def counted(x: Tile, width: int, d: int, least: int, out: Tile) -> None:
    """1 where at least `least` of the last d values are known, else NaN."""
    rows = block_rows(d)
    size = (rows + d) * width
    level, other, count, spare = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    for start in range(0, len(out), rows * width):
        m = min(rows * width, len(out) - start)
        first = start - (d - 1) * width
        known(x, first, m + (d - 1) * width, level)
        slide(level, other, count, spare, m + (d - 1) * width, d, width)
        to = out[start : start + m]
        for i in range(m):
            to[i] = np.float32(1.0) if count[i] >= least else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def summed(x: Tile, width: int, d: int, least: int, mean: bool, out: Tile) -> None:
    """Sum or mean of the last d values."""
    rows, skip = block_rows(d), least < d
    size = (rows + d) * width
    level, other, total, spare = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    count = np.empty(size if skip else 0)
    share = float(d) if mean else 1.0
    for start in range(0, len(out), rows * width):
        m = min(rows * width, len(out) - start)
        first, n = start - (d - 1) * width, m + (d - 1) * width
        entered(x, first, n, 0.0 if skip else np.nan, level)
        slide(level, other, total, spare, n, d, width)
        to = out[start : start + m]
        if not skip:
            for i in range(m):
                to[i] = plain(np.float32(total[i] / share))
            continue
        known(x, first, n, level)
        slide(level, other, count, spare, n, d, width)
        for i in range(m):
            part = count[i] if mean else 1.0
            to[i] = plain(np.float32(total[i] / part)) if count[i] >= least else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def multiplied(x: Tile, width: int, d: int, out: Tile) -> None:
    """Product of the last d values, oldest first, in float64."""
    n = len(out)
    lag = min((d - 1) * width, n)
    out[:lag] = NAN
    rows = block_rows(1) * width
    product = np.empty(rows)
    for start in range(lag, n, rows):
        m = min(rows, n - start)
        product[:m] = 1.0
        for back in range(d - 1, -1, -1):
            source = x[start - back * width : start - back * width + m]
            for i in range(m):
                product[i] *= np.float64(source[i])
        to = out[start : start + m]
        for i in range(m):
            to[i] = plain(np.float32(product[i]))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _larger(older: Tile, newer: Tile, out: Tile) -> None:
    for i in range(len(out)):
        out[i] = older[i] if older[i] > newer[i] else newer[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _largest(level: Tile, other: Tile, n: int, d: int, width: int) -> Tile:
    """The largest of d cells a row apart, from each cell on; both buffers are used up."""
    size, m = 1, n
    while size < d:
        step = min(size, d - size)
        m -= step * width
        _larger(level[:m], level[step * width : step * width + m], other[:m])
        level, other = other, level
        size += step
    return level


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _later(old: Tile, new: Tile, top: Tile, old_age: Tile, new_age: Tile, age: Tile, back: Any) -> None:
    """The larger of two and how many rows ago it was; the older one wins a tie."""
    for i in range(len(top)):
        a, b = old[i], new[i]
        top[i] = b if b > a else a
    for i in range(len(top)):
        then, now = old_age[i] + back, new_age[i]
        age[i] = now if new[i] > old[i] else then


@numba.njit(cache=True, nogil=True, error_model="numpy")
def extreme(x: Tile, width: int, d: int, skip: bool, sign: float, out: Tile) -> None:
    """Largest (`sign` 1) or least (-1) of the last d values; with `skip` unknown values do not count."""
    rows = block_rows(d)
    level, other = np.empty((rows + d) * width, np.float32), np.empty((rows + d) * width, np.float32)
    absent, turn = (-INF if skip else INF), np.float32(sign)
    for start in range(0, len(out), rows * width):
        m = min(rows * width, len(out) - start)
        first, n = start - (d - 1) * width, m + (d - 1) * width
        ahead = min(max(0, -first), n)
        level[:ahead] = absent
        source, to = x[first + ahead : first + n], level[ahead:n]
        for i in range(len(to)):
            to[i] = source[i] * turn if source[i] == source[i] else absent
        best = _largest(level, other, n, d, width)
        to = out[start : start + m]
        for i in range(m):
            to[i] = plain(best[i] * turn)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def extreme_age(x: Tile, width: int, d: int, skip: bool, sign: float, place: bool, out: Tile) -> None:
    """How many rows ago the extreme was, the earliest of ties; `place` counts from the oldest row that exists."""
    rows = block_rows(d)
    cells = (rows + d) * width
    level, other = np.empty(cells, np.float32), np.empty(cells, np.float32)
    age, other_age = np.empty(cells, np.float32), np.empty(cells, np.float32)
    absent, turn = (-INF if skip else INF), np.float32(sign)
    for start in range(0, len(out), rows * width):
        m = min(rows * width, len(out) - start)
        first, n = start - (d - 1) * width, m + (d - 1) * width
        ahead = min(max(0, -first), n)
        level[:ahead] = absent
        source, to = x[first + ahead : first + n], level[ahead:n]
        for i in range(len(to)):
            to[i] = source[i] * turn if source[i] == source[i] else absent
        age[:n] = ZERO
        size, left = 1, n
        while size < d:
            step = min(size, d - size)
            left -= step * width
            shift = slice(step * width, step * width + left)
            _later(level[:left], level[shift], other[:left], age[:left], age[shift], other_age[:left], np.float32(step))
            level, other, age, other_age = other, level, other_age, age
            size += step
        to = out[start : start + m]
        if not place:
            for i in range(m):
                to[i] = NAN if level[i] == absent else age[i]
        else:
            for t in range(m // width):
                there = np.float32(min(d, start // width + t + 1))
                for i in range(t * width, (t + 1) * width):
                    to[i] = NAN if level[i] == absent else there - age[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _tilted(older: Tile, newer: Tile, flat: Tile, rows: float, out: Tile) -> None:
    """Weights count up from the oldest row, so the newer part is heavier by the older part's rows."""
    for i in range(len(out)):
        out[i] = older[i] + (newer[i] + rows * flat[i])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def slide_weighted(flat: Tile, tilted: Tile, spare: Tile, n: int, d: int, width: int) -> Tile:
    """Sums of d rows with weights 1 (oldest) to d; `flat` holds the cells, `tilted` their copy, `spare` 4 buffers."""
    level, slope, other, other_slope = flat, tilted, spare[0], spare[1]
    done_slope, next_slope = spare[2], spare[3]
    have, size, m = 0, 1, n
    while True:
        if d & size:
            if have == 0:
                done_slope[:m] = slope[:m]
            else:
                count = n - (have + size - 1) * width
                cut = slice(have * width, have * width + count)
                _tilted(done_slope[:count], slope[cut], level[cut], float(have), next_slope[:count])
                done_slope, next_slope = next_slope, done_slope
            have += size
        if have == d:
            return done_slope
        m -= size * width
        cut = slice(size * width, size * width + m)
        _joined(level[:m], level[cut], other[:m])
        _tilted(slope[:m], slope[cut], level[cut], float(size), other_slope[:m])
        level, other, slope, other_slope = other, level, other_slope, slope
        size *= 2


@numba.njit(cache=True, nogil=True, error_model="numpy")
def decayed(x: Tile, width: int, d: int, least: int, out: Tile) -> None:
    """Mean with weights d (today) to 1 (oldest); the weights of unknown values that are skipped do not count."""
    rows, skip = block_rows(d), least < d
    size = (rows + d) * width
    flat, tilted, spare = np.empty(size), np.empty(size), np.empty((4, size))
    weights, counts = np.empty(size if skip else 0), np.empty((4, size if skip else 0))
    norm = d * (d + 1) / 2.0
    for start in range(0, len(out), rows * width):
        m = min(rows * width, len(out) - start)
        first, n = start - (d - 1) * width, m + (d - 1) * width
        to = out[start : start + m]
        if skip:
            known(x, first, n, counts[0])
            slide(counts[0], counts[1], counts[2], counts[3], n, d, width)
            known(x, first, n, flat)
            known(x, first, n, tilted)
            weights[:m] = slide_weighted(flat, tilted, spare, n, d, width)[:m]
        entered(x, first, n, 0.0 if skip else np.nan, flat)
        tilted[:n] = flat[:n]
        top = slide_weighted(flat, tilted, spare, n, d, width)
        if skip:
            for i in range(m):
                to[i] = plain(np.float32(top[i] / weights[i])) if counts[2][i] >= least else NAN
        else:
            for i in range(m):
                to[i] = plain(np.float32(top[i] / norm))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def ranked(x: Tile, width: int, d: int, least: int, out: Tile) -> None:
    """Average-tie percentile of today's value among the known values of the window."""
    n, rows = len(out), ROWS * width
    below, above = np.empty(rows, np.int32), np.empty(rows, np.int32)
    skip = least < d
    start = 0
    while start < n:
        row = start // width
        reach = min(row, d - 1)
        # The first rows have windows of their own length.
        m = min(width if row < d - 1 else rows, n - start)
        to = out[start : start + m]
        if reach < d - 1 and not skip:
            to[:] = NAN
            start += m
            continue
        today = x[start : start + m]
        lower, upper = below[:m], above[:m]
        lower[:] = 0
        upper[:] = 0
        for back in range(1, reach + 1):
            then = x[start - back * width : start - back * width + m]
            for i in range(m):
                # (below + not above): half of the ties is added at the end.
                lower[i] += np.int32(then[i] < today[i]) + np.int32(then[i] <= today[i])
                upper[i] += np.int32(then[i] < today[i]) + np.int32(then[i] >= today[i])
        for i in range(m):
            count = upper[i] + 1
            share = np.float32((lower[i] + 2) / (2.0 * count))
            to[i] = share if (count >= least) & (today[i] == today[i]) else NAN
        start += m


@numba.njit(cache=True, nogil=True, error_model="numpy")
def filled(x: Tile, width: int, d: int, out: Tile) -> None:
    """The last known value, at most d rows old."""
    n = len(out)
    for j in range(width):
        last, value = -d - 1, NAN
        for t in range(n // width):
            cell = x[t * width + j]
            if cell == cell:
                last, value = t, cell
            out[t * width + j] = value if t - last <= d else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _replaced(kept: Tile, gone: Any, come: Any, to: Tile) -> None:
    """A sorted list with one value taken out and one put in; both lists stand between two guards."""
    d = len(kept) - 2
    left, here, right, target = kept[:d], kept[1 : d + 1], kept[2 : d + 2], to[1 : d + 1]
    for k in range(d):
        before = left[k] if left[k] < gone else here[k]
        after = here[k] if here[k] < gone else right[k]
        low = after if after < come else come
        target[k] = before if before > low else low


@numba.njit(cache=True, nogil=True, error_model="numpy")
def quantiles(x: Tile, width: int, d: int, least: int, q: float, out: Tile) -> None:
    """Linear quantile of the known values, from a window kept in order; infinity stands for what is not known."""
    T = len(x) // width
    kept, other = np.empty(d + 2, np.float32), np.empty(d + 2, np.float32)
    for j in range(width):
        kept[:] = INF
        other[:] = INF
        kept[0] = other[0] = -INF
        count = 0
        for t in range(T):
            come, gone = x[t * width + j], x[(t - d) * width + j] if t >= d else NAN
            count += int(come == come) - int(gone == gone)
            come, gone = come if come == come else INF, gone if gone == gone else INF
            if come != gone:
                _replaced(kept, gone, come, other)
                kept, other = other, kept
            value = NAN
            if count >= least:
                place = q * (count - 1)
                low = int(place)
                a, b = np.float64(kept[1 + low]), np.float64(kept[1 + min(low + 1, count - 1)])
                value = np.float32(a + (place - low) * (b - a)) + ZERO
            out[t * width + j] = value
