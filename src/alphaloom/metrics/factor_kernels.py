"""Compiled loops that judge many factors at once: each row of each factor is sorted once and its order is reused.

A row's order lists the columns from the lowest value to the highest; a column that ties with the one before it is
written as -1 - column. Ranks are counted from zero and doubled, so that the mean rank of a tie is a whole number and
every sum of ranks is exact. Where two rows know different columns, their ranks among the shared ones follow from one
walk along each order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

__all__ = ["judge", "mean_errors", "order_targets"]

_F = TypeVar("_F", bound=Callable[..., Any])


def _compiled(function: _F) -> _F:
    return cast(_F, njit(cache=True, nogil=True, error_model="numpy")(function))


@_compiled
def _sort(keys: Any, spare: Any, n: int, counts: Any) -> None:
    """Sort words by their upper halves, ties in the order given: four passes of one byte."""
    counts[:] = 0
    for i in range(n):
        high = keys[i] >> np.uint64(32)
        counts[0, high & np.uint64(255)] += 1
        counts[1, (high >> np.uint64(8)) & np.uint64(255)] += 1
        counts[2, (high >> np.uint64(16)) & np.uint64(255)] += 1
        counts[3, high >> np.uint64(24)] += 1
    source, target = keys, spare
    moved = 0
    for p in range(4):
        shift = np.uint64(32 + 8 * p)
        count = counts[p]
        if n and count[(source[0] >> shift) & np.uint64(255)] == n:
            continue
        total = 0
        for b in range(256):
            here = count[b]
            count[b] = total
            total += here
        for i in range(n):
            word = source[i]
            b = (word >> shift) & np.uint64(255)
            target[count[b]] = word
            count[b] += 1
        source, target = target, source
        moved += 1
    if moved % 2:
        keys[:n] = source[:n]


@_compiled
def _ranked(keys: Any, n: int, order: Any, ranks: Any) -> int:
    """Write the order and the ranks of sorted words; the answer is the sum of m^3 - m over ties of m."""
    ties = 0
    i = 0
    while i < n:
        high = keys[i] >> np.uint64(32)
        j = i + 1
        while j < n and keys[j] >> np.uint64(32) == high:
            j += 1
        twice = i + j - 1
        for m in range(i, j):
            column = np.int32(keys[m] & np.uint64(0xFFFFFFFF))
            order[m] = column if m == i else -1 - column
            ranks[column] = twice
        ties += (j - i) ** 3 - (j - i)
        i = j
    return ties


@_compiled
def order_targets(later: Any, member: Any, order: Any, ranks: Any, has: Any, centred: Any, facts: Any) -> None:
    """The returns (T, N) after each row, prepared once for all factors; `facts` (T, 4): count, ties, mean, squares."""
    T, N = later.shape
    value, column = np.empty(N), np.empty(N, np.int32)
    for t in range(T):
        n = 0
        total = 0.0
        for j in range(N):
            has[t, j] = 0
            ranks[t, j] = 0
            centred[t, j] = 0.0
            if member[t, j] and np.isfinite(later[t, j]):
                value[n], column[n] = later[t, j], j
                has[t, j] = 1
                total += later[t, j]
                n += 1
        mean = total / n if n else 0.0
        sorting = np.argsort(value[:n], kind="mergesort")
        ties = 0
        squares = 0.0
        i = 0
        while i < n:
            k = i + 1
            while k < n and value[sorting[k]] == value[sorting[i]]:
                k += 1
            for m in range(i, k):
                j = column[sorting[m]]
                order[t, m] = j if m == i else -1 - j
                ranks[t, j] = i + k - 1
                centred[t, j] = value[sorting[m]] - mean
            ties += (k - i) ** 3 - (k - i)
            i = k
        for j in range(N):
            squares += np.float64(centred[t, j]) * np.float64(centred[t, j])
        facts[t, 0], facts[t, 1], facts[t, 2], facts[t, 3] = n, ties, mean, squares


@_compiled
def _shared(a: Any, b: Any) -> int:
    count = 0
    for j in range(len(a)):
        count += a[j] & b[j]
    return count


@_compiled
def _inner(a: Any, b: Any) -> Any:
    # Eight separate sums, so that the compiler can use vector instructions without changing the order of any sum.
    n = len(a)
    s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    whole = n - n % 8
    for i in range(0, whole, 8):
        x, y = a[i : i + 8], b[i : i + 8]
        s0 += x[0] * y[0]
        s1 += x[1] * y[1]
        s2 += x[2] * y[2]
        s3 += x[3] * y[3]
        s4 += x[4] * y[4]
        s5 += x[5] * y[5]
        s6 += x[6] * y[6]
        s7 += x[7] * y[7]
    for i in range(whole, n):
        s0 += a[i] * b[i]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@_compiled
def _products(a: Any, b: Any) -> Any:
    total = np.int64(0)
    for j in range(len(a)):
        total += np.int64(a[j]) * np.int64(b[j])
    return total


@_compiled
def _shared_ranks(order: Any, n: int, other: Any, ranks: Any, picked: Any) -> int:
    """Ranks of a row among the columns that the other row knows too; the answer is its sum over ties."""
    c, g, ties = 0, 0, 0
    for i in range(n):
        e = order[i]
        if e >= 0:
            if c - g > 1:
                for m in range(g, c):
                    ranks[picked[m]] = g + c - 1
                ties += (c - g) ** 3 - (c - g)
            g = c
        else:
            e = -1 - e
        picked[c] = e
        ranks[e] = 2 * c
        c += other[e]
    if c - g > 1:
        for m in range(g, c):
            ranks[picked[m]] = g + c - 1
        ties += (c - g) ** 3 - (c - g)
    return ties


@_compiled
def _shared_products(order: Any, n: int, other: Any, ranks: Any) -> Any:
    """Sum of the other row's ranks times this row's ranks among the shared columns, and this row's sum over ties."""
    c, g, ties = 0, 0, 0
    total, tied = np.int64(0), np.int64(0)
    for i in range(n):
        e = order[i]
        if e >= 0:
            total += tied * (g + c - 1)
            if c - g > 1:
                ties += (c - g) ** 3 - (c - g)
            g = c
            tied = np.int64(0)
        else:
            e = -1 - e
        if other[e]:
            tied += ranks[e]
            c += 1
    total += tied * (g + c - 1)
    if c - g > 1:
        ties += (c - g) ** 3 - (c - g)
    return total, ties


@_compiled
def _rank_correlation(
    order_a: Any, n_a: int, ties_a: int, ranks_a: Any, has_a: Any,
    order_b: Any, n_b: Any, ties_b: Any, ranks_b: Any, has_b: Any,
    pairs: int, room: Any, picked: Any,
) -> Any:  # fmt: skip
    """Rank correlation of two rows over the columns that both know; `room` keeps the first row's ranks among them."""
    if pairs == n_a:
        room[:] = ranks_a
    else:
        ties_a = _shared_ranks(order_a, n_a, has_b, room, picked)
    if pairs == n_b:
        total = _products(room, ranks_b)
    else:
        total, ties_b = _shared_products(order_b, n_b, has_a, room)
    cubes = np.float64(pairs) ** 3 - pairs
    top = np.float64(total) - np.float64(pairs) * np.float64(pairs - 1) ** 2
    below = (cubes - ties_a) * (cubes - ties_b)
    if not below > 0.0:
        return np.nan
    return min(1.0, max(-1.0, 3.0 * top / np.sqrt(below)))


@_compiled
def _two_pass(x: Any, y: Any, has_a: Any, has_b: Any, pairs: int) -> Any:
    mx, my = 0.0, 0.0
    for j in range(len(x)):
        if has_a[j] & has_b[j]:
            mx += x[j]
            my += y[j]
    mx /= pairs
    my /= pairs
    xx, yy, xy = 0.0, 0.0, 0.0
    for j in range(len(x)):
        if has_a[j] & has_b[j]:
            dx, dy = x[j] - mx, y[j] - my
            xx += dx * dx
            yy += dy * dy
            xy += dx * dy
    return xx, yy, xy


@_compiled
def _correlation(raw: Any, x: Any, y: Any, has_a: Any, has_b: Any, n: Any, squares: Any) -> Any:
    """Correlation over shared columns; both sides are centred on their own columns and zero elsewhere.

    `raw` is the first side before that, `n` the columns of each side and of both, `squares` the sums of squares.
    """
    pairs = n[2]
    xx, yy, xy = squares[0], squares[1], _inner(x, y)
    if pairs < n[0] or pairs < n[1]:
        sx, sy = 0.0, 0.0
        for j in range(len(x)):
            if has_a[j] != has_b[j]:
                sx -= x[j]
                sy -= y[j]
                xx -= x[j] * x[j]
                yy -= np.float64(y[j]) * np.float64(y[j])
        xx -= sx * sx / pairs
        yy -= sy * sy / pairs
        xy -= sx * sy / pairs
        # What an outlier leaves behind when it is taken out again may be rounding alone.
        if not (xx > 1e-6 * squares[0] and yy > 1e-6 * squares[1]):
            xx, yy, xy = _two_pass(raw, y, has_a, has_b, pairs)
    if not (xx > 0.0 and yy > 0.0):
        return np.nan
    return min(1.0, max(-1.0, xy / np.sqrt(xx) / np.sqrt(yy)))


@_compiled
def _bucket_sums(
    order: Any, n: int, ranks: Any, has: Any, centred: Any, mean: Any, pairs: int, sums: Any, count: Any
) -> None:
    """Mean return of each bucket of the factor's order, in `sums`."""
    Q = len(sums)
    sums[:] = 0.0
    count[:] = 0
    q = 0
    for i in range(n):
        e = order[i]
        e = e if e >= 0 else -1 - e
        if has[e]:
            while (ranks[e] + 1) * Q >= (q + 1) * 2 * pairs and q < Q - 1:
                q += 1
            sums[q] += centred[e]
            count[q] += 1
    for q in range(Q):
        sums[q] = sums[q] / count[q] + mean if count[q] else np.nan


@_compiled
def _turnover(order: Any, n: int, ranks: Any, bucket: Any, fresh: Any, counted: bool, out: Any) -> None:
    """Sort columns into buckets and tell which share of each bucket was not in it a row ago."""
    Q = len(out)
    fresh[:] = 0
    q, start = 0, 0
    for i in range(n):
        e = order[i]
        e = e if e >= 0 else -1 - e
        while (ranks[e] + 1) * Q >= (q + 1) * 2 * n and q < Q - 1:
            out[q] = fresh[q] / (i - start) if counted and i > start else np.nan
            q, start = q + 1, i
        fresh[q] += bucket[e] != q
        # Marked by twice its bucket until the row is done, so that what was in no bucket can be told apart.
        bucket[e] = -2 - q
    out[q] = fresh[q] / (n - start) if counted and n > start else np.nan
    out[q + 1 :] = np.nan
    for j in range(len(bucket)):
        bucket[j] = -2 - bucket[j] if bucket[j] < -1 else -1


@_compiled
def judge(
    values: Any, bits: Any, member: Any, columns: Any,
    t_order: Any, t_ranks: Any, t_has: Any, t_centred: Any, t_facts: Any,
    lags: Any, need: int, sample: Any,
    ic: Any, rank_ic: Any, buckets: Any, turnover: Any, memory: Any, known: Any, sampled: Any,
) -> None:  # fmt: skip
    """Hold the factors `columns` of `values` (B, T, N) against returns over H horizons.

    Out: ic, rank_ic (H, B, T), buckets (H, B, T, Q), turnover (B, T, Q), memory (L, B, T) rank autocorrelation,
    known (B, T) columns with a value, sampled (S, N, B) standardised ranks of the rows with sample[t] >= 0.
    """
    _, T, N = values.shape
    H, Q, depth = len(t_order), turnover.shape[2], lags.max() + 1 if len(lags) else 1
    K = len(columns)
    keys, spare = np.empty(N, np.uint64), np.empty(N, np.uint64)
    counts = np.empty((4, 256), np.int64)
    order, ranks = np.empty((K, depth, N), np.int32), np.zeros((K, depth, N), np.int32)
    has, facts = np.zeros((K, depth, N), np.uint8), np.zeros((K, depth, 2), np.int64)
    bucket, whole = np.full((K, N), -1, np.int8), np.zeros(K, np.bool_)
    x, room, picked = np.empty(N), np.empty(N, np.int32), np.empty(N + 1, np.int32)
    fresh, sums, count = np.zeros(Q, np.int64), np.empty(Q), np.empty(Q, np.int64)
    sizes, squares = np.empty(3, np.int64), np.empty(2)
    for t in range(T):
        slot = t % depth
        for k in range(K):
            b = columns[k]
            own, mine, holds = order[k, slot], ranks[k, slot], has[k, slot]
            n = 0
            total = 0.0
            for j in range(N):
                v = values[b, t, j]
                good = member[t, j] and np.isfinite(v)
                holds[j] = good
                mine[j] = 0
                x[j] = v if good else 0.0
                if good:
                    u = np.uint64(bits[b, t, j])
                    if v == 0.0:
                        u = np.uint64(0x80000000)
                    elif u >> np.uint64(31):
                        u = u ^ np.uint64(0xFFFFFFFF)
                    else:
                        u = u | np.uint64(0x80000000)
                    keys[n] = (u << np.uint64(32)) | np.uint64(j)
                    total += v
                    n += 1
            known[b, t] = n
            _sort(keys, spare, n, counts)
            ties = _ranked(keys, n, own, mine)
            facts[k, slot, 0], facts[k, slot, 1] = n, ties
            squares[0] = 0.0
            mean = total / n if n else 0.0
            for j in range(N):
                x[j] = x[j] - mean if holds[j] else 0.0
            squares[0] = _inner(x, x)
            for h in range(H):
                pairs = _shared(holds, t_has[h, t])
                m = np.int64(t_facts[h, t, 0])
                if pairs < need:
                    continue
                rank_ic[h, b, t] = _rank_correlation(
                    own, n, ties, mine, holds,
                    t_order[h, t], m, np.int64(t_facts[h, t, 1]), t_ranks[h, t], t_has[h, t],
                    pairs, room, picked,
                )  # fmt: skip
                # Ranks tell exactly whether a side varies; values only up to rounding.
                if np.isfinite(rank_ic[h, b, t]):
                    sizes[0], sizes[1], sizes[2], squares[1] = n, m, pairs, t_facts[h, t, 3]
                    ic[h, b, t] = _correlation(values[b, t], x, t_centred[h, t], holds, t_has[h, t], sizes, squares)
                _bucket_sums(own, n, room, t_has[h, t], t_centred[h, t], t_facts[h, t, 2], pairs, sums, count)
                buckets[h, b, t, :] = sums
            for a in range(len(lags)):
                past = (t - lags[a]) % depth
                if t < lags[a]:
                    continue
                pairs = _shared(holds, has[k, past])
                if pairs >= need:
                    memory[a, b, t] = _rank_correlation(
                        own, n, ties, mine, holds,
                        order[k, past], facts[k, past, 0], facts[k, past, 1], ranks[k, past], has[k, past],
                        pairs, room, picked,
                    )  # fmt: skip
            if n >= need:
                _turnover(own, n, mine, bucket[k], fresh, whole[k], turnover[b, t])
                whole[k] = True
            else:
                bucket[k, :] = -1
                whole[k] = False
            if sample[t] >= 0:
                spread = np.sqrt((np.float64(n) ** 3 - n - ties) / 3.0 / max(n, 1))
                for j in range(N):
                    good = holds[j] and spread > 0.0
                    sampled[sample[t], j, b] = (mine[j] - (n - 1.0)) / spread if good else np.nan


@_compiled
def mean_errors(series: Any, lag: int) -> Any:
    """(K, T) -> (4, K): mean, Newey-West error with `lag`, their ratio and the count of finite values."""
    K, T = series.shape
    out = np.full((4, K), np.nan)
    d = np.empty(T)
    for k in range(K):
        n = 0
        for t in range(T):
            if np.isfinite(series[k, t]):
                d[n] = series[k, t]
                n += 1
        out[3, k] = n
        if n == 0:
            continue
        mean = d[:n].mean()
        out[0, k] = mean
        d[:n] -= mean
        variance = _inner(d[:n], d[:n])
        if n < 2 or variance <= n * (1e-13 * mean) ** 2:
            continue
        for j in range(1, min(lag, n - 1) + 1):
            variance += 2.0 * (1.0 - j / (lag + 1.0)) * _inner(d[j:n], d[: n - j])
        error = np.sqrt(max(variance, 0.0) / n / (n - 1))
        out[1, k] = error
        if error > 0.0:
            out[2, k] = mean / error
    return out
