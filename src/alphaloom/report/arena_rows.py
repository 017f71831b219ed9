"""Every number of an arena as text: one list of columns for the page and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alphaloom.report.formats import MISSING, interval_text, number_text
from alphaloom.report.reading import costs_text, spelled

if TYPE_CHECKING:
    from alphaloom.study.arena import ArenaResult, Line, Spread

__all__ = [
    "COLUMNS",
    "ArenaColumn",
    "ablation_cells",
    "ablation_heads",
    "arena_cards",
    "arena_facts",
    "control_cell",
    "drawn_text",
    "line_cell",
    "range_text",
    "said_of",
    "seeds_text",
    "spread_text",
]


@dataclass(frozen=True)
class ArenaColumn:
    """One column of the table of studies: its number, its heading, how it is written, what it means."""

    key: str
    label: str
    form: str
    about: str


COLUMNS: Final = (
    ArenaColumn("sharpe", "Sharpe net", "ratio", "Sharpe ratio a year after costs"),
    ArenaColumn("gross_sharpe", "Sharpe gross", "ratio", "Sharpe ratio a year before costs"),
    ArenaColumn("information_ratio", "IR", "ratio", "information ratio a year against equal weight"),
    ArenaColumn("active_dsr", "DSR active", "probability", "deflated Sharpe ratio above equal weight, all trials"),
    ArenaColumn("place", "Above random", "percent", "part of the drawn portfolios with a lower Sharpe ratio"),
    ArenaColumn("rank_ic", "Rank IC", "correlation", "mean rank correlation of scores with what came true"),
    ArenaColumn("rank_ic_t", "Rank IC t", "ratio", "Newey-West t of the mean rank IC"),
    ArenaColumn("cagr", "Return a year", "percent", "yearly growth after costs"),
    ArenaColumn("max_drawdown", "Drawdown", "percent", "deepest fall below an earlier peak"),
    ArenaColumn("turnover", "Turnover", "percent", "share of the portfolio exchanged on a bar, one way"),
    ArenaColumn("shuffled_sharpe", "Shuffled", "ratio", "Sharpe ratio after costs of the study's own shuffled signal"),
    ArenaColumn("active_dsr_effective", "DSR active, effective", "probability", "for the effective number of trials"),
    ArenaColumn("dsr", "DSR", "probability", "deflated Sharpe ratio of the whole returns, all trials"),
)


def line_cell(line: Line, column: ArenaColumn) -> str:
    """The mean over seeds."""
    return number_text(line.numbers[column.key].mean, column.form)


def spread_text(spread: Spread, form: str) -> str:
    """The 95 % t interval over seeds, nothing for a single seed."""
    return interval_text(spread.low, spread.high, form)


def range_text(spread: Spread, form: str) -> str:
    """Least and most over seeds, nothing for a single seed."""
    if spread.seeds < 2:
        return ""
    return f"{number_text(spread.least, form)} .. {number_text(spread.most, form)}"


def drawn_text(spread: Spread, form: str) -> str:
    """The interval that resampling time gives the mean over seeds."""
    return interval_text(spread.drawn_low, spread.drawn_high, form)


def control_cell(result: ArenaResult, name: str, column: ArenaColumn) -> str:
    """A number of a control; nothing where the number makes no sense for it."""
    numbers = result.controls[name]
    return number_text(numbers[column.key], column.form) if column.key in numbers else ""


def seeds_text(line: Line) -> str:
    """How many seeds, and which."""
    count = len(line.seeds)
    listed = ", ".join(str(seed) for seed in line.seeds)
    return f"1 seed ({listed})" if count == 1 else f"{count} seeds ({listed})"


def said_of(result: ArenaResult) -> list[tuple[str, str, str]]:
    """For each whole study its name, the word of its verdict, and the sentence with the reasons."""
    judged = [(line, line.verdict) for line in result.lines]
    return [(spelled(line.name), found.word, found.sentence) for line, found in judged if found is not None]


def arena_facts(result: ArenaResult) -> list[tuple[str, str]]:
    """What the head of the page states: span, universe, fill, costs, runs, data."""
    facts = result.facts
    return [
        ("Test span", f"{facts['first']} to {facts['last']}"),
        ("Bars", f"{facts['bars']:,}"),
        ("Universe", f"{facts['assets']:,} assets"),
        ("Fill", str(facts["market"].get("fill", MISSING)).replace("_", " ")),
        ("Costs", costs_text(facts["market"])),
        ("Runs", f"{facts['runs']} of {facts['studies']} stud{'ies' if facts['studies'] != 1 else 'y'}"),
        ("Data", str(facts["data"])[:12]),
    ]


def arena_cards(result: ArenaResult) -> list[tuple[str, str, str]]:
    """The numbers about the whole arena: label, value, remark."""
    picking, luck, active = result.picking, result.luck, result.active_luck
    equal = result.controls.get("equal_weight", {})
    skilled = sum(word == "skill" for _, word, _ in said_of(result))
    return [
        ("Studies with skill", f"{skilled}", f"of {len(said_of(result))} judged"),
        ("Trials, all", f"{luck.listed:,}", "every different run with its own trials"),
        (
            "Trials, effective",
            f"{luck.effective:,}",
            f"{active.effective:,} by the returns above equal weight",
        ),
        (
            "Probability of overfitting",
            number_text(picking.pbo, "ratio"),
            f"over {picking.distinct} different trials; about 0.5 when nothing sets them apart",
        ),
        (
            "Pick behind equal weight",
            number_text(picking.loss, "percent"),
            "of the halves in which the best of the other half was taken",
        ),
        ("Equal weight, Sharpe", number_text(equal.get("sharpe"), "ratio"), "with the same costs"),
    ]


def ablation_heads() -> tuple[str, ...]:
    """The headings of the table of steps."""
    return (
        "Variant", "Seeds", "Rank IC, whole", "variant", "difference", "95 %",
        "Sharpe net, whole", "variant", "difference", "95 %",
    )  # fmt: skip


def ablation_cells(result: ArenaResult) -> list[tuple[str, tuple[str, ...]]]:
    """For each study and step the cells after the first, in the order of the headings; the study's name beside."""
    rows = []
    for each in result.ablations:
        cells = [each.step, str(each.seeds)]
        for name, form in (("rank_ic", "correlation"), ("sharpe", "ratio")):
            cells += [number_text(getattr(each, f"{name}_{part}"), form) for part in ("with", "without", "difference")]
            cells.append(interval_text(getattr(each, f"{name}_low"), getattr(each, f"{name}_high"), form))
        rows.append((spelled(each.study), tuple(cells)))
    return rows
