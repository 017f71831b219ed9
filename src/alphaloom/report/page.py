"""The page: one HTML file that asks nothing of the network, with the same bytes for the same result."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alphaloom.errors import AlphaloomError
from alphaloom.report.figures import Figure, money_figures
from alphaloom.report.figures_signal import signal_figures
from alphaloom.report.figures_trading import trading_figures
from alphaloom.report.findings import verdict
from alphaloom.report.reading import facts, spelled
from alphaloom.report.rows import Row, key_rows, summary_rows
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

# The browser itself refuses every request that the page could make.
POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
CAUTION: Final = (
    "These are results of a simulation on past data. They describe what the rules would have done under the stated "
    "fills and costs, not what they will do."
)


def write_report(result: StudyResult, path: str | Path) -> Path:
    """Write the report of a study as one self-contained HTML file and return its path.

    The file is written beside its place and then renamed, so that a half-written report never stands there.
    Raises: AlphaloomError when the place is a directory, when its folder is missing, or when it cannot be written.
    """
    place = Path(path)
    if place.is_dir():
        raise AlphaloomError(
            "a report is written to a file",
            found="a directory",
            where=str(place),
            fix=f"for example {place / 'report.html'}",
        )
    if not place.parent.is_dir():
        raise AlphaloomError(
            "a report is written into a folder that exists",
            where=str(place),
            found="no such folder",
            fix=f"create {place.parent}",
        )
    text = page_text(result)
    beside = place.with_name(f".{place.name}.partial")
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(place)
    except OSError as fault:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise AlphaloomError(
            "the report could not be written",
            found=fault.strerror or str(fault),
            where=str(place),
            fix="check space and rights",
        ) from fault
    return place


def page_text(result: StudyResult) -> str:
    """The whole report as HTML text."""
    from plotly.offline import get_plotlyjs

    title = escape(spelled(result.name))
    money, trading, signal = money_figures(result), trading_figures(result), signal_figures(result)
    style, script = (
        files("alphaloom.report").joinpath("assets", name).read_text("utf-8") for name in ("report.css", "report.js")
    )
    sections = [
        _notes(result),
        _figures_of_interest(result),
        _section("performance", "Performance", _grid(money) + _months(result)),
        _section("signal", "Signal", _grid(signal)),
        _section("trading", "Trading and exposure", _grid(trading)),
        _section("benchmarks", "Benchmarks", benchmark_table(result)),
        _section("regimes", "Regimes", regime_table(result)),
        _section("folds", "Folds", _folds(result)),
        _provenance(result),
    ]
    footer = f"<footer><p>{escape(CAUTION)}</p><p>Made by alphaloom. The file holds everything it shows.</p></footer>"
    data = f'<script type="application/json" id="figures">{packed([*money, *signal, *trading])}</script>'
    scripts = f"<script>{_inline(get_plotlyjs())}</script>\n<script>\n{_inline(script)}</script>"
    body = [_head(result, title), "<main>", *sections, "</main>", footer, data, scripts]
    return "\n".join([*_preamble(title, style), "<body>", *body, "</body>", "</html>", ""])


def _preamble(title: str, style: str) -> list[str]:
    return [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{title} · alphaloom report</title>",
        f"<style>\n{style}</style>",
        "</head>",
    ]


def packed(figures: Sequence[Figure]) -> str:
    """The figures as JSON; a time axis that several curves share is written once and referred to by number."""
    axes: dict[tuple[Any, ...], int] = {}
    specs = []
    for figure in figures:
        traces = []
        for trace in figure.traces:
            shared = tuple(trace["x"])
            place = axes.setdefault(shared, len(axes))
            traces.append(trace | {"x": {"axis": place}})
        if traces:
            specs.append({"key": figure.key, "traces": traces, "layout": figure.layout})
    text = json.dumps(
        {"axes": list(axes), "figures": specs}, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )
    # Inside a script element only these could end it or open a comment.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _inline(script: str) -> str:
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _head(result: StudyResult, title: str) -> str:
    stated = "".join(_fact(label, text) for label, text in facts(result))
    return (
        '<header><div class="bar"><p class="kicker">Walk-forward study</p>'
        '<button type="button" id="theme" aria-pressed="false">Dark</button></div>'
        f"<h1>{title}</h1>"
        f'<p class="verdict" id="verdict">{typeset(verdict(result))}</p>'
        f'<dl class="facts">{stated}</dl></header>'
    )


def _fact(label: str, text: str) -> str:
    # Dates break at their hyphens unless the hyphens forbid it.
    value = escape(text).replace("-", "\u2011") if label == "Test span" else escape(text)
    return f'<div class="{label.lower().replace(" ", "-")}"><dt>{escape(label)}</dt><dd>{value}</dd></div>'


def _notes(result: StudyResult) -> str:
    if result.notes:
        many = ' class="many"' if len(result.notes) > 6 else ""
        listed = f"<ul{many}>{''.join(f'<li>{_note(note)}</li>' for note in result.notes)}</ul>"
    else:
        listed = sentence("The study recorded no note about its data, its fills or its models.")
    title = '<h2 id="notes-title">Read this first</h2>'
    return f'<section id="notes" class="notes" aria-labelledby="notes-title">{title}{listed}</section>'


def _note(note: str) -> str:
    subject, colon, rest = note.partition(": ")
    return f"<strong>{escape(subject)}:</strong> {escape(rest)}" if colon and len(subject) < 40 else escape(note)


def _figures_of_interest(result: StudyResult) -> str:
    rows = summary_rows(result)
    if not rows:
        return _section("figures-table", "Key figures", sentence("The study computed no key figures."))
    cards = "".join(_card(row) for row in key_rows(result))
    groups = []
    ranges = any(row.interval for row in rows)
    about = '<p class="quiet">Brackets hold 95 % intervals from a block bootstrap.</p>' if ranges else ""
    for group, members in groupby(rows, key=lambda row: row.group):
        lines = "".join(_figure_line(row) for row in members)
        groups.append(f'<div class="group"><h3>{escape(group)}</h3><table><tbody>{lines}</tbody></table></div>')
    return _section(
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


def _grid(figures: Iterable[Figure]) -> str:
    return f'<div class="grid">{"".join(_figure(figure) for figure in figures)}</div>'


def _figure(figure: Figure) -> str:
    kind = "wide" if figure.wide else "half"
    if not figure.traces:
        head = f"<h3>{escape(figure.kicker)}</h3>"
        return f'<figure class="{kind} empty" id="figure-{figure.key}">{head}{sentence(figure.title)}</figure>'
    switch = ""
    if figure.log:
        switch = f'<button type="button" class="log" data-plot="{figure.key}" aria-pressed="false">Log axis</button>'
    label = escape(f"{figure.kicker}: {figure.title}")
    height = f'data-height="{figure.height}" style="height:{figure.height}px"'
    return (
        f'<figure class="{kind}" id="figure-{figure.key}">'
        f'<div class="bar"><p class="kicker">{escape(figure.kicker)}</p>{switch}</div>'
        f"<h3>{typeset(figure.title)}</h3>"
        f'<div class="plot" id="plot-{figure.key}" role="img" aria-label="{label}" {height}></div>'
        f"<figcaption>{typeset(figure.caption)}</figcaption></figure>"
    )


def _months(result: StudyResult) -> str:
    title, table = month_table(result)
    return (
        f'<div class="block" id="months"><p class="kicker">Monthly returns, %</p><h3>{typeset(title)}</h3>{table}</div>'
    )


def _section(key: str, title: str, body: str) -> str:
    return (
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{escape(title)}</h2>{body}</section>'
    )


def _folds(result: StudyResult) -> str:
    count = len(result.folds)
    table = fold_table(result)
    return _folded(f"{count} fold{'s' if count != 1 else ''}", table) if count else table


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def _provenance(result: StudyResult) -> str:
    parts = []
    for label, tree in (("Configuration", result.config), ("Versions, seeds and data", result.provenance)):
        text = toml_text(tree) if tree else ""
        body = f'<pre tabindex="0" role="region" aria-label="{label}"><code>{escape(text)}</code></pre>'
        parts.append(_folded(label, body) if text else sentence(f"{label}: nothing was recorded."))
    return _section("provenance", "Provenance", "".join(parts))
