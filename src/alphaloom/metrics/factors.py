"""Do these factors order the assets? Hundreds at once, with every row of every factor sorted a single time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError, DataError

__all__ = [
    "FactorScores",
    "MeanTests",
    "RankedTargets",
    "benjamini_hochberg",
    "expected_max_t",
    "factor_scores",
    "mean_rank_correlation",
    "mean_tests",
    "normal_p",
    "rank_targets",
    "related_order",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RankedTargets:
    """Returns over several horizons, sorted once so that every factor can be held against them cheaply.

    Shape: H horizons; order, ranks, has, centred (H, T, N); facts (H, T, 4): count, ties, mean, sum of squares.
    Missing: non-members and unknown returns are in no row.
    """

    horizons: tuple[int, ...]
    member: NDArray[np.bool_]
    order: NDArray[np.int32]
    ranks: NDArray[np.int32]
    has: NDArray[np.uint8]
    centred: NDArray[np.float32]
    facts: Floats


@dataclass(frozen=True, eq=False)
class FactorScores:
    """What a batch of B factors showed, date by date; NaN where too few assets were known.

    Shape: ic, rank_ic (H, B, T); buckets (H, B, T, Q), mean return of each bucket, the best-scored last; turnover
    (B, T, Q), the share of a bucket that was not in it a row ago; autocorrelation (L, B, T) of ranks; known (B, T),
    members with a value; ranks (S, N, B), standardised ranks of the sampled rows.
    """

    ic: Floats
    rank_ic: Floats
    buckets: Floats
    turnover: Floats
    autocorrelation: Floats
    known: NDArray[np.int64]
    ranks: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MeanTests:
    """Means of many series with Newey-West errors.   Shape: (K,) each, or as the series without their time axis."""

    mean: Floats
    error: Floats
    t: Floats
    count: Floats


def rank_targets(targets: Mapping[int, ArrayLike], *, member: ArrayLike) -> RankedTargets:
    """Sort the returns of every date once, for all the factors that will be held against them.

    `targets` maps a horizon in bars to returns (T, N); `member` (T, N) is the universe of each date.
    Raises: AxisError unless all shapes agree, DataError without a target.
    """
    from alphaloom.metrics.factor_kernels import order_targets

    inside = np.ascontiguousarray(member, dtype=np.bool_)
    horizons = tuple(targets)
    if not horizons or min(horizons) < 1:
        raise DataError("factors are judged over horizons of at least one bar", found=horizons, where="targets")
    if inside.ndim != 2:
        raise AxisError("a universe is (T, N)", found=inside.shape, where="member")
    shape = (len(horizons), *inside.shape)
    order, ranks = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    has, centred, facts = np.zeros(shape, np.uint8), np.zeros(shape, np.float32), np.zeros((*shape[:2], 4))
    for h, values in enumerate(targets.values()):
        later = np.ascontiguousarray(values, dtype=np.float64)
        if later.shape != inside.shape:
            raise AxisError(
                "returns and universe are both (T, N)", found=f"{later.shape} and {inside.shape}", where="targets"
            )
        order_targets(later, inside, order[h], ranks[h], has[h], centred[h], facts[h])
    return RankedTargets(horizons, inside, order, ranks, has, centred, facts)


def factor_scores(
    values: NDArray[np.float32],
    targets: RankedTargets,
    *,
    quantiles: int = 5,
    lags: Sequence[int] = (1, 5),
    min_pairs: int = 10,
    sample: Sequence[int] = (),
    threads: int = 1,
) -> FactorScores:
    """Every date's coefficients, bucket returns, turnover and rank autocorrelation of a batch of factors.

    Shape: values (T, N, B); `sample` lists the rows whose standardised ranks are kept.
    Time: row t of a factor is held against returns that lie in its future; nothing of it may be fed back.
    Missing: as in `rank_ic` and `quantile_returns`, over the members of each date; answers do not depend on `threads`.
    Raises: AxisError for a shape that does not fit the targets; DataError for fewer than two quantiles or a lag of 0.
    """
    from alphaloom.metrics.factor_kernels import judge

    if values.ndim != 3 or values.shape[:2] != targets.member.shape:
        raise AxisError("factors are (T, N, B)", found=f"{values.shape}, {targets.member.shape}", where="values")
    if not 2 <= quantiles <= 100 or any(lag < 1 for lag in lags):
        raise DataError(
            "two to a hundred quantiles, lags of at least a bar", found=(quantiles, tuple(lags)), where="factor_scores"
        )
    T, N, B = values.shape
    # The engine keeps its factors one after the other in memory, so this is no copy.
    given = np.ascontiguousarray(np.moveaxis(values, 2, 0), dtype=np.float32)
    H, places = len(targets.horizons), np.full(T, -1, np.int64)
    places[list(sample)] = np.arange(len(sample))
    out: tuple[NDArray[Any], ...] = (
        np.full((H, B, T), np.nan),
        np.full((H, B, T), np.nan),
        np.full((H, B, T, quantiles), np.nan),
        np.full((B, T, quantiles), np.nan),
        np.full((len(lags), B, T), np.nan),
        np.zeros((B, T), np.int64),
        np.full((len(sample), N, B), np.nan, np.float32),
    )
    prepared = (targets.order, targets.ranks, targets.has, targets.centred, targets.facts)
    rules = (np.array(lags, np.int64), max(min_pairs, 2), places)

    def work(columns: NDArray[np.int64]) -> None:
        judge(given, given.view(np.uint32), targets.member, columns, *prepared, *rules, *out)

    parts = [part for part in np.array_split(np.arange(B), max(1, threads)) if len(part)]
    if len(parts) == 1:
        work(parts[0])
    else:
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(work, parts))
    return FactorScores(*out)


def mean_tests(series: ArrayLike, *, lag: int = 0) -> MeanTests:
    """The mean of each of many series, its Newey-West error and t: `newey_west` for all of them at once.

    Shape: (..., T) -> (...).   Missing: NaN left out, as in `newey_west`.   Raises: DataError for a negative lag.
    """
    from alphaloom.metrics.factor_kernels import mean_errors

    if lag < 0:
        raise DataError("a lag is not negative", found=lag, where="lag")
    table = np.asarray(series, dtype=np.float64)
    found = mean_errors(np.ascontiguousarray(table.reshape(-1, table.shape[-1])), lag)
    return MeanTests(*(part.reshape(table.shape[:-1]) for part in found))


def mean_rank_correlation(ranks: NDArray[np.float32]) -> Floats:
    """How alike factors order the assets: their rank correlation, averaged over the sampled dates.

    Shape: standardised ranks (S, N, F) -> (F, F).
    Missing: a date counts for a pair with at least ten shared assets; ranks stay those among all assets of a factor.
    A pair without such a date is NaN.
    """
    F = ranks.shape[2]
    total, dates = np.zeros((F, F)), np.zeros((F, F))
    for rows in ranks:
        holds = np.isfinite(rows)
        known = holds.any(axis=1)
        rows, holds = rows[known], holds[known]
        z = np.where(holds, rows, np.float32(0.0))
        columns = holds.any(axis=0)
        if holds[:, columns].all():
            found = z.T @ z / np.float32(max(len(z), 1))
            good = columns[:, None] & columns[None, :] & (len(z) >= 10)
        else:
            found, good = _pairwise(z, holds.astype(np.float32))
        total += np.where(good, np.clip(found, -1.0, 1.0), 0.0)
        dates += good
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(dates > 0, total / np.where(dates > 0, dates, 1.0), np.nan)
    return mean


def _pairwise(z: NDArray[np.float32], m: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    n, s, q, p = m.T @ m, z.T @ m, (z * z).T @ m, z.T @ z
    n1 = np.maximum(n, 1.0)
    top = p - s * s.T / n1
    xx = q - s * s / n1
    below = xx * xx.T
    good = (n >= 10) & (xx > 1e-3) & (xx.T > 1e-3)
    return np.where(good, top / np.sqrt(np.where(good, below, 1.0)), 0.0), good


def related_order(correlation: ArrayLike, *, alike: float = 0.5) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order in which related factors stand side by side, and the number of the cluster of each factor.

    Factors are related by the size of their correlation, whatever its sign (average linkage on 1 - |rho|); a cluster
    holds those that are alike by at least `alike` on average. Clusters are numbered along the order, from 0.
    Shape: (F, F) -> (F,), (F,).   Missing: an unknown correlation counts as none.
    """
    rho = np.abs(np.nan_to_num(np.asarray(correlation, dtype=np.float64)))
    F = len(rho)
    if F < 2:
        return np.arange(F), np.zeros(F, np.int64)
    from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
    from scipy.spatial.distance import squareform

    apart = 1.0 - np.clip((rho + rho.T) / 2.0, 0.0, 1.0)
    np.fill_diagonal(apart, 0.0)
    # The best order of the leaves costs the cube of their number.
    tree = linkage(squareform(apart, checks=False), method="average", optimal_ordering=F <= 300)
    order = np.asarray(leaves_list(tree), dtype=np.int64)
    labels = fcluster(tree, 1.0 - alike, criterion="distance")[order]
    _, first = np.unique(labels, return_index=True)
    number = {int(labels[at]): k for k, at in enumerate(np.sort(first))}
    clusters = np.empty(F, np.int64)
    clusters[order] = [number[int(label)] for label in labels]
    return order, clusters


def normal_p(t: ArrayLike) -> Floats:
    """The chance of a t at least this far from zero if only noise is at work (two-sided, normal).

    Missing: NaN stays NaN.
    """
    from scipy.special import ndtr

    return 2.0 * np.asarray(ndtr(-np.abs(np.asarray(t, dtype=np.float64))))


def benjamini_hochberg(p: ArrayLike, *, level: float = 0.05) -> NDArray[np.bool_]:
    """Which findings stand if at most `level` of those that stand may be false on average.

    Shape: (F,) -> (F,).   Missing: an unknown chance stands for no finding and counts as a trial.
    Raises: DataError unless the level lies between 0 and 1.   Source: Benjamini and Hochberg (1995).
    """
    if not 0.0 < level < 1.0:
        raise DataError("a level lies strictly between 0 and 1", found=level, where="level")
    chance = np.nan_to_num(np.asarray(p, dtype=np.float64), nan=1.0)
    F = len(chance)
    ordered = np.sort(chance)
    passing = np.flatnonzero(ordered <= level * np.arange(1, F + 1) / max(F, 1))
    bound = ordered[passing[-1]] if len(passing) else -1.0
    return np.asarray(chance <= bound) & np.isfinite(np.asarray(p, dtype=np.float64))


def expected_max_t(trials: int) -> float:
    """The largest |t| that so many worthless and independent factors show on average: the mark to beat.

    One trial gives sqrt(2 / pi).   Raises: DataError below one trial.
    """
    from scipy.special import ndtr

    if trials < 1:
        raise DataError("at least one trial", found=trials, where="trials")
    grid = np.linspace(0.0, 12.0, 12_001)
    below = (2.0 * ndtr(grid) - 1.0) ** trials
    steps = (1.0 - below[1:] + 1.0 - below[:-1]) / 2.0
    return math.fsum(steps.tolist()) * float(grid[1])
