"""One study among others: its numbers over seeds, its evidence, its verdict; and what one step of it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.metrics import inference, relative
from alphaloom.study.arena_numbers import (
    Luck,
    Measure,
    Picking,
    Spread,
    deflated,
    gross_of,
    number,
    paired,
    rank_ic_of,
    resampled,
    spread_of,
)
from alphaloom.study.controls import Habits, habits_of
from alphaloom.study.earning import settled
from alphaloom.study.result import StudyResult
from alphaloom.study.verdicts import Evidence, Verdict, verdict_of

if TYPE_CHECKING:
    from alphaloom.study.arena import Entry

__all__ = ["NUMBERS", "Ablation", "Line", "ablation_of", "line_of"]

Floats = NDArray[np.float64]
Band = Mapping[str, NDArray[Any]]

NUMBERS = (
    "sharpe",
    "gross_sharpe",
    "cagr",
    "volatility",
    "max_drawdown",
    "turnover",
    "rank_ic",
    "rank_ic_t",
    "information_ratio",
    "place",
    "shuffled_sharpe",
    "shuffled_rank_ic",
    "dsr",
    "dsr_effective",
    "active_dsr",
    "active_dsr_effective",
)
_SHARES = ("max_drawdown", "place", "dsr", "dsr_effective", "active_dsr", "active_dsr_effective")
_FROM_SUMMARY = {
    "cagr": "cagr",
    "volatility": "volatility",
    "max_drawdown": "max_drawdown",
    "turnover": "turnover",
    "rank_ic": "rank_ic_mean",
    "rank_ic_t": "rank_ic_t",
    "shuffled_sharpe": "shuffled_sharpe",
    "shuffled_rank_ic": "shuffled_rank_ic_mean",
}


@dataclass(frozen=True)
class Line:
    """One study in the table of an arena.

    `numbers` holds a Spread for each of NUMBERS, `runs` the same numbers of each seed with the interval of the
    information ratio. `habits` is what the drawn portfolios copied. A study that lacks a step has no verdict.
    """

    name: str
    seeds: tuple[int, ...]
    numbers: Mapping[str, Spread]
    runs: tuple[Mapping[str, float | None], ...]
    habits: Habits | None
    verdict: Verdict | None
    of: str = ""
    step: str = ""


@dataclass(frozen=True)
class Ablation:
    """What a study is with and without one step, over the same seeds.

    `low` and `high` bound the difference with minus without at 95 %, both resampled together. Missing: None for a
    rank IC without a signal.
    """

    study: str
    step: str
    seeds: int
    sharpe_with: float | None
    sharpe_without: float | None
    sharpe_difference: float | None
    sharpe_low: float | None
    sharpe_high: float | None
    rank_ic_with: float | None
    rank_ic_without: float | None
    rank_ic_difference: float | None
    rank_ic_low: float | None
    rank_ic_high: float | None


def line_of(
    entry: Entry,
    measure: Measure,
    equal: Floats,
    luck: tuple[Luck, Luck],
    picking: Picking,
    *,
    band: Band | None,
) -> Line:
    """Measure one study.   Shape: `equal` (K,) the returns of equal weight, first NaN."""
    runs = tuple(_run(result, measure, equal=equal, luck=luck, band=band) for result in entry.results)
    net, gross = (
        np.column_stack([settled(returns(result)) for result in entry.results])
        for returns in (lambda result: result.daily["returns"], gross_of)
    )
    drawn = {
        "sharpe": resampled(net, measure),
        "gross_sharpe": resampled(gross, measure),
        "information_ratio": resampled(net - equal[:, None], measure, active=True),
    }
    skill = _mean_rank_ic(entry)
    if skill is not None:
        drawn["rank_ic"] = inference.bootstrap_interval(_mean, skill, seed=measure.seed, draws=1000)
    numbers = {name: spread_of([run[name] for run in runs], drawn.get(name), share=name in _SHARES) for name in NUMBERS}
    verdict = None
    if not entry.of:
        years = (len(equal) - 1) / measure.periods_per_year
        evidence = [_evidence(run) for run in runs]
        verdict = verdict_of(evidence, years=years, trials=luck[1].listed, pbo=picking.pbo, loss=picking.loss)
    return Line(entry.name, entry.seeds, numbers, runs, habits_of(entry.results), verdict, entry.of, entry.step)


def _run(
    result: StudyResult, measure: Measure, *, equal: Floats, luck: tuple[Luck, Luck], band: Band | None
) -> dict[str, float | None]:
    """All numbers of one run."""
    net, gross = settled(result.daily["returns"]), settled(gross_of(result))
    active = net - equal
    within = resampled(active[:, None], measure, active=True)
    sharpe = number(measure.sharpe(net))
    whole, above = luck
    found: dict[str, float | None] = {name: number(result.summary.get(key)) for name, key in _FROM_SUMMARY.items()}
    found |= {
        "sharpe": sharpe,
        "gross_sharpe": number(measure.sharpe(gross)),
        "information_ratio": number(relative.information_ratio(net, equal, periods_per_year=measure.periods_per_year)),
        "information_low": number(within.low),
        "information_high": number(within.high),
        "place": None if band is None or sharpe is None else _place(sharpe, band["sharpe"]),
        "dsr": number(deflated(net, whole, trials=whole.listed, rf=measure.rf)),
        "dsr_effective": number(deflated(net, whole, trials=whole.effective, rf=measure.rf)),
        "active_dsr": number(deflated(active, above, trials=above.listed)),
        "active_dsr_effective": number(deflated(active, above, trials=above.effective)),
    }
    return found


def _place(sharpe: float, drawn: Floats) -> float:
    """The part of the drawn portfolios with a lower Sharpe ratio; equal ones count by half."""
    known = drawn[np.isfinite(drawn)]
    return float(((known < sharpe).sum() + 0.5 * (known == sharpe).sum()) / len(known)) if len(known) else float("nan")


def _evidence(run: Mapping[str, float | None]) -> Evidence:
    def plain(name: str) -> float:
        value = run[name]
        return float("nan") if value is None else value

    return Evidence(
        sharpe=plain("sharpe"),
        information=plain("information_ratio"),
        low=plain("information_low"),
        high=plain("information_high"),
        place=number(run["place"]),
        shuffled=run["shuffled_sharpe"],
        deflated=plain("active_dsr"),
        market_deflated=plain("dsr"),
    )


def _mean(series: Floats) -> Floats:
    return np.asarray(series.mean(axis=0))


def _mean_rank_ic(entry: Entry) -> Floats | None:
    """The rank IC of each bar, the mean over seeds."""
    found = [values for values in map(rank_ic_of, entry.results) if values is not None]
    return np.mean(found, axis=0) if len(found) == len(entry.results) else None


def ablation_of(whole: Entry, without: Entry, measure: Measure) -> Ablation:
    """Compare a study with the one that lacks a step, seed by seed."""
    seeds = whole.seeds if len(whole.seeds) >= len(without.seeds) else without.seeds
    pairs = [(whole.at(seed), without.at(seed)) for seed in seeds]
    net = [np.column_stack([settled(pair[k].daily["returns"]) for pair in pairs]) for k in (0, 1)]
    means = [number(np.mean(measure.sharpe(part))) for part in net]
    money = paired(net[0], net[1], measure, sharpe=True)
    found: dict[str, float | None] = {
        "sharpe_with": means[0],
        "sharpe_without": means[1],
        "sharpe_difference": number(money.value),
        "sharpe_low": number(money.low),
        "sharpe_high": number(money.high),
    }
    series = [[rank_ic_of(pair[k]) for pair in pairs] for k in (0, 1)]
    known = [[values for values in part if values is not None] for part in series]
    if len(known[0]) == len(known[1]) == len(pairs):
        skill = [np.column_stack(part) for part in known]
        gap = paired(skill[0], skill[1], measure, sharpe=False)
        # Each on its own dates; the difference is taken where both are known.
        told = [number(np.mean([np.nanmean(column) for column in part.T])) for part in skill]
        found |= {
            "rank_ic_with": told[0],
            "rank_ic_without": told[1],
            "rank_ic_difference": number(gap.value),
            "rank_ic_low": number(gap.low),
            "rank_ic_high": number(gap.high),
        }
    names = ("rank_ic_with", "rank_ic_without", "rank_ic_difference", "rank_ic_low", "rank_ic_high")
    return Ablation(whole.name, without.step, len(pairs), **{**dict.fromkeys(names), **found})
