"""How the days are distributed, and how bad the bad ones are.   Shape: (T,) or (T, K), time on axis 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import DataError
from alphaloom.metrics.columns import Numbers, divide, give, read_columns, read_rate, standard_deviation

__all__ = ["expected_shortfall", "kurtosis", "skew", "tail_ratio", "value_at_risk"]


def value_at_risk(returns: ArrayLike, *, level: float = 0.95) -> Numbers:
    """The loss that a period exceeds only in one case of 1 / (1 - level): minus the (1 - level)-quantile.

    Unit: a fraction, positive for a loss.   Missing: NaN left out; nothing observed gives NaN.
    """
    values, single = read_columns(returns)
    return give(tails_of(values, level)["value_at_risk"], single)


def expected_shortfall(returns: ArrayLike, *, level: float = 0.95) -> Numbers:
    """The mean loss of the periods that are at least as bad as the value at risk.

    Unit: a fraction, positive for a loss.   Missing: NaN left out; nothing observed gives NaN.
    """
    values, single = read_columns(returns)
    return give(tails_of(values, level)["expected_shortfall"], single)


def tail_ratio(returns: ArrayLike, *, level: float = 0.95) -> Numbers:
    """The size of a very good period against that of a very bad one: |q(level)| / |q(1 - level)|.

    Missing: NaN left out; a lower quantile of zero gives NaN.
    """
    values, single = read_columns(returns)
    return give(tails_of(values, level)["tail_ratio"], single)


def skew(returns: ArrayLike) -> Numbers:
    """The lopsidedness of returns: third central moment over the cube of the standard deviation (both ddof 0).

    Missing: NaN left out; returns that never vary give NaN.
    """
    values, single = read_columns(returns)
    return give(shape_of(_moments(values))["skew"], single)


def kurtosis(returns: ArrayLike) -> Numbers:
    """The weight of the tails: fourth central moment over the squared variance, raw, so that a normal has 3.

    Missing: NaN left out; returns that never vary give NaN.
    """
    values, single = read_columns(returns)
    return give(shape_of(_moments(values))["kurtosis"], single)


def tails_of(values: NDArray[np.float64], level: float) -> dict[str, NDArray[np.float64]]:
    """The three tail measures of (T, K) columns from one sort of each tail."""
    from alphaloom.metrics.kernels import tails

    if not 0.5 < level < 1.0:
        raise DataError("a tail level lies between 0.5 and 1", found=level, where="level", fix="0.95 is usual")
    low, mean, high = tails(values, 1.0 - level)
    return {"value_at_risk": -low, "expected_shortfall": -mean, "tail_ratio": divide(np.abs(high), np.abs(low))}


def shape_of(facts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Skew and raw kurtosis from the rows of `kernels.moments`."""
    spread = standard_deviation(facts, ddof=0)
    count = facts[0]
    return {
        "skew": divide(divide(facts[4], count), spread**3),
        "kurtosis": divide(divide(facts[5], count), spread**4),
    }


def _moments(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from alphaloom.metrics.kernels import moments

    found: NDArray[np.float64] = moments(values, read_rate(0.0, len(values)))
    return found
