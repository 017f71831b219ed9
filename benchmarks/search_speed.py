"""Formulas a second: new random mining formulas, each with its information coefficient, with and without a cache.

Cold: every formula is drawn anew and computed from the fields, nothing is kept. Warm: a tree search's and a mutation's
stream; each new formula puts one operator on an earlier one, or changes a part of one, and the values of its other
parts may still be held (512 MiB, filled before the clock starts). No formula is scored twice. 2,430 days x 300 stocks,
float32, the operators of RiskMiner (arXiv:2402.07080), about four in a formula. The scores of a few formulas are
checked first against pandas.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd

from alphaloom.factors import Expr
from alphaloom.factors.search import Evaluator
from alphaloom.panel import Panel

DAYS, STOCKS = 2430, 300
# Formulas that fill the cache before the clock starts: a search runs for hours, its first second is not its speed.
FILL = 400
FIELDS = ("open", "high", "low", "close", "volume", "vwap")
WINDOWS = (5, 10, 20, 30, 40, 50)
CONSTANTS = (-30, -10, -5, -2, -1, -0.5, -0.01, 0.5, 1, 2, 5, 10, 30)
UNARY = ("abs", "sign", "log", "rank")
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
ROLLING = (
    *("delay", "ts_mean", "ts_sum", "ts_median", "ts_std", "ts_var", "ts_max", "ts_min", "ts_skew", "ts_kurt"),
    *("ts_rank", "decay_linear", "ema"),
)
PAIRED = ("ts_cov", "ts_corr")
OPERATORS = (*UNARY, *BINARY, *ROLLING, *PAIRED)


def market(days: int, stocks: int, seed: int = 0) -> tuple[Panel, np.ndarray]:
    """Random walks with holes and changing members, and the next day's returns."""
    rng = np.random.default_rng(seed)
    close = 20.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, (days, stocks)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.006, (days, stocks)))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.005, (days, stocks))))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.005, (days, stocks))))
    volume = np.exp(rng.normal(13, 0.5, (days, stocks)))
    fields = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
    fields["vwap"] = (high + low + close) / 3.0
    missing = rng.random((days, stocks)) < 0.001
    times = np.datetime64("2012-01-02", "ns") + np.arange(days) * np.timedelta64(1, "D")
    panel = Panel(
        times=times,
        assets=tuple(f"S{j:03d}" for j in range(stocks)),
        fields={name: np.where(missing, np.nan, grid).astype(np.float32) for name, grid in fields.items()},
        member=rng.random((days, stocks)) < 0.98,
    )
    later = np.full((days, stocks), np.nan)
    later[:-1] = close[1:] / close[:-1] - 1.0
    return panel, later


class Grammar:
    """Draws formulas; windows and constants as miners use them, units not looked at."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def pick(self, items: tuple) -> object:
        return items[int(self.rng.integers(len(items)))]

    def leaf(self) -> Expr:
        return Expr.name(str(self.pick(FIELDS)))

    def grown(self, first: Expr, other: Expr | None = None, op: str = "") -> Expr:
        """One more operator on a formula; a second operand is another one, a field or a constant."""
        op = op or str(self.pick(OPERATORS))
        if op in UNARY:
            return Expr.call(op, first)
        if op in ROLLING:
            return Expr.call(op, first, int(self.pick(WINDOWS)))  # type: ignore[call-overload]
        second = other if other is not None else self.leaf()
        if op in PAIRED:
            return Expr.call(op, first, second, int(self.pick(WINDOWS)))  # type: ignore[call-overload]
        if other is None and self.rng.random() < 0.25:
            return Expr.call(op, first, float(self.pick(CONSTANTS)))  # type: ignore[arg-type]
        return Expr.call(op, first, second)

    def formula(self, operators: int) -> Expr:
        """A random formula of exactly so many operators."""
        if operators <= 0:
            return self.leaf()
        op = str(self.pick(OPERATORS))
        right = int(self.rng.integers(operators)) if op in (*BINARY, *PAIRED) else 0
        return self.grown(self.formula(operators - 1 - right), self.formula(right) if right else None, op)

    def mutated(self, expr: Expr) -> Expr:
        """The same formula with one part near the root replaced."""
        series = [k for k, arg in enumerate(expr.args) if arg.op not in ("number",)]
        if not series or self.rng.random() < 0.5:
            return self.grown(expr.args[0] if series else expr)
        k = series[int(self.rng.integers(len(series)))]
        part = self.mutated(expr.args[k]) if expr.args[k].args else self.leaf()
        return Expr.call(expr.op, *(part if j == k else arg for j, arg in enumerate(expr.args)))


def cold_stream(count: int, seed: int) -> list[Expr]:
    """Distinct formulas of 3 to 5 operators."""
    grammar, found = Grammar(seed), dict.fromkeys(())
    while len(found) < count:
        found[grammar.formula(int(grammar.rng.integers(3, 6)))] = None
    return list(found)


def search_stream(count: int, seed: int) -> list[Expr]:
    """Distinct formulas as a search visits them: from a small set of good ones, grown by one operator or changed."""
    grammar = Grammar(seed)
    good = [grammar.formula(2) for _ in range(12)]
    found: dict[Expr, None] = {}
    while len(found) < count:
        parent = good[int(grammar.rng.integers(len(good)))]
        child = grammar.grown(parent, good[int(grammar.rng.integers(len(good)))])
        if grammar.rng.random() < 0.3:
            child = grammar.mutated(parent)
        if child.size > 25 or child in found:
            continue
        found[child] = None
        # Now and then a child takes the place of a parent, so that what is worked on moves.
        if grammar.rng.random() < 0.08:
            fresh = child if child.size <= 15 else grammar.formula(2)
            good[int(grammar.rng.integers(len(good)))] = fresh
    return list(found)


def check(panel: Panel, later: np.ndarray) -> None:
    """The scores of some formulas against pandas."""
    frame = {name: pd.DataFrame(panel[name].astype(float)) for name in FIELDS}
    member = pd.DataFrame(panel.member)
    log_volume = np.log(frame["volume"])
    cases = {
        "close / delay(close, 5) - 1": frame["close"] / frame["close"].shift(5) - 1,
        "ts_corr(close, log(volume), 10)": frame["close"].rolling(10).corr(log_volume),
        "rank(ts_std(vwap, 20))": frame["vwap"].rolling(20).std().where(member).rank(axis=1, pct=True),
        "ts_median(high / low, 20)": (frame["high"] / frame["low"]).rolling(20).median(),
    }
    evaluator = Evaluator(panel, later)
    for text, values in cases.items():
        expected = values.where(member).corrwith(pd.DataFrame(later).where(member), axis=1).mean()
        found = evaluator.score(text).ic
        if not abs(found - expected) < 1e-5:
            raise SystemExit(f"{text}: IC {found}, pandas says {expected}")


def rate(evaluator: Evaluator, formulas: list[Expr], batch: int) -> tuple[float, float, int]:
    """Formulas a second by the clock and by processor time, and how many were usable."""
    wall, cpu, valid = time.perf_counter(), time.process_time(), 0
    for start in range(0, len(formulas), batch):
        valid += sum(score.valid for score in evaluator.scores(formulas[start : start + batch]))
    return len(formulas) / (time.perf_counter() - wall), len(formulas) / (time.process_time() - cpu), valid


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer formulas")
    quick = arguments.parse_args().quick
    count = 100 if quick else 400
    check(*market(300, 60))
    panel, later = market(DAYS, STOCKS)
    cold, warm = cold_stream(count, seed=1), search_stream(2 * count + FILL, seed=2)
    Evaluator(panel, later).scores(cold_stream(60, seed=9))  # compiles or loads every kernel
    print(f"{DAYS} days x {STOCKS} stocks, float32")
    print("| stream | threads | formulas/s | formulas per CPU s | usable | cache hits |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, formulas, size in (("cold, nothing kept", cold, 0), ("search, 512 MiB kept", warm, 512 << 20)):
        for threads in (1, 2):
            evaluator = Evaluator(panel, later, cache_bytes=size, threads=threads)
            evaluator.scores(formulas[:FILL] if size else cold[:20])
            timed = formulas[FILL:] if size else formulas
            by_wall, by_cpu, valid = rate(evaluator, timed, batch=50)
            hits = evaluator.statistics.hit_rate
            share = f"{100 * valid / len(timed):.0f} %"
            if threads == 1:
                del evaluator  # one at a time: the peak is that of one search
            print(f"| {name} | {threads} | {by_wall:.0f} | {by_cpu:.0f} | {share} | {100 * hits:.0f} % |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pool = cold_stream(21, seed=5)
    evaluator.correlations(pool[0], pool[1:])
    began = time.process_time()
    evaluator.correlations(pool[0], pool[1:])
    took = (time.process_time() - began) / 20
    print(f"correlation with a formula whose standardised values are held: {1000 * took:.2f} ms")
    print(f"peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
