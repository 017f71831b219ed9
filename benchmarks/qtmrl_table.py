"""The table of QTMRL (arXiv:2508.20467) on real prices: the published baselines, trading agents, and what they lack.

    python benchmarks/qtmrl_table.py --data STORE --out DIR [--years 2019,2020,2021] [--universes 17,16]
        [--markets paper,next_open] [--strategies random,ma_10,...] [--seeds 42,43,44,45,46] [--rates 1e-5,3e-4]
        [--steps 1000000] [--threads 1] [--finished]

For test year Y the training slice is Y-11..Y-1, whose last year validates; the test starts at the last close of Y-1.
Every strategy is run in one account for all assets and in an account for each, trading fractions (20 % of the cash,
half of the position: what the paper states) and all (what its table looks like). Market "paper" fills at the close of
the decision for 5 bps, "next_open" at the next open for 10 bps. A cell (universe, market, year, strategy, rate, seed)
is one file of DIR/cells; a stopped table goes on where it was, and a table may be made in parts. Prints the tables as
Markdown and writes DIR/table.md and DIR/table.json; `--finished` runs nothing and makes the tables of what was run.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from alphaloom.agents.accounts import figures, isolated, shared
from alphaloom.agents.observation import Observation
from alphaloom.agents.policy import AgentPolicy
from alphaloom.agents.signals import (
    ArimaSignals,
    DowTracking,
    MovingAverageSignals,
    NetSignals,
    RandomSignals,
    SignalPolicy,
)
from alphaloom.data import Store
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.portfolio import BuyAndHold, EqualWeight
from alphaloom.roles import Policy
from alphaloom.systems.qtmrl import QTMRL, UNIVERSES

MARKETS = {
    "paper": Market(commission=0.0005, slippage=0.0, fill="same_close"),
    "next_open": Market(commission=0.001, slippage=0.0, fill="next_open"),
}
PRINTED_RATE = 1e-5
SIZES = {"fraction": (0.2, 0.5), "full": (1.0, 1.0)}
# Return, Sharpe, volatility, drawdown in percent as printed in version 1; its other rows are empty.
PAPER = {
    ("random", 2020): (-0.03, 0.38, 53.01, -39.06),
    ("dow_tracking", 2020): (-2.55, 0.34, 72.58, -55.12),
    ("ma_10", 2020): (8.38, 0.42, 45.75, -34.23),
    ("ma_20", 2020): (11.88, 0.40, 40.46, -35.52),
    ("ma_30", 2020): (8.54, 0.37, 39.01, -35.05),
    ("random", 2021): (23.18, 0.91, 24.80, -21.05),
    ("dow_tracking", 2021): (46.00, 1.23, 35.42, -23.11),
    ("ma_10", 2021): (28.11, 1.15, 24.51, -16.58),
    ("ma_20", 2021): (26.60, 1.08, 24.59, -16.67),
    ("ma_30", 2021): (11.39, 0.52, 20.15, -16.00),
}
LAYOUTS = ("isolated full", "isolated fraction", "shared full", "shared fraction")
Cell = dict[str, Any]


class Strategy(NamedTuple):
    """A row of the table: what learns for a seed, a rate and a size, and what of these it depends on."""

    learner: Callable[[argparse.Namespace, int, float, str], Any]
    seeded: bool = False
    rated: bool = False
    # Whether the training already trades, so that each size is learnt for itself.
    sized: bool = False


def sight() -> Observation:
    """What the nets see, as the agents do: the 37 columns of the paper over 20 bars."""
    return Observation(features="qtmrl", market=False, window=20)


def agent(net: Literal["attention", "mlp"]) -> Callable[[argparse.Namespace, int, float, str], Any]:
    """The system, at the printed rate with nothing else than what is printed, at any other as we would train it."""

    def learner(given: argparse.Namespace, seed: int, rate: float, size: str) -> Any:
        buy, sell = SIZES[size]
        printed = "paper" if rate == PRINTED_RATE else "safe"
        settings = {
            "rate": rate,
            "steps": given.steps,
            "seed": seed,
            "threads": given.threads,
            "buy": buy,
            "sell": sell,
        }
        return QTMRL(profile=printed, net=net, **settings).learner

    return learner


def net(kind: str) -> Strategy:
    """One of the three nets among the baselines."""
    return Strategy(
        lambda given, seed, rate, size: NetSignals(kind, observation=sight(), seed=seed, threads=given.threads),
        seeded=True,
    )


class Given:
    """A policy that nothing teaches, as a learner."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def fit(self, train: Panel, market: Market) -> Policy:
        return self.policy


STRATEGIES: dict[str, Strategy] = {
    "buy_and_hold": Strategy(lambda *_: Given(BuyAndHold(cash=0.0))),
    "equal_weight": Strategy(lambda *_: Given(EqualWeight(every=21, cash=0.0))),
    "random": Strategy(lambda given, seed, rate, size: RandomSignals(seed=seed), seeded=True),
    "dow_tracking": Strategy(lambda *_: DowTracking()),
    "ma_10": Strategy(lambda *_: MovingAverageSignals(10)),
    "ma_20": Strategy(lambda *_: MovingAverageSignals(20)),
    "ma_30": Strategy(lambda *_: MovingAverageSignals(30)),
    "arima": Strategy(lambda *_: ArimaSignals()),
    "lstm": net("lstm"),
    "cnn": net("cnn"),
    "ann": net("ann"),
    "a2c_mlp": Strategy(agent("mlp"), seeded=True, rated=True, sized=True),
    "qtmrl": Strategy(agent("attention"), seeded=True, rated=True, sized=True),
}


def cells(given: argparse.Namespace) -> Iterator[Cell]:
    """What is to be run, in the order in which a reader wants it."""
    for name in given.strategies:
        strategy = STRATEGIES[name]
        for year in given.years:
            for universe in given.universes:
                for market in given.markets:
                    for rate in given.rates if strategy.rated else [0.0]:
                        for size in given.sizes if strategy.sized else [""]:
                            for seed in given.seeds if strategy.seeded else [0]:
                                keys = {"strategy": name, "year": year, "universe": universe, "market": market}
                                yield {**keys, "rate": rate, "size": size, "seed": seed}


def place(out: Path, cell: Cell) -> Path:
    """The file of a cell."""
    parts = [cell["strategy"], str(cell["year"]), f"u{cell['universe']}", cell["market"]]
    parts += [f"r{cell['rate']:g}"] if cell["rate"] else []
    parts += [cell["size"]] if cell["size"] else []
    return out / "cells" / f"{'-'.join(parts)}-s{cell['seed']}.json"


def panels(store: Path, universe: str, year: int) -> tuple[Panel, Panel, int]:
    """The training slice, the panel up to the test's last bar, and the row of the first decision.

    Membership of an index plays no part here: the universe is the list of names, each from its first bar on.
    """
    whole = Store(store).panel(assets=UNIVERSES[f"qtmrl{universe}"], start=f"{year - 11}-01-01", end=f"{year}-12-31")
    whole = whole.replace(member=whole.listed)
    first = whole.row_of(f"{year}-01-01")
    return whole[:first], whole, first - 1


def run(given: argparse.Namespace, cell: Cell) -> dict[str, Any]:
    """One finished cell: the figures of each layout."""
    train, whole, start = panels(given.data, cell["universe"], cell["year"])
    market = MARKETS[cell["market"]]
    learner = STRATEGIES[cell["strategy"]].learner(given, cell["seed"], cell["rate"], cell["size"])
    began = time.perf_counter()
    file = place(given.out, cell)
    kept = {"checkpoint": file.with_suffix(".part")} if cell["size"] else {}
    policy = learner.fit(train, market, **kept)
    learned = time.perf_counter() - began
    results: dict[str, Any] = {}
    for size in [cell["size"]] if cell["size"] else SIZES:
        sized = resized(policy, size)
        one = shared(sized, whole, market, start=start, cash=10_000.0)
        many = isolated(sized, whole, market, start=start, cash=10_000.0)
        value = float(one.equity[:-1].mean())
        results[f"shared {size}"] = {
            **figures(one.returns[1:], whole.periods_per_year),
            "turnover": float(one.traded.sum()) / value,
            "costs": float(sum(float(part.sum()) for part in one.costs.values())) / 10_000.0,
        }
        held = many.equity[:-1].mean(axis=0)
        results[f"isolated {size}"] = {
            **many.averages(),
            "turnover": float((many.traded.sum(axis=0) / held).mean()),
            "costs": float(many.costs.sum(axis=0).mean()) / 10_000.0,
            "each": dict(zip(many.assets, (many.equity[-1] / 10_000.0 - 1.0).round(6).tolist(), strict=True)),
        }
    found = {
        **cell,
        "results": {name: {k: plain(v) for k, v in part.items()} for name, part in results.items()},
        "seconds": {"learning": learned, "all": time.perf_counter() - began},
        "span": [str(whole.times[start])[:10], str(whole.times[-1])[:10]],
        "steps": given.steps if cell["size"] else 0,
        "notes": list(getattr(policy, "notes", ())),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps(found, indent=1))
    beside.replace(file)
    if kept:
        kept["checkpoint"].unlink(missing_ok=True)
    return found


def resized(policy: Policy, size: str) -> Policy:
    """The same policy trading fractions or all; others do not know sizes."""
    buy, sell = SIZES[size]
    if isinstance(policy, SignalPolicy | AgentPolicy):
        return replace(policy, trading=replace(policy.trading, buy=buy, sell=sell))
    return policy


def plain(value: Any) -> Any:
    """A number that JSON knows."""
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value


def spread(values: list[float | None], digits: int, scale: float) -> str:
    """The mean over seeds, and the deviation where there are several."""
    known = [value * scale for value in values if value is not None]
    if not known:
        return "n/a"
    text = f"{statistics.mean(known):.{digits}f}"
    return f"{text} ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else text


def line(name: str, group: list[dict[str, Any]], year: int) -> str:
    """One strategy in every layout, and what the paper prints."""
    columns = []
    for layout in LAYOUTS:
        parts = [one["results"][layout] for one in group if layout in one["results"]]
        if not parts:
            columns.append("")
            continue
        numbers = [spread([p["return"] for p in parts], 1, 100.0), spread([p["sharpe"] for p in parts], 2, 1.0)]
        numbers += [f"{statistics.mean(p['volatility'] for p in parts) * 100:.1f}"]
        numbers += [f"{-statistics.mean(p['max_drawdown'] for p in parts) * 100:.1f}"]
        columns.append(", ".join(numbers))
    printed = PAPER.get((name.split(" ", 1)[0], year))
    columns.append(", ".join(f"{number:g}" for number in printed) if printed else "")
    return f"| {name} | {len(group)} | {' | '.join(columns)} |"


def markdown(found: list[dict[str, Any]]) -> str:
    """A table for each universe, market and year."""
    parts = []
    for universe, market, year in dict.fromkeys((one["universe"], one["market"], one["year"]) for one in found):
        group = [one for one in found if (one["universe"], one["market"], one["year"]) == (universe, market, year)]
        span = group[0]["span"]
        parts += [f"### {year}, {universe} stocks, market {market} ({span[0]} to {span[1]})", ""]
        parts += [f"| strategy | runs | {' | '.join(LAYOUTS)} | paper |", "|---|---:|" + "---|" * (len(LAYOUTS) + 1)]
        names = dict.fromkeys((one["strategy"], one["rate"]) for one in group)
        for strategy, rate in sorted(names, key=lambda pair: (list(STRATEGIES).index(pair[0]), pair[1])):
            rows = [one for one in group if (one["strategy"], one["rate"]) == (strategy, rate)]
            parts.append(line(f"{strategy} {rate:g}" if rate else strategy, rows, year))
        parts.append("")
    return "\n".join(parts)


def words(text: str) -> list[str]:
    """A list given with commas."""
    return [part for part in text.split(",") if part]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--years", type=lambda text: [int(part) for part in words(text)], default=[2019, 2020, 2021])
    parser.add_argument("--universes", type=words, default=["17", "16"])
    parser.add_argument("--markets", type=words, default=["paper", "next_open"])
    parser.add_argument("--strategies", type=words, default=[name for name, row in STRATEGIES.items() if not row.sized])
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in words(text)], default=[42, 43, 44, 45, 46])
    parser.add_argument("--rates", type=lambda text: [float(part) for part in words(text)], default=[1e-5, 3e-4])
    parser.add_argument("--sizes", type=words, default=["fraction"], help="of agents, which learn each size for itself")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--finished", action="store_true")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    unknown = sorted(set(given.strategies) - set(STRATEGIES))
    if unknown:
        sys.exit(f"no strategy {', '.join(unknown)}; there are {', '.join(STRATEGIES)}")
    given.out.mkdir(parents=True, exist_ok=True)
    for cell in cells(given):
        if given.finished or place(given.out, cell).is_file():
            continue
        one = run(given, cell)
        seconds = one["seconds"]
        print(f"{place(given.out, cell).stem}: {seconds['learning']:.0f} of {seconds['all']:.0f} s", flush=True)
    found = [json.loads(path.read_text()) for path in sorted((given.out / "cells").glob("*.json"))]
    wanted = [one for one in found if one["strategy"] in STRATEGIES]
    wanted.sort(key=lambda one: (one["universe"], one["market"], one["year"]))
    text = markdown(wanted)
    (given.out / "table.md").write_text(text)
    (given.out / "table.json").write_text(json.dumps(wanted, indent=1))
    print(text)


if __name__ == "__main__":
    main()
