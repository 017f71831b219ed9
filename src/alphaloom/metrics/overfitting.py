"""Was it picked from too many? The chance that the best trial of the past is a poor one of the future."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError, DataError

__all__ = ["Overfitting", "Trials", "effective_trials", "overfitting"]

_CELLS = 4_000_000  # numbers held at once while halves are compared


@dataclass(frozen=True, eq=False)
class Overfitting:
    """What combinatorially symmetric cross-validation says about picking the best of n trials.

    `probability` is the share of halves whose best trial lands in the lower part of the other half (logit <= 0).
    `loss_probability` is the share whose best trial loses money there. `slope` is that of the other half's Sharpe
    ratio on the picking half's; below zero, the better it looked the worse it did. `first_order` and `second_order`
    say whether the picked trials stochastically dominate a random pick.
    Shape: logits, picked (Sharpe ratio in the picking half) and realised (in the other) have one entry a half.
    """

    probability: float
    loss_probability: float
    slope: float
    first_order: bool
    second_order: bool
    logits: NDArray[np.float64]
    picked: NDArray[np.float64]
    realised: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trials:
    """Trials counted by what sets them apart: clusters of alike ones, and the variance of the clusters' Sharpe ratios.

    `variance` is per period (ddof 1) and fits `deflated_sharpe`; it is 0 for a single cluster.
    """

    count: int
    variance: float
    clusters: NDArray[np.int64]


def overfitting(trials: ArrayLike, *, blocks: int = 16) -> Overfitting:
    """The probability of backtest overfitting: split time into blocks, pick the best on each half, look at the rest.

    Shape: trials (T, n) of returns per period; all C(S, S/2) halves of S blocks are compared by Sharpe ratio.
    Missing: periods where any trial is NaN are left out; a trial that never varies in a half has Sharpe ratio 0.
    Raises: DataError unless S is even and every block has two periods and there are two trials.
    Source: Bailey, Borwein, Lopez de Prado and Zhu (2017).
    """
    returns = _table(trials)
    T, n = returns.shape
    if blocks < 2 or blocks % 2 or 2 * blocks > T or n < 2:
        raise DataError(
            "the blocks are an even number with two known periods each, for at least two trials",
            found=f"{blocks} blocks, {T} periods, {n} trials",
            where="overfitting",
        )
    parts = np.array_split(returns - returns.mean(axis=0), blocks)
    means = returns.mean(axis=0)
    sums = np.array([part.sum(axis=0) for part in parts])
    squares = np.array([(part**2).sum(axis=0) for part in parts])
    counts = np.array([float(len(part)) for part in parts])
    halves = np.zeros((math.comb(blocks, blocks // 2), blocks))
    for row, chosen in zip(halves, combinations(range(blocks), blocks // 2), strict=True):
        row[list(chosen)] = 1.0
    step = max(1, _CELLS // n)
    pieces = [_compare(halves[k : k + step], (counts, sums, squares), means) for k in range(0, len(halves), step)]
    picked, realised, share, everyone = (np.concatenate([piece[k] for piece in pieces]) for k in range(4))
    logits = np.log(share / (1.0 - share))
    first, second = _dominates(realised, everyone)
    return Overfitting(
        probability=float((logits <= 0).mean()),
        loss_probability=float((realised < 0).mean()),
        slope=_slope(picked, realised),
        first_order=first,
        second_order=second,
        logits=logits,
        picked=picked,
        realised=realised,
    )


def effective_trials(trials: ArrayLike, *, alike: float = 0.5) -> Trials:
    """How many different things were really tried: clusters of trials whose returns correlate.

    Trials join one cluster while their mean correlation with it is at least `alike` (average linkage on the distance
    sqrt((1 - rho) / 2)). A cluster's Sharpe ratio is that of the mean of its members, each scaled to equal volatility.
    Shape: trials (T, n).   Missing: periods where any trial is NaN are left out; steady trials are one cluster.
    """
    returns = _table(trials)
    n = returns.shape[1]
    if n == 0 or len(returns) < 2 or not -1.0 < alike < 1.0:
        raise DataError(
            "counting trials needs two known periods, one trial and a correlation in (-1, 1)",
            found=f"{returns.shape}, alike={alike}",
            where="effective_trials",
        )
    spread = returns.std(axis=0, ddof=1)
    moving = spread > 1e-13 * np.abs(returns).max(axis=0)
    scaled = np.where(moving, returns, 0.0) / np.where(moving, spread, 1.0)
    clusters = _clusters(scaled - scaled.mean(axis=0), alike)
    if not moving.all():
        clusters = np.where(moving, clusters, clusters.max() + 1)
    _, clusters = np.unique(clusters, return_inverse=True)
    count = int(clusters.max()) + 1
    ratios = []
    for label in range(count):
        blend = scaled[:, clusters == label].mean(axis=1)
        risk = blend.std(ddof=1)
        ratios.append(blend.mean() / risk if risk > 0 else 0.0)
    return Trials(count, float(np.var(ratios, ddof=1)) if count > 1 else 0.0, clusters.astype(np.int64))


def _table(trials: ArrayLike) -> NDArray[np.float64]:
    returns = np.asarray(trials, dtype=np.float64)
    if returns.ndim != 2:
        raise AxisError("trials are (T, n), one column each", found=returns.shape, where="trials")
    return returns[np.isfinite(returns).all(axis=1)]


def _half_sharpe(
    halves: NDArray[np.float64],
    facts: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    means: NDArray[np.float64],
) -> NDArray[np.float64]:
    # Sums are taken around each trial's whole mean, so squares cannot swamp the variance.
    counts, sums, squares = facts
    n = (halves @ counts)[:, None]
    mean = halves @ sums / n
    variance = (halves @ squares / n - mean**2) * n / (n - 1.0)
    level = mean + means
    steady = variance <= (1e-12 * level) ** 2
    return np.where(steady, 0.0, level / np.sqrt(np.where(steady, 1.0, variance)))


def _compare(
    halves: NDArray[np.float64],
    facts: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    means: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    inside, outside = _half_sharpe(halves, facts, means), _half_sharpe(1.0 - halves, facts, means)
    row, best = np.arange(len(halves)), inside.argmax(axis=1)
    realised = outside[row, best]
    below = (outside < realised[:, None]).sum(axis=1)
    ties = (outside == realised[:, None]).sum(axis=1)
    rank = below + (ties + 1.0) / 2.0
    if outside.shape[1] > 100:  # a hundred evenly spaced ranks say enough about the distribution of a random pick
        spaced = np.linspace(0, outside.shape[1] - 1, 100).round().astype(np.intp)
        everyone = np.sort(outside, axis=1)[:, spaced]
    else:
        everyone = outside
    return inside[row, best], realised, rank / (outside.shape[1] + 1.0), everyone.ravel()


def _dominates(picked: NDArray[np.float64], everyone: NDArray[np.float64]) -> tuple[bool, bool]:
    grid = np.linspace(min(picked.min(), everyone.min()), max(picked.max(), everyone.max()), 512)
    ours = np.searchsorted(np.sort(picked), grid, side="right") / len(picked)
    theirs = np.searchsorted(np.sort(everyone), grid, side="right") / len(everyone)
    gap = theirs - ours
    different = bool(gap.max() > 1e-12)
    area = np.cumsum(gap)
    return different and bool((gap >= -1e-12).all()), different and bool((area >= -1e-9).all())


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    d = x - x.mean()
    spread = float(d @ d)
    return float(d @ (y - y.mean())) / spread if spread > 1e-24 * len(x) else math.nan


def _clusters(centred: NDArray[np.float64], alike: float) -> NDArray[np.int64]:
    n = centred.shape[1]
    if n == 1:
        return np.zeros(1, np.int64)
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    rho = np.clip(centred.T @ centred / (len(centred) - 1), -1.0, 1.0)
    apart = np.sqrt((1.0 - rho) / 2.0)
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform((apart + apart.T) / 2.0, checks=False), method="average")
    found: NDArray[np.int64] = fcluster(tree, math.sqrt((1.0 - alike) / 2.0), criterion="distance")
    return found
