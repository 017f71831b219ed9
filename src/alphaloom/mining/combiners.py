"""From several formulas to one score: seven ways behind one function.

`mse`, `lasso`, `icir`, `lcb` and `ridge_wf` give one weight for each formula and need nothing but the daily inner
products; `gbdt` grows trees on the values; `dynamic` chooses and refits formulas every day.

Source: AlphaGen, arXiv:2306.12964 (mse with l1; icir and lcb in its second version); Alpha2, arXiv:2406.16505 (trees);
AlphaForge, arXiv:2406.18394 (dynamic). Deviation: LightGBM grows the trees that Alpha2 grows with XGBoost. The base
install has it, its trees are the same bytes with any number of threads, and at depth 3 with 8 leaves both libraries
split level by level by the same gain; a second boosting library would buy nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.mining.dynamic import Dynamic
from alphaloom.mining.pool import Alpha, lasso
from alphaloom.mining.scaling import daily_products

__all__ = ["Boosting", "Combination", "CombinerKind", "Dynamic", "Evidence", "Terms", "combine", "tree_scores"]

CombinerKind = Literal["mse", "lasso", "icir", "lcb", "ridge_wf", "gbdt", "dynamic"]
Floats = NDArray[np.float64]
_RIDGE = 1e-6
# A weighted sum shorter than this on a date says nothing about it.
_SHORT = 1e-12


@dataclass(frozen=True)
class Boosting:
    """How the trees of `gbdt` grow: on the `top` formulas by coefficient, until `patience` trees were no better.

    Without rows held for it, stopping is judged on the last fraction `holdout` of the rows.
    """

    top: int = 20
    trees: int = 200
    depth: int = 3
    learning_rate: float = 0.05
    min_rows: int = 100
    l2: float = 1.0
    patience: int = 20
    holdout: float = 0.2
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("top", "trees", "depth", "min_rows", "patience", "threads"):
            if getattr(self, name) < 1:
                raise DataError("a count is at least 1", found=getattr(self, name), where=f"Boosting.{name}")
        if not 0.0 < self.learning_rate <= 1.0:
            raise DataError("a rate lies in (0, 1]", found=self.learning_rate, where="Boosting.learning_rate")
        if not 0.0 < self.holdout < 1.0:
            raise DataError("a part of the time is between 0 and 1", found=self.holdout, where="Boosting.holdout")
        if not 0.0 <= self.l2 < np.inf:
            raise DataError("a penalty is not negative", found=self.l2, where="Boosting.l2")


@dataclass(frozen=True)
class Terms:
    """The settings of all combiners; each reads its own.

    `l1` is the lasso's penalty; `beta` how many deviations `lcb` takes off the mean; `ridges` the penalties that
    `ridge_wf` tries on `blocks` later blocks of days; `seed` the trees'.
    """

    l1: float = 5e-3
    beta: float = 0.5
    ridges: tuple[float, ...] = (1e-6, 0.01, 0.03, 0.1, 0.3, 1.0)
    blocks: int = 5
    boosting: Boosting = field(default_factory=Boosting)
    dynamic: Dynamic = field(default_factory=Dynamic)
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ridges", tuple(self.ridges))
        for name in ("l1", "beta"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise DataError("a penalty is not negative", found=getattr(self, name), where=f"Terms.{name}")
        if not self.ridges or not all(0.0 < ridge < np.inf for ridge in self.ridges):
            raise DataError("ridges are positive penalties", found=self.ridges, where="Terms.ridges")
        if self.blocks < 2:
            raise DataError("walking forward takes at least 2 blocks", found=self.blocks, where="Terms.blocks")


@dataclass(frozen=True, eq=False)
class Evidence:
    """What combiners learn from: formulas on one stretch of dates.

    Shape: z (K, S, N) float32, each date with mean 0 and length 1, 0 where not known; b (S, K), the daily inner
    products with the target; target (S, N), the same for the target, NaN where not known, needed for trees alone.
    """

    z: NDArray[np.float32]
    b: Floats
    target: Floats | None = None

    @classmethod
    def of(cls, alphas: Sequence[Alpha], target: Floats | None = None) -> Evidence:
        """The evidence of judged formulas.   Raises: DataError for none, or for one without its values."""
        if not alphas:
            raise DataError("a combination needs a formula", found="none", where="Evidence.of")
        for alpha in alphas:
            if alpha.z is None or alpha.b is None:
                raise DataError("a combination needs a formula's values", found=str(alpha.expr), where="Evidence.of")
        z = np.stack([np.asarray(alpha.z, np.float32) for alpha in alphas])
        return cls(z, np.stack([np.asarray(alpha.b, np.float64) for alpha in alphas], axis=1), target)

    @cached_property
    def products(self) -> Floats:
        """Daily inner products of the formulas with each other.   Shape: (S, K, K)."""
        return daily_products(self.z)

    @cached_property
    def live(self) -> NDArray[np.intp]:
        """The dates on which some formula speaks."""
        return np.flatnonzero(np.einsum("skk->s", self.products) > 0.5)

    def means(self, rows: NDArray[np.intp] | None = None) -> tuple[Floats, Floats]:
        """Mean inner products with each other and with the target over some live dates.   Shape: (K, K), (K,)."""
        if rows is not None:
            return self.products[rows].mean(axis=0), self.b[rows].mean(axis=0)
        gram, b = self._sums
        return gram / len(self.live), b / len(self.live)

    @cached_property
    def _sums(self) -> tuple[Floats, Floats]:
        # Dates on which nothing speaks add nothing.
        return self.products.sum(axis=0), self.b.sum(axis=0)

    def at(self, columns: Sequence[int]) -> Evidence:
        """The same dates with some of the formulas."""
        keep = list(columns)
        if keep == list(range(len(self.z))):
            return self
        part = Evidence(self.z[keep], self.b[:, keep], self.target)
        if "products" in vars(self):
            vars(part)["products"] = self.products[:, keep][:, :, keep]
        return part

    def daily_ic(self, weights: Floats, rows: NDArray[np.intp] | None = None) -> Floats:
        """The coefficients of the weighted sum on some live dates; NaN where the sum is zero."""
        chosen = self.live if rows is None else rows
        square = np.einsum("sij,i,j->s", self.products[chosen], weights, weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(square > _SHORT, self.b[chosen] @ weights / np.sqrt(square), np.nan)


@dataclass(frozen=True)
class Combination:
    """What was learned: which formulas count (`used`, numbers of those given) and how much.

    For `gbdt` the weights are shares in the gain of `trees`, for `dynamic` those of a day on which nothing is chosen.
    """

    kind: CombinerKind
    used: tuple[int, ...]
    weights: tuple[float, ...]
    trees: str = ""
    dynamic: Dynamic | None = None


def combine(
    kind: CombinerKind,
    given: Evidence | Sequence[Alpha],
    *,
    terms: Terms | None = None,
    purge: int = 1,
    held: Evidence | None = None,
) -> Combination:
    """One score of several formulas.

    `purge` dates, a label's horizon and lag, part the dates that are learned from and those that judge; `held` are
    later dates on which `gbdt` stops.
    Raises: DataError for an unknown kind; SolveError where no date speaks.
    """
    if kind not in get_args(CombinerKind):
        raise DataError(f"a combiner is one of {', '.join(get_args(CombinerKind))}", found=kind, where="combiner")
    settings = terms or Terms()
    evidence = given if isinstance(given, Evidence) else Evidence.of(given)
    if len(evidence.live) < 2:
        raise SolveError("a combination needs dates on which formulas speak", found=len(evidence.live), where=kind)
    if kind == "gbdt":
        from alphaloom.mining.boosted import boosted

        order = np.argsort(-np.abs(evidence.means()[1]), kind="stable")[: settings.boosting.top]
        used = sorted(int(k) for k in order)
        later = None if held is None else held.at(used)
        trees, shares = boosted(evidence.at(used), settings.boosting, seed=settings.seed, purge=purge, held=later)
        return Combination(kind, tuple(used), tuple(shares.tolist()), trees)
    weights = _weights(kind, evidence, settings, purge)
    keep = np.arange(len(weights)) if kind == "dynamic" else np.flatnonzero(weights)
    return Combination(
        kind,
        tuple(int(k) for k in keep),
        tuple(float(w) for w in weights[keep]),
        dynamic=settings.dynamic if kind == "dynamic" else None,
    )


def tree_scores(trees: str, z: NDArray[np.float32], member: NDArray[np.bool_], *, threads: int = 1) -> Floats:
    """What trees say of the members.   Shape: z (K, S, N), member (S, N) -> (S, N), NaN elsewhere."""
    from alphaloom.mining.boosted import said

    return said(trees, z, member, threads=threads)


def _weights(kind: CombinerKind, evidence: Evidence, terms: Terms, purge: int) -> Floats:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # One thread: how a product is cut among threads would otherwise show in its last digits.
    with threadpool_limits(limits=1):
        gram, b = evidence.means()
        if kind == "mse":
            return ridge(gram, b, _RIDGE)
        if kind in ("lasso", "dynamic"):
            return lasso(gram, b, l1=terms.l1) if terms.l1 else ridge(gram, b, _RIDGE)
        if kind == "ridge_wf":
            scores = walked_scores(evidence, terms.ridges, blocks=terms.blocks, purge=purge)
            return ridge(gram, b, terms.ridges[int(np.argmax(scores))])
        beta = terms.beta if kind == "lcb" else None
        return _ascended(evidence, ridge(gram, b, _RIDGE), _goal(beta))


def ridge(gram: Floats, b: Floats, penalty: float) -> Floats:
    """The weights that minimise w'Mw - 2 w.b + penalty |w|^2, by Cholesky.   Shape: (K, K), (K,) -> (K,)."""
    from scipy.linalg import cho_factor, cho_solve

    while True:
        try:
            return np.asarray(cho_solve(cho_factor(gram + penalty * np.eye(len(b))), b))
        except np.linalg.LinAlgError:  # inner products of single precision may miss being definite by a little
            penalty *= 10.0


def walked_scores(evidence: Evidence, ridges: Sequence[float], *, blocks: int, purge: int) -> Floats:
    """What weights that were fitted on earlier days earned on each of the later blocks, added up, for each penalty.

    Shape: (R,).   Time: `purge` rows part the fitted days from the judged ones, so that no fitted label reaches into a
    judged day.
    """
    live = evidence.live
    parts = np.array_split(live, blocks + 1)
    found = np.zeros(len(ridges))
    for later in parts[1:]:
        early = live[live < later[0] - purge] if len(later) else later
        if len(early) < 2:
            continue
        gram, b = evidence.means(early)
        for k, penalty in enumerate(ridges):
            found[k] += np.nansum(evidence.daily_ic(ridge(gram, b, penalty), later))
    return found


def _goal(beta: float | None) -> Callable[[float, float], tuple[float, float, float]]:
    """The goal of mean and deviation with its slopes by both: mean over deviation, or mean less beta deviations."""
    if beta is not None:
        return lambda mean, spread: (mean - beta * spread, 1.0, -beta)
    return lambda mean, spread: (mean / spread, 1.0 / spread, -mean / spread**2)


def _ascended(evidence: Evidence, start: Floats, goal: Callable[[float, float], tuple[float, float, float]]) -> Floats:
    """Weights that maximise a goal of the daily coefficients, from `start`, as long as the least-squares ones."""
    from scipy.optimize import minimize

    grams, b = evidence.products[evidence.live], evidence.b[evidence.live]
    S, K = b.shape
    if not np.abs(start).max() > 0.0:
        return start  # nothing foretells the target: there is no direction to go

    def away(w: Floats) -> tuple[float, Floats]:
        pulled = (grams.reshape(S * K, K) @ w).reshape(S, K)
        square = pulled @ w
        good = square > _SHORT
        length = np.sqrt(np.where(good, square, 1.0))
        above = b @ w
        ic = np.where(good, above / length, 0.0)[good]
        slopes = (b / length[:, None] - pulled * (above / length**3)[:, None])[good]
        mean = float(ic.mean())
        apart = ic - mean
        spread = max(float(np.sqrt(apart @ apart / max(len(ic) - 1, 1))), 1e-9)
        value, by_mean, by_spread = goal(mean, spread)
        slope = by_mean * slopes.mean(axis=0) + by_spread * (apart @ slopes) / (spread * max(len(ic) - 1, 1))
        return -value, -slope

    # The goal does not know the length of the weights: it is held near 1 for the search and set afterwards.
    best = np.asarray(minimize(away, start / np.linalg.norm(start), jac=True, method="L-BFGS-B").x)
    gram, mean_b = evidence.means()
    square = float(best @ gram @ best)
    return best * (float(best @ mean_b) / square) if square > _SHORT else best
