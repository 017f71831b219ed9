"""What it costs to hand work to other processes: tiny items, a big array, a study; beside joblib and the standard pool.

Every executor gets the same work, and its results are compared with a plain loop before its time counts. "cold" starts
the workers and ends them, "warm" finds them running. The big array is a work's own, read by each item.

    python benchmarks/executor_overhead.py           # 500 MB; the study takes a minute
    python benchmarks/executor_overhead.py --quick   # 50 MB, no study
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from alphaloom.compute import local, processes

WORKERS = 2
ITEMS = 100


def double(x: int) -> int:
    return 2 * x


@dataclass(frozen=True, eq=False)
class RowSum:
    """Sums a row of an array that it carries."""

    values: np.ndarray

    def __call__(self, row: int) -> float:
        return float(self.values[row % len(self.values)].sum())


def row_sum(values: np.ndarray, row: int) -> float:
    return float(values[row].sum())


def standard_pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn"))


def timed(run: Callable[[], list[Any]], expected: list[Any], repeats: int) -> float:
    """The fastest of some runs, in milliseconds."""
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        found = run()
        best = min(best, time.perf_counter() - begin)
        assert found == expected
    return best * 1e3


def with_joblib(parallel: Parallel, work: Callable[[int], Any]) -> list[Any]:
    return list(parallel(delayed(work)(item) for item in range(ITEMS)))


def with_pool(work: Callable[[int], Any]) -> list[Any]:
    with standard_pool() as pool:
        return list(pool.map(work, range(ITEMS)))


def tiny_items() -> None:
    expected = list(map(double, range(ITEMS)))
    cold = timed(lambda: list(processes(WORKERS).map(double, range(ITEMS))), expected, 3)
    pool_cold = timed(partial(with_pool, double), expected, 3)
    with processes(WORKERS) as executor, standard_pool() as pool, Parallel(WORKERS) as parallel:
        warm = timed(lambda: list(executor.map(double, range(ITEMS))), expected, 10)
        pool_warm = timed(lambda: list(pool.map(double, range(ITEMS))), expected, 10)
        joblib_warm = timed(lambda: with_joblib(parallel, double), expected, 10)
    print(f"{ITEMS} tiny items, ms: cold {cold:.0f} (standard pool {pool_cold:.0f}), ", end="")
    print(f"warm {warm:.1f} (standard pool {pool_warm:.1f}, joblib {joblib_warm:.1f})")


def big_array(megabytes: int) -> None:
    values = np.random.default_rng(0).random((100, megabytes * 1_250))
    values.flags.writeable = False
    work = RowSum(values)
    expected = list(map(work, range(ITEMS)))
    with processes(WORKERS) as executor, Parallel(WORKERS) as parallel:
        list(executor.map(double, range(ITEMS)))
        with_joblib(parallel, double)
        first = timed(lambda: list(executor.map(work, range(ITEMS))), expected, 1)
        again = timed(lambda: list(executor.map(work, range(ITEMS))), expected, 3)
        # joblib shares arrays that are arguments, through files; not those inside an object.
        shared = timed(lambda: parallel(delayed(row_sum)(values, row) for row in range(ITEMS)), expected, 1)
    print(f"{values.nbytes / 1e6:.0f} MB read by {ITEMS} items, ms: first map {first:.0f}, ", end="")
    print(f"next map {again:.1f}, joblib {shared:.0f}")


def whole_study() -> None:
    from alphaloom.data import EmbeddedMarket, simulate
    from alphaloom.forecast import LightGBM
    from alphaloom.market import Market
    from alphaloom.portfolio import TopK
    from alphaloom.study import Study, WalkForward

    panel = simulate(EmbeddedMarket(days=1_500, assets=200, seed=7))
    study = Study("trees", LightGBM(), Market(commission=0.0005), WalkForward(train=500, test=125), TopK(20, buffer=10))
    seconds = {}
    results = {}
    for name, executor in (("one", local()), ("two", processes(WORKERS))):
        begin = time.perf_counter()
        results[name] = study.run(panel, executor=executor).daily["equity"].tobytes()
        seconds[name] = time.perf_counter() - begin
    assert results["one"] == results["two"]
    print(
        f"a LightGBM study of 8 folds, s: one process {seconds['one']:.1f}, {WORKERS} workers {seconds['two']:.1f}, ",
        end="",
    )
    print(f"{seconds['one'] / seconds['two']:.2f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    tiny_items()
    big_array(50 if options.quick else 500)
    if not options.quick:
        whole_study()


if __name__ == "__main__":
    main()
