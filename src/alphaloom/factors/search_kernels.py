"""Compiled scores of one formula against a standardised target, date by date.

Sums run over lanes that are added in a fixed order: fast without letting the compiler reorder anything, so the
same inputs give the same bits on every machine and thread.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["inner_products", "rank_scored", "scored", "standardised"]

Grid = NDArray[Any]
# A variance below this share of the mean square is what rounding leaves of a constant (float32 values: 1.4e-14).
FLAT = 1e-12
# Above this share of the squares, their sum less the mean's share keeps nine digits.
LITTLE = 1e-6


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _product(x: Grid, y: Grid) -> float:
    """Inner product of two arrays whose length is a multiple of eight."""
    a = b = c = d = e = f = g = h = 0.0
    for k in range(len(x) // 8):
        i = 8 * k
        a += x[i] * y[i]
        b += x[i + 1] * y[i + 1]
        c += x[i + 2] * y[i + 2]
        d += x[i + 3] * y[i + 3]
        e += x[i + 4] * y[i + 4]
        f += x[i + 5] * y[i + 5]
        g += x[i + 6] * y[i + 6]
        h += x[i + 7] * y[i + 7]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _pairs(x: Grid, y: Grid, v: Grid, w: Grid, m: Grid) -> None:
    """Both sides as float64 with 0 where either is not known, and a 1 where both are."""
    n = len(x)
    y, v, w, m = y[:n], v[:n], w[:n], m[:n]
    for j in range(n):
        a, b = np.float64(x[j]), y[j]
        known = (a == a) & (b == b)
        v[j] = a if known else 0.0
        w[j] = b if known else 0.0
        m[j] = 1.0 if known else 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _moments(v: Grid, w: Grid, m: Grid) -> tuple[float, float, float, float, float, float]:
    """How many pairs, the sums of both sides, of their squares, and of their products."""
    n0 = n1 = n2 = n3 = a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = 0.0
    p0 = p1 = p2 = p3 = q0 = q1 = q2 = q3 = r0 = r1 = r2 = r3 = 0.0
    for k in range(len(v) // 4):
        i = 4 * k
        n0 += m[i]
        n1 += m[i + 1]
        n2 += m[i + 2]
        n3 += m[i + 3]
        a0 += v[i]
        a1 += v[i + 1]
        a2 += v[i + 2]
        a3 += v[i + 3]
        b0 += w[i]
        b1 += w[i + 1]
        b2 += w[i + 2]
        b3 += w[i + 3]
        p0 += v[i] * v[i]
        p1 += v[i + 1] * v[i + 1]
        p2 += v[i + 2] * v[i + 2]
        p3 += v[i + 3] * v[i + 3]
        q0 += w[i] * w[i]
        q1 += w[i + 1] * w[i + 1]
        q2 += w[i + 2] * w[i + 2]
        q3 += w[i + 3] * w[i + 3]
        r0 += v[i] * w[i]
        r1 += v[i + 1] * w[i + 1]
        r2 += v[i + 2] * w[i + 2]
        r3 += v[i + 3] * w[i + 3]
    n, a, b = (n0 + n1) + (n2 + n3), (a0 + a1) + (a2 + a3), (b0 + b1) + (b2 + b3)
    return n, a, b, (p0 + p1) + (p2 + p3), (q0 + q1) + (q2 + q3), (r0 + r1) + (r2 + r3)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _centred(v: Grid, w: Grid, m: Grid, mean: float) -> tuple[float, float]:
    """The squared length of v - mean on the mask, and its inner product with w."""
    a = b = c = d = e = f = g = h = 0.0
    for k in range(len(v) // 4):
        i = 4 * k
        p = (v[i] - mean) * m[i]
        q = (v[i + 1] - mean) * m[i + 1]
        r = (v[i + 2] - mean) * m[i + 2]
        s = (v[i + 3] - mean) * m[i + 3]
        a += p * p
        b += q * q
        c += r * r
        d += s * s
        e += p * w[i]
        f += q * w[i + 1]
        g += r * w[i + 2]
        h += s * w[i + 3]
    return (a + b) + (c + d), (e + f) + (g + h)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def scored(x: Grid, y: Grid, least: int, out: NDArray[np.float64]) -> None:
    """The score of each date against a target of mean 0 and length 1.

    Shape: x, y (T, N); out (T, 4): pairs, correlation, inner product with the standardised x, 1 if x is constant.
    Missing: a cell where x or y is NaN is no pair; with fewer than `least` pairs or a constant x both are NaN.
    """
    T, N = x.shape
    width = (N + 7) // 8 * 8
    v, w, m = np.zeros(width), np.zeros(width), np.zeros(width)
    for t in range(T):
        _pairs(x[t], y[t], v, w, m)
        n, total, later, squares, length, products = _moments(v, w, m)
        out[t, 0], out[t, 1], out[t, 2], out[t, 3] = n, np.nan, np.nan, 0.0
        if n < least:
            continue
        mean = total / n
        square, cross = squares - total * mean, products - mean * later
        # Where little is left of the squares, the difference is rounding: the values are centred first.
        if not square > LITTLE * squares:
            square, cross = _centred(v, w, m, mean)
        if not square > FLAT * n * mean * mean:
            out[t, 3] = 1.0
            continue
        out[t, 2] = cross / np.sqrt(square)
        left = length - later * later / n
        # What little of the target is left beside the known cells may be constant.
        if left > FLAT:
            out[t, 1] = min(1.0, max(-1.0, cross / np.sqrt(square * left)))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def standardised(x: Grid, y: Grid, least: int, out: Grid) -> None:
    """Each date's values with mean 0 and length 1 over the cells where x and y are known, and 0 everywhere else.

    Shape: x, y, out (T, N).   Missing: a date with fewer than `least` pairs or a constant x is all zeros.
    """
    T, N = x.shape
    width = (N + 7) // 8 * 8
    v, w, m = np.zeros(width), np.zeros(width), np.zeros(width)
    for t in range(T):
        _pairs(x[t], y[t], v, w, m)
        n, total, _, _, _, _ = _moments(v, w, m)
        row = out[t]
        row[:] = 0.0
        if n < least:
            continue
        mean = total / n
        square = _centred(v, w, m, mean)[0]
        if square > FLAT * n * mean * mean:
            length = np.sqrt(square)
            for j in range(N):
                row[j] = (v[j] - mean) * m[j] / length


@numba.njit(cache=True, nogil=True, error_model="numpy")
def inner_products(a: Grid, b: Grid) -> NDArray[np.float64]:
    """The inner product of each date's rows.   Shape: (T, N), (T, N) -> (T,)."""
    T, N = a.shape
    whole = N // 8 * 8
    out = np.empty(T)
    for t in range(T):
        left, right = a[t], b[t]
        rest = 0.0
        for j in range(whole, N):
            rest += np.float64(left[j]) * np.float64(right[j])
        out[t] = _product(left[:whole], right[:whole]) + rest
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _ranks(values: Grid, out: Grid) -> None:
    """Average-tie ranks, centred on 0, of a short row."""
    n = len(values)
    order = np.argsort(values)
    start = 0
    while start < n:
        stop = start + 1
        while stop < n and values[order[stop]] == values[order[start]]:
            stop += 1
        for k in range(start, stop):
            out[order[k]] = 0.5 * (start + stop - 1) - 0.5 * (n - 1)
        start = stop


@numba.njit(cache=True, nogil=True, error_model="numpy")
def rank_scored(x: Grid, y: Grid, least: int) -> NDArray[np.float64]:
    """The rank correlation of each date over the cells where both sides are known.   Shape: (T, N), (T, N) -> (T,)."""
    T, N = x.shape
    out = np.full(T, np.nan)
    v, w, a, b = np.empty(N), np.empty(N), np.empty(N), np.empty(N)
    for t in range(T):
        n = 0
        for j in range(N):
            if x[t, j] == x[t, j] and y[t, j] == y[t, j]:
                v[n], w[n] = x[t, j], y[t, j]
                n += 1
        if n < least:
            continue
        _ranks(v[:n], a[:n])
        _ranks(w[:n], b[:n])
        cross, left, right = 0.0, 0.0, 0.0
        for k in range(n):
            cross += a[k] * b[k]
            left += a[k] * a[k]
            right += b[k] * b[k]
        if left > 0.0 and right > 0.0:
            out[t] = cross / np.sqrt(left * right)
    return out
