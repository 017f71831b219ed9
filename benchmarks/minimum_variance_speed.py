"""A walk-forward of optimised portfolios against skfolio's own, on equal returns, estimators, bounds and folds.

    python benchmarks/minimum_variance_speed.py
    python benchmarks/minimum_variance_speed.py --assets 60 --bars 504

The peer is timed as its users run it: `cross_val_predict(model, returns, cv=WalkForward(...))`, with its own defaults.
Ours estimates and solves once a fold. Times include the covariance on both sides. Weights of every fold are compared
before a ratio is told; where the peer solves by an interior-point method, with its tolerances tightened for that
comparison, since by default it stops at weights that are right to about 1e-4 only (that too is printed).
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphaloom.panel import Panel
from alphaloom.portfolio.budgets import budgeted
from alphaloom.portfolio.covariance import Risk, estimate
from alphaloom.portfolio.hierarchical import bisected, quasi_diagonal
from alphaloom.portfolio.quadratic import least_variance

TIGHT = {"tol_gap_abs": 1e-13, "tol_gap_rel": 1e-13, "tol_feas": 1e-11}


@dataclass(frozen=True)
class Contest:
    """One kind of portfolio: ours from a covariance, theirs as an estimator."""

    name: str
    ours: Callable[[Risk], np.ndarray]
    theirs: Callable[[], Any]  # as its users would write it
    exact: Callable[[], Any] | None  # the same with tighter tolerances
    risk: str
    close: float  # how near the weights must be


def market(bars: int, assets: int, seed: int) -> Panel:
    """Returns with a market, nine factors, fat tails and different own risks."""
    rng = np.random.default_rng(seed)
    exposures = np.column_stack([rng.normal(0.9, 0.4, assets), rng.normal(0, 0.5, (assets, 9))])
    shared = rng.standard_t(5, (bars, 10)) * np.array([0.008, *[0.004] * 9])
    own = rng.standard_t(5, (bars, assets)) * rng.uniform(0.006, 0.025, assets)
    close = 50.0 * np.cumprod(1.0 + np.clip(0.0003 + shared @ exposures.T + own, -0.3, 0.3), axis=0)
    times = np.arange(bars).astype("datetime64[D]").astype("datetime64[ns]")
    return Panel(times=times, assets=tuple(f"A{j:04d}" for j in range(assets)), fields={"close": close})


def contests(assets: int, cap: float) -> list[Contest]:
    """What is compared, with the peer's own building blocks."""
    from skfolio.cluster import HierarchicalClustering, LinkageMethod
    from skfolio.moments import LedoitWolf
    from skfolio.optimization import HierarchicalRiskParity, MeanRisk, RiskBudgeting
    from skfolio.prior import EmpiricalPrior
    from skfolio.seriation import HierarchicalSeriation

    def prior() -> Any:
        return EmpiricalPrior(covariance_estimator=LedoitWolf())

    def tree() -> Any:
        clustering = HierarchicalClustering(linkage_method=LinkageMethod.SINGLE)
        return HierarchicalSeriation(hierarchical_clustering_estimator=clustering, optimal_ordering=False)

    equal = np.full(assets, 1.0 / assets)
    return [
        Contest(
            "minimum variance",
            lambda risk: least_variance(risk, total=1.0, cap=cap).weights,
            lambda: MeanRisk(prior_estimator=prior(), max_weights=cap),
            lambda: MeanRisk(prior_estimator=prior(), max_weights=cap, solver_params=TIGHT),
            "ledoit_wolf",
            1e-4,
        ),
        Contest(
            "risk parity",
            lambda risk: found[0] if (found := budgeted(risk, equal, total=1.0)) else np.full(assets, np.nan),
            lambda: RiskBudgeting(prior_estimator=prior()),
            None,
            "ledoit_wolf",
            1e-4,
        ),
        Contest(
            "hierarchical risk parity",
            lambda risk: bisected(risk, quasi_diagonal(risk, "single", "correlation")),
            lambda: HierarchicalRiskParity(seriation_estimator=tree()),
            None,
            "sample",
            1e-6,
        ),
    ]


def ours(contest: Contest, panel: Panel, *, train: int, test: int) -> np.ndarray:
    """Weights of every fold.   Shape: (folds, N)."""
    ends = range(train, len(panel) - test, test)
    return np.array([contest.ours(estimate(contest.risk, panel[: end + 1], train)) for end in ends])


def theirs(model: Any, panel: Panel, *, train: int, test: int) -> np.ndarray:
    """The same by the peer's walk-forward.   Shape: (folds, N)."""
    import pandas as pd
    from skfolio.model_selection import WalkForward, cross_val_predict

    close = np.asarray(panel["close"])
    frame = pd.DataFrame(close[1:] / close[:-1] - 1.0, index=pd.DatetimeIndex(panel.times[1:]), columns=panel.assets)
    predicted = cross_val_predict(model, frame, cv=WalkForward(test_size=test, train_size=train))
    return np.array([portfolio.weights for portfolio in predicted.portfolios])


def rival(contest: Contest, panel: Panel, *, train: int, test: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The peer's weights as usual and exact, and the seconds that the usual ones took."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peer warns about its own solver's accuracy
        theirs(contest.theirs(), panel[: train + 2 * test + 1], train=train, test=test)
        usual, slow = timed(lambda: theirs(contest.theirs(), panel, train=train, test=test), 1)
        exact = theirs(contest.exact(), panel, train=train, test=test) if contest.exact else usual
    return usual, exact, slow


def timed(run: Callable[[], np.ndarray], repeats: int) -> tuple[np.ndarray, float]:
    """The result and the best of some times."""
    best, result = np.inf, np.empty(0)
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        best = min(best, time.perf_counter() - start)
    return result, best


def main() -> int:
    """Compare, time, print; fails where weights differ or minimum variance is less than 4 times faster."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--assets", type=int, default=500)
    arguments.add_argument("--bars", type=int, default=1260)
    arguments.add_argument("--train", type=int, default=252)
    arguments.add_argument("--test", type=int, default=21)
    arguments.add_argument("--cap", type=float, default=0.05)
    arguments.add_argument("--repeats", type=int, default=3, help="of ours; the peer runs once")
    arguments.add_argument("--only", default="", help="a part of a contest's name")
    given = arguments.parse_args()
    panel = market(given.bars + 1, given.assets, 7)
    size = {"train": given.train, "test": given.test}
    failed = False
    for contest in contests(given.assets, given.cap):
        if given.only not in contest.name:
            continue
        ours(contest, panel[: given.train + 2 * given.test + 1], **size)  # imports and first calls
        mine, quick = timed(lambda c=contest: ours(c, panel, **size), given.repeats)
        try:
            usual, exact, slow = rival(contest, panel, **size)
        except Exception as fault:  # whatever the peer raises, there is nothing to compare with
            print(
                f"{contest.name}: alphaloom {quick:.3f} s; skfolio failed: {type(fault).__name__}: {fault}", flush=True
            )
            failed |= contest.name == "minimum variance"
            continue
        if mine.shape != usual.shape:
            print(f"{contest.name}: {len(mine)} folds here, {len(usual)} there")
            return 1
        apart, loose = (float(np.abs(mine - peer).max()) for peer in (exact, usual))
        equal = apart <= contest.close
        print(
            f"{contest.name}: {len(mine)} folds of {given.assets} assets; weights differ by at most {apart:.1e}"
            f"{'' if equal else ' (NOT EQUAL)'}, at the peer's usual tolerances {loose:.1e}\n"
            f"    alphaloom {quick:.3f} s, skfolio {slow:.3f} s, ratio {slow / quick:.1f}",
            flush=True,
        )
        failed |= not equal or (contest.name == "minimum variance" and slow < 4.0 * quick)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
