"""Skill or exposure: a policy over many seeds against portfolios that cannot have any skill.

Source: the evaluation of reinforcement learning traders by their controls; the paired block bootstrap is that of
Politis and Romano (1994), the interquartile mean that of Agarwal et al., arXiv:2108.13264.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import BacktestResult
from alphaloom.compute import local
from alphaloom.errors import DataError
from alphaloom.market import Fill
from alphaloom.metrics import inference, performance
from alphaloom.panel import Panel
from alphaloom.portfolio import BuyAndHold, EqualWeight
from alphaloom.roles import Executor, Policy
from alphaloom.study.arena_numbers import Luck, Measure, deflated, number
from alphaloom.study.controls import CALENDAR, Ground
from alphaloom.study.curves import paid, turnover
from alphaloom.study.description import fingerprint
from alphaloom.study.earning import riskless, settled
from alphaloom.study.skill_controls import (
    ConstantWeights,
    Shuffling,
    blind_twin,
    random_constants,
    random_signs,
    seeing,
)
from alphaloom.study.skill_result import SKILL, Skill, kept_skill, load_skill, write_skill
from alphaloom.study.stitching import switching
from alphaloom.study.study import Study

__all__ = ["SKILL", "Skill", "SkillTest", "judge_skill", "load_skill"]

SURE, RARE = 0.95, 0.05

Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class SkillTest:
    """How a policy is tested for skill.

    `seeds` runs of the learner; `constants` and `signs` portfolios by lot; every commission of `costs` with every fill
    of `fills`, for the first `grid_seeds` seeds, without other slippage; the twin averages over the last `validation`
    bars of each training slice. Intervals resample blocks of mean length `block`, `draws` times.
    Unit: `costs` fractions of the traded value a side.
    Raises: DataError for values out of range.
    """

    seeds: int = 10
    constants: int = 200
    signs: int = 200
    costs: tuple[float, ...] = (0.0, 0.0005, 0.001, 0.0025)
    fills: tuple[Fill, ...] = ("same_close", "next_open")
    grid_seeds: int = 3
    validation: int = 252
    draws: int = 2000
    block: float = 21.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", tuple(self.costs))
        object.__setattr__(self, "fills", tuple(self.fills))
        for name, least in {
            "seeds": 1,
            "constants": 2,
            "signs": 2,
            "grid_seeds": 0,
            "validation": 2,
            "draws": 1,
        }.items():
            if getattr(self, name) < least:
                raise DataError(f"a count is at least {least}", found=getattr(self, name), where=f"skill.{name}")
        if self.block < 1.0 or any(not 0.0 <= cost < 1.0 for cost in self.costs):
            raise DataError(
                "blocks have at least one bar, costs are fractions", found=(self.block, self.costs), where="skill"
            )


@dataclass(frozen=True, eq=False)
class _Scene:
    """Where everybody is judged: the ground, the riskless rate, how to resample."""

    ground: Ground
    measure: Measure
    test: SkillTest

    def row(self, name: str, book: BacktestResult, **more: Any) -> dict[str, Any]:
        returns = settled(book.returns)
        return {
            "name": name,
            "sharpe": number(self.measure.sharpe(returns)),
            "cagr": number(performance.cagr(returns, periods_per_year=self.measure.periods_per_year)),
            "volatility": number(performance.volatility(returns, periods_per_year=self.measure.periods_per_year)),
            "max_drawdown": number(performance.max_drawdown(returns)),
            "turnover": number(float(turnover(book).mean()) * self.measure.periods_per_year),
            "cost": number(float(paid(book).sum()) / book.capital),
            **more,
        }


@dataclass(frozen=True, eq=False)
class _Trade:
    """Trades policies on one ground; an executor maps it."""

    ground: Ground

    def __call__(self, policy: Policy) -> BacktestResult:
        return self.ground.trade(policy)


def judge_skill(
    study: Study,
    panel: Panel,
    test: SkillTest | None = None,
    *,
    directory: str | Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Skill:
    """Run the study for every seed and hold it against the controls.

    With a `directory`, which is that of the study's own run, the runs of the other seeds live in `seeds/` beneath it
    and are resumed, and what was found is written there as `skill.json`.
    Time: every decision is out of sample; the twin reads training rows alone.
    Raises: ConfigError for a learner that makes forecasters.
    """
    test, tell = test or SkillTest(), progress or (lambda stage, done, total: None)
    place = None if directory is None else Path(directory)
    key = fingerprint((study, test, panel.source))
    if place is not None and (kept := kept_skill(place, key)) is not None:
        return kept
    studies = _reseeded(study, test.seeds)
    folds, run = study.plan.folds(len(panel)), executor or local()
    start, market = folds[0].test_start, replace(study.market, lot=0.0)
    rf = riskless(panel, study.market.cash_rate)[0][start:]
    scene = _Scene(Ground(panel, market, start, study.cash), Measure(panel.periods_per_year, rf, study.seed), test)
    policies: dict[int, list[Policy]] = {}
    for done, (seed, each) in enumerate(studies.items()):
        tell("seeds", done, len(studies))
        learned = _learned(each, panel, place, first=done == 0, tell=tell)
        # What is seen of the panel serves the policy, its twin and its shuffled sight.
        policies[seed] = [seeing(policy, panel) for policy in learned]
    tell("seeds", len(studies), len(studies))
    joined = [switching(panel, folds, policies=made) for made in policies.values()]
    twins = [
        switching(
            panel,
            folds,
            policies=[
                blind_twin(policy, panel, market, fold=fold, rows=test.validation, cash=study.cash)
                for policy, fold in zip(made, folds, strict=True)
            ],
        )
        for made in policies.values()
    ]
    trade, exact = _Trade(scene.ground), _Trade(replace(scene.ground, market=study.market))
    tell("controls", 0, 5)
    own = list(run.map(exact, joined))
    still = list(run.map(trade, twins))
    tell("controls", 1, 5)
    blurred = list(run.map(exact, [switching(panel, folds, policies=made) for made in _shuffled(policies)]))
    tell("controls", 2, 5)
    N, drawn = len(panel.assets), study.seed
    lots = list(run.map(trade, random_constants(test.constants, N, seed=drawn)))
    tosses = list(run.map(trade, random_signs(test.signs, N, seed=drawn, short=market.short)))
    tell("controls", 3, 5)
    plain: dict[str, Policy] = {
        "buy and hold": BuyAndHold(),
        "equal weight every bar": EqualWeight(1),
        "equal weight monthly": EqualWeight(CALENDAR),
        "cash": ConstantWeights(np.zeros(N)),
    }
    rivals = dict(zip(plain, run.map(trade, list(plain.values())), strict=True))
    tell("controls", 4, 5)
    grid = _grid(scene, joined[: test.grid_seeds], run, study)
    tell("controls", 5, 5)
    found = _judged(scene, study, own=own, still=still, blurred=blurred, lots=lots, tosses=tosses, rivals=rivals)
    runs = tuple(scene.row(str(seed), book, seed=seed) for seed, book in zip(policies, own, strict=True))
    skill = Skill(name=study.name, test=asdict(test), runs=runs, grid=grid, **found)
    if place is not None:
        write_skill(skill, place, key)
    return skill


def _reseeded(study: Study, count: int) -> dict[int, Study]:
    """The study with other seeds of its learner; one study where the learner has none."""
    learner: Any = study.learner
    own = getattr(learner, "seed", None)
    if not isinstance(own, int):
        return {study.seed: study}
    # The first is the study as it is: its run is there already.
    others = {own + k: replace(study, learner=replace(learner, seed=own + k), config={}) for k in range(1, count)}
    return {own: study, **others}


def _learned(study: Study, panel: Panel, place: Path | None, *, first: bool, tell: Progress) -> tuple[Policy, ...]:
    if place is None:
        return study.policies(panel)
    seed = getattr(study.learner, "seed", 0)
    return study.policies(panel, directory=place if first else place / "seeds" / str(seed), progress=tell)


def _shuffled(policies: Mapping[int, Sequence[Policy]]) -> list[list[Policy]]:
    """Every seed's policies with their sight shuffled; none where a policy cannot be asked."""
    if not all(isinstance(policy, Shuffling) for made in policies.values() for policy in made):
        return []
    return [
        [policy.shuffled(seed) for policy in made if isinstance(policy, Shuffling)] for seed, made in policies.items()
    ]


def _grid(scene: _Scene, policies: Sequence[Policy], run: Executor, study: Study) -> tuple[Row, ...]:
    """The mean Sharpe ratio and growth at other costs and fills than those that were learned with."""
    rows = []
    for fill in scene.test.fills if policies else ():
        for cost in scene.test.costs:
            market = replace(study.market, commission=cost, slippage=0.0, fill=fill)
            books = list(run.map(_Trade(replace(scene.ground, market=market)), policies))
            each = [scene.row("", book) for book in books]
            means = {name: _mean([row[name] for row in each]) for name in ("sharpe", "cagr", "turnover")}
            rows.append({"fill": fill, "commission": cost, "seeds": len(books), **means})
    return tuple(rows)


def _judged(
    scene: _Scene,
    study: Study,
    *,
    own: Sequence[BacktestResult],
    still: Sequence[BacktestResult],
    blurred: Sequence[BacktestResult],
    lots: Sequence[BacktestResult],
    tosses: Sequence[BacktestResult],
    rivals: Mapping[str, BacktestResult],
) -> dict[str, Any]:
    """Spread, lines, checks and the sentence."""
    mine, twin = (np.column_stack([settled(book.returns) for book in books]) for books in (own, still))
    ratios = np.atleast_1d(scene.measure.sharpe(mine))
    trials = study.trials * len(own)
    luck = Luck(trials, trials, trials, 1.0 / max(len(mine) - 2, 1), math.nan)
    spread = {
        "mean": number(np.mean(ratios)),
        "deviation": number(np.std(ratios, ddof=1)) if len(ratios) > 1 else None,
        "interquartile_mean": number(_interquartile_mean(ratios)),
        **_interval(scene, mine),
        "deflated": _mean([deflated(column, luck, trials=trials, rf=scene.measure.rf) for column in mine.T]),
        "trials": trials,
    }
    groups = {"its average, held constant": still, "with shuffled sight": blurred}
    lines = [_group(scene, name, books) for name, books in groups.items() if books]
    groups = {"random constant portfolios": lots, "random fixed-sign portfolios": tosses}
    lines += [_group(scene, name, books) for name, books in groups.items()]
    lines += [scene.row(name, book, count=1) for name, book in rivals.items()]
    random = np.array(
        [number(scene.measure.sharpe(settled(book.returns))) for book in (*lots, *tosses)], dtype=np.float64
    )
    bar = float(np.nanquantile(random, SURE)) if np.isfinite(random).any() else math.nan
    p = _paired(scene, mine, twin)
    mean, blind = spread["mean"], number(np.mean(np.atleast_1d(scene.measure.sharpe(twin))))
    checks = (
        _check("mean Sharpe ratio above 95 % of the random portfolios", mean, bar, _above(mean, bar)),
        _check("mean Sharpe ratio above that of its own average, held constant", mean, blind, _above(mean, blind)),
        _check("paired bootstrap p against that twin below 0.05", p, RARE, p is not None and p < RARE),
    )
    beats = all(bool(check["holds"]) for check in checks)
    return {
        "spread": spread,
        "lines": tuple(lines),
        "checks": checks,
        "beats": beats,
        "sentence": _sentence(beats, mean, bar, blind, p, len(own)),
        "notes": _notes(scene, study, blurred, len(own)),
    }


def _group(scene: _Scene, name: str, books: Sequence[BacktestResult]) -> dict[str, Any]:
    """The means over several books, with the middle and the 95 % point of their Sharpe ratios."""
    rows = [scene.row(name, book) for book in books]
    found: dict[str, Any] = {key: _mean([row[key] for row in rows]) for key in rows[0] if key != "name"}
    ratios = np.array([row["sharpe"] for row in rows if row["sharpe"] is not None])
    if len(ratios) > 1:
        found |= {
            "median": number(np.median(ratios)),
            "high": number(np.quantile(ratios, SURE)),
            "ratios": ratios.tolist(),
        }
    return {"name": name, **found, "count": len(books)}


def _interval(scene: _Scene, columns: Floats) -> dict[str, float | None]:
    def mean_ratio(*series: Floats) -> Floats:
        *plain, rate = series
        return np.asarray(
            np.mean([_ratio(values - rate) for values in plain], axis=0) * math.sqrt(scene.measure.periods_per_year)
        )

    test = scene.test
    found = inference.bootstrap_interval(
        mean_ratio, (*columns.T, scene.measure.rf), seed=scene.measure.seed, draws=test.draws, block=test.block
    )
    return {"low": number(found.low), "high": number(found.high)}


def _paired(scene: _Scene, mine: Floats, twin: Floats) -> float | None:
    """How often resampling both together puts the twin level or ahead."""
    known = np.isfinite(mine).all(axis=1) & np.isfinite(twin).all(axis=1)
    a, b, rate = mine[known], twin[known], scene.measure.rf[known]
    if len(a) < 2:
        return None
    rows = inference.stationary_bootstrap(len(a), scene.test.draws, block=scene.test.block, seed=scene.measure.seed)
    behind = 0
    for drawn in rows.T:
        gap = _ratio(a[drawn] - rate[drawn, None]).mean() - _ratio(b[drawn] - rate[drawn, None]).mean()
        behind += not gap > 0.0
    return behind / scene.test.draws


def _ratio(values: Floats) -> Floats:
    spread = values.std(axis=0, ddof=1)
    varies = spread > 1e-13 * np.abs(values).max(axis=0)
    return np.where(varies, values.mean(axis=0) / np.where(varies, spread, 1.0), 0.0)


def _interquartile_mean(values: Floats) -> float:
    from scipy.stats import trim_mean

    return float(trim_mean(values, 0.25))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(known)) if known else None


def _above(value: float | None, bar: float | None) -> bool:
    return value is not None and bar is not None and math.isfinite(bar) and value > bar


def _check(rule: str, found: float | None, needed: float | None, holds: bool) -> dict[str, Any]:
    return {"rule": rule, "found": number(found), "needed": number(needed), "holds": holds}


def _sentence(beats: bool, mean: float | None, bar: float, blind: float | None, p: float | None, seeds: int) -> str:
    def told(value: float | None) -> str:
        return "n/a" if value is None or not math.isfinite(value) else f"{value:.2f}"

    numbers = (
        f"mean Sharpe ratio {told(mean)} over {seeds} seed{'s' if seeds > 1 else ''}, 95 % of the random portfolios "
        f"lie below {told(bar)}, its own average held constant has {told(blind)} (paired p {told(p)})"
    )
    return f"{'Beats' if beats else 'Does not beat'} its controls: {numbers}."


def _notes(scene: _Scene, study: Study, blurred: Sequence[BacktestResult], seeds: int) -> tuple[str, ...]:
    notes = ["controls: same bars, costs and fills; constant portfolios are restored at every close and have no lots"]
    if not blurred:
        notes.append("controls: this kind of policy cannot be shown shuffled features, so that line is missing")
    if seeds < scene.test.seeds:
        notes.append("seeds: nothing in this learner depends on a seed, so it ran once")
    if scene.test.grid_seeds and seeds:
        notes.append("grid: the policies were learned at the study's own costs and fill, only the trading differs")
    return tuple(notes)
