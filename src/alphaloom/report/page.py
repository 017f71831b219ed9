"""The page: one HTML file that asks nothing of the network, with the same bytes for the same result."""

from __future__ import annotations

from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alphaloom.report.directions import direction_section
from alphaloom.report.figures import money_figures
from alphaloom.report.figures_signal import signal_figures
from alphaloom.report.figures_trading import trading_figures
from alphaloom.report.findings import verdict
from alphaloom.report.reading import facts, spelled
from alphaloom.report.rows import Row, key_rows, summary_rows
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
from alphaloom.report.skill import skill_of, skill_section
from alphaloom.report.tables import (
    benchmark_table,
    fold_table,
    month_table,
    regime_table,
    sentence,
    typeset,
)
from alphaloom.study import toml_text

if TYPE_CHECKING:
    from alphaloom.study import StudyResult

__all__ = ["page_text", "write_report"]

CAUTION: Final = (
    "These are results of a simulation on past data. They describe what the rules would have done under the stated "
    "fills and costs, not what they will do."
)


def write_report(result: StudyResult, path: str | Path) -> Path:
    """Write the report of a study as one self-contained HTML file and return its path.

    The file is written beside its place and then renamed, so that a half-written report never stands there.
    Raises: AlphaloomError when the place is a directory, when its folder is missing, or when it cannot be written.
    """
    place = checked_place(path)
    return put_page(page_text(result), place)


def page_text(result: StudyResult) -> str:
    """The whole report as HTML text."""
    title = escape(spelled(result.name))
    money, trading, signal = money_figures(result), trading_figures(result), signal_figures(result)
    skill, skill_figures = skill_section(skill_of(result))
    stated = [fact(label, text, whole=label == "Test span") for label, text in facts(result)]
    parts = [
        masthead("Walk-forward study", title, said=verdict(result), facts=stated),
        noted(result.notes, without="The study recorded no note about its data, its fills or its models."),
        _figures_of_interest(result),
        section("performance", "Performance", figure_grid(money) + _months(result)),
        section("signal", "Signal", figure_grid(signal)),
        *direction_section(result),
        section("trading", "Trading and exposure", figure_grid(trading)),
        section("benchmarks", "Benchmarks", benchmark_table(result)),
        *skill,
        section("regimes", "Regimes", regime_table(result)),
        section("folds", "Folds", _folds(result)),
        _provenance(result),
    ]
    return page_of(title, parts, footer=CAUTION, figures=[*money, *signal, *trading, *skill_figures])


def _figures_of_interest(result: StudyResult) -> str:
    rows = summary_rows(result)
    if not rows:
        return section("figures-table", "Key figures", sentence("The study computed no key figures."))
    cards = "".join(_card(row) for row in key_rows(result))
    groups = []
    ranges = any(row.interval for row in rows)
    about = '<p class="quiet">Brackets hold 95 % intervals from a block bootstrap.</p>' if ranges else ""
    for group, members in groupby(rows, key=lambda row: row.group):
        lines = "".join(_figure_line(row) for row in members)
        groups.append(f'<div class="group"><h3>{escape(group)}</h3><table><tbody>{lines}</tbody></table></div>')
    return section(
        "key-figures",
        "Key figures",
        f'<ul class="cards">{cards}</ul>{about}<div class="groups">{"".join(groups)}</div>',
    )


def _card(row: Row) -> str:
    interval = f'<span class="interval">{typeset(row.interval)}</span>' if row.interval else ""
    return (
        f'<li data-key="{escape(row.key)}"><span class="label">{escape(row.label)}</span>'
        f'<span class="value">{typeset(row.text)}</span>{interval}</li>'
    )


def _figure_line(row: Row) -> str:
    interval = f' <span class="interval">{typeset(row.interval)}</span>' if row.interval else ""
    return (
        f'<tr data-key="{escape(row.key)}"><th scope="row">{escape(row.label)}</th>'
        f'<td class="number"><span class="value">{typeset(row.text)}</span>{interval}</td></tr>'
    )


def _months(result: StudyResult) -> str:
    title, table = month_table(result)
    return (
        f'<div class="block" id="months"><p class="kicker">Monthly returns, %</p><h3>{typeset(title)}</h3>{table}</div>'
    )


def _folds(result: StudyResult) -> str:
    count = len(result.folds)
    table = fold_table(result)
    return folded(f"{count} fold{'s' if count != 1 else ''}", table) if count else table


def _provenance(result: StudyResult) -> str:
    parts = []
    for label, tree in (("Configuration", result.config), ("Versions, seeds and data", result.provenance)):
        text = toml_text(tree) if tree else ""
        body = f'<pre tabindex="0" role="region" aria-label="{label}"><code>{escape(text)}</code></pre>'
        parts.append(folded(label, body) if text else sentence(f"{label}: nothing was recorded."))
    return section("provenance", "Provenance", "".join(parts))
