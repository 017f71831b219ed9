"""How every metric reads its input: time runs along axis 0, each further column is a series of its own."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError, DataError

__all__ = ["Numbers", "divide", "give", "read_columns", "read_rate", "standard_deviation"]

Numbers: TypeAlias = Any
"""A float where the input was (T,), an array (K,) where it was (T, K)."""

_SMALL = 1e-13  # a spread below this share of the level is rounding, not risk


def read_columns(returns: ArrayLike, name: str = "returns") -> tuple[NDArray[np.float64], bool]:
    """The input as (T, K) and whether it was one series.   Raises: AxisError unless it has one or two axes."""
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim not in (1, 2):
        raise AxisError("a metric reads (T,) or (T, K)", found=values.shape, where=name, fix="put time on axis 0")
    single = values.ndim == 1
    return np.ascontiguousarray(values[:, None] if single else values), single


def read_rate(rf: ArrayLike, T: int) -> NDArray[np.float64]:
    """The riskless return of each period as (T,).   Raises: AxisError, DataError if it is not T finite numbers."""
    rate = np.asarray(rf, dtype=np.float64)
    if rate.ndim == 0:
        rate = np.full(T, float(rate))
    if rate.shape != (T,):
        raise AxisError("rf is one number or one a period", found=rate.shape, where="rf", fix=f"shape ({T},)")
    if not np.isfinite(rate).all():
        raise DataError("rf is known in every period", found="NaN or infinity", where="rf", fix="fill it by name")
    return np.ascontiguousarray(rate)


def give(values: NDArray[np.float64], single: bool) -> Numbers:
    """(K,) back to the caller, or its only number."""
    return float(values[0]) if single else values


def divide(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    """top / bottom, NaN where the bottom is zero or unknown: a ratio without risk is not infinite but undefined."""
    good = np.isfinite(bottom) & (bottom != 0.0)
    return np.where(good, top / np.where(good, bottom, 1.0), np.nan)


def standard_deviation(facts: NDArray[np.float64], ddof: int = 1) -> NDArray[np.float64]:
    """The spread from the rows of `kernels.moments`; exactly zero where only rounding is left, NaN if n <= ddof."""
    count, mean, m2 = facts[0], facts[1], facts[3]
    spread = np.sqrt(divide(m2, np.maximum(count - ddof, 0.0)))
    return np.where(spread <= _SMALL * np.abs(mean), 0.0, spread)
