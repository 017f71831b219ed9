"""The page of an arena: verdicts first, then the table, the controls, the luck, the steps and the settings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alphaloom.report.arena_figures import arena_figures
from alphaloom.report.arena_rows import (
    COLUMNS,
    ablation_cells,
    ablation_heads,
    arena_cards,
    arena_facts,
    control_cell,
    drawn_text,
    line_cell,
    range_text,
    said_of,
    seeds_text,
    spread_text,
)
from alphaloom.report.reading import spelled
from alphaloom.report.shell import (
    checked_place,
    fact,
    figure_grid,
    folded,
    masthead,
    noted,
    page_of,
    put_page,
    section,
)
from alphaloom.report.tables import typeset
from alphaloom.study import toml_text

if TYPE_CHECKING:
    from alphaloom.study.arena import ArenaResult, Line

__all__ = ["arena_page_text", "write_arena_page"]

CAUTION: Final = (
    "These are results of simulations on past data, judged by rules that were fixed before. A verdict of skill says "
    "that chance, the market and the costs do not explain the past; it does not promise the future."
)
FLAGS: Final = {"skill": "good", "worse than equal weight": "bad"}
MARKS: Final = {True: "holds", False: "not met", None: "not asked"}


def write_arena_page(result: ArenaResult, path: str | Path) -> Path:
    """Write the page of an arena as one self-contained HTML file and return its path.

    Raises: AlphaloomError when the place is a directory, when its folder is missing, or when it cannot be written.
    """
    place = checked_place(path)
    return put_page(arena_page_text(result), place)


def arena_page_text(result: ArenaResult) -> str:
    """The whole page as HTML text."""
    bands, growth, against, picking, steps = arena_figures(result)
    stated = [fact(label, text, whole=label == "Test span") for label, text in arena_facts(result)]
    said = " ".join(f"{name[:1].upper()}{name[1:]}: {word}." for name, word, _ in said_of(result))
    cards = "".join(
        f'<li><span class="label">{escape(label)}</span><span class="value">{typeset(text)}</span>'
        f'<span class="interval">{typeset(remark)}</span></li>'
        for label, text, remark in arena_cards(result)
    )
    parts = [
        masthead("Arena", escape(_title(result)), said=said, facts=stated),
        section("verdicts", "Verdicts", _verdicts(result)),
        noted(result.notes, without="The arena recorded no note about its data, its fills or its models."),
        section("studies", "Studies and controls", _studies(result) + f'<ul class="cards">{cards}</ul>'),
        section("controls", "Controls", figure_grid([bands, growth])),
        section("luck", "Luck", figure_grid([against, picking])),
        section("steps", "Steps", figure_grid([steps]) + _steps(result)),
        section("provenance", "Provenance", _provenance(result)),
    ]
    figures = [bands, growth, against, picking, steps]
    return page_of(escape(_title(result)), parts, footer=CAUTION, figures=figures, assets=("factors.css", "arena.css"))


def _title(result: ArenaResult) -> str:
    names = [name for name, _, _ in said_of(result)]
    return f"{names[0]} alone" if len(names) == 1 else " / ".join(names[:4]) + (" ..." if len(names) > 4 else "")


def _verdicts(result: ArenaResult) -> str:
    blocks = []
    for line in result.lines:
        if line.verdict is None:
            continue
        rows = "".join(
            f'<tr><th scope="row">{escape(check.name)}</th>'
            f'<td><span class="flag {_tone(check.holds)}">{MARKS[check.holds]}</span></td>'
            f"<td>{f'{check.passed} of {check.asked}' if check.asked else ''}</td>"
            f'<td class="told">{typeset(check.told)}</td></tr>'
            for check in line.verdict.checks
        )
        tone = FLAGS.get(line.verdict.word, "")
        blocks.append(
            f'<article class="judged"><h3>{escape(spelled(line.name))} '
            f'<span class="flag word {tone}">{escape(line.verdict.word)}</span></h3>'
            f'<p class="quiet">{escape(seeds_text(line))}</p><p>{typeset(line.verdict.sentence)}</p>'
            f'<div class="scroll" tabindex="0" role="region" aria-label="Checks of {escape(spelled(line.name))}">'
            f'<table class="checks"><thead><tr><th scope="col">Check</th><th scope="col">Outcome</th>'
            f'<th scope="col">Seeds</th><th scope="col">Shown</th></tr></thead><tbody>{rows}</tbody></table></div>'
            "</article>"
        )
    about = (
        '<p class="quiet">A verdict follows from stated rules; nobody writes it. A check must hold in two thirds '
        "of the seeds, after costs.</p>"
    )
    return about + "".join(blocks)


def _tone(holds: bool | None) -> str:
    return "" if holds is None else "good" if holds else "bad"


def _studies(result: ArenaResult) -> str:
    heads = "".join(
        f'<th scope="col" class="number" title="{escape(column.about)}">{escape(column.label)}</th>'
        for column in COLUMNS
    )
    rows = [_study_row(line) for line in result.lines]
    for name in result.controls:
        cells = "".join(f'<td class="number">{typeset(control_cell(result, name, column))}</td>' for column in COLUMNS)
        rows.append(f'<tr class="control"><th scope="row">{escape(spelled(name))}</th>{cells}</tr>')
    about = (
        '<p class="quiet">Each cell: the mean over seeds; in brackets its 95 % t interval over seeds; below, least and '
        "most; in italics the interval that resampling time gives the mean. Point at a heading for its meaning.</p>"
    )
    return _scrolled("Studies and controls", heads, rows, "Study", "arena-table") + about


def _study_row(line: Line) -> str:
    cells = []
    for column in COLUMNS:
        spread = line.numbers[column.key]
        small = [spread_text(spread, column.form), range_text(spread, column.form)]
        said = "".join(f'<span class="small">{typeset(text)}</span>' for text in small if text)
        drawn = drawn_text(spread, column.form)
        said += f'<span class="small time">{typeset(drawn)}</span>' if drawn else ""
        cells.append(f'<td class="number"><span class="value">{typeset(line_cell(line, column))}</span>{said}</td>')
    kind = ' class="lacking"' if line.of else ""
    label = line.step if line.of else spelled(line.name)
    return (
        f'<tr{kind}><th scope="row">{escape(label)}<span class="family">{escape(seeds_text(line))}</span></th>'
        f"{''.join(cells)}</tr>"
    )


def _steps(result: ArenaResult) -> str:
    rows = ablation_cells(result)
    if not rows:
        return ""
    heads = "".join(f'<th scope="col" class="number">{escape(label)}</th>' for label in ablation_heads())
    lines = [
        f'<tr><th scope="row">{escape(study)}</th>'
        + "".join(f'<td class="number">{typeset(cell)}</td>' for cell in cells)
        + "</tr>"
        for study, cells in rows
    ]
    return f'<div class="block">{_scrolled("What each step is worth", heads, lines, "Study", "steps-table")}</div>'


def _scrolled(caption: str, heads: str, rows: Sequence[str], first: str, kind: str) -> str:
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="{kind}">'
        f'<caption class="hidden">{escape(caption)}</caption>'
        f'<thead><tr><th scope="col">{escape(first)}</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _provenance(result: ArenaResult) -> str:
    parts = [folded("Arena, hashes and data", _text("Arena", toml_text(dict(result.facts))))]
    for name, config in result.configs.items():
        parts.append(folded(f"Configuration: {spelled(name)}", _text(name, toml_text(config))))
    return "".join(parts)


def _text(label: str, text: str) -> str:
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}"><code>{escape(text)}</code></pre>'
