"""Compiled kernels that look at one cell at a time, over flat float32 tiles.

Each kernel takes a code for the operation, so that a handful of compiled functions serves all formulas. Inputs are
finite or NaN; every result is finite or the one plain NaN, and a zero has no sign. No output may be an input as well:
the compiler then proves that nothing overlaps and uses the whole width of the processor.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

__all__ = ["BINARY", "SCALAR", "UNARY", "binary", "choose", "constant", "gather", "scalar", "spread", "unary"]

Tile = Any

UNARY = ("neg", "abs", "sign", "sqrt", "logical_not", "isnan", "log", "log1p", "exp", "tanh")
BINARY = (
    *("add", "sub", "mul", "div", "minimum", "maximum", "less", "less_equal", "equal", "not_equal"),
    *("logical_and", "logical_or", "power", "signed_power"),
)
SCALAR = (
    *("add", "mul", "div", "rdiv", "minimum", "maximum", "less", "less_equal", "greater", "greater_equal"),
    *("equal", "not_equal", "fillna", "power", "signed_power"),
)

NAN = np.float32(np.nan)
ZERO, ONE = np.float32(0.0), np.float32(1.0)
TOP = np.float32(np.finfo(np.float32).max)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def plain(value):  # type: ignore[no-untyped-def]
    """The value if it is finite, else NaN; minus zero becomes zero."""
    return value + ZERO if abs(value) <= TOP else NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def constant(value: float, out: Tile) -> None:
    """One number in every cell."""
    out[:] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gather(full: Tile, left: int, width: int, out: Tile) -> None:
    """Columns of a (T, N) array, packed into a tile of `width` columns; columns that do not exist are NaN."""
    T, N = full.shape
    have = min(width, N - left)
    for t in range(T):
        row = full[t, left : left + have]
        packed = out[t * width : t * width + have]
        for j in range(have):
            value = np.float32(row[j])
            packed[j] = value + ZERO if abs(value) <= TOP else NAN
        for j in range(t * width + have, (t + 1) * width):
            out[j] = NAN


@numba.njit(cache=True, nogil=True, error_model="numpy")
def spread(tile: Tile, left: int, width: int, full: Tile) -> None:
    """The tile's columns back into their places of a (T, N) array."""
    T, N = full.shape
    have = min(width, N - left)
    for t in range(T):
        row = full[t, left : left + have]
        packed = tile[t * width : t * width + have]
        for j in range(have):
            row[j] = packed[j]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def unary(code: int, x: Tile, out: Tile) -> None:
    """One operand."""
    n = len(out)
    if code == 0:
        for i in range(n):
            out[i] = plain(-x[i])
    elif code == 1:
        for i in range(n):
            out[i] = plain(abs(x[i]))
    elif code == 2:
        for i in range(n):
            value = x[i]
            out[i] = ONE if value > ZERO else (-ONE if value < ZERO else plain(value))
    elif code == 3:
        for i in range(n):
            out[i] = plain(np.sqrt(x[i]))
    elif code == 4:
        for i in range(n):
            value = x[i]
            out[i] = NAN if value != value else (ONE if value == ZERO else ZERO)
    elif code == 5:
        for i in range(n):
            out[i] = ONE if x[i] != x[i] else ZERO
    elif code == 6:
        for i in range(n):
            out[i] = plain(np.float32(math.log(np.float64(x[i])))) if x[i] > ZERO else NAN
    elif code == 7:
        for i in range(n):
            out[i] = plain(np.float32(math.log1p(np.float64(x[i])))) if x[i] > -ONE else NAN
    elif code == 8:
        for i in range(n):
            out[i] = plain(np.float32(math.exp(np.float64(x[i]))))
    else:
        for i in range(n):
            out[i] = plain(np.float32(math.tanh(np.float64(x[i]))))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _raised(x, y):  # type: ignore[no-untyped-def]
    """X to the power y in float64; what is not known stays not known."""
    if x != x or y != y:
        return NAN
    return plain(np.float32(math.pow(np.float64(x), np.float64(y))))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _raised_signed(x, y):  # type: ignore[no-untyped-def]
    size = _raised(abs(x), y)
    return plain(-size if x < ZERO else (size if x > ZERO else x * size))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def binary(code: int, false: bool, x: Tile, y: Tile, out: Tile) -> None:
    """Two operands; `false` asks that a comparison with the unknown gives 0."""
    n = len(out)
    unknown = ZERO if false else NAN
    if code == 0:
        for i in range(n):
            out[i] = plain(x[i] + y[i])
    elif code == 1:
        for i in range(n):
            out[i] = plain(x[i] - y[i])
    elif code == 2:
        for i in range(n):
            out[i] = plain(x[i] * y[i])
    elif code == 3:
        for i in range(n):
            out[i] = plain(x[i] / y[i])
    elif code == 4:
        for i in range(n):
            a, b = x[i], y[i]
            out[i] = a if (a != a) | (a <= b) else b
    elif code == 5:
        for i in range(n):
            a, b = x[i], y[i]
            out[i] = a if (a != a) | (a >= b) else b
    elif code == 6:
        for i in range(n):
            a, b = x[i], y[i]
            out[i] = unknown if (a != a) | (b != b) else (ONE if a < b else ZERO)
    elif code == 7:
        for i in range(n):
            a, b = x[i], y[i]
            out[i] = unknown if (a != a) | (b != b) else (ONE if a <= b else ZERO)
    elif code == 8:
        for i in range(n):
            a, b = x[i], y[i]
            out[i] = unknown if (a != a) | (b != b) else (ONE if a == b else ZERO)
    elif code == 9:
        for i in range(n):
            a, b = x[i], y[i]
            out[i] = unknown if (a != a) | (b != b) else (ONE if a != b else ZERO)
    elif code == 10:
        for i in range(n):
            a, b = x[i], y[i]
            out[i] = NAN if (a != a) | (b != b) else (ONE if (a != ZERO) & (b != ZERO) else ZERO)
    elif code == 11:
        for i in range(n):
            a, b = x[i], y[i]
            out[i] = NAN if (a != a) | (b != b) else (ONE if (a != ZERO) | (b != ZERO) else ZERO)
    elif code == 12:
        for i in range(n):
            out[i] = _raised(x[i], y[i])
    else:
        for i in range(n):
            out[i] = _raised_signed(x[i], y[i])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def scalar(code: int, false: bool, x: Tile, c: float, out: Tile) -> None:
    """One operand and one known number."""
    n = len(out)
    unknown = ZERO if false else NAN
    b = np.float32(c)
    if code == 0:
        for i in range(n):
            out[i] = plain(x[i] + b)
    elif code == 1:
        for i in range(n):
            out[i] = plain(x[i] * b)
    elif code == 2:
        for i in range(n):
            out[i] = plain(x[i] / b)
    elif code == 3:
        for i in range(n):
            out[i] = plain(b / x[i])
    elif code == 4:
        for i in range(n):
            out[i] = x[i] if (x[i] != x[i]) | (x[i] <= b) else b
    elif code == 5:
        for i in range(n):
            out[i] = x[i] if (x[i] != x[i]) | (x[i] >= b) else b
    elif code == 6:
        for i in range(n):
            out[i] = unknown if x[i] != x[i] else (ONE if x[i] < b else ZERO)
    elif code == 7:
        for i in range(n):
            out[i] = unknown if x[i] != x[i] else (ONE if x[i] <= b else ZERO)
    elif code == 8:
        for i in range(n):
            out[i] = unknown if x[i] != x[i] else (ONE if x[i] > b else ZERO)
    elif code == 9:
        for i in range(n):
            out[i] = unknown if x[i] != x[i] else (ONE if x[i] >= b else ZERO)
    elif code == 10:
        for i in range(n):
            out[i] = unknown if x[i] != x[i] else (ONE if x[i] == b else ZERO)
    elif code == 11:
        for i in range(n):
            out[i] = unknown if x[i] != x[i] else (ONE if x[i] != b else ZERO)
    elif code == 12:
        for i in range(n):
            out[i] = b if x[i] != x[i] else x[i]
    elif code == 13 and (c == 2.0 or c == 4.0 or c == 3.0 or c == 5.0):
        for i in range(n):
            value = np.float64(x[i])
            square = value * value
            top = square if c < 4.0 else square * square
            out[i] = plain(np.float32(top * value if (c == 3.0) | (c == 5.0) else top))
    elif code == 13 and c == 0.5:
        for i in range(n):
            out[i] = plain(np.sqrt(x[i]))
    elif code == 13:
        for i in range(n):
            out[i] = _raised(x[i], b)
    elif c == 2.0:
        for i in range(n):
            out[i] = plain(x[i] * abs(x[i]))
    else:
        for i in range(n):
            out[i] = _raised_signed(x[i], b)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def choose(c: Tile, x: Tile, y: Tile, out: Tile) -> None:
    """X where c is not 0, else y; NaN where c is not known."""
    for i in range(len(out)):
        out[i] = NAN if c[i] != c[i] else (x[i] if c[i] != ZERO else y[i])
