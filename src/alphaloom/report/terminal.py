"""The key figures for a terminal and for a program: the same rows as the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alphaloom.report.findings import verdict
from alphaloom.report.formats import MISSING, date_text
from alphaloom.report.reading import spelled, times_of
from alphaloom.report.rows import Row, benchmark_rows, summary_rows
from alphaloom.report.skill import skill_of

if TYPE_CHECKING:
    from rich.console import Group

    from alphaloom.study import StudyResult

__all__ = ["summary_json", "summary_table"]


def summary_table(result: StudyResult) -> Group:
    """The key figures beside those of the benchmarks, with verdict and notes, to print with rich."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    rivals = {name: {row.key: row for row in rows} for name, rows in benchmark_rows(result).items()}
    table = Table(
        title=Text(spelled(result.name), style="bold"), title_justify="left", header_style="bold", pad_edge=False
    )
    table.add_column("After costs")
    table.add_column("Strategy", justify="right", no_wrap=True)
    table.add_column("Interval", justify="right", no_wrap=True, style="dim")
    for name in rivals:
        table.add_column(Text(spelled(name)), justify="right", style="dim")
    group = ""
    for row in summary_rows(result):
        if row.group != group:
            if group:
                table.add_section()
            group = row.group
        others = [rows[row.key].text if row.key in rows else "" for rows in rivals.values()]
        table.add_row(Text(row.label), Text(row.text), Text(row.interval), *(Text(other) for other in others))
    if not table.row_count:
        table.add_row("no figures", MISSING, "")
    notes = [Padding(Text(f"Note: {note}"), (0, 0, 0, 0)) for note in result.notes]
    skill = skill_of(result)
    tested = [] if skill is None else [Text(skill.sentence)]
    return Group(table, Text(""), Text(verdict(result)), *tested, *notes)


def summary_json(result: StudyResult) -> dict[str, Any]:
    """The key figures, the verdict and the notes as values that JSON can hold.

    Missing: a figure that could not be computed is None.
    """
    times, skill = times_of(result.daily), skill_of(result)
    return {
        "name": result.name,
        "first": date_text(times[0]) if times.size else None,
        "last": date_text(times[-1]) if times.size else None,
        "bars": int(times.size),
        "verdict": verdict(result),
        "skill": None if skill is None else {"beats": skill.beats, "sentence": skill.sentence, **skill.spread},
        "rows": [_entry(row) for row in summary_rows(result)],
        "benchmarks": {name: [_entry(row) for row in rows] for name, rows in benchmark_rows(result).items()},
        "notes": list(result.notes),
    }


def _entry(row: Row) -> dict[str, Any]:
    return {
        "key": row.key,
        "label": row.label,
        "group": row.group,
        "value": row.value,
        "low": row.low,
        "high": row.high,
        "text": row.text,
        "interval": row.interval,
    }
