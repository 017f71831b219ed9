"""Every number of a factor analysis as text: one list of columns for the page and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from alphaloom.report.formats import date_text, interval_text, number_of, number_text
from alphaloom.report.reading import times_of

if TYPE_CHECKING:
    from alphaloom.study import FactorAnalysis

__all__ = ["COLUMNS", "Column", "cards", "cell", "factor_facts", "factor_verdict", "flags", "interval", "value"]

SPARSE: Final = 0.2  # share of missing values from which on a factor is called sparse


@dataclass(frozen=True)
class Column:
    """One column of the table of factors: its key, its heading, how it is written, what it means."""

    key: str
    label: str
    form: str
    about: str


COLUMNS: Final = (
    Column("rank_ic", "Rank IC", "correlation", "mean rank correlation with the return over the first horizon"),
    Column("rank_ic_t", "t", "ratio", "t of the mean rank IC, Newey-West"),
    Column("ic", "IC", "correlation", "mean plain correlation with that return"),
    Column("rank_ic_annual_ir", "ICIR", "ratio", "mean over deviation of the rank IC, a year"),
    Column(
        "spread", "Spread", "basis", "best-scored fifth less worst-scored fifth, mean return over the first horizon"
    ),
    Column("spread_t", "Spread t", "ratio", "t of that spread, Newey-West"),
    Column("monotonicity", "Monotone", "ratio", "rank correlation of bucket number and mean return"),
    Column("turnover", "Turnover", "percent", "share of the outer fifths that is new on a bar"),
    Column("autocorrelation_1", "Memory 1", "ratio", "rank autocorrelation over one bar"),
    Column("autocorrelation_5", "Memory 5", "ratio", "rank autocorrelation over five bars"),
    Column("missing", "Missing", "percent", "share of members without a value since the factor's first one"),
    Column("first_half", "1st half", "correlation", "mean rank IC in the first half of the span"),
    Column("second_half", "2nd half", "correlation", "mean rank IC in the second half of the span"),
    Column("cluster", "Cluster", "count", "factors with one number order the assets alike"),
)


def value(analysis: FactorAnalysis, column: str, row: int) -> float | None:
    """One number of the table, None where it is not known."""
    return number_of(analysis.table[column][row])


def cell(analysis: FactorAnalysis, column: Column, row: int) -> str:
    """One number of the table as text."""
    return number_text(value(analysis, column.key, row), column.form)


def interval(analysis: FactorAnalysis, row: int) -> str:
    """The 95 % interval of a mean rank IC."""
    return interval_text(analysis.table["rank_ic_low"][row], analysis.table["rank_ic_high"][row], "correlation")


def flags(analysis: FactorAnalysis, row: int) -> list[tuple[str, str, str]]:
    """What stands out about a factor: kind (good or bad), word, explanation."""
    table = analysis.table
    found = []
    if bool(table["stands_bonferroni"][row]):
        found.append(("good", "Bonferroni", "stands even if a single false finding among all is to be unlikely"))
    elif bool(table["stands_bh"][row]):
        found.append(("good", "BH", "stands where 5 % of those that stand may be false (Benjamini-Hochberg)"))
    known = all(value(analysis, half, row) is not None for half in ("first_half", "second_half"))
    if known and not bool(table["halves_agree"][row]):
        found.append(("bad", "halves differ", "the rank IC has another sign in each half of the span"))
    strength, sign = value(analysis, "rank_ic_t", row), int(table["sign"][row])
    money = value(analysis, "spread_t", row)
    if found and strength is not None and money is not None and money * np.sign(strength) < 2.0:
        found.append(
            ("bad", "no spread", "it orders the assets, but the outer fifths do not earn differently (|t| below 2)")
        )
    if strength is not None and strength * sign < -2.0:
        found.append(("bad", "reversed", "the sign that its library gives it is the other one"))
    missing = value(analysis, "missing", row)
    if missing is not None and missing > SPARSE:
        found.append(("bad", "sparse", "more than a fifth of the values is missing"))
    return found


def factor_verdict(analysis: FactorAnalysis) -> str:
    """What the analysis found, in plain sentences: how many stand, the strongest, and what luck alone would show."""
    facts, best = analysis.facts, int(analysis.ranking[0])
    strength = value(analysis, "rank_ic_t", best)
    if strength is None:
        return "No factor could be judged: there is no date with enough assets that have both a value and a return."
    F, level = len(analysis), f"{100 * facts['level']:g} %"
    name = str(analysis.table["name"][best])
    mean = number_text(analysis.table["rank_ic"][best], "correlation")
    told = f"{mean} {interval(analysis, best)}, t = {number_text(strength, 'ratio')}"
    if F == 1:
        return f"The mean rank IC of {name} is {told}."
    mark = facts["expected_max_t"]
    judged = "beyond" if abs(strength) > mark else "no more than"
    return (
        f"Of {F} factors, {facts['stands_single']} pass a test at {level} that knows of no other, "
        f"{facts['stands_bh']} stand when false findings are held to {level} (Benjamini-Hochberg), and "
        f"{facts['stands_bonferroni']} when even one is to be unlikely (Bonferroni). "
        f"The strongest is {name}: mean rank IC {told}, {judged} the |t| of about {mark:.1f} that the best of {F} "
        f"worthless factors would show."
    )


def factor_facts(analysis: FactorAnalysis) -> list[tuple[str, str]]:
    """What the head of the page states: span, universe, horizons, fill, data."""
    times, facts = times_of({"time": analysis.times}), analysis.facts
    bars = ", ".join(str(horizon) for horizon in analysis.horizons)
    return [
        ("Test span", f"{date_text(times[0])} to {date_text(times[-1])}"),
        ("Bars", f"{len(times):,}"),
        ("Universe", f"{facts['assets']:,} assets"),
        ("Factors", f"{len(analysis):,}"),
        ("Horizons", f"{bars} bar{'s' if bars != '1' else ''}"),
        ("Fill", str(facts["fill"]).replace("_", " ")),
        ("Data", str(facts["data"]).rsplit(":", 1)[0][:12]),
    ]


def cards(analysis: FactorAnalysis) -> list[tuple[str, str, str]]:
    """The eight numbers at the top: label, value, remark."""
    facts, best = analysis.facts, int(analysis.ranking[0])
    turnover = np.asarray(analysis.table["turnover"], dtype=np.float64)
    known = turnover[np.isfinite(turnover)]
    strength = number_of(analysis.table["rank_ic_t"][best])
    return [
        ("Factors tried", f"{len(analysis):,}", f"in {facts['clusters']} clusters of alike ones"),
        ("Stand, Benjamini-Hochberg", f"{facts['stands_bh']:,}", f"at {100 * facts['level']:g} % false findings"),
        ("Stand, Bonferroni", f"{facts['stands_bonferroni']:,}", f"|t| above {facts['bonferroni_t']:.2f}"),
        ("Pass alone", f"{facts['stands_single']:,}", "|t| above 1.96, as if tried alone"),
        (
            "Strongest |t|",
            number_text(None if strength is None else abs(strength), "ratio"),
            str(analysis.table["name"][best]),
        ),
        (
            "Luck's best |t|",
            f"{facts['expected_max_t']:.2f}",
            f"{facts['expected_max_t_clusters']:.2f} for the clusters",
        ),
        ("Its mean rank IC", number_text(analysis.table["rank_ic"][best], "correlation"), interval(analysis, best)),
        (
            "Median turnover",
            number_text(float(np.median(known)) if known.size else None, "percent"),
            "of the outer fifths, a bar",
        ),
    ]
