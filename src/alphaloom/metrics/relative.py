"""A return series against an index.   Shape: returns (T,) or (T, K), index (T,), time on axis 0.

Missing: a period counts only where both sides are known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError
from alphaloom.metrics.columns import Numbers, divide, give, read_columns, read_rate
from alphaloom.metrics.performance import sharpe

__all__ = ["alpha", "beta", "correlation", "information_ratio"]


def information_ratio(returns: ArrayLike, index: ArrayLike, *, periods_per_year: float) -> Numbers:
    """Mean return above the index for each unit of its variation, a year: mean(r - b) / std(r - b) * sqrt(P).

    Missing: NaN where the difference never varies or fewer than two periods are known.
    """
    values, market, single = _pair(returns, index)
    active = values - market[:, None]
    return sharpe(active[:, 0] if single else active, periods_per_year=periods_per_year)


def beta(returns: ArrayLike, index: ArrayLike, *, rf: ArrayLike = 0.0) -> Numbers:
    """How much the series moves when the index moves by one: cov(r - rf, b - rf) / var(b - rf).

    Missing: NaN where the index never varies.
    """
    values, market, single = _pair(returns, index)
    return give(_regression(values, market, rf)[0], single)


def alpha(returns: ArrayLike, index: ArrayLike, *, periods_per_year: float, rf: ArrayLike = 0.0) -> Numbers:
    """What is earned a year beyond the share that beta explains: (mean(r - rf) - beta * mean(b - rf)) * P."""
    values, market, single = _pair(returns, index)
    return give(_regression(values, market, rf)[1] * periods_per_year, single)


def correlation(returns: ArrayLike, index: ArrayLike) -> Numbers:
    """How closely series and index move together, in [-1, 1].   Missing: NaN where either never varies."""
    values, market, single = _pair(returns, index)
    return give(_regression(values, market, 0.0)[2], single)


def _pair(returns: ArrayLike, index: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    values, single = read_columns(returns)
    market = np.asarray(index, dtype=np.float64)
    if market.shape != (len(values),):
        raise AxisError("the index has one return a period", found=market.shape, where="index")
    return values, market, single


def _regression(
    values: NDArray[np.float64], market: NDArray[np.float64], rf: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    rate = read_rate(rf, len(values))
    y, x = values - rate[:, None], np.broadcast_to((market - rate)[:, None], values.shape)
    known = np.isfinite(x) & np.isfinite(y)
    count = known.sum(axis=0).astype(float)
    y, x = np.where(known, y, 0.0), np.where(known, x, 0.0)
    mean_y, mean_x = divide(y.sum(axis=0), count), divide(x.sum(axis=0), count)
    dy, dx = np.where(known, y - mean_y, 0.0), np.where(known, x - mean_x, 0.0)
    yy, xx, xy = (dy * dy).sum(axis=0), (dx * dx).sum(axis=0), (dx * dy).sum(axis=0)
    # What is left of a constant after its mean is taken away is rounding.
    yy = np.where(yy <= count * (1e-13 * mean_y) ** 2, 0.0, yy)
    xx = np.where(xx <= count * (1e-13 * mean_x) ** 2, 0.0, xx)
    slope = divide(xy, xx)
    return slope, mean_y - slope * mean_x, np.clip(divide(xy, np.sqrt(xx * yy)), -1.0, 1.0)
