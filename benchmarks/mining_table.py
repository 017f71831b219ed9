"""Six methods on one store with one grammar and one budget: the comparison that only one harness can make.

    python benchmarks/mining_table.py mine_csi300 --data STORE --out DIR [--horizons 5,10,20] [--seeds 7,8,9]
        [--methods random_search,linear_alphas,genetic,ppo,riskminer,alpha2] [--set key=value ...] [--placebos 3]
        [--finished]

Every cell (method, horizon, seed) is the directory of a search, DIR/METHOD-hH-SEED, which `alphaloom mine report` reads
too; a stopped table goes on where it was, and a table may be made in parts. The test of each cell is read once. Placebo
searches are made for the first seed of a method and horizon. Prints the table as Markdown and writes DIR/table.md and
DIR/table.json; `--finished` runs nothing and makes the table of what was run.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphaloom.app.mine import hold_search_out, run_search
from alphaloom.app.mine_config import load_search
from alphaloom.report import write_mining_page
from alphaloom.study.mining import MiningResult, load_mining

METHODS = ("random_search", "linear_alphas", "genetic", "ppo", "riskminer", "alpha2")


def folder(given: argparse.Namespace, method: str, horizon: int, seed: int) -> Path:
    """The directory of a cell."""
    return Path(given.out / f"{method}-h{horizon}-{seed}")


def cell(given: argparse.Namespace, method: str, horizon: int, seed: int, *, first: bool) -> MiningResult:
    """One finished search with its test read once."""
    place = folder(given, method, horizon, seed)
    # All of the table counts, also where a call makes a part of it: the next part must find the same searches.
    trials = len(METHODS) * len(given.seeds)
    settings = [*given.settings, f"miner.kind={method}", f"horizon={horizon}", f"trials={trials}"]
    settings.append(f"name={given.config.stem}_{method}")
    config = load_search(given.config, settings=settings, seed=seed, data=given.data, threads=given.threads)
    run_search(config, place, quiet=True)
    if not (place / "holdout.json").is_file():
        hold_search_out(place, placebos=given.placebos if first else 0, threads=given.threads, quiet=True)
    result = load_mining(place)
    write_mining_page(result, place / "mining.html")
    return result


def spread(values: Sequence[float | None], form: str = ".4f") -> str:
    """Mean and deviation over seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return "n/a"
    text = format(statistics.mean(known), form)
    return f"{text} ± {format(statistics.stdev(known), form)}" if len(known) > 1 else text


def row(results: Sequence[MiningResult]) -> dict[str, Any]:
    """The numbers of a method at a horizon over its seeds."""
    tests = [result.holdout or {} for result in results]
    placebo = tests[0]["placebo"]
    rates = [
        result.facts["evaluations"] / result.timings["seconds"] for result in results if result.timings.get("seconds")
    ]
    return {
        "seeds": [result.facts["seed"] for result in results],
        "evaluations": [result.facts["evaluations"] for result in results],
        "distinct": [result.facts["distinct"] for result in results],
        "formulas": [len(result.formulas) for result in results],
        "similarity": [result.facts["similarity"] for result in results],
        "train_ic": [result.facts["chosen"]["train_ic"] for result in results],
        "valid_ic": [result.valid["ic"]["value"] for result in results],
        "test_ic": [test["ic"]["value"] for test in tests],
        "test_low": [test["ic"]["low"] for test in tests],
        "test_high": [test["ic"]["high"] for test in tests],
        "rank_ic": [test["rank_ic"]["value"] for test in tests],
        "icir": [test["icir"]["value"] for test in tests],
        "rank_icir": [test["rank_icir"]["value"] for test in tests],
        "cagr": [test["book"]["cagr"] for test in tests],
        "rival": [test["book"]["benchmark"]["cagr"] for test in tests],
        "active_sharpe": [test["book"]["active_sharpe"] for test in tests],
        "turnover": [test["book"]["turnover"] for test in tests],
        "costs": [test["book"]["costs"] for test in tests],
        "deflated_sharpe": [test["trials"]["deflated_sharpe"] for test in tests],
        "pbo": [test["trials"]["pbo"] for test in tests],
        "placebo_train": placebo["train"],
        "placebo_test": placebo["test"],
        "rate": rates,
        "data": results[0].facts["data"],
        "span": tests[0]["span"],
    }


HEADS = (
    "method", "train IC", "valid IC", "test IC", "highest placebo", "test rank IC", "test ICIR", "net return a year",
    "active Sharpe", "turnover a day", "PBO", "deflated Sharpe", "formulas", "evaluations a second",
)  # fmt: skip


def line(method: str, one: dict[str, Any]) -> str:
    """One method at one horizon: means over seeds and, of the test, the deviations."""
    high = one["placebo_test"]["high"]
    numbers = [spread(one[key]) for key in ("train_ic", "valid_ic", "test_ic")]
    numbers += ["n/a" if high is None else f"{high:.4f}", spread(one["rank_ic"]), spread(one["icir"], ".3f")]
    numbers += [spread(one["cagr"], ".1%"), spread(one["active_sharpe"], ".2f"), spread(one["turnover"], ".1%")]
    numbers += [spread(one["pbo"], ".2f"), spread(one["deflated_sharpe"], ".3f"), spread(one["formulas"], ".0f")]
    numbers.append(spread(one["rate"], ".0f"))
    return f"| {method} | {' | '.join(numbers)} |"


def markdown(rows: dict[tuple[int, str], dict[str, Any]]) -> str:
    """One table a horizon, the random control first."""
    parts = []
    for horizon in dict.fromkeys(h for h, _ in rows):
        group = {method: one for (h, method), one in rows.items() if h == horizon}
        rival = spread(next(iter(group.values()))["rival"][:1], ".1%")
        parts += [f"### {horizon} bars, equal weights {rival} a year", "", f"| {' | '.join(HEADS)} |"]
        parts += ["|---|" + "---:|" * (len(HEADS) - 1), *(line(method, one) for method, one in group.items()), ""]
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--horizons", type=lambda text: [int(part) for part in text.split(",")], default=[5, 10, 20])
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[7, 8, 9])
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--placebos", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--finished", action="store_true")
    given = parser.parse_args()
    given.methods = sorted(dict.fromkeys(given.methods), key=lambda name: name != "random_search")
    given.out.mkdir(parents=True, exist_ok=True)
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for horizon in given.horizons:
        for method in given.methods:
            results = []
            for seed in given.seeds:
                if given.finished and not (folder(given, method, horizon, seed) / "holdout.json").is_file():
                    continue
                results.append(cell(given, method, horizon, seed, first=seed == given.seeds[0]))
                test = results[-1].holdout or {}
                print(f"{method} h{horizon} seed {seed}: test IC {test['ic']['value']}", flush=True)
            if not results:
                continue
            rows[horizon, method] = row(results)
            (given.out / "table.md").write_text(markdown(rows))
            plain = [{"horizon": h, "method": m, **one} for (h, m), one in rows.items()]
            (given.out / "table.json").write_text(json.dumps(plain, indent=1))
    print(markdown(rows))


if __name__ == "__main__":
    main()
