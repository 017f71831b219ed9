"""Mean-variance problems of consecutive days: box, costs, turnover and 20 group bands, 30 factors.

For each size: the first solve, the median of the days that follow, the residual of the optimality conditions, and how
far dense and factor form are apart. Peers in the same run: cvxpy as one writes it at first (a new problem with
quad_form a day), cvxpy with parameters in factor form (its canonical form is reused), and skfolio's MeanRisk on the
part that it can state (utility, cap, budget). Set OMP_NUM_THREADS=1.

Usage: python benchmarks/optimiser_speed.py [SIZE...]
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from alphaloom.portfolio.covariance import Risk
from alphaloom.portfolio.problem import Band, Problem, Solution, make_problem, solve

FACTORS, GROUPS, DAYS = 30, 20, 4
SIZES = (300, 1000, 3000)
SKFOLIO_LIMIT, DENSE_LIMIT = 300, 1000  # the dense form of 3,000 assets takes minutes in every library


def day(N: int, seed: int, *, curved: bool = False) -> Problem:
    """One day's numbers in daily units."""
    rng = np.random.default_rng([N, seed])
    risk = Risk(rng.normal(0.0, 0.01, (N, FACTORS)), np.eye(FACTORS), rng.uniform(0.01, 0.03, N))
    held = rng.dirichlet(np.ones(N))
    groups = (np.arange(N) % GROUPS == np.arange(GROUPS)[:, None]).astype(float)
    centre = groups @ held
    return make_problem(
        rng.normal(0.0, 0.002, N),
        risk,
        aversion=2.0,
        held=held,
        fee=5e-4,
        impact=0.01 if curved else 0.0,
        upper=np.maximum(0.02, held),
        bands=(Band("group", groups, centre - 0.02, centre + 0.02),),
        turnover=0.3,
    )


def dense(problem: Problem) -> Problem:
    """The same day with its covariance as one table."""
    matrix = problem.root @ problem.root.T + np.diag(problem.spread**2)
    return replace(problem, root=np.zeros((problem.count, 0)), spread=np.zeros(problem.count), covariance=matrix)


def timed(work: Callable[[Problem], object], days: list[Problem]) -> tuple[list[float], list[object]]:
    """Processor seconds (one thread, so that a busy machine does not count) and answers, day by day."""
    seconds, answers = [], []
    for each in days:
        start = time.process_time()
        answers.append(work(each))
        seconds.append(time.process_time() - start)
    return seconds, answers


def report(name: str, N: int, seconds: list[float], note: str, base: float | None = None) -> float:
    """One line of the table; returns the median of the following days."""
    later = float(np.median(seconds[1:])) if len(seconds) > 1 else seconds[0]
    ratio = "" if base is None else f"{later / base:8.1f} x"
    print(f"{N:6d}  {name:34s} {seconds[0]:9.3f} {later:10.3f}  {ratio:10s}  {note}", flush=True)
    return later


def naive(problem: Problem) -> np.ndarray:
    """The problem as one writes it with cvxpy at first: a new one each day."""
    import cvxpy as cp

    w = cp.Variable(problem.count)
    trade = cp.abs(w - problem.held)
    band = problem.bands[0]
    risk = cp.quad_form(w, cp.psd_wrap(problem.covariance))
    limits = [cp.sum(w) == 1, w >= problem.lower, w <= problem.upper, 0.5 * cp.sum(trade) <= problem.turnover]
    limits += [band.loads @ w >= band.low, band.loads @ w <= band.high]
    cp.Problem(cp.Maximize(problem.gain @ w - problem.aversion * risk - problem.fee @ trade), limits).solve("CLARABEL")
    return np.asarray(w.value)


def parametrised(N: int) -> Callable[[Problem], np.ndarray]:
    """The same in factor form with parameters: canonicalised on the first day only."""
    import cvxpy as cp

    w, z = cp.Variable(N), cp.Variable(N)
    root, spread, gain, held = cp.Parameter((N, FACTORS)), cp.Parameter(N), cp.Parameter(N), cp.Parameter(N)
    upper, low, high = cp.Parameter(N), cp.Parameter(GROUPS), cp.Parameter(GROUPS)
    groups = (np.arange(N) % GROUPS == np.arange(GROUPS)[:, None]).astype(float)
    factors = cp.Variable(FACTORS)
    risk = cp.sum_squares(factors) + cp.sum_squares(cp.multiply(spread, w))
    limits = [cp.sum(w) == 1, w >= 0, w <= upper, z == w - held, 0.5 * cp.norm1(z) <= 0.3, factors == root.T @ w]
    limits += [groups @ w >= low, groups @ w <= high]
    problem = cp.Problem(cp.Maximize(gain @ w - 2.0 * risk - 5e-4 * cp.norm1(z)), limits)
    assert problem.is_dcp(dpp=True)

    def run(today: Problem) -> np.ndarray:
        root.value, spread.value, gain.value, held.value = today.root, today.spread, today.gain, today.held
        upper.value, low.value, high.value = today.upper, today.bands[0].low, today.bands[0].high
        problem.solve("CLARABEL")
        return np.asarray(w.value)

    return run


def with_skfolio(N: int, base: float) -> None:
    """skfolio's MeanRisk on returns of the same factor structure, against the same statement here."""
    try:
        from skfolio import RiskMeasure
        from skfolio.optimization import MeanRisk, ObjectiveFunction
    except ImportError:
        print(f"{N:6d}  skfolio MeanRisk                   not installed")
        return
    rng = np.random.default_rng(N)
    returns = rng.normal(0.0, 0.01, (504, FACTORS)) @ rng.normal(0.0, 0.5, (FACTORS, N)) + rng.normal(
        0.0, 0.01, (504, N)
    )
    model = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_measure=RiskMeasure.VARIANCE,
        risk_aversion=2.0,
        max_weights=0.05,
    )
    seconds, weights = timed(lambda _: model.fit(returns).weights_, [day(N, 0)] * 2)
    centred = returns - returns.mean(axis=0)

    def ours(_: Problem) -> np.ndarray:
        matrix = centred.T @ centred / (len(returns) - 1)
        return solve(make_problem(returns.mean(axis=0), matrix, aversion=2.0, upper=0.05)).weights

    mine, found = timed(ours, [day(N, 0)] * 2)
    apart = float(np.abs(np.asarray(found[0]) - np.asarray(weights[0])).max())
    later = report("ours: utility, cap (dense)", N, mine, "")
    report("skfolio MeanRisk: utility, cap", N, seconds, f"weights apart {apart:.1e}", later)


def measure(N: int) -> None:
    """All lines of one size."""
    days = [day(N, seed) for seed in range(DAYS)]
    seconds, found = timed(solve, days)
    solutions = [each for each in found if isinstance(each, Solution)]
    base = report("ours: factor form", N, seconds, f"KKT {max(s.residual for s in solutions):.1e}")
    curved = [day(N, seed, curved=True) for seed in range(DAYS)]
    seconds, bent = timed(solve, curved)
    worst = max(s.residual for s in bent if isinstance(s, Solution))
    report("ours: factor form, 3/2-power costs", N, seconds, f"KKT {worst:.1e}")

    def against(peer: list[object]) -> str:
        gaps = [
            float(problem.value(mine.weights) - problem.value(np.asarray(other)))
            for problem, mine, other in zip(days, solutions, peer, strict=False)
        ]
        return f"objective below ours by at most {max(gaps):.1e}"

    seconds, peer = timed(parametrised(N), days)
    report("cvxpy: parameters, factor form", N, seconds, against(peer), base)
    if N > DENSE_LIMIT:
        return
    thick = [dense(problem) for problem in days]
    seconds, full = timed(solve, thick[:3])
    apart = max(np.abs(a.weights - b.weights).max() for a, b in zip(solutions, full, strict=False))
    worst = max(s.residual for s in full if isinstance(s, Solution))
    report("ours: dense form", N, seconds, f"KKT {worst:.1e}, weights apart from factor form {apart:.1e}", base)
    seconds, peer = timed(naive, thick[:3])
    report("cvxpy: quad_form, new each day", N, seconds, against(peer), base)
    if N <= SKFOLIO_LIMIT:
        with_skfolio(N, base)


def main() -> None:
    """The table."""
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    import clarabel  # noqa: F401
    import cvxpy  # noqa: F401

    print(f"(importing the solvers took {time.perf_counter() - start:.1f} s)")
    print(f"{'assets':>6s}  {'method':34s} {'first s':>9s} {'then s':>10s}  {'to ours':10s}  quality")
    for N in [int(word) for word in sys.argv[1:]] or SIZES:
        measure(N)


if __name__ == "__main__":
    main()
