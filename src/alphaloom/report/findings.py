"""The sentences of the report: what the numbers say, and what they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alphaloom.report.curves import drawdowns
from alphaloom.report.formats import date_text, number_of, number_text
from alphaloom.report.reading import column, rival, times_of
from alphaloom.report.rows import Row, benchmark_rows, summary_rows

if TYPE_CHECKING:
    from alphaloom.study import StudyResult

__all__ = ["fall_text", "joined", "verdict"]

SIGNIFICANT = 0.95


def verdict(result: StudyResult) -> str:
    """What the study found, in plain sentences: earnings, benchmarks, luck, signal.

    Missing: a part that was not measured is left out; without any the verdict says that nothing was measured.
    """
    rows = {row.key: row for row in summary_rows(result)}
    parts = [_ruin(result), _earnings(rows), _contest(result, rows), _luck(rows), _signal(rows)]
    said = [part for part in parts if part]
    return " ".join(said) if said else "The study measured nothing from which a verdict could be drawn."


def joined(words: list[str], last: str = "and") -> str:
    """Words as a list in a sentence: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _value(rows: dict[str, Row], key: str) -> float | None:
    return rows[key].value if key in rows else None


def _ruin(result: StudyResult) -> str:
    equity = column(result.daily, "equity")
    if equity is None or not bool((equity <= 0).any()):
        return ""
    times = times_of(result.daily)
    return f"The strategy went bankrupt on {date_text(times[int(np.argmax(equity <= 0))])}."


def _earnings(rows: dict[str, Row]) -> str:
    cagr = _value(rows, "cagr")
    if cagr is None:
        return ""
    verb = "earned" if cagr >= 0 else "lost"
    text = f"After costs the strategy {verb} {number_text(abs(cagr), 'percent')} a year"
    sharpe = rows.get("sharpe")
    if sharpe is None or sharpe.value is None:
        return text + "."
    text += f" with a Sharpe ratio of {sharpe.text}"
    if not sharpe.interval:
        return text + "."
    text += f" {sharpe.interval} (95 % interval)"
    zero = sharpe.low is not None and sharpe.high is not None and sharpe.low <= 0 <= sharpe.high
    return text + ("; that interval contains zero." if zero else ".")


def _contest(result: StudyResult, rows: dict[str, Row]) -> str:
    mine = rows.get("sharpe")
    if mine is None or mine.value is None:
        return ""
    better: list[str] = []
    worse: list[str] = []
    open_ = False
    for name, figures in benchmark_rows(result).items():
        other = number_of(next((row.value for row in figures if row.key == "sharpe"), None))
        if other is None:
            continue
        told = f"{rival(name)} ({number_text(other, 'ratio')})"
        (better if mine.value > other else worse).append(told)
        open_ |= mine.low is not None and mine.high is not None and mine.low <= other <= mine.high
    claims = []
    if better:
        claims.append(f"it beats {joined(better)}")
    if worse:
        claims.append(f"it does not beat {joined(worse, 'or')}")
    if not claims:
        return ""
    many = len(better) + len(worse) > 1
    doubt = f", though {'at least one' if many else 'that'} benchmark lies inside the strategy's own interval"
    return f"By Sharpe ratio {' and '.join(claims)}{doubt if open_ else ''}."


def _luck(rows: dict[str, Row]) -> str:
    deflated, trials = _value(rows, "dsr"), _value(rows, "trials")
    if deflated is None:
        return ""
    scope = "" if trials is None else f" for {trials:,.0f} trial{'s' if round(trials) != 1 else ''}"
    judged = "significant" if deflated >= SIGNIFICANT else "not significant"
    return f"Deflated{scope}, the Sharpe ratio is above luck with probability p = {deflated:.3f}: {judged} at 95 %."


def _signal(rows: dict[str, Row]) -> str:
    mean = rows.get("rank_ic_mean")
    if mean is None or mean.value is None:
        return ""
    text = f"The mean rank IC is {mean.text}" + (f" {mean.interval}" if mean.interval else "")
    strength = _value(rows, "rank_ic_t")
    if strength is None:
        return text + "."
    judged = "" if abs(strength) >= 2 else ", not distinguishable from zero"
    return f"{text}, t = {number_text(strength, 'ratio')}{judged}."


def fall_text(result: StudyResult) -> str:
    """The share of bars that the strategy spent below an earlier peak."""
    equity = column(result.daily, "equity")
    if equity is None:
        return ""
    under = drawdowns(equity)
    return number_text(float(np.mean(under[np.isfinite(under)] < 0)), "percent")
