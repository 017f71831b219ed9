"""An arena for a terminal: verdicts, one table of studies and controls, steps, notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from alphaloom.report.arena_rows import (
    COLUMNS,
    ablation_cells,
    arena_cards,
    control_cell,
    drawn_text,
    line_cell,
    range_text,
    said_of,
    seeds_text,
    spread_text,
)
from alphaloom.report.reading import spelled

if TYPE_CHECKING:
    from rich.console import Group

    from alphaloom.study.arena import ArenaResult

__all__ = ["arena_table"]

STYLES: Final = {"skill": "bold green", "worse than equal weight": "bold red"}
RANGED: Final = ("sharpe", "information_ratio", "rank_ic")


def arena_table(result: ArenaResult) -> Group:
    """The verdicts, the numbers of every study and control, the steps and the notes, to print with rich."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = []
    for name, word, sentence in said_of(result):
        parts.append(Text.assemble((f"{name}: ", "bold"), (word, STYLES.get(word, "bold")), f". {sentence}"))
    parts += [Text(""), _numbers(result), Text("")]
    parts += [Text(f"{label}: {value} ({remark})") for label, value, remark in arena_cards(result)[1:5]]
    if result.ablations:
        parts += [Text(""), _steps(result)]
    return Group(*parts, Text(""), *(Text(f"Note: {note}") for note in result.notes))


def _numbers(result: ArenaResult) -> Any:
    """Studies and controls in columns, the numbers in rows: a terminal is higher than it is wide."""
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", pad_edge=False)
    table.add_column("Mean over seeds")
    lines = [line for line in result.lines if not line.of]
    for line in lines:
        table.add_column(Text(f"{spelled(line.name)}\n{seeds_text(line)}"), justify="right")
    for name in result.controls:
        table.add_column(Text(spelled(name)), justify="right", style="dim")
    for column in COLUMNS:
        others = [Text(control_cell(result, name, column)) for name in result.controls]
        table.add_row(Text(column.label), *(Text(line_cell(line, column)) for line in lines), *others)
        spreads = [line.numbers[column.key] for line in lines]
        for label, texts in (
            ("  t interval", [spread_text(spread, column.form) for spread in spreads]),
            ("  least .. most", [range_text(spread, column.form) for spread in spreads]),
            ("  over time", [drawn_text(spread, column.form) for spread in spreads]),
        ):
            if column.key in RANGED and any(texts):
                table.add_row(Text(label), *map(Text, texts), *(Text("") for _ in others), style="dim")
    return table


def _steps(result: ArenaResult) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        header_style="bold",
        pad_edge=False,
        title=Text("What each step is worth: the whole study less its variant"),
        title_justify="left",
    )
    for number, label in enumerate(("Study", "Variant", "Rank IC", "", "Sharpe net", "")):
        table.add_column(
            label or "difference [95 %]", no_wrap=number > 1, overflow="fold", justify="right" if number > 1 else "left"
        )
    for study, (step, _, *cells) in ablation_cells(result):
        halves = [cells[:4], cells[4:]]
        texts = [text for own, other, gap, range_ in halves for text in (f"{own}, variant {other}", f"{gap} {range_}")]
        table.add_row(*map(Text, (study, step, *texts)))
    return table
