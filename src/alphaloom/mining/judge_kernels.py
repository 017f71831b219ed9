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


def standardise(values: Grid, target: Grid, least: int, clip: float, z: Grid, b: Grid, facts: Grid) -> None:
    """Each date's values with mean 0 and length 1 over the cells that have a target; 0 where they are not known.

    Values are held within `clip` robust deviations (1.4826 times the median distance from the median) first; 0 does
    not hold them. `b` gets the inner products with the target, `facts` the known cells and whether all were equal.
    Shape: values (S, N), target (S, N) standardised with NaN outside; z (S, N); b (S,); facts (S, 2).
    """
    limits = np.empty((len(values), 2))
    limits[:] = -np.inf, np.inf
    if clip > 0.0:
        # The library sorts with vector instructions: whole rows in order cost less than two selections in each.
        ordered = np.empty(values.shape, values.dtype)
        _compared(values, target, ordered)
        ordered.sort(axis=1)
        _held(ordered, least, clip, limits)
    _standardised(values, target, least, limits, z, b, facts)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _compared(values: Grid, target: Grid, out: Grid) -> None:
    """The values that count; the others are NaN, which a sort puts last."""
    S, N = values.shape
    for t in range(S):
        x, y, to = values[t], target[t], out[t]
        # A number less itself is 0 where it is known and finite, and NaN where it is not.
        for j in range(N):
            to[j] = x[j] + ((x[j] - x[j]) + np.float32(y[j] - y[j]))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _distance(x: Grid, middle: float, k: int) -> Any:
    """The k-th smallest distance, from 0, of ordered values from a point: the k + 1 nearest lie side by side."""
    low, high = 0, len(x) - 1 - k
    while low < high:
        i = (low + high) // 2
        if x[i + k] - middle >= middle - x[i]:
            high = i
        else:
            low = i + 1
    best = max(middle - x[low], x[low + k] - middle)
    return min(best, max(middle - x[low - 1], x[low - 1 + k] - middle)) if low else best


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _held(ordered: Grid, least: int, clip: float, limits: Grid) -> None:
    """The median less and plus `clip` robust deviations; no limits where half of the values are equal.

    Shape: ordered (S, N), NaN last; limits (S, 2).
    """
    S, N = ordered.shape
    x = np.empty(N, np.float64)
    for t in range(S):
        n = N
        while n and ordered[t, n - 1] != ordered[t, n - 1]:
            n -= 1
        if n < least:
            continue
        x[:n] = ordered[t, :n]
        half = n // 2
        middle = x[half] if n % 2 else 0.5 * (x[half] + x[half - 1])
        away = _distance(x[:n], middle, half)
        if n % 2 == 0:
            away = 0.5 * (away + _distance(x[:n], middle, half - 1))
        reach = 1.4826 * clip * away
        if reach > 0.0:
            limits[t, 0], limits[t, 1] = middle - reach, middle + reach


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _taken(x: Grid, y: Grid, low: float, high: float, kept: Grid, known: Grid) -> int:
    """The values that count within their limits, 0 for the others, and 1 where they count."""
    n = 0
    for j in range(len(x)):
        v: Any = np.float64(x[j])
        counts = (v - v == 0.0) & (y[j] == y[j])
        v = low if v < low else v
        v = high if v > high else v
        kept[j] = v if counts else 0.0
        known[j] = 1.0 if counts else 0.0
        n += 1 if counts else 0
    return n


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _centred(x: Grid, known: Grid, mean: float) -> None:
    for j in range(len(x)):
        x[j] = (x[j] - mean) * known[j]


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _scaled(x: Grid, scale: float, y: Grid, to: Grid, known: Grid) -> None:
    for j in range(len(x)):
        x[j] *= scale
        to[j] = np.float32(x[j])
        known[j] = y[j] if y[j] == y[j] else 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _standardised(values: Grid, target: Grid, least: int, limits: Grid, z: Grid, b: Grid, facts: Grid) -> None:
    S, N = values.shape
    kept, known = np.empty(N, np.float64), np.empty(N, np.float64)
    for t in range(S):
        n = _taken(values[t], target[t], limits[t, 0], limits[t, 1], kept, known)
        facts[t, 0], facts[t, 1], b[t] = n, 0.0, 0.0
        if n < least:
            z[t] = 0.0
            continue
        mean, square = _product(kept, known) / n, _product(kept, kept)
        _centred(kept, known, mean)
        length = _product(kept, kept)
        if not length > _FLAT * square:
            facts[t, 1] = 1.0
            z[t] = 0.0
            continue
        _scaled(kept, 1.0 / np.sqrt(length), target[t], z[t], known)
        b[t] = _product(kept, known)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _product(x: Grid, y: Grid) -> float:
    """Inner product in eight lanes that are added in a fixed order."""
    n = len(x)
    a = b = c = d = e = f = g = h = 0.0
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
    rest = 0.0
    for i in range(n - n % 8, n):
        rest += x[i] * y[i]
    return ((a + b) + (c + d)) + ((e + f) + (g + h)) + rest


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _dot(x: Grid, y: Grid) -> float:
    """The same of float32."""
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
