"""Compiled loops of the metrics; imported on first use, because the compiler itself takes half a second to load.

All loops run over blocks of neighbouring columns so that one cache line serves eight series and the compiler can
use vector instructions without changing the order of any sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

__all__ = ["bucket_means", "correlations", "moments", "path", "tails"]

_F = TypeVar("_F", bound=Callable[..., Any])
_BLOCK = 64


def _compiled(function: _F) -> _F:
    return cast(_F, njit(cache=True, nogil=True, error_model="numpy")(function))


@_compiled
def moments(r: Any, rf: Any) -> Any:
    """(T, K) -> (7, K): count, mean, mean of r - rf, sums of deviations ^2, ^3, ^4, of min(r - rf, 0) ^2."""
    T, K = r.shape
    out = np.zeros((7, K))
    for a in range(0, K, _BLOCK):
        width = min(K - a, _BLOCK)
        n, s, e = np.zeros(width), np.zeros(width), np.zeros(width)
        for t in range(T):
            free = rf[t]
            for k in range(width):
                x = r[t, a + k]
                known = x == x
                n[k] += 1.0 if known else 0.0
                s[k] += x if known else 0.0
                e[k] += x - free if known else 0.0
        mean = s / n
        m2, m3, m4, down = np.zeros(width), np.zeros(width), np.zeros(width), np.zeros(width)
        for t in range(T):
            free = rf[t]
            for k in range(width):
                x = r[t, a + k]
                known = x == x
                d = x - mean[k] if known else 0.0
                m2[k] += d * d
                m3[k] += d * d * d
                m4[k] += d * d * d * d
                y = x - free if known else 0.0
                y = min(y, 0.0)
                down[k] += y * y
        b = a + width
        out[0, a:b], out[1, a:b], out[2, a:b] = n, mean, e / n
        out[3, a:b], out[4, a:b], out[5, a:b], out[6, a:b] = m2, m3, m4, down
    return out


@_compiled
def path(r: Any) -> Any:
    """(T, K) -> (3, K): final value of one unit of money, deepest drawdown, count of returns above zero."""
    T, K = r.shape
    out = np.zeros((3, K))
    for a in range(0, K, _BLOCK):
        width = min(K - a, _BLOCK)
        value, peak, deep, hits = np.ones(width), np.ones(width), np.zeros(width), np.zeros(width)
        for t in range(T):
            for k in range(width):
                x = r[t, a + k]
                x = x if x == x else 0.0
                value[k] *= max(1.0 + x, 0.0)
                peak[k] = max(peak[k], value[k])
                deep[k] = max(deep[k], 1.0 - value[k] / peak[k])
                hits[k] += 1.0 if x > 0.0 else 0.0
        out[0, a : a + width], out[1, a : a + width], out[2, a : a + width] = value, deep, hits
    return out


@_compiled
def _smallest(x: Any, n: int, need: int, fence: float, room: Any) -> int:
    # Sorting one tail costs a tenth of sorting all; the fence is a guess, and a wrong guess only costs time.
    found = 0
    for i in range(n):
        if x[i] <= fence:
            room[found] = x[i]
            found += 1
    if found < need:
        room[:n] = x[:n]
        found = n
    room[:found] = np.sort(room[:found])
    return found


@_compiled
def _quantile(ordered: Any, n: int, q: float) -> Any:
    h = (n - 1) * q
    i = int(np.floor(h))
    low = ordered[i]
    high = ordered[min(i + 1, n - 1)]
    return low + (high - low) * (h - i)


@_compiled
def tails(r: Any, q: float) -> Any:
    """(T, K) -> (3, K): the q-quantile, the mean of what is at or below it, the (1 - q)-quantile; q < 0.5."""
    T, K = r.shape
    out = np.full((3, K), np.nan)
    wide = 32
    x, room, count = np.empty((wide, T)), np.empty(T), np.zeros(wide, np.int64)
    for a in range(0, K, wide):
        width = min(K - a, wide)
        count[:] = 0
        for t in range(T):
            for k in range(width):
                v = r[t, a + k]
                if v == v:
                    x[k, count[k]] = v
                    count[k] += 1
        for k in range(width):
            n = count[k]
            if n == 0:
                continue
            mean = x[k, :n].mean()
            spread = x[k, :n].std()
            need = min(n, int(np.floor((n - 1) * q)) + 2)
            found = _smallest(x[k], n, need, mean - 1.2 * spread, room)
            low = _quantile(room, n, q)
            total, below = 0.0, 0
            while below < found and room[below] <= low:
                total += room[below]
                below += 1
            out[0, a + k] = low
            out[1, a + k] = total / below
            x[k, :n] = -x[k, :n]
            _smallest(x[k], n, need, -mean - 1.2 * spread, room)
            out[2, a + k] = -_quantile(room, n, q)
    return out


@_compiled
def _average_ranks(x: Any, n: int, ranks: Any) -> None:
    order = np.argsort(x[:n], kind="mergesort")
    i = 0
    while i < n:
        j = i
        while j + 1 < n and x[order[j + 1]] == x[order[i]]:
            j += 1
        for k in range(i, j + 1):
            ranks[order[k]] = 0.5 * (i + j) + 1.0
        i = j + 1


@_compiled
def _pearson(x: Any, y: Any, n: int) -> Any:
    mx, my = x[:n].mean(), y[:n].mean()
    xx, yy, xy = 0.0, 0.0, 0.0
    for i in range(n):
        dx, dy = x[i] - mx, y[i] - my
        xx += dx * dx
        yy += dy * dy
        xy += dx * dy
    # A constant side has no direction; its deviations are only the rounding of its mean.
    if xx <= n * (1e-13 * mx) ** 2 or yy <= n * (1e-13 * my) ** 2:
        return np.nan
    return min(1.0, max(-1.0, xy / np.sqrt(xx * yy)))


@_compiled
def correlations(a: Any, b: Any, ranked: bool, min_pairs: int) -> Any:
    """(T, N), (T, N) -> (T,): per row Pearson, on average ranks if `ranked`; NaN below `min_pairs` finite pairs."""
    T, N = a.shape
    out = np.full(T, np.nan)
    x, y, rx, ry = np.empty(N), np.empty(N), np.empty(N), np.empty(N)
    for t in range(T):
        n = 0
        for j in range(N):
            if np.isfinite(a[t, j]) and np.isfinite(b[t, j]):
                x[n], y[n] = a[t, j], b[t, j]
                n += 1
        if n < max(min_pairs, 2):
            continue
        if ranked:
            _average_ranks(x, n, rx)
            _average_ranks(y, n, ry)
            out[t] = _pearson(rx, ry, n)
        else:
            out[t] = _pearson(x, y, n)
    return out


@_compiled
def bucket_means(score: Any, target: Any, Q: int, min_pairs: int) -> Any:
    """(T, N), (T, N) -> (T, Q): mean target by score bucket, the best last; tied scores share one bucket."""
    T, N = score.shape
    out = np.full((T, Q), np.nan)
    x, y, rank = np.empty(N), np.empty(N), np.empty(N)
    for t in range(T):
        n = 0
        for j in range(N):
            if np.isfinite(score[t, j]) and np.isfinite(target[t, j]):
                x[n], y[n] = score[t, j], target[t, j]
                n += 1
        if n < max(min_pairs, 1):
            continue
        _average_ranks(x, n, rank)
        total, count = np.zeros(Q), np.zeros(Q)
        for i in range(n):
            q = min(Q - 1, int((rank[i] - 0.5) * Q / n))
            total[q] += y[i]
            count[q] += 1.0
        out[t] = total / count
    return out
