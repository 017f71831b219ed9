"""The least variance within bounds: an exact method, and an interior-point solver for where it loses its way.

Long-only portfolios of least variance hold few of the assets. Once it is known which are held and which stand at their
cap, the weights are the solution of a small linear system; the method guesses, solves, and corrects the guess where a
weight or a multiplier has the wrong sign (the primal-dual active set method of Hintermueller, Ito and Kunisch 2002,
SIAM J. Optimization 13, which is a semismooth Newton method). It ends after a few guesses with a solution that is exact
to rounding, or it meets a guess again: then the interior-point solver Clarabel says which guess to start from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.portfolio.covariance import Risk
from alphaloom.portfolio.signed import Signed, signed_weights

__all__ = ["Found", "least_variance", "least_variance_long_short", "residual"]

Grid = NDArray[np.float64]
Mask = NDArray[np.bool_]
_ROUNDS = 60
_TRUSTED = 1e-8  # the residual up to which a guess that confirmed itself is believed
_RIDGE = 1e-11  # of the mean variance: makes a singular sample's solution unique without moving it visibly


@dataclass(frozen=True, eq=False)
class Found:
    """Weights and how good they are.

    Shape: weights (M,).   Unit: `kkt` is how far a projected gradient step would move a weight; `rounds` counts linear
    systems, `way` says who solved it: "active_set", "clarabel", or "none" where nobody could.
    """

    weights: Grid
    kkt: float
    rounds: int
    way: str


def least_variance(risk: Risk, *, total: float, cap: float, pull: Grid | None = None) -> Found:
    """min w' Sigma w / 2 + pull' w  such that  sum w = total, 0 <= w <= cap.

    Shape: M assets, all known; pull (M,), the covariance with what is held besides.
    With cap * M below `total` all stand at their cap.
    """
    sigma = risk.dense()
    M = len(sigma)
    linear = np.zeros(M) if pull is None else pull
    if total <= 0.0 or cap * M <= total * (1.0 + 1e-12):
        return Found(np.full(M, min(cap, max(total, 0.0) / M)), 0.0, 0, "active_set")
    scale = float(np.trace(sigma)) / M
    sigma, linear = sigma / scale, linear / scale
    everything = np.ones(M, dtype=bool)
    found = _active_set(sigma, linear, total=total, cap=cap, free=everything, upper=~everything)
    if found is None:
        inner = _interior(risk, scale, linear, total=total, cap=cap)
        if inner is None:
            return Found(np.full(M, np.nan), np.inf, _ROUNDS, "none")
        near = 1e-6 * total
        free, upper = (inner > near) & (inner < cap - near), inner >= cap - near
        found = _active_set(sigma, linear, total=total, cap=cap, free=free, upper=upper)
        weights, rounds, way = (inner, _ROUNDS, "clarabel") if found is None else (*found, "clarabel")
    else:
        weights, rounds, way = *found, "active_set"
    return Found(weights, residual(sigma, linear, weights, cap=cap), rounds, way)


def residual(sigma: Grid, linear: Grid, weights: Grid, *, cap: float) -> float:
    """How far weights are from solving `least_variance`: the largest move of one projected gradient step.

    The step is one over the largest variance; the price of the budget is the one that fits best.
    """
    gradient = sigma @ weights + linear
    near = 1e-8 * weights.sum()  # an interior point never quite reaches a bound
    inside = (weights > near) & (weights < cap - near)
    if inside.any():
        price = float(np.median(gradient[inside]))
    else:
        price = 0.5 * float(gradient[weights > 0].max(initial=-np.inf) + gradient[weights <= 0].min(initial=np.inf))
        price = price if np.isfinite(price) else float(gradient.mean())
    step = (gradient - price) / float(np.diag(sigma).max())
    return float(np.abs(weights - np.clip(weights - step, 0.0, cap)).max())


def _active_set(
    sigma: Grid, linear: Grid, *, total: float, cap: float, free: Mask, upper: Mask
) -> tuple[Grid, int] | None:
    """Guess, solve, correct; None when a guess comes back."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    M = len(linear)
    limit = cap if cap < total else np.inf  # weights that add up to the total cannot pass it one by one
    seen: set[bytes] = set()
    for rounds in range(1, _ROUNDS + 1):
        if not free.any():
            free, upper = upper, free  # nothing would bear the rest of the budget
        mark = free.tobytes() + upper.tobytes()
        if mark in seen:
            return None
        seen.add(mark)
        F, U = np.flatnonzero(free), np.flatnonzero(upper)
        block = sigma if len(F) == M else sigma[np.ix_(F, F)]
        block = block.copy()
        block[np.diag_indices_from(block)] += _RIDGE
        push = linear[F] + cap * sigma[np.ix_(F, U)].sum(axis=1)
        try:
            factor = cho_factor(block, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return None
        solved = cho_solve(factor, np.column_stack([np.ones(len(F)), push]), check_finite=False)
        ones, pushed = solved[:, 0], solved[:, 1]
        price = (total - cap * len(U) + pushed.sum()) / ones.sum()
        weights = np.zeros(M)
        weights[U] = cap
        weights[F] = price * ones - pushed
        held = np.flatnonzero(weights)
        slope = sigma[:, held] @ weights[held] + linear - price
        tiny, flat = 1e-13 * total, 1e-12 * max(abs(price), 1e-300)
        low = np.where(free, weights < -tiny, ~upper & (slope > -flat))
        high = np.where(free, weights > limit + tiny, upper & (slope < flat))
        now_free = ~low & ~high
        if (now_free == free).all() and (high == upper).all():
            return np.clip(weights, 0.0, cap), rounds
        free, upper = now_free, high
    return None


def _interior(risk: Risk, scale: float, linear: Grid, *, total: float, cap: float) -> Grid | None:
    """The same by Clarabel in factor form.   Shape: (M,)."""
    from scipy import sparse

    M = len(linear)
    quadratic, link, K = _factored(risk, scale)
    eye, none = sparse.identity(M, format="csc"), sparse.csc_matrix((M, K))
    budget = sparse.csc_matrix(np.concatenate([np.ones(M), np.zeros(K)])[None, :])
    rows = sparse.vstack([budget, link, sparse.hstack([-eye, none]), sparse.hstack([eye, none])], format="csc")
    right = np.concatenate([[total], np.zeros(K + M), np.full(M, cap)])
    solved = _clarabel(quadratic, np.concatenate([linear, np.zeros(K)]), rows, right, equal=1 + K)
    return None if solved is None else np.clip(solved[0][:M], 0.0, cap)


def least_variance_long_short(risk: Risk, *, net: float, gross: float, cap: float, pull: Grid | None = None) -> Found:
    """min w' Sigma w / 2 + pull' w  such that  sum w = net, sum |w| <= gross, |w| <= cap.

    Shape: M assets, all known.   Missing: NaN weights and `way` "none" where there is no solution.
    """
    sigma = risk.dense()
    scale = float(np.trace(sigma)) / len(sigma)
    sigma = sigma / scale
    linear = np.zeros(len(sigma)) if pull is None else pull / scale
    found = signed_weights(sigma, linear, net=net, gross=gross, cap=cap)
    if found is not None:
        kkt = _signed_residual(sigma, linear, found, cap=cap)
        if kkt <= _TRUSTED:
            return Found(found.weights, kkt, found.rounds, "active_set")
    found = _interior_signed(risk, scale, linear, net=net, gross=gross, cap=cap)
    if found is None:
        return Found(np.full(len(sigma), np.nan), np.inf, 0, "none")
    weights = np.where(np.abs(found.weights) < 1e-10, 0.0, found.weights)
    return Found(weights, _signed_residual(sigma, linear, found, cap=cap), 0, "clarabel")


def _signed_residual(sigma: Grid, linear: Grid, found: Signed, *, cap: float) -> float:
    """How far a step of the proximal gradient method would move a weight, the toll on gross exposure included."""
    step = 1.0 / float(np.diag(sigma).max())
    moved = found.weights - step * (sigma @ found.weights + linear - found.price)
    moved = np.sign(moved) * np.maximum(np.abs(moved) - step * found.toll, 0.0)
    return float(np.abs(found.weights - np.clip(moved, -cap, cap)).max())


def _interior_signed(risk: Risk, scale: float, linear: Grid, *, net: float, gross: float, cap: float) -> Signed | None:
    """The same by Clarabel in factor form, with u >= |w| beside the weights."""
    from scipy import sparse

    M = len(linear)
    quadratic, link, K = _factored(risk, scale, spare=M)
    eye, none = sparse.identity(M, format="csc"), sparse.csc_matrix((M, K))
    ones, empty = np.ones(M), np.zeros(M)
    rows = sparse.vstack(
        [
            sparse.csc_matrix(np.concatenate([ones, np.zeros(K), empty])[None, :]),
            link,
            sparse.csc_matrix(np.concatenate([empty, np.zeros(K), ones])[None, :]),
            sparse.hstack([eye, none, -eye]),
            sparse.hstack([-eye, none, -eye]),
            sparse.hstack([sparse.csc_matrix((M, M)), none, eye]),
        ],
        format="csc",
    )
    right = np.concatenate([[net], np.zeros(K), [gross], np.zeros(2 * M), np.full(M, cap)])
    solved = _clarabel(quadratic, np.concatenate([linear, np.zeros(K + M)]), rows, right, equal=1 + K)
    if solved is None:
        return None
    point, duals = solved
    return Signed(np.clip(point[:M], -cap, cap), -float(duals[0]), float(duals[1 + K]), 0)


def _factored(risk: Risk, scale: float, spare: int = 0) -> tuple[Any, Any, int]:
    """Quadratic form of (w, y, spare) and the rows y = L' w that keep it sparse."""
    from scipy import sparse

    loads = risk.loadings / np.sqrt(scale)
    K = loads.shape[1]
    diagonal = np.concatenate([risk.specific**2 / scale, np.ones(K), np.zeros(spare)])
    link = sparse.hstack([sparse.csc_matrix(loads.T), -sparse.identity(K), sparse.csc_matrix((K, spare))], format="csc")
    return sparse.diags(diagonal, format="csc"), link, K


def _clarabel(quadratic: Any, linear: Grid, rows: Any, right: Grid, *, equal: int) -> tuple[Grid, Grid] | None:
    """min x' P x / 2 + q' x  such that  A x = b in the first `equal` rows and A x <= b in the others."""
    import clarabel

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-11
    cones = [clarabel.ZeroConeT(equal), clarabel.NonnegativeConeT(len(right) - equal)]
    done = clarabel.DefaultSolver(quadratic, linear, rows, right, cones, settings).solve()
    if "Solved" not in str(done.status):
        return None
    return np.array(done.x), np.array(done.z)
