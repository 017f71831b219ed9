"""From decisions to findings: the back-test, its benchmarks, and every part of the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import BacktestResult, backtest
from alphaloom.metrics import performance, regimes
from alphaloom.panel import Panel
from alphaloom.roles import Policy
from alphaloom.signal import Signal
from alphaloom.study import curves
from alphaloom.study.directions import Directions, judge_directions, two_sided
from alphaloom.study.earning import against, index_numbers, luck, riskless, settled, traded_numbers
from alphaloom.study.folds import Fold
from alphaloom.study.result import StudyResult, plain_numbers
from alphaloom.study.scoring import Scores, score, shuffled_summary
from alphaloom.study.stitching import Walk, counts_of, notes_of, shuffled_signal

if TYPE_CHECKING:
    from alphaloom.study.study import Study

__all__ = ["judge"]

_CONTROL, _OWN = "control", "strategy"

Floats = NDArray[np.float64]
Tables = dict[str, Mapping[str, Any]]
Tell = Callable[[str, int, int], None]


def judge(study: Study, panel: Panel, *, walk: Walk, tell: Tell) -> tuple[StudyResult, Tables]:
    """Trade the policy over the test span and measure everything.

    Returns the result and the larger tables that only a run directory keeps.
    """
    book, rivals, control = _trade(study, panel, walk=walk, tell=tell)
    tell("judging", 0, 1)
    span, signal = panel[walk.start :], walk.signal
    index = curves.index_curve(span, study.cash)
    rate, rate_note = riskless(panel, study.market.cash_rate)
    measure: dict[str, Any] = {"periods_per_year": panel.periods_per_year, "rf": rate[walk.start :]}
    found = Scores.none() if signal is None else _scores(study, span, signal=signal)
    sides = _directions(study, panel, walk=walk)
    daily = curves.daily_columns(book, span, benchmarks=rivals, index=index)
    benchmarks = {name: traded_numbers(rival, **measure) for name, rival in rivals.items()}
    if index is not None:
        benchmarks[curves.INDEX] = index_numbers(index, **measure)
    # A policy counts and notes while it decides (solves, fallbacks), so it is asked after the back-test.
    said = (*walk.notes, *notes_of(walk.policy))
    summary = {
        **traded_numbers(book, **measure),
        **against(daily, **measure),
        **luck(settled(book.returns), trials=_trials(study), seed=study.seed, **measure),
        **found.summary,
        **sides.summary,
        **(_control_numbers(study, walk, control=control, found=found, measure=measure) if control else {}),
        **{f"count.{name}": float(count) for name, count in counts_of(walk.policy).items()},
    }
    result = StudyResult(
        name=study.name,
        config=study.resolved,
        provenance=study.provenance(panel),
        # What is wrong with the data comes first: it decides how far the rest can be trusted.
        notes=_distinct(*panel.notes, *_plan_notes(study, panel, walk=walk), rate_note, *book.notes, *said),
        folds=tuple(
            _fold_facts(panel, walk, number=number, daily=daily, found=found) for number in range(len(walk.folds))
        ),
        daily=daily,
        ic=found.ic,
        quantiles=found.quantiles,
        decay=found.decay,
        exposure=curves.exposure_columns(book, span),
        regimes=_regime_rows(study, panel, walk=walk, returns=settled(book.returns), found=found, measure=measure),
        directions=sides.rows,
        summary=plain_numbers(summary),
        benchmarks={name: plain_numbers(numbers) for name, numbers in benchmarks.items()},
    )
    tell("judging", 1, 1)
    return result, _large_tables(book, walk, found=found)


def _scores(study: Study, span: Panel, *, signal: Signal) -> Scores:
    horizon = signal.horizon if study.horizon is None else study.horizon
    return score(signal, span, market=study.market, horizon=horizon, seed=study.seed)


def _directions(study: Study, panel: Panel, *, walk: Walk) -> Directions:
    """The judgement of the signal's sides, empty unless it has two."""
    if walk.signal is None or not two_sided(walk.signal):
        return Directions((), {}, ())
    horizon = walk.signal.horizon if study.horizon is None else study.horizon
    return judge_directions(walk.signal, panel, walk.start, market=study.market, horizon=horizon)


def _trials(study: Study) -> int:
    """The variants that were tried before this study, times the cells that its allocator tries on data."""
    return study.trials * int(getattr(study.allocator, "trials", 1))


def _large_tables(book: BacktestResult, walk: Walk, *, found: Scores) -> Tables:
    tables: Tables = {"weights": curves.weights_columns(book), "orders": curves.orders_columns(book)}
    if walk.signal is not None and found.target is not None:
        tables["signal"] = curves.signal_table(walk.signal, found.target)
    return tables


def _trade(
    study: Study, panel: Panel, *, walk: Walk, tell: Tell
) -> tuple[BacktestResult, dict[str, BacktestResult], BacktestResult | None]:
    """The study's own back-test, its benchmarks and its control, over the same bars and with the same money."""
    jobs: dict[tuple[str, str], Policy] = {(_OWN, ""): walk.policy}
    jobs |= {("benchmark", name): rival for name, rival in study.benchmarks.items()}
    if study.controls and walk.signal is not None and study.allocator is not None:
        jobs[_CONTROL, ""] = study.allocator.policy(shuffled_signal(walk.signal, study.seed))
    done: dict[tuple[str, str], BacktestResult] = {}
    tell("backtest", 0, len(jobs))
    for job, policy in jobs.items():
        done[job] = backtest(policy, panel, study.market, start=walk.start, cash=study.cash)
        tell("backtest", len(done), len(jobs))
    rivals = {name: done["benchmark", name] for name in study.benchmarks}
    return done[_OWN, ""], rivals, done.get((_CONTROL, ""))


def _control_numbers(
    study: Study, walk: Walk, *, control: BacktestResult, found: Scores, measure: Mapping[str, Any]
) -> dict[str, Any]:
    """The same study on shuffled scores, which must find nothing."""
    if walk.signal is None or found.target is None:
        return {}
    shown = shuffled_summary(shuffled_signal(walk.signal, study.seed), found.target)
    return {**shown, "shuffled_sharpe": performance.sharpe(settled(control.returns), **measure)}


def _regime_rows(
    study: Study, panel: Panel, *, walk: Walk, returns: Floats, found: Scores, measure: Mapping[str, Any]
) -> tuple[dict[str, Any], ...]:
    """The same returns sorted by what the market was like; what went before the test span counts as its past.

    Time: a bar's return belongs to the state at the close before it. A state that is read at the bar's own close, a
    high volatility index say, is partly the return itself.
    """
    past, dated = [], [regimes.year_regime(panel.times)]
    level, known = curves.index_level(panel), _cutoff(study)
    if level is not None:
        past.append(regimes.drawdown_regime(level))
    if "vix" in panel.series:
        past.append(regimes.tercile_regime(panel.series["vix"], name="volatility index"))
    if known is not None:
        after = (panel.times > known).astype(np.int16)
        dated.insert(0, regimes.Regime("model cut-off", ("before", "after"), after))
    skill = found.ic.get("rank_ic")
    ahead = {**measure, "rf": _next(measure["rf"], 0.0)}
    rows = regimes.regime_table(_next(returns, np.nan), _tested(past, walk), rank_ic=skill, **ahead)
    rows += regimes.regime_table(returns, _tested(dated, walk), rank_ic=skill, **measure)
    return tuple({key: _plain(value) for key, value in row.items()} for row in rows if row["days"])


def _tested(sorting: Sequence[regimes.Regime], walk: Walk) -> list[regimes.Regime]:
    return [regimes.Regime(each.name, each.buckets, each.codes[walk.start :]) for each in sorting]


def _next(values: Floats, last: float) -> Floats:
    """Each bar's value moved to the bar before it.   Shape: (K,)."""
    return np.append(values[1:], last)


def _plain(value: str | float) -> str | float | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _fold_facts(panel: Panel, walk: Walk, *, number: int, daily: Mapping[str, Any], found: Scores) -> dict[str, Any]:
    """One line of the table of folds: what was learned from, what was traded, what came of it."""
    fold: Fold = walk.folds[number]
    rows = slice(fold.test_start - walk.start, fold.test_stop - walk.start)
    skill = found.ic["rank_ic"][rows] if found.ic else np.empty(0)
    skill = skill[np.isfinite(skill)]
    said = {"notes": walk.fold_notes[number]} if any(walk.fold_notes) else {}
    return {
        "fold": number,
        "train_from": _day(panel.times[fold.train_start]),
        "train_to": _day(panel.times[fold.train_stop - 1]),
        "train_bars": fold.train_stop - fold.train_start,
        "test_from": _day(panel.times[fold.test_start]),
        "test_to": _day(panel.times[fold.test_stop - 1]),
        "test_bars": fold.test_stop - fold.test_start,
        "return": _plain(float(np.prod(1.0 + daily["returns"][rows]) - 1.0)),
        "rank_ic": float(skill.mean()) if len(skill) else None,
        **said,
    }


def _cutoff(study: Study) -> np.datetime64 | None:
    """The last day that a pretrained model may have read about, if the learner names one."""
    named = getattr(study.learner, "cutoff", None)
    return None if named in (None, "") else np.datetime64(str(named)).astype("datetime64[ns]")


def _plan_notes(study: Study, panel: Panel, *, walk: Walk) -> list[str]:
    plan, bars, folds = study.plan, len(panel) - walk.start, len(walk.folds)
    notes = [
        f"test span: {_day(panel.times[walk.start])} to {_day(panel.times[-1])}, {bars} bars in {folds} "
        f"fold{'s' if folds > 1 else ''}; every decision in it is out of sample",
        f"training: {'an expanding window of at least' if plan.expanding else 'a rolling window of'} {plan.train} "
        f"bars, embargo {plan.embargo}; labels that reach beyond the window are missing in it",
        f"trials: {_trials(study)} counted{_tried(study)}; the deflated Sharpe ratio takes their spread to be that of "
        "worthless ones",
    ]
    level = curves.index_level(panel)
    if level is not None:
        usable = curves.index_curve(panel[walk.start :], study.cash) is not None
        notes.append(
            "benchmark index: the panel's index without any cost, which nobody could have earned exactly"
            if usable
            else "benchmark index: left out, since a level is missing on the first test bar or on the last ones, or is "
            "not positive"
        )
    if level is not None or "vix" in panel.series:
        notes.append("regimes: a bar's return belongs to the state of the market at the close before it")
    known = _cutoff(study)
    if known is not None:
        before = int((panel.times[walk.start :] <= known).sum())
        notes.append(
            f"cut-off: the model may have read about days up to {_day(known)}; {before} of {bars} test bars lie before "
            "that and are set apart among the regimes"
        )
    return notes


def _tried(study: Study) -> str:
    cells = int(getattr(study.allocator, "trials", 1))
    return f", {study.trials} of the study times {cells} of the allocator's grid" if cells > 1 else ""


def _distinct(*notes: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for note in notes if note))


def _day(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, unit="D"))
