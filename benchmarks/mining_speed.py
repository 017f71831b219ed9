"""The speed of a search for formulas: a miner from end to end, its evaluator against a plain one, its pool.

2,430 days x 300 stocks of random walks, float32, the operators of RiskMiner (arXiv:2402.07080), two threads. The plain
evaluator unfolds every window into a tensor (T, N, window) on torch; it is our own and stands in for engines that are
written like that, none of which is measured here. Before time is taken, coefficients of both must agree to 1e-5;
formulas where float32 windows cannot (differences of large numbers, ranks of near ties) are counted, not hidden.
Wall seconds say what one waits, CPU seconds what is worked: on a busy machine only these compare.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from search_speed import DAYS, STOCKS, cold_stream, market
from unfolded import Unfolded

from alphaloom.factors import parse
from alphaloom.factors.grammar import Grammar
from alphaloom.factors.options import Options
from alphaloom.factors.search import Evaluator
from alphaloom.mining import Budget, Pool, Session, Settings
from alphaloom.mining.random_search import RandomSearch, random_formula
from alphaloom.mining.riskminer import RiskMiner

START, THREADS = 250, 2
POPULATION = Options(moments="population")


class Watch:
    """Wall and CPU seconds of a piece of work."""

    def __enter__(self) -> Watch:
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *fault: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]


def session(panel, later, *, evaluations: int, progress: Callable | None = None, capacity: int = 20) -> Session:
    return Session(
        panel,
        later,
        grammar=Grammar.riskminer(),
        pool=Pool(capacity, threads=THREADS),
        budget=Budget(evaluations),
        start_row=START,
        settings=Settings(threads=THREADS, cache_bytes=512 << 20),
        progress=progress,
        clock=time.monotonic,
    )


def mined(panel, later, *, evaluations: int, fill: int) -> None:
    """Evaluations a second inside the miners once their caches are filled."""
    print("\n| miner | evaluations | a wall second | a CPU second | 20,000 in minutes | parts cached | pool's IC |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, miner in (("RiskMiner", RiskMiner()), ("random", RandomSearch())):
        marks: list[tuple[int, float, float]] = []

        def seen(line: str, done: int, total: int, marks: list = marks) -> None:
            marks.append((done, time.perf_counter(), time.process_time()))

        mine = session(panel, later, evaluations=fill + evaluations, progress=seen)
        miner.mine(mine)
        first = next(k for k, mark in enumerate(marks) if mark[0] >= fill)
        count, wall, cpu = (b - a for a, b in zip(marks[first], marks[-1], strict=True))
        hits = mine._evaluator.statistics.hit_rate
        print(
            f"| {name} | {count:,} | {count / wall:.0f} | {count / cpu:.0f} | {20_000 / count * wall / 60:.1f} "
            f"| {100 * hits:.0f} % | {mine.pool.ic:.4f} |",
            flush=True,
        )


def against_plain(panel, later, *, count: int) -> None:
    """The cold evaluator against unfolded windows, formula by formula."""
    # Both sides by the mining papers' conventions: exponential means cut at the window, population moments.
    formulas = [parse(str(formula).replace("ema(", "ema_cut(")) for formula in cold_stream(count, seed=11)]
    plain = Unfolded(panel, later, START)
    ours = Evaluator(panel, later, start_row=START, cache_bytes=0, threads=THREADS, options=POPULATION)
    ours.scores(formulas)  # loads or compiles every kernel
    plain.ic(formulas[0])
    with Watch() as slow:
        expected = np.array([plain.ic(formula) for formula in formulas])
    quick = Watch()
    with quick:
        found = np.array([score.ic for score in ours.scores(formulas)])
    apart = np.abs(found - expected)
    same = (apart <= 1e-5) | (np.isnan(found) & np.isnan(expected))
    print(
        f"\n{count} cold formulas of 3 to 5 operators, {THREADS} threads each; {same.sum()} coefficients agree to 1e-5"
    )
    for k in np.flatnonzero(~same):
        print(f"  apart: {formulas[k]}: {found[k]:.6f}, unfolded {expected[k]:.6f}")
    if same.mean() < 0.9:
        raise SystemExit("the two evaluators do not compute the same")
    print("| evaluator | formulas a wall second | a CPU second | times |")
    print("|---|---:|---:|---:|")
    print(f"| unfolded windows | {count / slow.wall:.2f} | {count / slow.cpu:.2f} | 1 |")
    ratio = f"{slow.wall / quick.wall:.0f} (CPU {slow.cpu / quick.cpu:.0f})"
    print(f"| alphaloom | {count / quick.wall:.1f} | {count / quick.cpu:.1f} | {ratio} |")


def against_pool(panel, later, *, members: int) -> None:
    """A candidate against a full pool, after its evaluation."""
    mine = session(panel, later, evaluations=100_000, capacity=members)
    drawn = (random_formula(mine.grammar, mine.rng) for _ in range(100_000))
    held, candidates = [], []
    for formula in drawn:
        alpha = mine.judge([formula])[0]
        if alpha.valid and alpha.z is not None:
            if len(held) < members:
                # The pool alone holds its members' values: they are made again one by one.
                held.append(replace(alpha, z=None, b=None))
            else:
                candidates.append(alpha)
        if len(candidates) == 21:
            break
    mine.pool.recall(map(mine.filled, held), {"weights": [1.0 / members] * members, "refused": []})
    mine.pool.similarity(candidates.pop())
    print(f"\n| with a pool of {members}, {THREADS} threads | wall ms | CPU ms |\n|---|---:|---:|")
    # Each kind of work meets formulas that the pool has not seen.
    works = (("similarity to every member", mine.similarity, candidates[:10]), ("offer", mine.offer, candidates[10:]))
    for name, work, fresh in works:
        walls, cpus = [], []
        for alpha in fresh:
            with Watch() as watch:
                work(alpha)
            walls.append(watch.wall)
            cpus.append(watch.cpu)
        print(f"| {name} | {1000 * float(np.median(walls)):.1f} | {1000 * float(np.median(cpus)):.1f} |")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--part", choices=("miners", "plain", "pool"), help="only this table")
    arguments.add_argument("--full", action="store_true", help="20,000 evaluations of each miner")
    arguments.add_argument("--quick", action="store_true", help="fewer evaluations")
    given = arguments.parse_args()
    torch.set_num_threads(THREADS)
    panel, later = market(DAYS, STOCKS)
    print(f"{DAYS} days x {STOCKS} stocks, float32, {THREADS} threads, judged from row {START} on")
    if given.part in (None, "pool"):
        against_pool(panel, later, members=100)
    if given.part in (None, "plain"):
        against_plain(panel, later, count=6 if given.quick else 30)
    if given.part in (None, "miners"):
        fill = 200 if given.quick else 1000
        mined(panel, later, evaluations=19_000 if given.full else fill, fill=fill)
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
