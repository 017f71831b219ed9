"""Kernels that look at one cell at a time; the engine turns every non-finite result into NaN at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors.options import NanCompare

__all__ = [
    "abs",
    "add",
    "clip",
    "div",
    "equal",
    "exp",
    "fillna",
    "greater",
    "greater_equal",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "normcdf",
    "not_equal",
    "power",
    "sign",
    "signed_power",
    "sqrt",
    "sub",
    "tanh",
    "where",
]

Grid = NDArray[np.float64]


def _truth(answer: NDArray[np.bool_], *sources: Any, nan_compare: NanCompare = "nan") -> Grid:
    unknown = np.isnan(sources[0])
    for source in sources[1:]:
        unknown = unknown | np.isnan(source)
    return np.where(unknown, 0.0 if nan_compare == "false" else np.nan, answer)


def logical_or(a: Grid, b: Grid) -> Grid:
    """1 where either is true."""
    return _truth((a != 0) | (b != 0), a, b)


def logical_and(a: Grid, b: Grid) -> Grid:
    """1 where both are true."""
    return _truth((a != 0) & (b != 0), a, b)


def logical_not(a: Grid) -> Grid:
    """1 where a is 0."""
    return _truth(np.equal(a, 0), a)


def less(x: Grid, y: Grid, *, nan_compare: NanCompare = "nan") -> Grid:
    """1 where x < y."""
    return _truth(np.less(x, y), x, y, nan_compare=nan_compare)


def less_equal(x: Grid, y: Grid, *, nan_compare: NanCompare = "nan") -> Grid:
    """1 where x <= y."""
    return _truth(np.less_equal(x, y), x, y, nan_compare=nan_compare)


def greater(x: Grid, y: Grid, *, nan_compare: NanCompare = "nan") -> Grid:
    """1 where x > y."""
    return _truth(np.greater(x, y), x, y, nan_compare=nan_compare)


def greater_equal(x: Grid, y: Grid, *, nan_compare: NanCompare = "nan") -> Grid:
    """1 where x >= y."""
    return _truth(np.greater_equal(x, y), x, y, nan_compare=nan_compare)


def equal(x: Grid, y: Grid, *, nan_compare: NanCompare = "nan") -> Grid:
    """1 where x equals y."""
    return _truth(np.equal(x, y), x, y, nan_compare=nan_compare)


def not_equal(x: Grid, y: Grid, *, nan_compare: NanCompare = "nan") -> Grid:
    """1 where x differs from y."""
    return _truth(np.not_equal(x, y), x, y, nan_compare=nan_compare)


def add(x: Grid, y: Grid) -> Grid:
    """Sum."""
    return x + y


def sub(x: Grid, y: Grid) -> Grid:
    """Difference."""
    return x - y


def mul(x: Grid, y: Grid) -> Grid:
    """Product."""
    return x * y


def div(x: Grid, y: Grid) -> Grid:
    """Quotient; NaN where y is 0."""
    return x / y


def neg(x: Grid) -> Grid:
    """Minus x."""
    return -x


def power(x: Grid, y: Grid) -> Grid:
    """X to the power y; NaN for a negative x with a broken exponent."""
    out = np.power(x, y)
    # IEEE gives 1 for nan ** 0 and 1 ** nan; here what is not known stays not known.
    return np.where(np.isnan(x) | np.isnan(y), np.nan, out)


def signed_power(x: Grid, y: Grid) -> Grid:
    """Sign(x) * abs(x)^y."""
    return np.sign(x) * power(np.abs(x), y)


def abs(x: Grid) -> Grid:
    """Size without sign."""
    return np.abs(x)


def sign(x: Grid) -> Grid:
    """-1, 0 or 1."""
    return np.sign(x)


def log(x: Grid) -> Grid:
    """Natural logarithm; NaN for x <= 0."""
    return np.log(x)


def log1p(x: Grid) -> Grid:
    """Log(1 + x)."""
    return np.log1p(x)


def exp(x: Grid) -> Grid:
    """Exponential."""
    return np.exp(x)


def sqrt(x: Grid) -> Grid:
    """Square root; NaN for x < 0."""
    return np.sqrt(x)


def tanh(x: Grid) -> Grid:
    """Hyperbolic tangent."""
    return np.tanh(x)


def normcdf(x: Grid) -> Grid:
    """Share of a standard normal below x."""
    from scipy.special import ndtr

    return np.asarray(ndtr(x))


def minimum(x: Grid, y: Grid) -> Grid:
    """The smaller of two."""
    return np.minimum(x, y)


def maximum(x: Grid, y: Grid) -> Grid:
    """The larger of two."""
    return np.maximum(x, y)


def clip(x: Grid, low: float, high: float) -> Grid:
    """X held between two constants."""
    return np.minimum(np.maximum(x, low), high)


def where(c: Grid, x: Grid, y: Grid) -> Grid:
    """X where c is not 0, else y; NaN where c is NaN."""
    return np.where(np.isnan(c), np.nan, np.where(np.not_equal(c, 0), x, y))


def isnan(x: Grid) -> Grid:
    """1 where x is not known."""
    return np.isnan(x).astype(np.float64)


def fillna(x: Grid, value: float) -> Grid:
    """X, or a constant where x is not known."""
    return np.where(np.isnan(x), value, x)
