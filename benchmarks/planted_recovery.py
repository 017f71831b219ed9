"""How many evaluations a search needs to find a formula that was planted, and what it finds where nothing was.

The target is 0.05 times the standardised values of a known formula of 2, 4 or 6 operators, plus noise of deviation 1.
A method has recovered it with the first formula whose mean daily product with it exceeds 0.95. Where the target is
noise alone, each method's pool is judged on later rows against the same labels with their days permuted.

    python benchmarks/planted_recovery.py --out DIR [--seeds 5] [--budget 10000] [--methods random_search,riskminer]

Every cell is a file of its own, so a stopped run goes on where it was. Writes DIR/planted.json and DIR/planted.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from alphaloom.app.catalog import find_class
from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.factors import evaluate_one, parse
from alphaloom.factors.grammar import Grammar
from alphaloom.metrics import ranking
from alphaloom.mining import Alpha, Budget, Pool, Session, Settings
from alphaloom.mining.combiners import Combination
from alphaloom.mining.forecaster import MinedForecaster
from alphaloom.mining.mined_files import MinedPool

METHODS = ("random_search", "genetic", "ppo", "riskminer", "alpha2")
PLANTED = {
    2: "ts_std(close, 20) / close",
    4: "(close - ts_min(low, 10)) / ts_std(close, 20)",
    6: "(close - vwap) / ts_std(high - low, 10) * ts_rank(volume, 20)",
}
GRAMMAR = Grammar(constants=(-1.0, 0.5, 2.0), windows=(5, 10, 20), max_tokens=16, max_lookback=60)
STRENGTH, ALIKE, START, LATER = 0.05, 0.95, 60, 300


class Recovered(Exception):  # noqa: N818 - it ends a search, it is no error
    """The planted formula, or one that is nearly always equal to it, was judged."""


class Watched(Session):
    """A session that compares whatever is judged with the planted formula."""

    planted: Any = None
    nearest = 0.0

    def judge(self, exprs: Any) -> list[Alpha]:
        before = self.evaluations
        found = super().judge(exprs)
        for place, alpha in enumerate(found):
            if self.planted is None or alpha.z is None:
                continue
            alike = abs(float(np.einsum("tn,tn->t", alpha.z, self.planted).mean()))
            self.nearest = max(self.nearest, alike)
            if alike > ALIKE:
                raise Recovered(f"{min(before + place + 1, self.evaluations)} {alpha.expr}")
        return found


def noisy_target(panel: Any, formula: str | None, seed: int) -> np.ndarray:
    """Noise of deviation 1 and, where a formula is given, its standardised values times the strength."""
    random = np.random.default_rng(10_000 + seed)
    target = random.standard_normal(panel.shape)
    if formula is not None:
        values = np.where(panel.member, evaluate_one(formula, panel), np.nan)[START:]
        middle = np.nanmedian(values, axis=1, keepdims=True)
        spread = 1.4826 * np.nanmedian(np.abs(values - middle), axis=1, keepdims=True)
        held = np.clip(values, middle - 5 * spread, middle + 5 * spread)
        mean, deviation = np.nanmean(held, axis=1, keepdims=True), np.nanstd(held, axis=1, keepdims=True)
        target[START:] += STRENGTH * np.nan_to_num((held - mean) / deviation)
    return np.where(panel.member & np.isfinite(panel["close"]), target, np.nan)


def session(panel: Any, target: np.ndarray, *, budget: int, seed: int) -> Watched:
    return Watched(
        panel,
        target,
        grammar=GRAMMAR,
        pool=Pool(10),
        budget=Budget(budget),
        seed=seed,
        start_row=START,
        settings=Settings(note_every=1000),
    )


def recover(panel: Any, method: str, operators: int, *, seed: int, budget: int) -> dict[str, Any]:
    """Evaluations until the planted formula is found; None where the budget ends first."""
    formula = PLANTED[operators]
    mine = session(panel, noisy_target(panel, formula, seed), budget=budget, seed=seed)
    mine.planted = mine.filled(Alpha(parse(formula), float("nan"), float("nan"), 0.0)).z
    began, found, text = time.monotonic(), None, ""
    try:
        find_class("miner", method)().mine(mine)
    except Recovered as reached:
        count, _, text = str(reached).partition(" ")
        found = int(count)
    seconds = time.monotonic() - began
    return {"evaluations": found, "formula": text, "nearest": mine.nearest, "seconds": seconds}


def nothing(panel: Any, method: str, *, seed: int, budget: int) -> dict[str, Any]:
    """The pool that a search makes of noise, on later rows: its coefficient, and where 95 % of permutations lie."""
    target = noisy_target(panel, None, seed)
    cut = len(panel) - LATER
    mine = session(panel[:cut], target[:cut], budget=budget, seed=seed)
    find_class("miner", method)().mine(mine)
    formulas = tuple(str(alpha.expr) for alpha in mine.pool.alphas)
    if not formulas:
        return {"train": 0.0, "test": 0.0, "band": 0.0, "inside": True}
    combined = Combination("lasso", tuple(range(len(formulas))), tuple(mine.pool.weights))
    pool = MinedPool(formulas, combined.weights)
    said = MinedForecaster(pool).predict(panel).values[cut:]
    own = float(np.nanmean(ranking.ic(said, target[cut:])))
    random = np.random.default_rng(seed)
    drawn = [float(np.nanmean(ranking.ic(said, target[cut:][random.permutation(LATER)]))) for _ in range(200)]
    band = float(np.quantile(np.abs(drawn), 0.95))
    return {"train": mine.pool.ic, "test": own, "band": band, "inside": abs(own) <= band}


def kept(path: Path, make: Any) -> dict[str, Any]:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(make(), indent=1))
        beside.replace(path)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def table(cells: dict[str, Any], nulls: dict[str, Any], methods: list[str], seeds: int, budget: int) -> str:
    """The headline figure as Markdown: median evaluations, recoveries, seeds in which random search was beaten."""
    lines = [
        f"Median evaluations to recover ({seeds} seeds, at most {budget:,}); recovered; faster than random search.",
        "",
    ]
    lines += [
        "| method | " + " | ".join(f"{ops} operators" for ops in PLANTED) + " |",
        "|---|" + "---:|" * len(PLANTED),
    ]
    for method in methods:
        row = []
        for operators in PLANTED:
            mine = [cells[f"{method}-{operators}-{seed}"]["evaluations"] or np.inf for seed in range(seeds)]
            control = [cells[f"random_search-{operators}-{seed}"]["evaluations"] or np.inf for seed in range(seeds)]
            middle = statistics.median(mine)
            text = f"{middle:,.0f}" if np.isfinite(middle) else f"over {budget:,}"
            won = sum(a < b for a, b in zip(mine, control, strict=True))
            faster = "" if method == "random_search" else f"; faster in {won}"
            row.append(f"{text} ({sum(np.isfinite(mine))} of {seeds}{faster})")
        lines.append(f"| {method} | " + " | ".join(row) + " |")
    lines += [
        "",
        "Where the target is noise: coefficient of the pool in training and on later rows, seeds inside the band.",
        "",
    ]
    lines += ["| method | training | later rows, mean | inside |", "|---|---:|---:|---:|"]
    for method in methods:
        runs = [nulls[f"{method}-{seed}"] for seed in range(seeds)]
        train, test = (statistics.mean(run[key] for run in runs) for key in ("train", "test"))
        inside = sum(run["inside"] for run in runs)
        lines.append(f"| {method} | {train:.4f} | {test:+.4f} | {inside} of {seeds} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=10_000)
    parser.add_argument("--null-budget", type=int, default=1000)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--days", type=int, default=1000)
    parser.add_argument("--assets", type=int, default=80)
    given = parser.parse_args()
    methods = list(dict.fromkeys(["random_search", *given.methods.split(",")]))
    panel = simulate(EmbeddedMarket(days=given.days, assets=given.assets, seed=3, noise=True, members=1.0))
    cells, nulls = {}, {}
    for method in methods:
        for seed in range(given.seeds):
            for operators in PLANTED:
                name = f"{method}-{operators}-{seed}"
                cells[name] = kept(
                    given.out / "cells" / f"{name}.json",
                    lambda m=method, o=operators, s=seed: recover(panel, m, o, seed=s, budget=given.budget),
                )
                print(name, cells[name]["evaluations"], f"{cells[name]['seconds']:.0f} s", flush=True)
            name = f"{method}-{seed}"
            nulls[name] = kept(
                given.out / "null" / f"{name}.json",
                lambda m=method, s=seed: nothing(panel, m, seed=s, budget=given.null_budget),
            )
    text = table(cells, nulls, methods, given.seeds, given.budget)
    (given.out / "planted.md").write_text(text)
    (given.out / "planted.json").write_text(json.dumps({"recovery": cells, "null": nulls}, indent=1))
    print(text)


if __name__ == "__main__":
    main()
