"""The ranked factors for a terminal: the same numbers as the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alphaloom.report.factor_rows import COLUMNS, cell, factor_verdict, flags

if TYPE_CHECKING:
    from rich.console import Group

    from alphaloom.study import FactorAnalysis

__all__ = ["factor_table"]

SHOWN: Final = ("rank_ic", "rank_ic_t", "ic", "rank_ic_annual_ir", "spread", "spread_t", "turnover", "missing")


def factor_table(analysis: FactorAnalysis, *, rows: int = 30) -> Group:
    """The strongest factors as a table with verdict and notes, to print with rich; `rows` of 0 prints all."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    columns = [column for column in COLUMNS if column.key in SHOWN]
    table = Table(title=Text(analysis.name, style="bold"), title_justify="left", header_style="bold", pad_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("Factor", overflow="fold")
    for column in columns:
        table.add_column(column.label, justify="right", no_wrap=True)
    table.add_column("Flags", overflow="fold")
    shown = [int(row) for row in analysis.ranking[: rows or None]]
    for place, row in enumerate(shown, start=1):
        numbers = [Text(cell(analysis, column, row)) for column in columns]
        said = ", ".join(word for _, word, _ in flags(analysis, row))
        table.add_row(str(place), Text(str(analysis.table["name"][row])), *numbers, Text(said))
    rest = len(analysis) - len(shown)
    more = [Text(f"{rest} weaker factors are in the page and the tables.", style="dim")] if rest else []
    notes = [Text(f"Note: {note}") for note in analysis.notes]
    return Group(table, *more, Text(""), Text(factor_verdict(analysis)), *notes)
