"""What a return series earned, and how bumpy the way was.

Every function reads simple returns per period, one series (T,) or many (T, K), with time on axis 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError, DataError
from alphaloom.metrics.columns import Numbers, divide, give, read_columns, read_rate, standard_deviation

__all__ = [
    "cagr",
    "calmar",
    "drawdowns",
    "hit_rate",
    "max_drawdown",
    "monthly_returns",
    "rolling_sharpe",
    "sharpe",
    "sortino",
    "summary",
    "volatility",
]


def cagr(returns: ArrayLike, *, periods_per_year: float) -> Numbers:
    """The steady yearly growth that ends at the same wealth: prod(1 + r) ^ (P / T) - 1.

    Missing: NaN periods are left out of the product and of T. Nothing observed gives NaN.
    A loss of everything ends the account: the answer is -1, whatever comes after.
    """
    values, single = read_columns(returns)
    return give(_growth(_moments(values)[0], _path(values)[0], periods_per_year), single)


def volatility(returns: ArrayLike, *, periods_per_year: float) -> Numbers:
    """The standard deviation of returns (ddof 1), scaled to a year.   Missing: NaN left out; under two, NaN."""
    values, single = read_columns(returns)
    return give(standard_deviation(_moments(values)) * math.sqrt(periods_per_year), single)


def sharpe(returns: ArrayLike, *, periods_per_year: float, rf: ArrayLike = 0.0) -> Numbers:
    """Mean return above the riskless rate for each unit of volatility, a year: mean(r - rf) / std(r) * sqrt(P).

    Unit: `rf` per period, one number or (T,).
    Missing: NaN returns are left out; fewer than two, or returns that never vary, give NaN, not infinity.
    """
    values, single = read_columns(returns)
    return give(_sharpe(_moments(values, rf), periods_per_year), single)


def sortino(returns: ArrayLike, *, periods_per_year: float, rf: ArrayLike = 0.0) -> Numbers:
    """Mean return above the riskless rate for each unit of shortfall below it, a year.

    The shortfall is sqrt(mean(min(r - rf, 0)^2)) over all periods, the good ones included as zeros.
    Missing: NaN left out; a series that never falls short gives NaN.
    """
    values, single = read_columns(returns)
    return give(_sortino(_moments(values, rf), periods_per_year), single)


def max_drawdown(returns: ArrayLike) -> Numbers:
    """The deepest fall from a peak of wealth, as a fraction in [0, 1]; the starting value counts as a peak.

    Missing: a NaN period leaves wealth where it was; nothing observed gives NaN.
    """
    values, single = read_columns(returns)
    return give(_known(_moments(values)[0], _path(values)[1]), single)


def drawdowns(returns: ArrayLike) -> NDArray[np.float64]:
    """How far wealth stands below its highest value so far, period by period.

    Shape: (T,) -> (T,), (T, K) -> (T, K), fractions in [0, 1].   Time: row t reads rows 0..t and the start.
    Missing: a NaN period leaves wealth where it was.
    """
    values, single = read_columns(returns)
    wealth = np.cumprod(np.maximum(1.0 + np.nan_to_num(values, nan=0.0), 0.0), axis=0)
    peak = np.maximum(np.maximum.accumulate(wealth, axis=0), 1.0)
    down = 1.0 - wealth / peak
    return down[:, 0] if single else down


def calmar(returns: ArrayLike, *, periods_per_year: float) -> Numbers:
    """Yearly growth for each unit of the deepest drawdown.   Missing: NaN where there was no drawdown."""
    values, single = read_columns(returns)
    path, count = _path(values), _moments(values)[0]
    return give(divide(_growth(count, path[0], periods_per_year), path[1]), single)


def hit_rate(returns: ArrayLike) -> Numbers:
    """The share of periods that earned more than zero.   Missing: NaN periods count on neither side."""
    values, single = read_columns(returns)
    return give(divide(_path(values)[2], _moments(values)[0]), single)


def rolling_sharpe(
    returns: ArrayLike, window: int, *, periods_per_year: float, rf: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """The Sharpe ratio of the last `window` periods, at each period.

    Shape: (T,) -> (T,), (T, K) -> (T, K).   Time: rows t-window+1..t.
    Missing: NaN before the first full window and wherever a return of the window is NaN.
    Raises: DataError if the window is below two.
    """
    values, single = read_columns(returns)
    if window < 2:
        raise DataError("a rolling window holds at least two periods", found=window, where="window")
    excess = values - read_rate(rf, len(values))[:, None]
    out = np.full(values.shape, np.nan)
    if len(values) >= window:
        frames = np.lib.stride_tricks.sliding_window_view
        mean, spread = frames(values, window, axis=0).mean(-1), frames(values, window, axis=0).std(-1, ddof=1)
        spread = np.where(spread <= 1e-13 * np.abs(mean), 0.0, spread)
        out[window - 1 :] = divide(frames(excess, window, axis=0).mean(-1), spread) * math.sqrt(periods_per_year)
    return out[:, 0] if single else out


def monthly_returns(times: NDArray[np.datetime64], returns: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The calendar table: what each month of each year earned, compounded.

    Shape: (T,), (T,) -> years (Y,), returns (Y, 12), January first; months without a known return are NaN.
    """
    values, single = read_columns(returns)
    if not single or len(times) != len(values):
        raise AxisError("the calendar table reads one series with its times", found=values.shape, where="returns")
    months = np.asarray(times).astype("datetime64[M]").astype(np.int64)
    known = ~np.isnan(values[:, 0])
    if not known.any():
        return np.empty(0, np.int64), np.empty((0, 12))
    first, last = months[known].min() // 12, months[known].max() // 12
    years = np.arange(first, last + 1) + 1970
    wealth, seen = np.ones(len(years) * 12), np.zeros(len(years) * 12, bool)
    place = months[known] - first * 12
    np.multiply.at(wealth, place, 1.0 + values[known, 0])
    seen[place] = True
    return years, np.where(seen, wealth - 1.0, np.nan).reshape(-1, 12)


def summary(
    returns: ArrayLike, *, periods_per_year: float, rf: ArrayLike = 0.0, level: float = 0.95
) -> dict[str, Numbers]:
    """All measures of return and risk of one or ten thousand series at once, each as its own function gives it.

    Shape: (T,) -> floats, (T, K) -> arrays (K,).   Missing: as in each function.
    """
    from alphaloom.metrics.tails import shape_of, tails_of

    values, single = read_columns(returns)
    facts, path = _moments(values, rf), _path(values)
    count, growth = facts[0], _growth(facts[0], path[0], periods_per_year)
    measures = {
        "cagr": growth,
        "volatility": standard_deviation(facts) * math.sqrt(periods_per_year),
        "sharpe": _sharpe(facts, periods_per_year),
        "sortino": _sortino(facts, periods_per_year),
        "max_drawdown": _known(count, path[1]),
        "calmar": divide(growth, path[1]),
        "hit_rate": divide(path[2], count),
        **shape_of(facts),
        **tails_of(values, level),
    }
    return {name: give(column, single) for name, column in measures.items()}


def _moments(values: NDArray[np.float64], rf: ArrayLike = 0.0) -> NDArray[np.float64]:
    from alphaloom.metrics.kernels import moments

    found: NDArray[np.float64] = moments(values, read_rate(rf, len(values)))
    return found


def _path(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from alphaloom.metrics.kernels import path

    found: NDArray[np.float64] = path(values)
    return found


def _known(count: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(count > 0, values, np.nan)


def _growth(count: NDArray[np.float64], wealth: NDArray[np.float64], periods_per_year: float) -> NDArray[np.float64]:
    years = np.where(count > 0, count, 1.0) / periods_per_year
    with np.errstate(over="ignore"):  # one good day, carried through a year, may leave the range of floats
        yearly: NDArray[np.float64] = np.power(wealth, 1.0 / years) - 1.0
    return _known(count, yearly)


def _sharpe(facts: NDArray[np.float64], periods_per_year: float) -> NDArray[np.float64]:
    return divide(facts[2], standard_deviation(facts)) * math.sqrt(periods_per_year)


def _sortino(facts: NDArray[np.float64], periods_per_year: float) -> NDArray[np.float64]:
    shortfall = np.sqrt(divide(facts[6], facts[0]))
    return divide(facts[2], shortfall) * math.sqrt(periods_per_year)
