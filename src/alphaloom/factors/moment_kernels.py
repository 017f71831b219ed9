"""Compiled window kernels of moments and regressions over flat float32 tiles.

The square of a float32 is exact in float64, and its sums are short trees: a variance is good to 1e-7 of itself where
the mean is ten thousand deviations away, and no shift is needed that would depend on the rows before the window.
A variance below 1e-12 of the mean square is what rounding leaves of a constant: it counts as zero.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from alphaloom.factors.cell_kernels import NAN, ZERO, plain
from alphaloom.factors.window_kernels import block_rows, entered, known, slide, slide_weighted

__all__ = ["PAIR", "SINGLE", "higher", "line", "paired", "single"]

Tile = Any
FLAT = 1e-12

SINGLE = ("ts_var", "ts_std", "ts_zscore")
PAIR = ("ts_cov", "ts_corr", "ts_beta", "ts_resid")
LINE = ("ts_slope", "ts_rsquare", "ts_resi")


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _squared(cells: Tile, out: Tile) -> None:
    for i in range(len(out)):
        out[i] = cells[i] * cells[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _variances(total: Tile, square: Tile, count: Tile, least: int, root: bool, to: Tile) -> None:
    for i in range(len(to)):
        k = count[i]
        mean = total[i] / k
        spread = square[i] / k - mean * mean
        # A sum of unknown values is no number, and none is below the floor. One value has no variance: 0 * inf.
        spread = (0.0 if spread <= FLAT * (mean * mean) else spread) * (k / (k - 1.0))
        to[i] = plain(np.float32(np.sqrt(spread) if root else spread)) if k >= least else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _zscores(x: Tile, total: Tile, square: Tile, count: Tile, least: int, to: Tile) -> None:
    for i in range(len(to)):
        k = count[i]
        mean = total[i] / k
        spread = square[i] / k - mean * mean
        value = (np.float64(x[i]) - mean) / np.sqrt(spread * (k / (k - 1.0)))
        to[i] = plain(np.float32(value)) if (spread > FLAT * (mean * mean)) & (k >= least) else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def single(code: int, x: Tile, width: int, d: int, least: int, out: Tile) -> None:
    """Variance, deviation or today's z-score."""
    rows, skip = block_rows(d), least < d
    size = (rows + d) * width
    cells, level, other, spare = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    total, square, count = np.empty(size), np.empty(size), np.empty(size)
    count[:] = d
    for start in range(0, len(out), rows * width):
        m = min(rows * width, len(out) - start)
        first, n = start - (d - 1) * width, m + (d - 1) * width
        if skip:
            known(x, first, n, level)
            slide(level, other, count, spare, n, d, width)
        entered(x, first, n, 0.0 if skip else np.nan, cells)
        level[:n] = cells[:n]
        slide(level, other, total, spare, n, d, width)
        _squared(cells[:n], level[:n])
        slide(level, other, square, spare, n, d, width)
        to = out[start : start + m]
        if code == 2:
            _zscores(x[start : start + m], total, square, count, least, to)
        else:
            _variances(total, square, count, least, code == 1, to)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _joint(x: Tile, y: Tile, first: int, n: int, absent: float, a: Tile, b: Tile) -> None:
    """The cells of both sides; where one is unknown both are `absent`."""
    ahead = min(max(0, -first), n)
    a[:ahead] = absent
    b[:ahead] = absent
    u, v, to, too = x[first + ahead : first + n], y[first + ahead : first + n], a[ahead:n], b[ahead:n]
    for i in range(len(to)):
        gone = (u[i] != u[i]) | (v[i] != v[i])
        to[i] = absent if gone else np.float64(u[i])
        too[i] = absent if gone else np.float64(v[i])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _product(a: Tile, b: Tile, n: int, out: Tile) -> None:
    for i in range(n):
        out[i] = a[i] * b[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _covariances(sa: Tile, sb: Tile, sab: Tile, count: Tile, least: int, to: Tile) -> None:
    for i in range(len(to)):
        k = count[i]
        value = (sab[i] - sa[i] * (sb[i] / k)) / (k - 1.0)
        to[i] = plain(np.float32(value)) if k >= least else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _correlations(
    sa: Tile, sb: Tile, saa: Tile, sbb: Tile, sab: Tile, count: Tile, least: int, empty: Any, to: Tile
) -> None:
    for i in range(len(to)):
        share = 1.0 / count[i]
        ma, mb = sa[i] * share, sb[i] * share
        va, vb = saa[i] * share - ma * ma, sbb[i] * share - mb * mb
        flat = (va <= FLAT * (ma * ma)) | (vb <= FLAT * (mb * mb))
        value = (sab[i] * share - ma * mb) / np.sqrt(va * vb)
        value = -1.0 if value < -1.0 else value
        value = 1.0 if value > 1.0 else value
        best = empty if flat else plain(np.float32(value))
        to[i] = best if count[i] >= least else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _slopes(sa: Tile, sb: Tile, sbb: Tile, sab: Tile, count: Tile, least: int, to: Tile) -> None:
    for i in range(len(to)):
        k = count[i]
        ma, mb = sa[i] / k, sb[i] / k
        vb = sbb[i] / k - mb * mb
        value = (sab[i] / k - ma * mb) / vb
        to[i] = plain(np.float32(value)) if (vb > FLAT * (mb * mb)) & (k >= least) else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _residuals(u: Tile, v: Tile, sa: Tile, sb: Tile, sbb: Tile, sab: Tile, count: Tile, least: int, to: Tile) -> None:
    for i in range(len(to)):
        k = count[i]
        ma, mb = sa[i] / k, sb[i] / k
        vb = sbb[i] / k - mb * mb
        value = np.float64(u[i]) - ma - (sab[i] / k - ma * mb) / vb * (np.float64(v[i]) - mb)
        to[i] = plain(np.float32(value)) if (vb > FLAT * (mb * mb)) & (k >= least) else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def paired(code: int, x: Tile, y: Tile, width: int, d: int, least: int, zero: bool, out: Tile) -> None:
    """Covariance, correlation, slope of x on y, or today's residual of x on y."""
    rows, skip = block_rows(d), least < d
    size = (rows + d) * width
    a, b, level, other, spare = np.empty(size), np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    sa, sb, saa, sbb, sab, count = (
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
    )
    count[:] = d
    for start in range(0, len(out), rows * width):
        m = min(rows * width, len(out) - start)
        first, n = start - (d - 1) * width, m + (d - 1) * width
        _joint(x, y, first, n, 0.0 if skip else np.nan, a, b)
        if skip:
            known(x, first, n, level)
            known(y, first, n, other)
            _product(level, other, n, sa)
            slide(sa, other, count, spare, n, d, width)
        _product(a, b, n, level)
        slide(level, other, sab, spare, n, d, width)
        level[:n] = a[:n]
        slide(level, other, sa, spare, n, d, width)
        level[:n] = b[:n]
        slide(level, other, sb, spare, n, d, width)
        if code == 1:
            _product(a, a, n, level)
            slide(level, other, saa, spare, n, d, width)
        if code >= 1:
            _product(b, b, n, level)
            slide(level, other, sbb, spare, n, d, width)
        to = out[start : start + m]
        if code == 0:
            _covariances(sa, sb, sab, count, least, to)
        elif code == 1:
            _correlations(sa, sb, saa, sbb, sab, count, least, ZERO if zero else NAN, to)
        elif code == 2:
            _slopes(sa, sb, sbb, sab, count, least, to)
        else:
            _residuals(x[start : start + m], y[start : start + m], sa, sb, sbb, sab, count, least, to)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _lines(code: int, x: Tile, total: Tile, tilted: Tile, square: Tile, d: int, to: Tile) -> None:
    middle, reach = (d + 1) / 2.0, (d * d - 1.0) / 12.0
    if code == 0:
        for i in range(len(to)):
            to[i] = plain(np.float32((tilted[i] / d - middle * (total[i] / d)) / reach))
    elif code == 2:
        for i in range(len(to)):
            mean = total[i] / d
            slope = (tilted[i] / d - middle * mean) / reach
            to[i] = plain(np.float32(np.float64(x[i]) - mean - slope * (middle - 1.0)))
    else:
        for i in range(len(to)):
            mean = total[i] / d
            slope = (tilted[i] / d - middle * mean) / reach
            spread = square[i] / d - mean * mean
            fit = slope * slope * reach / spread
            fit = 1.0 if fit > 1.0 else fit
            to[i] = NAN if spread <= FLAT * (mean * mean) else plain(np.float32(fit))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _lines_of_known(
    code: int, x: Tile, total: Tile, tilted: Tile, square: Tile, known_rows: Tile, d: int, least: int, to: Tile
) -> None:
    """The same over known values: `known_rows` holds their number, their places' sum and their squared places' sum."""
    count, places, places2 = known_rows[0], known_rows[1], known_rows[2]
    for i in range(len(to)):
        k = count[i]
        mean, middle = total[i] / k, places[i] / k
        reach = places2[i] / k - middle * middle
        slope = (tilted[i] / k - middle * mean) / reach
        spread = square[i] / k - mean * mean
        fit = slope * slope * reach / spread
        fit = np.nan if spread <= FLAT * (mean * mean) else (1.0 if fit > 1.0 else fit)
        rest = np.float64(x[i]) - mean - slope * (d - middle)
        value = slope if code == 0 else (fit if code == 1 else rest)
        to[i] = plain(np.float32(value)) if k >= least else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _known_places(x: Tile, start: int, m: int, width: int, d: int, level: Tile, found: Tile) -> None:
    """How many cells of each window are known, and the sums of their places 1..d and of the squares of these."""
    found[:, :m] = 0.0
    for back in range(d):
        known(x, start - back * width, m, level)
        place = float(d - back)
        for power in range(3):
            weight, sums = place**power, found[power]
            for i in range(m):
                sums[i] += weight * level[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def line(code: int, x: Tile, width: int, d: int, least: int, out: Tile) -> None:
    """Slope of the line through the last d values, its fit, or today's distance from it."""
    rows, skip = block_rows(d), least < d
    size = (rows + d) * width
    cells, level, other, extra = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    total, square, spare = np.empty(size), np.empty(size), np.empty((4, size))
    places = np.empty((3, size if skip else 0))
    for start in range(0, len(out), rows * width):
        m = min(rows * width, len(out) - start)
        first, n = start - (d - 1) * width, m + (d - 1) * width
        entered(x, first, n, 0.0 if skip else np.nan, cells)
        level[:n] = cells[:n]
        slide(level, other, total, extra, n, d, width)
        if code == 1:
            _product(cells, cells, n, level)
            slide(level, other, square, extra, n, d, width)
        level[:n] = cells[:n]
        tilted = slide_weighted(cells, level, spare, n, d, width)
        today, to = x[start : start + m], out[start : start + m]
        if skip:
            _known_places(x, start, m, width, d, level, places)
            _lines_of_known(code, today, total, tilted, square, places, d, least, to)
        else:
            _lines(code, today, total, tilted, square, d, to)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def higher(kurtosis: bool, x: Tile, width: int, d: int, plain_moments: bool, out: Tile) -> None:
    """Skewness or excess kurtosis by two passes over the window; `plain_moments` leaves out the bias adjustment."""
    rows = 64 * width
    total, two, top = np.empty(rows), np.empty(rows), np.empty(rows)
    lag = min((d - 1) * width, len(out))
    out[:lag] = NAN
    n = float(d)
    for start in range(lag, len(out), rows):
        m = min(rows, len(out) - start)
        total[:m] = 0.0
        two[:m] = 0.0
        top[:m] = 0.0
        for back in range(d):
            then = x[start - back * width : start - back * width + m]
            for i in range(m):
                total[i] += np.float64(then[i])
        for i in range(m):
            total[i] /= n
        for back in range(d):
            then = x[start - back * width : start - back * width + m]
            for i in range(m):
                gap = np.float64(then[i]) - total[i]
                square = gap * gap
                two[i] += square
                top[i] += square * (square if kurtosis else gap)
        to = out[start : start + m]
        for i in range(m):
            spread, high = two[i] / n, top[i] / n
            if kurtosis:
                value = high / (spread * spread) - 3.0
                if not plain_moments:
                    value = (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * value + 6.0)
            else:
                value = high / (spread * np.sqrt(spread))
                if not plain_moments:
                    value *= np.sqrt(n * (n - 1.0)) / (n - 2.0)
            to[i] = NAN if spread <= FLAT * (total[i] * total[i]) else plain(np.float32(value))
