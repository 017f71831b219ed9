"""The numbers of an arena: over seeds, over resamples, over trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.metrics import inference, overfitting, performance
from alphaloom.study.result import StudyResult
from alphaloom.study.scoring import DRAWS

__all__ = [
    "Luck",
    "Measure",
    "Picking",
    "Spread",
    "deflated",
    "gross_of",
    "luck_of",
    "number",
    "paired",
    "picking_of",
    "rank_ic_of",
    "resampled",
    "spread_of",
]

Floats = NDArray[np.float64]
BLOCKS = 16


@dataclass(frozen=True, eq=False)
class Measure:
    """What ratios are measured with: bars of a year, the riskless return of each bar, the seed of resampling."""

    periods_per_year: float
    rf: Floats
    seed: int = 0

    def sharpe(self, returns: Floats) -> Any:
        """Sharpe ratios a year.   Shape: (K,) -> float, (K, n) -> (n,)."""
        return performance.sharpe(returns, periods_per_year=self.periods_per_year, rf=self.rf)


@dataclass(frozen=True)
class Spread:
    """A number over the seeds: mean, 95 % t interval, least and most; and the interval that resampling gives the mean.

    Missing: with one seed there is no t interval; a number that no seed has is None.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None
    drawn_low: float | None = None
    drawn_high: float | None = None
    seeds: int = 0


def spread_of(
    values: Sequence[float | None], drawn: inference.Interval | None = None, *, share: bool = False
) -> Spread:
    """The spread of one number over seeds; the interval of a `share` or a probability stays between 0 and 1."""
    from scipy.special import stdtrit

    known = np.array([value for value in values if value is not None and math.isfinite(value)], dtype=np.float64)
    if not len(known):
        return Spread(None)
    mean, n = float(known.mean()), len(known)
    reach = None
    # Seeds that all gave the same say nothing about their scatter.
    if n > 1 and np.ptp(known) > 1e-12 * np.abs(known).max():
        reach = float(stdtrit(n - 1, 0.975) * known.std(ddof=1) / math.sqrt(n))
    return Spread(
        mean,
        None if reach is None else max(mean - reach, 0.0) if share else mean - reach,
        None if reach is None else min(mean + reach, 1.0) if share else mean + reach,
        float(known.min()),
        float(known.max()),
        None if drawn is None else number(drawn.low),
        None if drawn is None else number(drawn.high),
        n,
    )


def number(value: Any) -> float | None:
    """A finite float, or None; of a number with an interval the number."""
    if isinstance(value, Mapping):
        value = value.get("value")
    return float(value) if value is not None and math.isfinite(value) else None


def gross_of(result: StudyResult) -> Floats:
    """What the same trades would have earned without costs.   Shape: (K,)."""
    daily = result.daily
    equity, returns = daily["equity"], daily["returns"]
    first = equity[0] / (1.0 + returns[0]) if returns[0] > -1.0 else equity[0]
    before = np.concatenate([[first], equity[:-1]])
    alive = before > 0.0
    return np.asarray(returns + np.where(alive, daily["cost"] / np.where(alive, before, 1.0), 0.0))


def rank_ic_of(result: StudyResult) -> Floats | None:
    """The rank IC of each bar; None without a signal.   Shape: (K,)."""
    return np.asarray(result.ic["rank_ic"], dtype=np.float64) if result.ic else None


def resampled(columns: Floats, measure: Measure, *, active: bool = False) -> inference.Interval:
    """The interval of the mean Sharpe ratio of several series that are resampled together.

    Shape: columns (K, n).   With `active` no riskless rate is subtracted.
    """
    rate = np.zeros(len(columns)) if active else measure.rf
    yearly = math.sqrt(measure.periods_per_year)

    def mean_ratio(*series: Floats) -> Floats:
        *plain, riskless = series
        found = [_ratio(values, riskless) * yearly for values in plain]
        return np.asarray(np.mean(found, axis=0))

    block = max(inference.block_length(column - rate) for column in columns.T)
    return inference.bootstrap_interval(mean_ratio, (*columns.T, rate), seed=measure.seed, draws=DRAWS, block=block)


def paired(whole: Floats, without: Floats, measure: Measure, *, sharpe: bool) -> inference.Interval:
    """The difference of two things, whole minus without, and its interval when both are resampled together.

    Shape: (K, n) each, the same seeds in the same columns. A difference of mean Sharpe ratios, or of means.
    """
    n = whole.shape[1]
    yearly = math.sqrt(measure.periods_per_year)
    rate = measure.rf if sharpe else np.zeros(len(whole))

    def gap(*series: Floats) -> Floats:
        *plain, riskless = series
        found = [_ratio(values, riskless) * yearly if sharpe else np.asarray(values.mean(axis=0)) for values in plain]
        return np.asarray(np.mean(found[:n], axis=0) - np.mean(found[n:], axis=0))

    block = max(inference.block_length(column) for column in (whole - without).T)
    return inference.bootstrap_interval(gap, (*whole.T, *without.T, rate), seed=measure.seed, draws=DRAWS, block=block)


def _ratio(values: Floats, rate: Floats) -> Floats:
    """Mean above the rate for each unit of deviation, per bar.   Shape: (K, draws) -> (draws,)."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    spread = values.std(axis=0, ddof=1)
    varies = spread > 1e-13 * np.abs(values).max(axis=0)
    return np.where(varies, (values - rate).mean(axis=0) / np.where(varies, spread, 1.0), np.nan)


@dataclass(frozen=True)
class Luck:
    """How many things were tried, and how far the Sharpe ratios of worthless ones scatter.

    `listed` counts every run with its own trials, runs with equal returns once; `effective` counts clusters of runs
    whose returns correlate by half or more, and the unseen trials of each study once. `variance` is that of worthless
    ratios over as many bars, per bar. `measured` is that of the clusters' own ratios, which also holds what they
    really differ by in skill and in costs: one very bad trial would raise it and with it the bar for all others, so it
    is shown and does not decide.
    """

    listed: int
    effective: int
    clusters: int
    variance: float
    measured: float


def luck_of(columns: Floats, own: Sequence[int], *, unseen: int) -> Luck:
    """Count the trials.   Shape: columns (K, n) of returns; `own` n counts, `unseen` trials without returns."""
    known = columns[np.isfinite(columns).all(axis=1)]
    found = overfitting.effective_trials(known)
    different = set(_distinct(columns))
    counted = sum(count for place, count in enumerate(own) if place in different)
    chance = 1.0 / max(len(known) - 1, 1)
    return Luck(counted, found.count + unseen, found.count, chance, found.variance)


def deflated(returns: Floats, luck: Luck, *, trials: int, rf: Floats | float = 0.0) -> float:
    """The probability that the Sharpe ratio exceeds what the best of so many worthless trials would show."""
    facts = performance.summary(returns, periods_per_year=1.0, rf=rf)
    return inference.deflated_sharpe(
        float(facts["sharpe"]),
        count=int(np.isfinite(returns).sum()),
        trials=trials,
        variance=luck.variance,
        skew=float(facts["skew"]),
        kurtosis=float(facts["kurtosis"]),
    )


@dataclass(frozen=True, eq=False)
class Picking:
    """What picking the best trial is worth: PBO over whole returns, and the same over returns above equal weight.

    `loss` is the share of halves in which the pick, chosen by its returns above equal weight, falls behind it.
    Missing: None with fewer than two different trials or too few bars.
    """

    pbo: float | None
    loss: float | None
    active_pbo: float | None
    slope: float | None
    distinct: int
    logits: Floats


def picking_of(columns: Floats, active: Floats) -> Picking:
    """Combinatorially symmetric cross-validation over all different trials.   Shape: (K, n) each."""
    keep = _distinct(columns)
    rows = np.isfinite(columns).all(axis=1) & np.isfinite(active).all(axis=1)
    whole, above = columns[rows][:, keep], active[rows][:, keep]
    if len(keep) < 2 or len(whole) < 2 * BLOCKS:
        return Picking(None, None, None, None, len(keep), np.empty(0))
    found, over = (overfitting.overfitting(part, blocks=BLOCKS) for part in (whole, above))
    return Picking(
        found.probability, over.loss_probability, over.probability, number(found.slope), len(keep), found.logits
    )


def _distinct(columns: Floats) -> list[int]:
    """The first of each group of equal columns: the same returns twice are one trial."""
    seen: dict[bytes, int] = {}
    for place, column in enumerate(columns.T):
        seen.setdefault(np.ascontiguousarray(column).tobytes(), place)
    return list(seen.values())
