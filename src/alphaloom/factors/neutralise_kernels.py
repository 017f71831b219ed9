"""Compiled regressions of many dates and factors at once.

Industry dummies are never built: a regression on dummies and styles has the same residual as the regression of
what remains of the factor, once its weighted group means are taken out, on what remains of the styles (Frisch and
Waugh). So a date costs one small matrix of the styles, and factors that know the same assets share it.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["demean", "factorise", "regressions", "residuals", "solve"]

Cube = NDArray[Any]
Grid = NDArray[np.float64]
Row = NDArray[np.float64]
_WIDE = 64
_RIDGE = 1e-8


@numba.njit(cache=True, nogil=True, error_model="numpy")
def demean(x: Row, n: int, group: Any, weight: Row, total: Row, mean: Row) -> None:
    """Take each group's weighted mean out of x[:n]; `total` holds the groups' weights, `mean` receives their means."""
    mean[:] = 0.0
    for i in range(n):
        mean[group[i]] += weight[i] * x[i]
    for g in range(len(mean)):
        mean[g] = mean[g] / total[g] if total[g] > 0.0 else 0.0
    for i in range(n):
        x[i] -= mean[group[i]]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def factorise(matrix: Grid, size: int, lower: Grid) -> bool:
    """Cholesky factor of a matrix with unit diagonal; False where a pivot is too small to trust."""
    for a in range(size):
        for b in range(a + 1):
            value = matrix[a, b]
            for c in range(b):
                value -= lower[a, c] * lower[b, c]
            if a == b:
                if value < 1e-10:
                    return False
                lower[a, a] = np.sqrt(value)
            else:
                lower[a, b] = value / lower[b, b]
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def solve(lower: Grid, size: int, z: Row) -> None:
    """Solve (L L') b = z in place."""
    for a in range(size):
        for c in range(a):
            z[a] -= lower[a, c] * z[c]
        z[a] /= lower[a, a]
    for a in range(size - 1, -1, -1):
        for c in range(a + 1, size):
            z[a] -= lower[c, a] * z[c]
        z[a] /= lower[a, a]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _gram(x: Grid, K: int, n: int, weight: Row, matrix: Grid, lower: Grid) -> bool:
    """Weighted cross-products and their Cholesky factor, with a ridge where needed; True if it was needed."""
    for a in range(K):
        for b in range(a + 1):
            value = 0.0
            for i in range(n):
                value += weight[i] * x[a, i] * x[b, i]
            matrix[a, b] = value
    if factorise(matrix, K, lower):
        return False
    for a in range(K):
        matrix[a, a] += _RIDGE
    factorise(matrix, K, lower)
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scaled(x: Row, n: int, weight: Row, size: float) -> float:
    """Give x[:n] the weighted length 1 and return its length; 0 if nothing but rounding is left of `size`."""
    square = 0.0
    for i in range(n):
        square += weight[i] * x[i] * x[i]
    length = np.sqrt(square)
    if length <= 1e-9 * size:
        x[:n] = 0.0
        return 0.0
    for i in range(n):
        x[i] /= length
    return float(length)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _merged(code: Any, parent: Any, n: int, C: int, P: int, sizes: Any, group: Any) -> int:
    """Groups of at least two: lone members join others of their parent, then the rest, then the largest group."""
    sizes[:] = 0
    for i in range(n):
        sizes[code[i]] += 1
    for i in range(n):
        group[i] = code[i]
        if sizes[code[i]] < 2:
            group[i] = C + parent[i] if parent[i] >= 0 else C + P
    sizes[:] = 0
    for i in range(n):
        sizes[group[i]] += 1
    for i in range(n):
        if sizes[group[i]] < 2:
            group[i] = C + P
    sizes[:] = 0
    for i in range(n):
        sizes[group[i]] += 1
    if sizes[C + P] == 1:
        largest = 0
        for g in range(C + P):
            if sizes[g] > sizes[largest]:
                largest = g
        if sizes[largest] > 0:
            for i in range(n):
                if group[i] == C + P:
                    group[i] = largest
    used = 0
    sizes[:] = -1
    for i in range(n):
        if sizes[group[i]] < 0:
            sizes[group[i]] = used
            used += 1
        group[i] = sizes[group[i]]
    return used


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _key(place: int) -> Any:
    """A fixed random-looking number for each place: the set of missing assets is the exclusive-or of its keys."""
    z = np.uint64(place + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _spread(e: Row, n: int, out: Row) -> float:
    """Population deviation of e[:n] into out[0]; returns the largest size."""
    middle, square, largest = 0.0, 0.0, 0.0
    for i in range(n):
        middle += e[i] / n
        largest = max(largest, abs(e[i]))
    for i in range(n):
        square += (e[i] - middle) ** 2
    out[0] = np.sqrt(square / n)
    return largest


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _same(y: Grid, a: int, b: int, m: int) -> bool:
    differ = 0
    for i in range(m):
        differ += (y[a, i] == y[a, i]) != (y[b, i] == y[b, i])
    return differ == 0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def residuals(
    values: Cube, usable: Any, codes: Any, parents: Any, exposures: Cube, weights: Grid, C: int, P: int, eps: float
) -> tuple[Any, Any]:
    """Replace every factor of every date by its residual; return the dates with a ridge and what was explained."""
    T, N, F = values.shape
    K = exposures.shape[2]
    ridge, explained = np.zeros(T, np.bool_), np.zeros((T, F), np.bool_)
    y, e, x, w = np.empty((_WIDE, N)), np.empty(N), np.empty((K, N)), np.empty(N)
    moments = np.empty(1)
    at, known, code = np.empty(N, np.int64), np.empty(N, np.int64), np.empty(N, np.int64)
    parent, group = np.empty(N, np.int64), np.empty(N, np.int64)
    total, mean, sizes = np.empty(C + P + 1), np.empty(C + P + 1), np.empty(C + P + 1, np.int64)
    matrix, lower, z = np.empty((K, K)), np.empty((K, K)), np.empty(K)
    hashes = np.empty(_WIDE, np.uint64)
    for t in range(T):
        m = 0
        for j in range(N):
            if usable[t, j]:
                at[m] = j
                m += 1
        for first in range(0, F, _WIDE):
            width = min(_WIDE, F - first)
            for f in range(width):
                hashes[f] = 0
            for i in range(m):
                for f in range(width):
                    y[f, i] = values[t, at[i], first + f]
                    if not np.isfinite(y[f, i]):
                        y[f, i] = np.nan
                        hashes[f] ^= _key(i)
            for j in range(N):
                for f in range(width):
                    values[t, j, first + f] = np.nan
            order = np.argsort(hashes[:width])
            n, G, leader, enough = 0, 0, -1, False
            for place in range(width):
                f = order[place]
                if leader < 0 or hashes[f] != hashes[leader] or not _same(y, f, leader, m):
                    leader, n = f, 0
                    for i in range(m):
                        if y[f, i] == y[f, i]:
                            known[n], w[n] = i, weights[t, at[i]]
                            code[n], parent[n] = codes[t, at[i]], parents[t, at[i]]
                            n += 1
                    G = _merged(code, parent, n, C, P, sizes, group)
                    enough = n > G + K
                    if enough:
                        total[:] = 0.0
                        for i in range(n):
                            total[group[i]] += w[i]
                        for k in range(K):
                            size = 0.0
                            for i in range(n):
                                x[k, i] = exposures[t, at[known[i]], k]
                                size += w[i] * x[k, i] * x[k, i]
                            demean(x[k], n, group, w, total, mean)
                            _scaled(x[k], n, w, np.sqrt(size))
                        if K and _gram(x, K, n, w, matrix, lower):
                            ridge[t] = True
                if not enough:
                    explained[t, first + f] = n > 0
                    continue
                for i in range(n):
                    e[i] = y[f, known[i]]
                largest = _spread(e, n, moments)
                demean(e, n, group, w, total, mean)
                for k in range(K):
                    z[k] = 0.0
                    for i in range(n):
                        z[k] += w[i] * x[k, i] * e[i]
                if K:
                    solve(lower, K, z)
                for k in range(K):
                    for i in range(n):
                        e[i] -= z[k] * x[k, i]
                bound = max(1e-6 * moments[0], eps * largest)
                _spread(e, n, moments)
                if moments[0] <= bound:
                    explained[t, first + f] = True
                    continue
                for i in range(n):
                    values[t, at[known[i]], first + f] = e[i]
    return ridge, explained


@numba.njit(cache=True, nogil=True, error_model="numpy")
def regressions(
    y: Grid, usable: Any, codes: Any, exposures: Cube, weights: Grid, caps: Grid, C: int
) -> tuple[Grid, Grid, Any]:
    """Each date's coefficients (market, groups, styles), residuals, and whether a ridge was needed.

    The groups' effects are deviations from the market whose mean, weighted by `caps`, is zero. A group of one has no
    effect of its own; its member and members without a group keep what market and styles leave.
    """
    T, N, K = exposures.shape
    out, left, ridge = np.full((T, 1 + C + K), np.nan), np.full((T, N), np.nan), np.zeros(T, np.bool_)
    e, x, w = np.empty(N), np.empty((K, N)), np.empty(N)
    at, group = np.empty(N, np.int64), np.empty(N, np.int64)
    total, mean, big, sizes = np.empty(C), np.empty(C), np.empty(C), np.empty(C, np.int64)
    means, lengths = np.empty((K, C)), np.empty(K)
    matrix, lower, z = np.empty((K, K)), np.empty((K, K)), np.empty(K)
    for t in range(T):
        sizes[:], total[:], big[:] = 0, 0.0, 0.0
        for j in range(N):
            if usable[t, j] and np.isfinite(y[t, j]) and codes[t, j] >= 0:
                sizes[codes[t, j]] += 1
        n, G = 0, 0
        for j in range(N):
            if usable[t, j] and np.isfinite(y[t, j]) and codes[t, j] >= 0 and sizes[codes[t, j]] > 1:
                at[n], group[n], w[n], e[n] = j, codes[t, j], weights[t, j], y[t, j]
                total[group[n]] += w[n]
                big[group[n]] += caps[t, j]
                n += 1
        for g in range(C):
            G += sizes[g] > 1
        active = 0
        for k in range(K):
            size = 0.0
            for i in range(n):
                x[active, i] = exposures[t, at[i], k]
                size += w[i] * x[active, i] ** 2
            demean(x[active], n, group, w, total, mean)
            lengths[k] = _scaled(x[active], n, w, np.sqrt(size))
            if lengths[k] > 0.0:
                means[active] = mean
                active += 1
        if n <= G + active or n == 0:
            continue
        if active:
            ridge[t] = _gram(x, active, n, w, matrix, lower)
        demean(e, n, group, w, total, mean)
        for a in range(active):
            z[a] = 0.0
            for i in range(n):
                z[a] += w[i] * x[a, i] * e[i]
        if active:
            solve(lower, active, z)
        a = 0
        for k in range(K):
            if lengths[k] > 0.0:
                out[t, 1 + C + k] = z[a] / lengths[k]
                for g in range(C):
                    mean[g] -= out[t, 1 + C + k] * means[a, g]
                a += 1
        market, whole = 0.0, 0.0
        for g in range(C):
            if sizes[g] > 1:
                market += big[g] * mean[g]
                whole += big[g]
        market /= whole
        out[t, 0] = market
        for g in range(C):
            if sizes[g] > 1:
                out[t, 1 + g] = mean[g] - market
        for j in range(N):
            if usable[t, j] and np.isfinite(y[t, j]):
                rest = y[t, j] - market
                g = codes[t, j]
                if g >= 0 and sizes[g] > 1:
                    rest -= out[t, 1 + g]
                for k in range(K):
                    if lengths[k] > 0.0:
                        rest -= out[t, 1 + C + k] * exposures[t, j, k]
                left[t, j] = rest
    return out, left, ridge
