"""Kernels that look at one cell at a time; the engine turns every non-finite result into NaN at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float64]


def _truth(answer: NDArray[np.bool_], *sources: Any) -> Grid:
    unknown = np.isnan(sources[0])
    for source in sources[1:]:
        unknown = unknown | np.isnan(source)
    return np.where(unknown, np.nan, answer)


def logical_or(a: Grid, b: Grid) -> Grid:
    return _truth((a != 0) | (b != 0), a, b)


def logical_and(a: Grid, b: Grid) -> Grid:
    return _truth((a != 0) & (b != 0), a, b)


def logical_not(a: Grid) -> Grid:
    return _truth(np.equal(a, 0), a)


def less(x: Grid, y: Grid) -> Grid:
    return _truth(np.less(x, y), x, y)


def less_equal(x: Grid, y: Grid) -> Grid:
    return _truth(np.less_equal(x, y), x, y)


def greater(x: Grid, y: Grid) -> Grid:
    return _truth(np.greater(x, y), x, y)


def greater_equal(x: Grid, y: Grid) -> Grid:
    return _truth(np.greater_equal(x, y), x, y)


def equal(x: Grid, y: Grid) -> Grid:
    return _truth(np.equal(x, y), x, y)


def not_equal(x: Grid, y: Grid) -> Grid:
    return _truth(np.not_equal(x, y), x, y)


def add(x: Grid, y: Grid) -> Grid:
    return x + y


def sub(x: Grid, y: Grid) -> Grid:
    return x - y


def mul(x: Grid, y: Grid) -> Grid:
    return x * y


def div(x: Grid, y: Grid) -> Grid:
    return x / y


def neg(x: Grid) -> Grid:
    return -x


def power(x: Grid, y: Grid) -> Grid:
    out = np.power(x, y)
    # IEEE gives 1 for nan ** 0 and 1 ** nan; here what is not known stays not known.
    return np.where(np.isnan(x) | np.isnan(y), np.nan, out)


def signed_power(x: Grid, y: Grid) -> Grid:
    return np.sign(x) * power(np.abs(x), y)


def abs(x: Grid) -> Grid:
    return np.abs(x)


def sign(x: Grid) -> Grid:
    return np.sign(x)


def log(x: Grid) -> Grid:
    return np.log(x)


def log1p(x: Grid) -> Grid:
    return np.log1p(x)


def exp(x: Grid) -> Grid:
    return np.exp(x)


def sqrt(x: Grid) -> Grid:
    return np.sqrt(x)


def tanh(x: Grid) -> Grid:
    return np.tanh(x)


def minimum(x: Grid, y: Grid) -> Grid:
    return np.minimum(x, y)


def maximum(x: Grid, y: Grid) -> Grid:
    return np.maximum(x, y)


def clip(x: Grid, low: float, high: float) -> Grid:
    return np.minimum(np.maximum(x, low), high)


def where(c: Grid, x: Grid, y: Grid) -> Grid:
    return np.where(np.isnan(c), np.nan, np.where(np.not_equal(c, 0), x, y))


def isnan(x: Grid) -> Grid:
    return np.isnan(x).astype(np.float64)


def fillna(x: Grid, value: float) -> Grid:
    return np.where(np.isnan(x), value, x)
