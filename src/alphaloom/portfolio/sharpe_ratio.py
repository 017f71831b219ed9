"""The best ratio of expected return to deviation, as a quadratic problem.

The ratio does not change when all weights are multiplied by one number, so that number k becomes a variable: minimise
the variance of y = k w subject to gain'y = 1 and to every limit on w, times k.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from alphaloom.portfolio.covariance import Risk
from alphaloom.portfolio.optimality import budgeted, violation
from alphaloom.portfolio.problem import Band, Problem, Solution, make_problem, solve

__all__ = ["best_ratio"]

Floats = NDArray[np.float64]


def best_ratio(problem: Problem) -> Solution:
    """Weights of the highest gain'w / sqrt(w'Sigma w) within bounds, bands and budget.

    Costs, turnover, gross and tracking limits are not read. The objective of the solution is the ratio. Infeasible if
    the limits are, or if no weights within them have a positive expected return.
    """
    from scipy import sparse

    N = problem.count
    low, high = problem.bounds
    size = float(np.abs(problem.gain).max(initial=0.0))
    plain = replace(problem, gain=np.zeros(N), aversion=1.0)
    if (low > high).any() or size == 0.0:
        return _refused(plain, "no expected return is positive" if size == 0.0 else "")
    # Risk in units of the mean deviation and gain in units of the largest, so that y is of the order of 1.
    spread = float(np.sqrt(np.mean((problem.root**2).sum(axis=1) + problem.spread**2))) or 1.0
    root, own = np.vstack([problem.root, np.zeros((1, problem.root.shape[1]))]) / spread, problem.spread / spread
    rows: list[tuple[str, object, Floats, Floats]] = [("box", sparse.identity(N, format="csr"), low, high)]
    rows += [(family, sparse.csr_matrix(loads), least, most) for family, loads, least, most in problem.ranges]
    bands = [_scaled(family, loads, least, 1) for family, loads, least, _ in rows]
    bands += [_scaled(family, loads, most, -1) for family, loads, _, most in rows]
    target = sparse.csr_matrix(np.append(problem.gain / size, 0.0)[None, :])
    ratio = make_problem(
        np.zeros(N + 1),
        Risk(root, np.eye(root.shape[1]), np.append(own, 0.0)),
        lower=np.append(np.full(N, -np.inf), 0.0),
        upper=np.inf,
        budget=(-np.inf, np.inf),
        bands=(Band("gain", target, np.ones(1), np.ones(1)), *bands),
    )
    found = solve(ratio, diagnose=False)
    if found.status != "solved" or found.weights[-1] <= 1e-9:
        return _refused(plain, found.reason if found.status == "failed" else "")
    weights = np.clip(found.weights[:N] / found.weights[-1], low, high)
    weights = budgeted(problem, weights, high - low <= 1e-12)
    earned = float(problem.gain @ weights)
    kkt = {**found.kkt, "primal": violation(replace(problem, turnover=np.inf, tracking=np.inf), weights)}
    return replace(found, weights=weights, objective=earned / max(problem.deviation(weights), 1e-300), kkt=kkt)


def _scaled(family: str, loads: object, limit: Floats, way: int) -> Band:
    """loads y >= limit k (way 1) or loads y <= limit k (way -1)."""
    from scipy import sparse

    finite = np.flatnonzero(np.isfinite(limit))
    part = sparse.hstack([sparse.csr_matrix(loads)[finite], sparse.csr_matrix(-limit[finite][:, None])], format="csr")
    none, zero = np.full(len(finite), np.inf), np.zeros(len(finite))
    return Band(f"{family}{way:+d}", part, zero if way > 0 else -none, none if way > 0 else zero)


def _refused(plain: Problem, reason: str) -> Solution:
    """Why there is no ratio: the limits themselves, or nothing in them that is expected to rise."""
    found = solve(plain)
    if found.status == "solved":
        why = reason or "no weights within the limits have a positive expected return"
        nothing = np.full(plain.count, np.nan)
        return replace(found, weights=nothing, status="infeasible", objective=float("nan"), reason=why)
    return found
