"""The page of a factor analysis: every factor in one table, the set as a whole, and the strongest ones in detail."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alphaloom.report.factor_details import badges, detail_figures, factor_detail
from alphaloom.report.factor_figures import overview_figures
from alphaloom.report.factor_rows import COLUMNS, Column, cards, cell, factor_facts, factor_verdict, interval, value
from alphaloom.report.figures import Figure
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
    from alphaloom.study import FactorAnalysis

__all__ = ["factor_page_text", "write_factor_page"]

DETAILED: Final = 20
SHOWN: Final = tuple(column for column in COLUMNS if column.key != "autocorrelation_5")
CAUTION: Final = (
    "These figures describe how scores and later returns went together in the past, before costs and without a "
    "portfolio. A factor that stands here has passed a test of luck, not of profit."
)


def write_factor_page(analysis: FactorAnalysis, path: str | Path) -> Path:
    """Write the page of a factor analysis as one self-contained HTML file and return its path.

    Raises: AlphaloomError when the place is a directory, when its folder is missing, or when it cannot be written.
    """
    place = checked_place(path)
    return put_page(factor_page_text(analysis), place)


def factor_page_text(analysis: FactorAnalysis) -> str:
    """The whole page as HTML text."""
    luck, trade_off, kinship, years, coverage = overview_figures(analysis)
    rows = [int(row) for row in analysis.ranking[:DETAILED]]
    each = {row: detail_figures(analysis, row) for row in rows}
    stated = [fact(label, text, whole=label == "Test span") for label, text in factor_facts(analysis)]
    title = escape(spelled(analysis.name))
    parts = [
        masthead("Single-factor analysis", title, said=factor_verdict(analysis), facts=stated),
        noted(analysis.notes, without="The analysis recorded no note about its data."),
        section(
            "key-figures", "Key figures", f'<ul class="cards">{"".join(_card(*card) for card in cards(analysis))}</ul>'
        ),
        section("factors", "Factors", _factors(analysis, set(rows))),
        section("evidence", "Evidence and turnover", figure_grid([luck, trade_off])),
        section("relations", "Relations, years and coverage", figure_grid([kinship, years, coverage])),
        section(
            "details", f"The {len(rows)} strongest", "".join(factor_detail(analysis, row, each[row]) for row in rows)
        )
        if len(rows) > 1
        else section("details", "In detail", "".join(factor_detail(analysis, row, each[row]) for row in rows)),
        section("provenance", "Provenance", _provenance(analysis)),
    ]
    figures: list[Figure] = [luck, trade_off, kinship, years, coverage]
    for row in rows:
        figures += each[row]
    return page_of(title, parts, footer=CAUTION, figures=figures, assets=("factors.css", "factors.js"))


def _card(label: str, text: str, remark: str) -> str:
    return (
        f'<li><span class="label">{escape(label)}</span><span class="value">{typeset(text)}</span>'
        f'<span class="interval">{typeset(remark)}</span></li>'
    )


def _factors(analysis: FactorAnalysis, detailed: set[int]) -> str:
    heads = "".join(_head(column) for column in SHOWN)
    body = "".join(_row(analysis, int(row), int(row) in detailed) for row in analysis.ranking)
    caption = "All factors, strongest |t| first; a heading sorts"
    horizon = analysis.horizons[0]
    about = (
        f'<p class="quiet">Returns over {horizon} bar{"s" if horizon != 1 else ""}. A negative rank IC is as good as a '
        "positive one: the factor is read the other way round. Headings sort; point at one to read what it means.</p>"
    )
    search = (
        '<p class="search"><label for="filter">Filter</label> '
        '<input type="search" id="filter" placeholder="name, family or formula" autocomplete="off">'
        '<span id="shown" class="quiet" role="status"></span></p>'
    )
    return (
        f'{about}{search}<div class="scroll tall" tabindex="0" role="region" aria-label="{caption}">'
        f'<table class="sortable" id="all-factors"><caption class="hidden">{caption}</caption><thead><tr>'
        f'<th scope="col" aria-sort="none"><button type="button" class="sort">Factor</button></th>{heads}'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _head(column: Column) -> str:
    sorted_ = "descending" if column.key == "rank_ic_t" else "none"
    return (
        f'<th scope="col" class="number" aria-sort="{sorted_}" title="{escape(column.about)}">'
        f'<button type="button" class="sort">{escape(column.label)}</button></th>'
    )


def _row(analysis: FactorAnalysis, row: int, detailed: bool) -> str:
    table = analysis.table
    name, family, formula = (str(table[key][row]) for key in ("name", "family", "formula"))
    label = escape(name)
    named = f'<a href="#factor-{row}">{label}</a>' if detailed else label
    words = escape(f"{name} {family} {formula}".lower())
    cells = "".join(_number(analysis, column, row) for column in SHOWN)
    return (
        f'<tr data-words="{words}"><th scope="row" title="{escape(formula)}">{named}'
        f'<span class="family">{escape(family)} {badges(analysis, row)}</span></th>{cells}</tr>'
    )


def _number(analysis: FactorAnalysis, column: Column, row: int) -> str:
    number = value(analysis, column.key, row)
    key = "" if number is None else f"{number:.6g}"
    about = f' title="95 % {escape(interval(analysis, row))}"' if column.key == "rank_ic" and number is not None else ""
    strong = " own" if column.key == "rank_ic_t" else ""
    return f'<td class="number{strong}" data-value="{key}"{about}>{typeset(cell(analysis, column, row))}</td>'


def _provenance(analysis: FactorAnalysis) -> str:
    settings: dict[str, Any] = {"library": analysis.name, "horizons": list(analysis.horizons), **analysis.facts}
    text = toml_text(settings)
    return folded(
        "Settings, data and counts",
        f'<pre tabindex="0" role="region" aria-label="Settings"><code>{escape(text)}</code></pre>',
    )
