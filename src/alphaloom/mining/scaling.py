"""Values of formulas as the pool sees them: each date with mean 0 and length 1, outliers held."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import FactorSet, evaluate
from alphaloom.panel import Panel

__all__ = ["Standard", "daily_products", "member_values", "standard_target", "standardised"]


class Standard(NamedTuple):
    """Standardised values.   Shape: z (S, N) float32, 0 where not known; b (S,) inner products; good (S,) dates."""

    z: NDArray[np.float32]
    b: NDArray[np.float64]
    good: NDArray[np.bool_]


def standardised(values: NDArray[Any], target: NDArray[Any], *, clip: float, least: int) -> Standard:
    """Each date's values with mean 0 and length 1 over the cells where `target` is known.

    Shape: (S, N), (S, N).   Missing: a date with fewer than `least` known values, or with equal ones, is all 0.
    """
    from alphaloom.mining.judge_kernels import standardise

    S, N = values.shape
    z, b, facts = np.empty((S, N), np.float32), np.empty(S), np.empty((S, 2))
    standardise(np.ascontiguousarray(values), np.ascontiguousarray(target, np.float64), least, clip, z, b, facts)
    return Standard(z, b, (facts[:, 0] >= least) & (facts[:, 1] == 0.0))


def standard_target(returns: NDArray[Any], member: NDArray[np.bool_], *, least: int) -> NDArray[np.float64]:
    """Returns of the members with mean 0 and length 1 on each date; NaN where not known.   Shape: (S, N)."""
    known = member & np.isfinite(returns)
    out = standardised(np.where(known, returns, np.nan), np.where(known, 0.0, np.nan), clip=0.0, least=least)
    return np.where(known & out.good[:, None], out.z.astype(np.float64), np.nan)


def member_values(
    factors: FactorSet, panel: Panel, *, clip: float, least: int, threads: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Each formula standardised over the members of its date, and the cells where its value is known.

    Shape: (K, T, N) float32, (K, T, N).   Time: row t uses rows t - lookback..t.
    """
    values = evaluate(factors, panel, threads=threads).values
    T, N, K = values.shape
    mask = np.where(panel.member, 0.0, np.nan)
    z, known = np.empty((K, T, N), np.float32), np.empty((K, T, N), np.bool_)
    for k in range(K):
        column = values[:, :, k]
        found = standardised(column, mask, clip=clip, least=least)
        z[k], known[k] = found.z, np.isfinite(column) & panel.member & found.good[:, None]
    return z, known


def daily_products(z: NDArray[np.float32]) -> NDArray[np.float64]:
    """Inner products of the formulas with each other, date by date.   Shape: (K, S, N) -> (S, K, K)."""
    from alphaloom.mining.judge_kernels import gram

    K, S, _ = z.shape
    out, row = np.empty((S, K, K)), np.empty((K, S), np.float32)
    for k in range(K):
        gram(z, k + 1, z[k], 0, S, row)
        out[:, k, : k + 1] = out[:, : k + 1, k] = row[: k + 1].T
    return out
