"""The arena: several studies on one panel, market and plan, judged together and against what needs no skill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import BacktestResult
from alphaloom.errors import ConfigError, DataError, Fault
from alphaloom.market import Market
from alphaloom.metrics import performance
from alphaloom.panel import Panel
from alphaloom.roles import Executor
from alphaloom.study.arena_numbers import Luck, Measure, Picking, Spread, luck_of, picking_of
from alphaloom.study.arena_tables import arena_place, arena_summary, curves_of, notes_of_arena, write_arena
from alphaloom.study.contest import Ablation, Line, ablation_of, line_of
from alphaloom.study.controls import EQUAL, Ground, habits_of, matched, plain_controls, random_band
from alphaloom.study.curves import turnover
from alphaloom.study.description import describe
from alphaloom.study.earning import riskless, settled
from alphaloom.study.folds import WalkForward
from alphaloom.study.recall import Recalling, learned
from alphaloom.study.result import StudyResult
from alphaloom.study.verdicts import WORDS, Check, Verdict

__all__ = [
    "WORDS",
    "Ablation",
    "Arena",
    "ArenaResult",
    "Check",
    "Entry",
    "Line",
    "Recalling",
    "Spread",
    "Verdict",
    "arena_place",
    "arena_summary",
    "learned",
    "write_arena",
]

Floats = NDArray[np.float64]
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Entry:
    """One study of an arena: the results of its seeds.

    `of` names the whole study of which this one lacks a `step`. A study in which nothing depends on a seed has one
    result, which stands for every seed.
    Raises: ConfigError without a result, or with another number of results than seeds.
    """

    name: str
    seeds: tuple[int, ...]
    results: tuple[StudyResult, ...]
    of: str = ""
    step: str = ""

    def __post_init__(self) -> None:
        if not self.results or len(self.seeds) != len(self.results):
            found = f"{len(self.seeds)} seeds, {len(self.results)} results"
            raise ConfigError(f"arena entry {self.name}", [Fault("results", "are one for each seed", found)])

    def at(self, seed: int) -> StudyResult:
        """The result of a seed; the only one where there is one."""
        return self.results[self.seeds.index(seed)] if len(self.seeds) > 1 else self.results[0]


@dataclass(frozen=True, eq=False)
class ArenaResult:
    """What an arena found.

    Shape: `curves` columns (K,): time, study.<name> (mean growth over seeds), control.<name>, random.<name>.<part>;
    `returns` columns (K,): time, <name>:<seed>; `bands` by study: draw, sharpe, cagr, turnover.
    """

    name: str
    facts: Mapping[str, Any]
    lines: tuple[Line, ...]
    ablations: tuple[Ablation, ...]
    controls: Mapping[str, Mapping[str, float | None]]
    luck: Luck
    active_luck: Luck
    picking: Picking
    curves: Mapping[str, NDArray[Any]]
    returns: Mapping[str, NDArray[Any]]
    bands: Mapping[str, Mapping[str, NDArray[Any]]]
    configs: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]
    directory: Path | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Arena:
    """The rules of a contest: what all studies share, how many portfolios are drawn by lot, and the seed of chance.

    Raises: ConfigError for fewer than two drawn portfolios, a negative seed or no money.
    """

    market: Market
    plan: WalkForward
    name: str = "arena"
    cash: float = 1e6
    random: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        rules = [
            ("random", "counts drawn portfolios, at least two", self.random, self.random >= 2),
            ("seed", "is not negative", self.seed, self.seed >= 0),
            ("cash", "is positive", self.cash, self.cash > 0),
            ("name", "is not empty", self.name, bool(self.name)),
        ]
        faults = [Fault(f"arena.{key}", rule, found) for key, rule, found, good in rules if not good]
        if faults:
            raise ConfigError("arena", faults)

    def judge(
        self,
        entries: Sequence[Entry],
        panel: Panel,
        *,
        executor: Executor | None = None,
        progress: Tell | None = None,
    ) -> ArenaResult:
        """Judge all studies by the same rules; nothing is learned here.

        Time: everything is measured over the test span of the plan, with trades at the market's fills and costs.
        Raises: ConfigError for entries without a whole study or with a name twice; DataError for a result of another
        span or market.
        """
        tell = progress or _silent
        folds = self.plan.folds(len(panel))
        ground = Ground(panel, self.market, folds[0].test_start, self.cash)
        _check_entries(entries, ground)
        rate, rate_note = riskless(panel, self.market.cash_rate)
        measure = Measure(panel.periods_per_year, rate[ground.start :], self.seed)
        tell("controls", 0, 1)
        controls = plain_controls(ground)
        tell("controls", 1, 1)
        bands, fans = self._bands(entries, ground, measure=measure, executor=executor, tell=tell)
        equal = settled(controls[EQUAL].returns)
        runs = [(entry, result) for entry in entries for result in entry.results]
        columns = np.column_stack([settled(result.daily["returns"]) for _, result in runs])
        active = columns - equal[:, None]
        own = [_trials(result) for _, result in runs]
        unseen = sum(max(_trials(result) for result in entry.results) - 1 for entry in entries)
        luck, active_luck = (luck_of(part, own, unseen=unseen) for part in (columns, active))
        tell("judging", 0, 1)
        picking = picking_of(columns, active)
        context = (measure, equal, (luck, active_luck), picking)
        lines = tuple(line_of(entry, *context, band=bands.get(entry.name)) for entry in entries)
        whole = {entry.name: entry for entry in entries if not entry.of}
        ablations = tuple(ablation_of(whole[entry.of], entry, measure) for entry in entries if entry.of)
        names = [f"{entry.name}:{seed}" for entry in entries for seed in entry.seeds]
        result = ArenaResult(
            name=self.name,
            facts=_facts(self, ground, entries),
            lines=lines,
            ablations=ablations,
            controls={name: _numbers(book, measure) for name, book in controls.items()},
            luck=luck,
            active_luck=active_luck,
            picking=picking,
            curves=curves_of(entries, ground, controls=controls, fans=fans),
            returns={"time": panel.times[ground.start :], **dict(zip(names, columns.T, strict=True))},
            bands=bands,
            configs={entry.name: entry.results[0].config for entry in entries},
            notes=notes_of_arena(entries, panel, rate_note=rate_note, draws=self.random, lines=lines),
        )
        tell("judging", 1, 1)
        return result

    def _bands(
        self,
        entries: Sequence[Entry],
        ground: Ground,
        *,
        measure: Measure,
        executor: Executor | None,
        tell: Tell,
    ) -> tuple[dict[str, dict[str, NDArray[Any]]], dict[str, Floats]]:
        """Portfolios drawn by lot with the habits of each whole study: their numbers, and quantiles of their growth."""
        bands: dict[str, dict[str, NDArray[Any]]] = {}
        fans: dict[str, Floats] = {}
        whole = [entry for entry in entries if not entry.of]
        tell("random", 0, len(whole))
        for done, entry in enumerate(whole, start=1):
            habits = habits_of(entry.results)
            if habits is not None:
                habits = matched(habits, ground, seed=self.seed)
                returns, traded = random_band(habits, ground, draws=self.random, seed=self.seed, executor=executor)
                earned = np.column_stack([settled(column) for column in returns.T])
                bands[entry.name] = {
                    "draw": np.arange(self.random, dtype=np.int64),
                    "sharpe": np.asarray(measure.sharpe(earned)),
                    "cagr": np.asarray(performance.cagr(earned, periods_per_year=measure.periods_per_year)),
                    "turnover": traded,
                }
                fans[entry.name] = np.quantile(np.cumprod(1.0 + returns, axis=0), [0.05, 0.5, 0.95], axis=1)
            tell("random", done, len(whole))
        return bands, fans


def _silent(stage: str, done: int, total: int) -> None:
    """The progress of an arena that nobody watches."""


def _check_entries(entries: Sequence[Entry], ground: Ground) -> None:
    names = [entry.name for entry in entries]
    whole = {entry.name for entry in entries if not entry.of}
    faults = [
        Fault(f"entries.{name}", "a name stands for one study", name)
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    faults += [
        Fault(f"entries.{entry.name}", "lacks a step of a whole study of the arena", entry.of)
        for entry in entries
        if entry.of and entry.of not in whole
    ]
    if not whole:
        faults.append(Fault("entries", "hold at least one whole study", len(entries)))
    if faults:
        raise ConfigError("arena", faults)
    times, market = ground.panel.times[ground.start :], describe(ground.market)
    for entry in entries:
        for seed, result in zip(entry.seeds, entry.results, strict=True):
            same = np.array_equal(result.daily["time"], times)
            if not same or result.provenance.get("market", market) != market:
                raise DataError(
                    "all runs of an arena trade the same bars in the same market",
                    found="other bars" if not same else "another market",
                    where=f"{entry.name}, seed {seed}",
                    fix="run the study on the arena's panel, plan and market",
                )


def _trials(result: StudyResult) -> int:
    told = result.summary.get("trials", result.provenance.get("trials", 1))
    return max(1, int(told)) if isinstance(told, int | float) else 1


def _numbers(book: BacktestResult, measure: Measure) -> dict[str, float | None]:
    """The performance of a control under the names of the studies' numbers."""
    net = settled(book.returns)
    yearly = {"periods_per_year": measure.periods_per_year}
    found = {
        "sharpe": measure.sharpe(net),
        "cagr": performance.cagr(net, **yearly),
        "volatility": performance.volatility(net, **yearly),
        "max_drawdown": performance.max_drawdown(net),
        "turnover": turnover(book).mean(),
    }
    return {name: float(value) if np.isfinite(value) else None for name, value in found.items()}


def _facts(arena: Arena, ground: Ground, entries: Sequence[Entry]) -> dict[str, Any]:
    panel = ground.panel
    span = panel.times[ground.start :]
    return {
        "first": str(span[0])[:10],
        "last": str(span[-1])[:10],
        "bars": len(span),
        "years": round((len(span) - 1) / panel.periods_per_year, 4),
        "assets": len(panel.assets),
        "periods_per_year": panel.periods_per_year,
        "data": panel.source,
        "market": describe(arena.market),
        "plan": describe(arena.plan),
        "cash": arena.cash,
        "seed": arena.seed,
        "random": arena.random,
        "studies": sum(not entry.of for entry in entries),
        "runs": sum(len(entry.results) for entry in entries),
        "hashes": {
            f"{entry.name}:{seed}": str(result.provenance.get("study_hash", ""))
            for entry in entries
            for seed, result in zip(entry.seeds, entry.results, strict=True)
        },
    }
