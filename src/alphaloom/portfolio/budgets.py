"""Weights whose assets each bear a given part of the risk: Newton's method on one convex function.

The minimum of w' Sigma w / 2 - sum b_i log w_i has w_i (Sigma w)_i = b_i for every asset, so contributions to risk
stand in the proportions b; what is found is scaled to the money at hand, which changes no proportion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alphaloom.portfolio.covariance import Risk

__all__ = ["budgeted", "contributions"]

Grid = NDArray[np.float64]
_ROUNDS = 100
_GOOD = 1e-10  # of a budget: what is aimed at
_ENOUGH = 1e-6  # what is accepted where rounding allows no more


def contributions(risk: Risk, weights: Grid) -> Grid:
    """The part of the variance that each asset bears; they add up to 1.   Shape: (M,) -> (M,)."""
    parts = weights * risk.times(weights)
    return np.asarray(parts / parts.sum())


def budgeted(risk: Risk, budgets: Grid, *, total: float) -> tuple[Grid, int] | None:
    """Weights with contributions in the proportions of `budgets`, and the Newton steps taken; None without success.

    Positive weights with this property exist and are unique where Sigma is positive definite and budgets are positive.
    Shape: (M,) -> (M,).
    Source: Maillard, Roncalli and Teiletche 2010, J. Portfolio Management 36(4); Spinu 2013, An algorithm for computing
    risk parity weights, for the convex function and the damped step.
    """
    size = risk.deviations()
    loads, own = risk.loadings / size[:, None], (risk.specific / size) ** 2
    b = budgets / budgets.sum()
    # In units of the assets' own deviations; the start would be exact if all correlations were alike.
    y = np.sqrt(b)
    y = y / np.sqrt(float(((y @ loads) ** 2).sum() + own @ y**2))
    before = np.inf
    for rounds in range(_ROUNDS):
        slope = loads @ (y @ loads) + own * y - b / y
        gap = float(np.abs(y * slope / b).max())
        if gap <= _GOOD or before <= gap <= _ENOUGH:
            weights = y / size
            return weights * (total / weights.sum()), rounds
        before = gap
        step = _newton(loads, own + b / y**2, slope)
        if step is None:
            return None
        y = y + _length(loads, own, b, y=y, step=step, slope=slope) * step
    return None


def _newton(loads: Grid, diagonal: Grid, slope: Grid) -> Grid | None:
    """-(L L' + diag(d))^-1 slope, by whichever of N x N and K x K is smaller.   Shape: (M,)."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    M, K = loads.shape
    try:
        if K >= M:
            matrix = loads @ loads.T
            matrix[np.diag_indices_from(matrix)] += diagonal
            return -np.asarray(cho_solve(cho_factor(matrix, lower=True, overwrite_a=True), slope))
        over = loads / diagonal[:, None]
        inner = loads.T @ over
        inner[np.diag_indices_from(inner)] += 1.0
        plain = slope / diagonal
        return np.asarray(over @ cho_solve(cho_factor(inner, lower=True, overwrite_a=True), loads.T @ plain) - plain)
    except (LinAlgError, ValueError):
        return None


def _length(loads: Grid, own: Grid, b: Grid, *, y: Grid, step: Grid, slope: Grid) -> float:
    """The longest of 1, 1/2, 1/4... times the way to the border that lowers the function enough."""
    shrinking = step < 0
    length = min(1.0, 0.95 * float((-y[shrinking] / step[shrinking]).min(initial=np.inf)))
    along = float(slope @ step)
    shared, moved = y @ loads, step @ loads
    linear = float(shared @ moved + (own * y) @ step)
    square = 0.5 * float(moved @ moved + (own * step) @ step)
    while length > 1e-12:
        change = length * linear + length**2 * square - float(b @ np.log1p(length * step / y))
        if change <= 1e-4 * length * along or abs(change) < 1e-15:
            return length
        length *= 0.5
    return length
