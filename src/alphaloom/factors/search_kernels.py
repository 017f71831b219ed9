"""Compiled scores of one formula against a standardised target, date by date.

Sums run over eight lanes that are added in a fixed order: fast without letting the compiler reorder anything, so the
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


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _total(x: Grid) -> float:
    """Sum of an array whose length is a multiple of eight."""
    a = b = c = d = e = f = g = h = 0.0
    for k in range(len(x) // 8):
        i = 8 * k
        a += x[i]
        b += x[i + 1]
        c += x[i + 2]
        d += x[i + 3]
        e += x[i + 4]
        f += x[i + 5]
        g += x[i + 6]
        h += x[i + 7]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


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
def _chosen(x: Grid, mask: Grid, v: Grid) -> None:
    """The cells that have a target as float64, 0 elsewhere."""
    n = len(x)
    v, mask = v[:n], mask[:n]
    for j in range(n):
        v[j] = np.float64(x[j]) if mask[j] != 0.0 else 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")
def _known(v: Grid, mask: Grid, m: Grid) -> None:
    """The mask of the chosen cells that are known; the others become 0."""
    for j in range(len(v)):
        known = v[j] == v[j]
        m[j] = mask[j] if known else 0.0
        v[j] = v[j] if known else 0.0


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
def scored(x: Grid, y: Grid, mask: Grid, counts: Grid, least: int, out: NDArray[np.float64]) -> None:
    """The score of each date against a target of mean 0 and length 1.

    Shape: x (T, N); y, the target, 0 where it has none, and mask, 1 where it has one, both (T, W) with W the next
    multiple of eight; counts (T,); out (T, 4): pairs, correlation, inner product with the standardised x, 1 if x is
    constant.   Missing: with fewer than `least` pairs or a constant x both are NaN.
    """
    T, W = y.shape
    v, m, ones = np.zeros(W), np.zeros(W), np.ones(W)
    for t in range(T):
        n, w, chosen = float(counts[t]), y[t], mask[t]
        out[t, 0], out[t, 1], out[t, 2], out[t, 3] = 0.0, np.nan, np.nan, 0.0
        if n < least:
            continue
        _chosen(x[t], chosen, v)
        total = _total(v)
        whole = total == total
        if not whole:
            _known(v, chosen, m)
            chosen = m
            n, total = _total(m), _total(v)
        out[t, 0] = n
        if n < least:
            continue
        mean = total / n
        square, cross = _centred(v, w, chosen, mean)
        if not square > FLAT * n * mean * mean:
            out[t, 3] = 1.0
            continue
        out[t, 2] = cross / np.sqrt(square)
        left = 1.0
        if not whole:
            later = _product(w, m) / n
            left = _centred(w, ones, m, later)[0]
        out[t, 1] = min(1.0, max(-1.0, cross / np.sqrt(square * left))) if left > 0.0 else np.nan


@numba.njit(cache=True, nogil=True, error_model="numpy")
def standardised(x: Grid, mask: Grid, counts: Grid, least: int, out: Grid) -> None:
    """Each date's values with mean 0 and length 1 over the known cells that have a target, and 0 everywhere else.

    Shape: x, out (T, N), mask (T, W), counts (T,).   Missing: a date with fewer than `least` such cells or a constant
    x is all zeros.
    """
    T, N = x.shape
    W = mask.shape[1]
    v, m = np.zeros(W), np.zeros(W)
    for t in range(T):
        row = out[t]
        row[:] = 0.0
        if counts[t] < least:
            continue
        _chosen(x[t], mask[t], v)
        _known(v, mask[t], m)
        n = _total(m)
        if n < least:
            continue
        mean = _total(v) / n
        square = _centred(v, v, m, mean)[0]
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
def rank_scored(x: Grid, y: Grid, mask: Grid, least: int) -> NDArray[np.float64]:
    """The rank correlation of each date over the known cells that have a target.   Shape: as in `scored` -> (T,)."""
    T, N = x.shape
    out = np.full(T, np.nan)
    v, w, a, b = np.empty(N), np.empty(N), np.empty(N), np.empty(N)
    for t in range(T):
        n = 0
        for j in range(N):
            if mask[t, j] != 0.0 and x[t, j] == x[t, j]:
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
