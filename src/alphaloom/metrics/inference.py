"""Could it be luck? Standard errors, intervals and the Sharpe ratio judged against the number of attempts.

A Sharpe ratio in this module is per period, not per year, unless the caller's statistic says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError, DataError

__all__ = [
    "Interval",
    "MeanTest",
    "binomial_p",
    "block_length",
    "bootstrap_interval",
    "deflated_sharpe",
    "expected_max_sharpe",
    "min_track_record",
    "newey_west",
    "probabilistic_sharpe",
    "stationary_bootstrap",
    "wilson_interval",
]

_NORMAL = NormalDist()
_EULER = 0.5772156649
_CELLS = 4_000_000  # resampled numbers held at once, about 32 MB


class MeanTest(NamedTuple):
    """A mean, its standard error and the ratio of both."""

    mean: float
    error: float
    t: float
    periods: int


class Interval(NamedTuple):
    """A statistic on the sample and the interval that resampling gives it."""

    value: float
    low: float
    high: float


def newey_west(values: ArrayLike, *, lag: int = 0) -> MeanTest:
    """The mean of a series and its standard error when neighbouring values are alike.

    Bartlett weights 1 - j / (lag + 1) on the autocovariances 1..lag, with the factor n / (n - 1), so that lag 0 is the
    ordinary t statistic. For returns that overlap over h bars the lag is h - 1.
    Missing: NaN left out; fewer than two values, or values that never vary, give NaN.
    Raises: DataError if the lag is negative.
    Source: Newey and West (1987).
    """
    if lag < 0:
        raise DataError("a lag is not negative", found=lag, where="lag")
    x = _known_rows(values)[0][:, 0]
    n = len(x)
    if n < 2:
        return MeanTest(float(x[0]) if n else math.nan, math.nan, math.nan, n)
    mean = float(x.mean())
    d = x - mean
    variance = float(d @ d)
    if variance <= n * (1e-13 * mean) ** 2:
        return MeanTest(mean, math.nan, math.nan, n)
    for j in range(1, min(lag, n - 1) + 1):
        variance += 2.0 * (1.0 - j / (lag + 1.0)) * float(d[j:] @ d[:-j])
    error = math.sqrt(max(variance, 0.0) / n / (n - 1))
    return MeanTest(mean, error, mean / error if error > 0 else math.nan, n)


def block_length(values: ArrayLike) -> float:
    """The mean block that the stationary bootstrap needs for a series with this memory, at least 1.

    Missing: NaN left out; fewer than ten values, or values that never vary, give 1.
    Source: Politis and White (2004), with the correction of Patton, Politis and White (2009).
    """
    x = _known_rows(values)[0][:, 0]
    n = len(x)
    if n < 10 or np.ptp(x) <= 1e-13 * np.abs(x).max():
        return 1.0
    d = x - x.mean()
    quiet = max(5, int(math.sqrt(math.log10(n))))
    furthest = min(n - 1, math.ceil(math.sqrt(n)) + quiet)
    covariance = np.array([d[k:] @ d[: n - k] for k in range(furthest + 1)]) / n
    loud = np.abs(covariance[1:] / covariance[0]) > 2.0 * math.sqrt(math.log10(n) / n)
    memory = next((m for m in range(furthest - quiet + 1) if not loud[m : m + quiet].any()), None)
    if memory is None:
        memory = int(np.flatnonzero(loud)[-1]) + 1
    width = min(2 * max(memory, 1), furthest)
    k = np.arange(1, width + 1)
    taper = np.minimum(1.0, 2.0 * (1.0 - k / width))
    g = 2.0 * float((taper * k * covariance[1 : width + 1]).sum())
    spectrum = float(covariance[0] + 2.0 * (taper * covariance[1 : width + 1]).sum())
    if spectrum == 0.0:
        return 1.0
    length = (2.0 * g * g / (2.0 * spectrum * spectrum)) ** (1.0 / 3.0) * n ** (1.0 / 3.0)
    return float(min(max(1.0, length), math.ceil(min(3.0 * math.sqrt(n), n / 3.0))))


def stationary_bootstrap(T: int, draws: int, *, block: float, seed: int) -> NDArray[np.int64]:
    """Row numbers of resampled histories: blocks of random start and geometric length, on a circle.

    Shape: -> (T, draws).   Raises: DataError unless T and draws are positive and block is at least 1.
    Source: Politis and Romano (1994).
    """
    if T < 1 or draws < 1 or block < 1.0:
        raise DataError("a resample needs rows, draws and blocks of at least one", found=(T, draws, block))
    rng = np.random.default_rng(seed)
    return _resample(T, draws, block, rng)


def bootstrap_interval(
    statistic: Callable[..., NDArray[np.float64]],
    series: ArrayLike | tuple[ArrayLike, ...],
    *,
    seed: int,
    level: float = 0.95,
    draws: int = 2000,
    block: float | None = None,
) -> Interval:
    """The percentile interval of any statistic of one or more series that are resampled together.

    `statistic` gets each series as (T, draws), time on axis 0, and returns one number a column: `lambda r: sharpe(r,
    periods_per_year=252)`, or `lambda a, b: sharpe(a, ...) - sharpe(b, ...)` for a difference.
    Time: blocks keep the memory of the series; without `block` the longest automatic length is taken.
    Missing: a row counts only where every series is known; under two rows, or a statistic that is NaN in more than
    half of the draws, give NaN bounds.
    """
    columns = series if isinstance(series, tuple) else (series,)
    known = _known_rows(*columns)
    T = len(known[0])
    value = float(np.asarray(statistic(*known)).reshape(-1)[0]) if T else math.nan
    if T < 2:
        return Interval(value, math.nan, math.nan)
    length = max(block_length(column[:, 0]) for column in known) if block is None else block
    if length < 1.0 or draws < 1 or not 0.0 < level < 1.0:
        raise DataError(
            "a resample needs draws, blocks of at least one and a level in (0, 1)", found=(draws, length, level)
        )
    rng = np.random.default_rng(seed)
    found, left = [], draws
    while left:
        part = min(left, max(1, _CELLS // T))
        rows = _resample(T, part, length, rng)
        found.append(np.asarray(statistic(*(column[:, 0][rows] for column in known)), dtype=np.float64).reshape(-1))
        left -= part
    drawn = np.concatenate(found)
    drawn = drawn[np.isfinite(drawn)]
    if 2 * len(drawn) < draws:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(value, float(low), float(high))


def probabilistic_sharpe(
    sharpe: float, *, count: int, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> float:
    """The probability that the true Sharpe ratio exceeds a benchmark, given the length and shape of the sample.

    Unit: both ratios per period; kurtosis raw (a normal has 3).   Missing: fewer than two observations give NaN.
    Source: Bailey and Lopez de Prado (2012).
    """
    spread = _sharpe_spread(sharpe, skew, kurtosis)
    if count < 2 or not math.isfinite(spread):
        return math.nan
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt(count - 1.0) / spread)


def expected_max_sharpe(trials: float, variance: float) -> float:
    """The Sharpe ratio that the best of so many worthless trials shows by luck.

    Unit: `variance` of the trials' Sharpe ratios, per period; so is the answer. One trial gives 0.
    Raises: DataError if trials is below 1 or the variance is negative.   Source: Bailey and Lopez de Prado (2014).
    """
    if not trials >= 1 or not variance >= 0:
        raise DataError("at least one trial, and no negative variance", found=(trials, variance), where="trials")
    if trials == 1:
        return 0.0
    high, higher = (_NORMAL.inv_cdf(1.0 - 1.0 / (trials * c)) for c in (1.0, 2.718281828))
    # Between one and two trials the first quantile falls below zero; luck never makes the best worse than nothing.
    return max(0.0, math.sqrt(variance) * ((1.0 - _EULER) * high + _EULER * higher))


def deflated_sharpe(
    sharpe: float, *, count: int, trials: float, variance: float, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """The probability that the true Sharpe ratio exceeds what the best of so many worthless trials would show.

    Unit: `sharpe` and `variance` (of the trials' ratios) per period.   Missing: as in probabilistic_sharpe.
    """
    luck = expected_max_sharpe(trials, variance)
    return probabilistic_sharpe(sharpe, count=count, skew=skew, kurtosis=kurtosis, benchmark=luck)


def min_track_record(
    sharpe: float, *, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0, confidence: float = 0.95
) -> float:
    """How many periods are needed before the Sharpe ratio exceeds the benchmark with this confidence.

    Missing: a ratio at or below the benchmark never gets there: infinity.
    """
    if not 0.5 < confidence < 1.0:
        raise DataError("a confidence lies between 0.5 and 1", found=confidence, where="confidence")
    spread = _sharpe_spread(sharpe, skew, kurtosis)
    if not math.isfinite(spread):
        return math.nan
    if sharpe <= benchmark:
        return math.inf
    return 1.0 + (spread * _NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2


def wilson_interval(hits: int, count: int, *, level: float = 0.95) -> Interval:
    """A hit rate and the interval around it that stays inside [0, 1].   Missing: no tries give NaN."""
    _check_hits(hits, count)
    if count == 0:
        return Interval(math.nan, math.nan, math.nan)
    z, rate = _NORMAL.inv_cdf((1.0 + level) / 2.0), hits / count
    middle = (rate + z * z / (2 * count)) / (1.0 + z * z / count)
    reach = z / (1.0 + z * z / count) * math.sqrt(rate * (1.0 - rate) / count + z * z / (4.0 * count * count))
    return Interval(rate, max(0.0, middle - reach), min(1.0, middle + reach))


def binomial_p(hits: int, count: int, *, chance: float = 0.5) -> float:
    """The exact probability of a hit count at least as unlikely as this one if only chance is at work (two-sided).

    Missing: no tries give NaN.   Raises: DataError unless 0 <= hits <= count and 0 < chance < 1.
    """
    from scipy.special import gammaln

    _check_hits(hits, count)
    if not 0.0 < chance < 1.0:
        raise DataError("a chance lies strictly between 0 and 1", found=chance, where="chance")
    if count == 0:
        return math.nan
    k = np.arange(count + 1.0)
    ways = gammaln(count + 1.0) - gammaln(k + 1.0) - gammaln(count - k + 1.0)
    weight = ways + k * math.log(chance) + (count - k) * math.log1p(-chance)
    # Mirror outcomes differ by rounding alone and are equally unlikely.
    return float(min(1.0, np.exp(weight[weight <= weight[hits] + 1e-9]).sum()))


def _resample(T: int, draws: int, block: float, rng: np.random.Generator) -> NDArray[np.int64]:
    step = np.arange(T)[:, None]
    starts = rng.random((T, draws)) < 1.0 / block
    starts[0] = True
    origin = rng.integers(0, T, (T, draws))
    since = np.maximum.accumulate(np.where(starts, step, 0), axis=0)
    rows: NDArray[np.int64] = (np.take_along_axis(origin, since, axis=0) + step - since) % T
    return rows


def _known_rows(*series: ArrayLike) -> list[NDArray[np.float64]]:
    columns = [np.asarray(values, dtype=np.float64) for values in series]
    if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns):
        shapes = [column.shape for column in columns]
        raise AxisError("inference reads series (T,) of one length", found=shapes, where="series")
    known = np.logical_and.reduce([np.isfinite(column) for column in columns])
    return [column[known][:, None] for column in columns]


def _sharpe_spread(sharpe: float, skew: float, kurtosis: float) -> float:
    squared = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    return math.sqrt(squared) if squared > 0 else math.nan


def _check_hits(hits: int, count: int) -> None:
    if not 0 <= hits <= count:
        raise DataError("hits lie between zero and the number of tries", found=f"{hits} of {count}", where="hits")
