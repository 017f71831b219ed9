"""A search for formulas for a terminal: what was found, the pool, its worth, notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alphaloom.report.formats import number_text
from alphaloom.report.mining_rows import cards, measure_rows, mining_verdict, pool_rows

if TYPE_CHECKING:
    from rich.console import Group

    from alphaloom.study.mining import MiningResult

__all__ = ["mining_table"]


def mining_table(result: MiningResult) -> Group:
    """The verdict, the pool, the measures and, once it was read, the test against luck, to print with rich."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [Text(mining_verdict(result)), Text(""), _pool(result), Text(""), _measures(result)]
    if result.holdout is not None:
        parts += [Text(""), *(Text(line) for line in _luck(result))]
    parts += [Text(f"Note: {note}") for note in result.notes]
    return Group(*parts)


def _pool(result: MiningResult) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", pad_edge=False)
    table.add_column("Formula", overflow="fold", ratio=1)
    for label in ("Weight", "IC train", "IC valid", "Turnover"):
        table.add_column(label, justify="right", no_wrap=True)
    forms = (("weight", "probability"), ("ic", "correlation"), ("valid_ic", "correlation"), ("turnover", "percent"))
    for _, row in pool_rows(result):
        table.add_row(Text(str(row["formula"])), *(number_text(row[key], form) for key, form in forms))
    return table


def _measures(result: MiningResult) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", pad_edge=False)
    table.add_column("Measure")
    table.add_column("Validation", justify="right")
    table.add_column("Test", justify="right")
    for row in measure_rows(result):
        table.add_row(*map(Text, row))
    return table


def _luck(result: MiningResult) -> list[str]:
    test = result.holdout
    assert test is not None
    lines = []
    for part in ("train", "test"):
        band = test["placebo"][part]
        if band["values"]:
            values = ", ".join(number_text(value, "correlation") for value in band["values"])
            lines.append(
                f"Placebo band, {part}: {values}; 95th percentile {number_text(band['high'], 'correlation')}, "
                f"this search {number_text(band['real'], 'correlation')}, p = {number_text(band['p'], 'probability')}"
            )
    lines += [f"{label}: {text} ({remark})" for label, text, remark in cards(result)[-3:]]
    reads = int(test["reads"])
    if reads > 1:
        lines.append(f"The test was read before, {reads - 1} time{'s' if reads > 2 else ''}: it is no longer fresh.")
    return lines
