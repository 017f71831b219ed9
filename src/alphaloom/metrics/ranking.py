"""Does the score order the assets? Per date, over the assets whose score and later return are both known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError, DataError
from alphaloom.metrics.inference import newey_west

__all__ = [
    "ic",
    "ic_decay",
    "ic_summary",
    "monotonicity",
    "quantile_returns",
    "rank_autocorrelation",
    "rank_ic",
    "spread",
]

Grid = NDArray[np.float64]


def ic(signal: ArrayLike, target: ArrayLike, *, min_pairs: int = 10) -> Grid:
    """The information coefficient of each date: correlation of scores with the returns that followed.

    Shape: (T, N), (T, N) -> (T,).   Time: row t of the target lies in the future of row t; never feed it back.
    Missing: dates with fewer than `min_pairs` finite pairs, or with a side that does not vary, are NaN.
    """
    return _per_date(signal, target, False, min_pairs)


def rank_ic(signal: ArrayLike, target: ArrayLike, *, min_pairs: int = 10) -> Grid:
    """The rank information coefficient of each date: the same on ranks, ties sharing their mean rank.

    Shape: (T, N), (T, N) -> (T,).   Missing: as in `ic`.
    """
    return _per_date(signal, target, True, min_pairs)


def ic_summary(values: ArrayLike, *, periods_per_year: float, horizon: int = 1) -> dict[str, float]:
    """What a series of information coefficients adds up to.

    `ir` is mean / std (ddof 1) per date, `annual_ir` the same times sqrt(P); `t` takes Newey-West errors with lag
    horizon - 1, because returns over h bars overlap; `hit_rate` is the share of dates above zero.
    Missing: NaN dates are left out.   Raises: DataError if the horizon is below 1.
    """
    if horizon < 1:
        raise DataError("a horizon is at least one bar", found=horizon, where="horizon")
    series = np.asarray(values, dtype=np.float64)
    test = newey_west(series, lag=horizon - 1)
    known = series[np.isfinite(series)]
    std = float(known.std(ddof=1)) if len(known) > 1 else math.nan
    ratio = test.mean / std if std > 1e-13 * abs(test.mean) else math.nan
    return {
        "mean": test.mean,
        "std": std,
        "ir": ratio,
        "annual_ir": ratio * math.sqrt(periods_per_year),
        "t": test.t,
        "hit_rate": float((known > 0).mean()) if len(known) else math.nan,
        "count": float(len(known)),
    }


def ic_decay(
    signal: ArrayLike,
    target: Callable[[int], ArrayLike] | Mapping[int, ArrayLike],
    *,
    horizons: Iterable[int] = range(1, 21),
    min_pairs: int = 10,
) -> dict[str, NDArray[np.float64]]:
    """How the mean information coefficient fades as the returns reach further.

    `target` maps a horizon h to the (T, N) returns over h bars.
    Shape: -> arrays (H,): horizon, ic, ic_se, rank_ic, rank_ic_se, with Newey-West errors of lag h - 1.
    """
    rows = []
    for h in horizons:
        later = target[h] if isinstance(target, Mapping) else target(h)
        plain = newey_west(ic(signal, later, min_pairs=min_pairs), lag=h - 1)
        ranked = newey_west(rank_ic(signal, later, min_pairs=min_pairs), lag=h - 1)
        rows.append((float(h), plain.mean, plain.error, ranked.mean, ranked.error))
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    names = ("horizon", "ic", "ic_se", "rank_ic", "rank_ic_se")
    return {name: table[:, k] for k, name in enumerate(names)}


def rank_autocorrelation(signal: ArrayLike, *, lag: int = 1, min_pairs: int = 10) -> Grid:
    """How much of the order of the assets is still there `lag` bars later; near 1 means little trading.

    Shape: (T, N) -> (T,).   Time: rows t-lag and t.   Missing: the first `lag` rows are NaN.
    """
    if lag < 1:
        raise DataError("a lag is at least one bar", found=lag, where="lag")
    scores, _ = _grids(signal, signal)
    out = np.full(len(scores), np.nan)
    if len(scores) > lag:
        out[lag:] = _per_date(scores[lag:], scores[:-lag], True, min_pairs)
    return out


def quantile_returns(signal: ArrayLike, target: ArrayLike, *, quantiles: int = 5, min_pairs: int = 10) -> Grid:
    """The mean later return of the worst-scored bucket, the next, ... the best, date by date.

    Shape: (T, N), (T, N) -> (T, Q), the best bucket last.
    Missing: pairs with a NaN are left out; dates below `min_pairs` and empty buckets are NaN. Assets with equal
    scores share one bucket, that of their mean rank, so the order of columns cannot matter.
    """
    from alphaloom.metrics.kernels import bucket_means

    if quantiles < 2:
        raise DataError("at least two buckets", found=quantiles, where="quantiles")
    scores, later = _grids(signal, target)
    means: Grid = bucket_means(scores, later, quantiles, min_pairs)
    return means


def spread(buckets: ArrayLike) -> Grid:
    """The best bucket minus the worst, date by date.   Shape: (T, Q) -> (T,)."""
    table = np.asarray(buckets, dtype=np.float64)
    return table[:, -1] - table[:, 0]


def monotonicity(buckets: ArrayLike) -> float:
    """Whether better buckets earn more on average: rank correlation of bucket number and mean return, in [-1, 1].

    Shape: (T, Q) -> a number.   Missing: NaN dates are left out of a bucket's mean; an unknown bucket gives NaN.
    """
    from alphaloom.metrics.kernels import correlations

    table = np.asarray(buckets, dtype=np.float64)
    known = np.isfinite(table)
    count = known.sum(axis=0)
    if not count.all() or table.shape[1] < 2:
        return math.nan
    means = np.where(known, table, 0.0).sum(axis=0) / count
    numbers = np.arange(table.shape[1], dtype=np.float64)
    return float(correlations(numbers[None, :], means[None, :], True, 2)[0])


def _per_date(signal: ArrayLike, target: ArrayLike, ranked: bool, min_pairs: int) -> Grid:
    from alphaloom.metrics.kernels import correlations

    scores, later = _grids(signal, target)
    found: Grid = correlations(scores, later, ranked, min_pairs)
    return found


def _grids(signal: ArrayLike, target: ArrayLike) -> tuple[Grid, Grid]:
    scores = np.ascontiguousarray(signal, dtype=np.float64)
    later = np.ascontiguousarray(target, dtype=np.float64)
    if scores.ndim != 2 or scores.shape != later.shape:
        raise AxisError(
            "scores and returns are both (T, N)",
            found=f"{scores.shape} and {later.shape}",
            where="ranking",
            fix="align both to one panel first",
        )
    return scores, later
