"""The tables of the page: months, regimes, benchmarks, folds, and the configuration as TOML text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from alphaloom.report.curves import months_of
from alphaloom.report.formats import MISSING, number_of, number_text, plain_text
from alphaloom.report.reading import column, spelled, times_of
from alphaloom.report.rows import benchmark_rows, summary_rows

if TYPE_CHECKING:
    from alphaloom.study import StudyResult

__all__ = [
    "benchmark_table",
    "fold_table",
    "framed",
    "heading",
    "line_of",
    "month_table",
    "number_cell",
    "regime_table",
    "sentence",
    "typeset",
]

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MINUS: Final = re.compile(r"(?<![\w.])-(?=\d)")
WITHIN: Final = re.compile(r"(?<=\d), (?=[\u2212\d.]+\])")
UNIT: Final = re.compile(r"(?<=\d) %")
REGIME_FORMS: Final = {
    "days": "count",
    "return": "percent",
    "volatility": "percent",
    "sharpe": "ratio",
    "max_drawdown": "percent",
    "rank_ic": "correlation",
}


def typeset(text: str) -> str:
    """Text for HTML: escaped, with true minus signs, and with units and intervals kept on one line."""
    signed = WITHIN.sub(",\u00a0", MINUS.sub("\u2212", text))
    return escape(UNIT.sub("\u00a0%", signed))


def sentence(text: str) -> str:
    """The sentence that stands in place of an empty table or figure."""
    return f'<p class="absent">{escape(text)}</p>'


def month_table(result: StudyResult) -> tuple[str, str]:
    """Returns by month and year as coloured cells: the title and the table."""
    returns = column(result.daily, "returns")
    times = times_of(result.daily)
    if returns is None or times.size < 2:
        return "Monthly returns", sentence("The study has fewer than two bars, so there are no monthly returns.")
    # The first row is the first decision, before any return: it opens no month of its own.
    months = months_of(times[1:], returns[1:])
    known = months.table[np.isfinite(months.table)]
    best = float(known.max())
    title = (
        f"{int((known > 0).sum())} of {known.size} months gained; "
        f"the best {number_text(best, 'percent')}, the worst {number_text(float(known.min()), 'percent')}"
    )
    scale = max(0.02, float(np.quantile(np.abs(known), 0.95)))
    wide = max(0.05, float(np.quantile(np.abs(months.totals), 0.95)))
    head = line_of([heading("Year"), *(heading(name) for name in MONTHS), heading("Total")])
    body = []
    for year, line, total in zip(months.years, months.table, months.totals, strict=True):
        cells = [f'<th scope="row">{year}</th>', *(_shaded(value, scale) for value in line)]
        body.append("<tr>" + "".join(cells) + _shaded(total, wide, "total") + "</tr>")
    return title, framed("Returns by month and year after costs", head, body, "months")


def regime_table(result: StudyResult) -> str:
    """Performance in each bucket of each regime."""
    if not result.regimes:
        return sentence("The study was not cut into regimes: it was too short, or no regime was asked for.")
    labels = ("Regime", "Bucket", "Bars", "Return a year", "Volatility", "Sharpe", "Drawdown", "Rank IC")
    head = line_of([heading(label, number=k > 1) for k, label in enumerate(labels)])
    body, before = [], None
    for item in result.regimes:
        regime = str(item.get("regime", ""))
        first = regime != before
        shown = escape(spelled(regime)) if first else f'<span class="again">{escape(spelled(regime))}</span>'
        cells = [f'<th scope="row">{shown}</th>', f"<td>{escape(spelled(plain_text(item.get('bucket'))))}</td>"]
        cells += [number_cell(number_text(item.get(name), form)) for name, form in REGIME_FORMS.items()]
        opens = ' class="opens"' if first else ""
        body.append(f"<tr{opens}>{''.join(cells)}</tr>")
        before = regime
    return framed("Performance after costs by regime", head, body, "regimes")


def benchmark_table(result: StudyResult) -> str:
    """The strategy beside its benchmarks, one figure a row."""
    rivals = benchmark_rows(result)
    if not rivals:
        return sentence("The study has no benchmarks, so nothing can be said about beating one.")
    mine = {row.key: row for row in summary_rows(result)}
    theirs = {name: {row.key: row for row in rows} for name, rows in rivals.items()}
    shared = [key for key in mine if any(key in rows for rows in theirs.values())]
    if not shared:
        return sentence("The benchmarks share no figure with the strategy.")
    head = line_of(
        [heading("After costs"), heading("Strategy", True), *(heading(spelled(name), True) for name in theirs)]
    )
    body = []
    for key in shared:
        cells = [f'<th scope="row">{escape(mine[key].label)}</th>', number_cell(mine[key].text, "own")]
        cells += [number_cell(rows[key].text if key in rows else MISSING) for rows in theirs.values()]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return framed("The strategy and its benchmarks", head, body, "rivals")


def fold_table(result: StudyResult) -> str:
    """What each fold of the walk-forward plan trained and tested on."""
    if not result.folds:
        return sentence("The study has no folds: a policy without training runs once over the whole span.")
    names = list(dict.fromkeys(name for fold in result.folds for name in fold))
    head = line_of(
        [heading(spelled(name).replace("rank ic", "rank IC"), number=_numeric(result, name)) for name in names]
    )
    body = [f"<tr>{''.join(_cell(fold.get(name), name) for name in names)}</tr>" for fold in result.folds]
    return framed("Folds of the walk-forward plan", head, body, "folds")


def framed(caption: str, head: str, body: Sequence[str], kind: str) -> str:
    """A table that scrolls in its own box; the caption is for readers of the screen aloud."""
    # The box takes the focus, so that a keyboard can scroll a table that is wider than the screen.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="{kind}">'
        f'<caption class="hidden">{escape(caption)}</caption>'
        f"<thead>{head}</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def line_of(cells: Sequence[str]) -> str:
    """Cells as one row."""
    return f"<tr>{''.join(cells)}</tr>"


def heading(text: str, number: bool = False) -> str:
    """The head of a column."""
    kind = ' class="number"' if number else ""
    return f'<th scope="col"{kind}>{escape(text)}</th>'


def number_cell(text: str, kind: str = "") -> str:
    """A cell of figures."""
    return f'<td class="{f"number {kind}".strip()}">{typeset(text)}</td>'


def _numeric(result: StudyResult, name: str) -> bool:
    return any(number_of(fold.get(name)) is not None for fold in result.folds)


def _cell(value: Any, name: str) -> str:
    if name in ("return", "rank_ic", "sharpe"):
        return number_cell(number_text(value, REGIME_FORMS[name]))
    return number_cell(plain_text(value)) if number_of(value) is not None else f"<td>{escape(plain_text(value))}</td>"


def _shaded(value: float, scale: float, kind: str = "") -> str:
    number = number_of(float(value))
    if number is None:
        return f'<td class="number blank {kind}"></td>'
    strength = min(1.0, abs(number) / scale) * 0.5
    side = "up" if number >= 0 else "down"
    text = number_text(100 * number, "tenth")
    return f'<td class="number shade-{side} {kind}" style="--a:{strength:.2f}">{typeset(text)}</td>'
