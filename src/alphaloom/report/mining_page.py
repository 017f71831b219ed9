"""The page of a search for formulas: the pool, its worth after costs, the course of the search, and luck."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alphaloom.report.formats import number_text
from alphaloom.report.mining_figures import mining_figures
from alphaloom.report.mining_rows import (
    COLUMNS,
    cards,
    count_rows,
    measure_rows,
    mining_facts,
    mining_verdict,
    pool_rows,
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
from alphaloom.report.tables import framed, heading, line_of, number_cell, typeset
from alphaloom.study import toml_text

if TYPE_CHECKING:
    from alphaloom.study.mining import MiningResult

__all__ = ["mining_page_text", "write_mining_page"]

CAUTION: Final = (
    "A search that tries thousands of formulas finds strong ones in noise too. Only rows that neither the search nor "
    "the choice has seen can tell, and only the first look at them."
)


def write_mining_page(result: MiningResult, path: str | Path) -> Path:
    """Write the page of a search as one self-contained HTML file and return its path.

    Raises: AlphaloomError when the place is a directory, when its folder is missing, or when it cannot be written.
    """
    place = checked_place(path)
    return put_page(mining_page_text(result), place)


def mining_page_text(result: MiningResult) -> str:
    """The whole page as HTML text."""
    drawn = mining_figures(result)
    title = escape(spelled(result.name))
    spans = ("Train", "Valid", "Test")
    stated = [fact(label, text, whole=label in spans) for label, text in mining_facts(result)]
    books = [drawn[key] for key in ("equity", "summed", "test-equity", "test-summed") if key in drawn]
    parts = [
        masthead("Formula mining", title, said=mining_verdict(result), facts=stated),
        noted(_notes(result), without="The search recorded no note about its data."),
        section(
            "key-figures", "Key figures", f'<ul class="cards">{"".join(_card(*card) for card in cards(result))}</ul>'
        ),
        section("pool", "The pool", _pool(result)),
        section("worth", "Worth on rows that were not searched", figure_grid(books) + _measures(result)),
        section("likeness", "Likeness and luck", figure_grid([drawn["likeness"], drawn["placebo"]])),
        section("search", "The search", figure_grid([drawn["evaluations"], drawn["seconds"]]) + _counts(result)),
        section("choice", "What validation chose from", _choices(result)),
        section("provenance", "Provenance", _provenance(result)),
    ]
    return page_of(title, parts, footer=CAUTION, figures=list(drawn.values()), assets=("factors.css", "mining.css"))


def _notes(result: MiningResult) -> list[str]:
    notes = list(result.notes)
    if len(result.reads) > 1:
        notes.append(
            f"the test: it was read {len(result.reads)} times; what is chosen after the first look is fitted to it"
        )
    return notes


def _card(label: str, text: str, remark: str) -> str:
    return (
        f'<li><span class="label">{escape(label)}</span><span class="value">{typeset(text)}</span>'
        f'<span class="interval">{typeset(remark)}</span></li>'
    )


def _pool(result: MiningResult) -> str:
    heads = "".join(
        f'<th scope="col" class="number" title="{escape(column.about)}">{escape(column.label)}</th>'
        for column in COLUMNS
    )
    rows = []
    for place, (_, row) in enumerate(pool_rows(result), 1):
        cells = "".join(number_cell(_text(row[column.key], column.form)) for column in COLUMNS)
        rows.append(
            f'<tr><th scope="row"><span class="place">#{place}</span> <code>{escape(str(row["formula"]))}</code></th>'
            f"{cells}</tr>"
        )
    about = (
        '<p class="quiet">The score is the weighted sum of the formulas, each standardised over the members of its '
        "date. A negative weight reads a formula the other way round. Point at a heading for its meaning.</p>"
    )
    head = f'<tr><th scope="col">Formula</th>{heads}</tr>'
    return about + framed("Formulas of the pool", head, rows, "formulas")


def _text(value: Any, form: str) -> str:
    return number_text(value, form) if form else str(value)


def _measures(result: MiningResult) -> str:
    head = line_of([heading("Measure"), heading("Validation", True), heading("Test", True)])
    rows = [
        line_of([f'<th scope="row">{escape(label)}</th>', number_cell(valid), number_cell(test)])
        for label, valid, test in measure_rows(result)
    ]
    told = "Brackets hold 95 % intervals from resampled blocks as long as the label."
    return f'<div class="block">{framed("Measures", head, rows, "measures")}<p class="quiet">{told}</p></div>'


def _counts(result: MiningResult) -> str:
    head = line_of([heading("Formulas"), heading("Count", True), heading("Meaning")])
    rows = [
        line_of([f'<th scope="row">{escape(label)}</th>', number_cell(count), f"<td>{escape(about)}</td>"])
        for label, count, about in count_rows(result)
    ]
    return f'<div class="block">{framed("Counts of the search", head, rows, "counts")}</div>'


def _choices(result: MiningResult) -> str:
    names = (("Formulas", "size", "count"), ("Penalty", "l1", ""), ("Kept", "kept", "count"))
    ics = (("IC training", "train_ic", "correlation"), ("IC validation", "valid_ic", "correlation"))
    head = line_of([heading("From")] + [heading(label, True) for label, _, _ in (*names, *ics)] + [heading("")])
    chosen = result.facts["chosen"]
    rows = []
    for row in result.choices:
        cells = [
            number_cell(f"{row[key]:g}" if not form else number_text(row[key], form)) for _, key, form in (*names, *ics)
        ]
        own = all(row[key] == chosen[key] for key in ("base", "size", "l1"))
        rows.append(
            line_of(
                [
                    f"<td>{escape(str(row['base']))}</td>",
                    *cells,
                    f"<td>{'<span class=&quot;flag good&quot;>chosen</span>' if own else ''}</td>",
                ]
            )
        )
    rows = [row.replace("&quot;", '"') for row in rows]
    about = (
        '<p class="quiet">Weights are learned on training rows; the validation coefficient chooses among them and is '
        "therefore a little too good.</p>"
    )
    return about + framed("Choices", head, rows, "choices")


def _provenance(result: MiningResult) -> str:
    parts = [("Configuration", dict(result.config)), ("Facts of the search", _plain(result.facts))]
    if result.holdout is not None:
        parts.append(("The test", _plain(result.holdout)))
        parts.append(("Looks at the test", {"look": [_plain(read) for read in result.reads]}))
    return "".join(folded(label, _code(label, toml_text(tables))) for label, tables in parts)


def _plain(value: Any) -> Any:
    """The same without what TOML has no word for."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if part is not None}
    return [_plain(part) for part in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def _code(label: str, text: str) -> str:
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}"><code>{escape(text)}</code></pre>'
