"""The factor engine against KunQuant, pandas, polars and bottleneck: whole formula sets and single operators.

1,000 assets x 2,520 days, float32, CPU seconds of one run. Agreement is checked before time is taken: our compiled
engine against our float64 reference, KunQuant against ours. Compilation and loading are not counted on either side, and
both write into memory that exists already. `--quick` uses 80 assets x 400 days and leaves out nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from factor_peers import KunQuant, kun_alpha101, kun_alpha158, kun_operators, with_pandas
from scipy.stats import rankdata

from alphaloom.factors import Expr, Factor, FactorSet, evaluate, load_library, parse
from alphaloom.factors.machine import run, touched
from alphaloom.factors.options import Options
from alphaloom.factors.plan import plan
from alphaloom.panel import Panel

WARM = 560
SINGLE = {
    "ts_sum": "ts_sum(close, 20)",
    "ts_mean": "ts_mean(close, 20)",
    "ts_std": "ts_std(close, 20)",
    "ts_corr": "ts_corr(close, volume, 20)",
    "ts_max": "ts_max(close, 20)",
    "ts_argmax": "ts_argmax(close, 20)",
    "ts_rank": "ts_rank(close, 20)",
    "ts_quantile": "ts_quantile(close, 20, 0.8)",
    "decay_linear": "decay_linear(close, 20)",
    "rank": "rank(close)",
}


def market(T: int, N: int, seed: int = 0) -> Panel:
    """Prices that wander, lognormal volumes, and three levels of groups."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, (T, N)), axis=0) * 0.5 + rng.normal(0, 0.5, N))
    opened = close * np.exp(rng.normal(0, 0.008, (T, N)))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.006, (T, N))))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.006, (T, N))))
    volume = np.exp(rng.normal(12, 1, (T, N))).astype(np.float32)
    amount = ((high + low + close) / 3 * volume).astype(np.float32)
    fields = {"open": opened, "high": high, "low": low, "close": close, "volume": volume, "amount": amount}
    fields = {name: values.astype(np.float32) for name, values in fields.items()}
    fields["vwap"] = amount / (volume + np.float32(1e-7))
    fields["cap"] = fields["close"] * np.float32(1e6)
    levels = {"sector": 11, "industry": 60, "subindustry": 150}
    labels = {name: np.tile(rng.integers(0, k, N).astype(np.int16), (T, 1)) for name, k in levels.items()}
    times = np.datetime64("2010-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D")
    assets = tuple(f"A{j}" for j in range(N))
    return Panel(times=times, assets=assets, fields=fields, labels=labels, member=np.ones((T, N), bool))


def cpu(work: Callable[[], object], runs: int = 3) -> float:
    """CPU seconds of the cheapest of some runs."""
    taken = []
    for _ in range(runs):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def wall(work: Callable[[], object], runs: int = 3) -> float:
    """Seconds of the shortest of some runs."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def agreeing(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-3) -> float:
    """Share of cells where both know a value and the values agree."""
    with np.errstate(all="ignore"):
        close = np.abs(a - b) <= tolerance * np.maximum(1e-3, np.maximum(np.abs(a), np.abs(b)))
    known = np.isfinite(a) & np.isfinite(b)
    return float(close[known].mean()) if known.any() else 0.0


def check_reference(factors: FactorSet) -> None:
    """The compiled engine against the float64 reference on a small panel.   Ends the run where they differ."""
    small = market(620, 24, 1)
    fast = evaluate(factors, small).values
    right = evaluate(factors, small, dtype=np.float64).values
    shares = [agreeing(fast[:, :, k], right[:, :, k]) for k in range(len(factors))]
    worst = min(range(len(shares)), key=shares.__getitem__)
    middle = float(np.median(shares))
    print(f"  compiled against float64 reference: {middle:.2%} of cells agree in the median factor, ", end="")
    print(f"{shares[worst]:.2%} in the worst ({factors.names[worst]})")
    if middle < 0.999 or sum(share < 0.98 for share in shares) > len(shares) // 10:
        sys.exit("the compiled engine and its reference disagree")


def together(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the cells that both know, the farthest thousandth left out."""
    known = np.isfinite(a) & np.isfinite(b)
    x, y = a[known].astype(float), b[known].astype(float)
    if len(x) < 2:
        return 0.0
    x, y = (np.clip(z, *np.quantile(z, (0.001, 0.999))) for z in (x, y))
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else 0.0


def counting(expr: Expr) -> Expr:
    """The formula with KunQuant's `ts_rank`, which counts 1 to d where ours is a share of d."""
    if expr.op in ("name", "number"):
        return expr
    made = Expr.call(expr.op, *(counting(arg) for arg in expr.args))
    return made * float(expr.args[1].value) if expr.op == "ts_rank" else made


def check_peer(factors: FactorSet, peer: KunQuant) -> None:
    """KunQuant's values against ours on a smaller panel, once warm.   Ends the run where most differ."""
    small = market(700, 160, 2)
    work, read = peer.bind(dict(small.fields))
    work()
    known = [factor for factor in factors.factors if factor.name in peer.module.getOutputNames()]
    told = FactorSet("counted", tuple(Factor(f.name, counting(f.expr)) for f in known), factors.options)
    values = evaluate(told, small).values
    equal, near, far = [], [], []
    for k, factor in enumerate(known):
        mine, other = values[450:, :, k], read(factor.name)[450:]
        if agreeing(mine, other) > 0.95:
            equal.append(factor.name)
        elif together(mine, other) > 0.95:
            near.append(factor.name)
        else:
            far.append(factor.name)
    print(f"  of {len(known)} factors that KunQuant has, {len(equal)} equal ours in at least 95 % of cells, ", end="")
    print(f"{len(near)} correlate above 0.95 (ties decided by rounding, shifts), {len(far)} do not: {', '.join(far)}")
    if len(far) > len(known) // 5:
        sys.exit("the engines compute different things")


def whole_set(factors: FactorSet, panel: Panel, peer: KunQuant, runs: int) -> None:
    """One formula set by both engines."""
    print(f"\n{factors.name}: {len(factors)} factors")
    check_reference(factors)
    check_peer(factors, peer)
    made = plan(factors, shape=panel.shape)
    print(f"  plan: {made.operations} operations, {len(made.phases)} phases, peak {made.peak_bytes / 1e6:,.0f} MB")
    results = touched((made.distinct, *panel.shape))
    run(made, panel, results)
    ours = cpu(lambda: run(made, panel, results), runs)
    work, _ = peer.bind(dict(panel.fields))
    theirs = cpu(work, runs)
    two = plan(factors, shape=panel.shape, threads=2)
    one_wall, two_wall = wall(lambda: run(made, panel, results), runs), wall(lambda: run(two, panel, results), runs)
    everything = cpu(lambda: evaluate(factors, panel), 1)
    print(f"  alphaloom, {len(factors)} factors: {ours:.2f} CPU s ({everything:.2f} with planning and fresh memory)")
    print(f"  KunQuant, {len(peer.module.getOutputNames())} factors: {theirs:.2f} CPU s = {theirs / ours:.1f} x ours")
    print(f"  wall: one thread {one_wall:.2f} s, two {two_wall:.2f} s = {one_wall / two_wall:.2f} x")


def against_pandas(factors: FactorSet, T: int, N: int, columns: int) -> None:
    """All formulas by pandas on some of the assets; its cost grows with their number."""
    panel = market(T, columns)
    frames = {name: pd.DataFrame(values) for name, values in {**panel.fields, **panel.labels}.items()}
    values = evaluate(factors, panel, dtype=np.float64).values
    shares, taken = [], 0.0
    for k, factor in enumerate(factors.factors):
        start = time.process_time()
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            got = with_pandas(factor.expr, frames)
        taken += time.process_time() - start
        shares.append(agreeing(values[WARM:, :, k], np.asarray(got, float)[WARM:]) if T > WARM else 1.0)
    made = plan(factors, shape=(T, N))
    whole = market(T, N)
    results = touched((made.distinct, T, N))
    ours = cpu(lambda: run(made, whole, results))
    scaled = taken * N / columns
    print(f"\npandas, {len(factors)} formulas on {columns} of {N} assets: {taken:.1f} CPU s, ", end="")
    print(f"scaled to all {scaled:.0f} s = {scaled / ours:.0f} x ours ({ours:.2f} s); ", end="")
    print(f"{sum(share > 0.95 for share in shares)} of {len(shares)} agree in 95 % of cells")
    x = frames["close"].iloc[:, :1]
    slow = cpu(lambda: x.rolling(10).apply(lambda window: rankdata(window)[-1]), 1) / T
    count = sum(str(factor.expr).count("ts_rank(") for factor in factors.factors)
    popular = scaled + count * T * N * slow
    print(
        f"with ts_rank as rolling.apply(rankdata), which much public code does ({slow * 1e6:.0f} microseconds a cell, "
    )
    print(f"{count} times), about {popular:.0f} s = {popular / ours:.0f} x ours")


def operators(panel: Panel, fields: dict[str, np.ndarray]) -> None:
    """Single operators, nanoseconds of CPU time for each cell."""
    peers = kun_operators()
    x, y = pd.DataFrame(fields["close"]), pd.DataFrame(fields["volume"])
    pandas_ways, others = peer_ways(x, y)
    cells = panel.shape[0] * panel.shape[1]
    print("\n| operator, 20 rows | inside a plan | alone | KunQuant | pandas | polars | bottleneck |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, text in SINGLE.items():
        one = FactorSet("one", (Factor("a", parse(text)),))
        made = plan(one, shape=panel.shape)
        results = touched((1, *panel.shape))
        run(made, panel, results)
        alone = cpu(lambda made=made, results=results: run(made, panel, results))
        work, _ = peers[name].bind(fields)
        figures = [inside(text, panel), alone, cpu(work), cpu(pandas_ways[name], 1)]
        for library in ("polars", "bottleneck"):
            way = others[library].get(name)
            figures.append(cpu(way, 1) if way else float("nan"))
        print(f"| {name} | " + " | ".join("-" if f != f else f"{f / cells * 1e9:.1f}" for f in figures) + " |")
    source = np.ones(64_000_000, np.float32)
    target = np.empty_like(source)
    moved = 2 * source.nbytes / cpu(lambda: np.copyto(target, source)) / 1e9
    print(f"copy bandwidth {moved:.1f} GB/s = {8 / moved:.2f} ns for reading and writing one float32")


def inside(text: str, panel: Panel) -> float:
    """CPU seconds of one more such operator inside a plan that has its operands at hand already."""
    few = [text.replace("close", f"(close + {k})") for k in (1, 2)]
    many = [text.replace("close", f"(close + {k})") for k in range(1, 10)]
    taken = []
    for texts in (few, many):
        joined = parse(" + ".join(texts))
        made = plan(FactorSet("sum", (Factor("a", joined),)), shape=panel.shape)
        results = touched((1, *panel.shape))
        run(made, panel, results)
        taken.append(cpu(lambda made=made, results=results: run(made, panel, results)))
    return (taken[1] - taken[0]) / (len(many) - len(few))


def peer_ways(x: pd.DataFrame, y: pd.DataFrame) -> tuple[dict[str, Callable], dict[str, dict[str, Callable]]]:
    """The same operators by the usual libraries."""
    import bottleneck as bn
    import polars as pl

    frames = {"close": x, "volume": y}
    parsed = {name: parse(text) for name, text in SINGLE.items() if name != "ts_quantile"}
    ways = {name: (lambda expr=expr: with_pandas(expr, frames)) for name, expr in parsed.items()}
    ways["ts_quantile"] = lambda: x.rolling(20).quantile(0.8)
    grid = x.to_numpy()
    table = pl.DataFrame({f"c{j}": grid[:, j] for j in range(grid.shape[1])})
    every = pl.all()
    polars_ways = {
        "ts_sum": lambda: table.select(every.rolling_sum(20)),
        "ts_mean": lambda: table.select(every.rolling_mean(20)),
        "ts_std": lambda: table.select(every.rolling_std(20)),
        "ts_max": lambda: table.select(every.rolling_max(20)),
        "ts_quantile": lambda: table.select(every.rolling_quantile(0.8, "linear", window_size=20)),
    }
    bottleneck_ways = {
        "ts_sum": lambda: bn.move_sum(grid, 20, axis=0),
        "ts_mean": lambda: bn.move_mean(grid, 20, axis=0),
        "ts_std": lambda: bn.move_std(grid, 20, axis=0, ddof=1),
        "ts_max": lambda: bn.move_max(grid, 20, axis=0),
        "ts_argmax": lambda: bn.move_argmax(grid, 20, axis=0),
        "ts_rank": lambda: bn.move_rank(grid, 20, axis=0),
        "rank": lambda: bn.rankdata(grid, axis=1),
    }
    return ways, {"polars": polars_ways, "bottleneck": bottleneck_ways}


def first_call() -> None:
    """Seconds of the first set in a new process, the library's import and numba's included."""
    code = (
        "import time; t = time.perf_counter()\n"
        "import numpy as np\n"
        "from alphaloom.factors import evaluate, load_library\n"
        "from alphaloom.panel import Panel\n"
        "f = {k: np.random.default_rng(0).random((300, 20)).astype('f4') + 1 for k in"
        " ('open','high','low','close','volume','vwap','cap')}\n"
        "g = {k: np.zeros((300, 20), 'i2') for k in ('sector','industry','subindustry')}\n"
        "p = Panel(times=np.datetime64('2020-01-01','ns') + np.arange(300) * np.timedelta64(1,'D'),"
        " assets=tuple(map(str, range(20))), fields=f, labels=g)\n"
        "s = load_library('alpha101'); u = time.perf_counter()\n"
        "evaluate(s, p); print(f'{time.perf_counter() - u:.2f} s, {time.perf_counter() - t:.2f} s with all imports')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print(f"\nfirst alpha101 of a new process, kernels cached: {done.stdout.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small panel")
    parser.add_argument("--runs", type=int, default=3, help="how often each set is run; the cheapest counts")
    parser.add_argument("--part", choices=("alpha101", "alpha158", "pandas", "operators", "first"), default=None)
    args = parser.parse_args()
    T, N = (400, 80) if args.quick else (2520, 1000)
    panel = market(T, N)
    fields = dict(panel.fields)
    rounded = load_library("alpha101", options=Options(zero_variance_corr="zero", window_rounding="round"))
    if args.part in (None, "alpha101"):
        start = time.perf_counter()
        peer = kun_alpha101()
        print(f"KunQuant compiled its alphas in {time.perf_counter() - start:.0f} s")
        whole_set(rounded, panel, peer, args.runs)
    if args.part in (None, "alpha158"):
        # KunQuant's windows are full ones, as are ours in this comparison; the library's own rule comes after it.
        whole_set(load_library("alpha158", options=Options(nan_compare="false")), panel, kun_alpha158(), args.runs)
        factors = load_library("alpha158")
        made = plan(factors, shape=panel.shape)
        results = touched((made.distinct, *panel.shape))
        run(made, panel, results)
        print(f"  with min_periods = 1, qlib's rule: {cpu(lambda: run(made, panel, results)):.2f} CPU s")
    if args.part in (None, "pandas"):
        against_pandas(rounded, T, N, 20)
    if args.part in (None, "operators"):
        operators(panel, fields)
    if args.part in (None, "first"):
        first_call()


if __name__ == "__main__":
    main()
