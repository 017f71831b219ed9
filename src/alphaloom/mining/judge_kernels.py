"""Compiled: one candidate's values date by date, standardised, with its inner products with the target and the pool."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["composite", "descend", "gram", "standardise"]

Grid = NDArray[Any]
# A deviation below this share of the mean square is what rounding leaves of a constant (float32 values: 1.4e-14).
_FLAT = 1e-12


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _at_most(x: Grid, bound: float) -> int:
    """How many values do not exceed a bound."""
    count = 0
    for i in range(len(x)):
        count += 1 if x[i] <= bound else 0
    return count


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _smallest(x: Grid, k: int, low: float, high: float) -> Any:
    """The value that k others do not exceed, given bounds below and not below it.

    Counting over the whole row is a vector loop; halving the bounds takes fewer of them than a selection has branches.
    """
    while True:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        count = _at_most(x, middle)
        if count > k:
            high = middle
            if count == k + 1:
                break
        else:
            low = middle
    best = -np.inf
    for i in range(len(x)):
        best = max(best, x[i]) if x[i] <= high else best
    return best


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _median(x: Grid, low: float, high: float) -> Any:
    n = len(x)
    upper = _smallest(x, n // 2, low, high)
    if n % 2:
        return upper
    below, ties = -np.inf, 0
    for i in range(n):
        below = max(below, x[i]) if x[i] < upper else below
        ties += 1 if x[i] < upper else 0
    return 0.5 * (upper + (below if ties == n // 2 else upper))


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _bounds(x: Grid, spare: Grid, clip: float) -> Any:
    """The median less and plus `clip` robust deviations; no bounds where half of the values are equal."""
    total = square = 0.0
    low, high = np.inf, -np.inf
    for i in range(len(x)):
        total += x[i]
        low, high = min(low, x[i]), max(high, x[i])
    mean = total / len(x)
    for i in range(len(x)):
        square += (x[i] - mean) * (x[i] - mean)
    # The median lies within one deviation of the mean; a little more pays for rounding.
    away = np.sqrt(square / len(x)) * 1.000001
    middle = _median(x, max(mean - away, low) - 1e-9 * away, min(mean + away, high))
    total = high = 0.0
    for i in range(len(x)):
        spare[i] = abs(x[i] - middle)
        total += spare[i]
        high = max(high, spare[i])
    # Half of the distances cannot exceed twice their mean.
    reach = 1.4826 * clip * _median(spare, -1e-300, min(2.000001 * total / len(x), high))
    return (middle - reach, middle + reach) if reach > 0.0 else (-np.inf, np.inf)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def standardise(values: Grid, target: Grid, least: int, clip: float, z: Grid, b: Grid, facts: Grid) -> None:
    """Each date's values with mean 0 and length 1 over the cells that have a target; 0 where they are not known.

    Values are held within `clip` robust deviations (1.4826 times the median distance from the median) first; 0 does
    not hold them. `b` gets the inner products with the target, `facts` the known cells and whether all were equal.
    Shape: values (S, N), target (S, N) standardised with NaN outside; z (S, N); b (S,); facts (S, 2).
    """
    S, N = values.shape
    room = np.empty(N, np.float64)
    spare = np.empty(N, np.float64)
    for t in range(S):
        n = 0
        for j in range(N):
            x, y = np.float64(values[t, j]), target[t, j]
            z[t, j] = 0.0
            if np.isfinite(x) and y == y:
                room[n] = x
                n += 1
        facts[t, 0], facts[t, 1], b[t] = n, 0.0, 0.0
        if n < least:
            continue
        low, high = -np.inf, np.inf
        if clip > 0.0:
            low, high = _bounds(room[:n], spare[:n], clip)
        total = square = 0.0
        for i in range(n):
            x = min(max(room[i], low), high)
            room[i] = x
            total += x
            square += x * x
        mean = total / n
        length = 0.0
        for i in range(n):
            length += (room[i] - mean) * (room[i] - mean)
        if not length > _FLAT * square:
            facts[t, 1] = 1.0
            continue
        scale, product = 1.0 / np.sqrt(length), 0.0
        i = 0
        for j in range(N):
            if np.isfinite(values[t, j]) and target[t, j] == target[t, j]:
                x = (room[i] - mean) * scale
                z[t, j] = x
                product += x * target[t, j]
                i += 1
        b[t] = product


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _dot(x: Grid, y: Grid) -> float:
    """Inner product in eight lanes that are added in a fixed order."""
    n = len(x)
    a = b = c = d = e = f = g = h = np.float32(0.0)
    for k in range(n // 8):
        i = 8 * k
        a += x[i] * y[i]
        b += x[i + 1] * y[i + 1]
        c += x[i + 2] * y[i + 2]
        d += x[i + 3] * y[i + 3]
        e += x[i + 4] * y[i + 4]
        f += x[i + 5] * y[i + 5]
        g += x[i + 6] * y[i + 6]
        h += x[i + 7] * y[i + 7]
    rest = np.float32(0.0)
    for i in range(n - n % 8, n):
        rest += x[i] * y[i]
    return np.float64((a + b) + (c + d)) + np.float64((e + f) + (g + h)) + np.float64(rest)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gram(pool: Grid, count: int, z: Grid, first: int, last: int, out: Grid) -> None:
    """Inner products of one candidate with each member on the dates first..last-1.

    Shape: pool (K, S, N) of which `count` are used, z (S, N), out (K, S).
    """
    for k in range(count):
        for t in range(first, last):
            out[k, t] = _dot(pool[k, t], z[t])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def composite(grams: Grid, b: Grid, weights: Grid, out: Grid) -> None:
    """Each date's coefficient of the weighted sum with the target: w.b / sqrt(w' G w); NaN where the sum is zero.

    Shape: grams (S, K, K), b (S, K), weights (K,), out (S,).
    """
    S, K = b.shape
    for t in range(S):
        above = square = 0.0
        for i in range(K):
            above += weights[i] * b[t, i]
            row = 0.0
            for j in range(K):
                row += grams[t, i, j] * weights[j]
            square += weights[i] * row
        out[t] = above / np.sqrt(square) if square > 1e-12 else np.nan


@numba.njit(cache=True, nogil=True, error_model="numpy")
def descend(gram: Grid, b: Grid, l1: float, w: Grid) -> None:
    """Cyclic coordinate descent on w'Mw - 2 w.b + l1 |w|_1 from `w`, in place, until no weight moves by 1e-9."""
    K = len(b)
    left = b - gram @ w
    for _ in range(10_000):
        most = 0.0
        for k in range(K):
            size = gram[k, k]
            if size <= 0.0:
                w[k] = 0.0
                continue
            pull = left[k] + size * w[k]
            fresh = np.sign(pull) * max(abs(pull) - 0.5 * l1, 0.0) / size
            change = fresh - w[k]
            if change != 0.0:
                for i in range(K):
                    left[i] -= gram[i, k] * change
                w[k] = fresh
                most = max(most, abs(change))
        if most < 1e-9:
            break
