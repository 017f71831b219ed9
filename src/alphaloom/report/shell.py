"""The shell of a page: head, theme, figures as data, sections; one HTML file that asks nothing of the network."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from alphaloom.errors import AlphaloomError
from alphaloom.report.figures import Figure
from alphaloom.report.tables import sentence, typeset

__all__ = [
    "checked_place",
    "fact",
    "figure_box",
    "figure_grid",
    "folded",
    "masthead",
    "noted",
    "packed",
    "page_of",
    "put_page",
    "section",
]

# The browser itself refuses every request that the page could make.
POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def checked_place(path: str | Path) -> Path:
    """The path of a page that can be written.

    Raises: AlphaloomError when it is a directory or when its folder is missing.
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
    return place


def put_page(text: str, place: Path) -> Path:
    """Write a page beside its place and rename it.   Raises: AlphaloomError when the disk refuses."""
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


def page_of(
    title: str, parts: Sequence[str], *, footer: str, figures: Sequence[Figure], assets: Sequence[str] = ()
) -> str:
    """A whole page: `parts` holds the header and then the sections; `assets` names further styles and scripts.

    `title` is HTML already; `footer` is text.
    """
    from plotly.offline import get_plotlyjs

    style = "".join(_asset(name) for name in ("report.css", *assets) if name.endswith(".css"))
    own = "\n".join(_asset(name) for name in ("report.js", *assets) if name.endswith(".js"))
    closing = f"<footer><p>{escape(footer)}</p><p>Made by alphaloom. The file holds everything it shows.</p></footer>"
    data = f'<script type="application/json" id="figures">{packed(figures)}</script>'
    scripts = f"<script>{_inline(get_plotlyjs())}</script>\n<script>\n{_inline(own)}</script>"
    body = [parts[0], "<main>", *parts[1:], "</main>", closing, data, scripts]
    return "\n".join([*_preamble(title, style), "<body>", *body, "</body>", "</html>", ""])


def _asset(name: str) -> str:
    return files("alphaloom.report").joinpath("assets", name).read_text("utf-8")


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


def masthead(kicker: str, title: str, *, said: str, facts: Sequence[str]) -> str:
    """The top of a page: what it is, its title (HTML already), what was found, and the facts."""
    return (
        f'<header><div class="bar"><p class="kicker">{escape(kicker)}</p>'
        '<button type="button" id="theme" aria-pressed="false">Dark</button></div>'
        f"<h1>{title}</h1>"
        f'<p class="verdict" id="verdict">{typeset(said)}</p>'
        f'<dl class="facts">{"".join(facts)}</dl></header>'
    )


def fact(label: str, text: str, *, whole: bool = False) -> str:
    """One fact of the head; a `whole` one does not break at its hyphens, as dates would."""
    value = escape(text).replace("-", "\u2011") if whole else escape(text)
    return f'<div class="{label.lower().replace(" ", "-")}"><dt>{escape(label)}</dt><dd>{value}</dd></div>'


def noted(notes: Sequence[str], *, without: str) -> str:
    """The box that is to be read first; `without` is said where there is no note."""
    if notes:
        many = ' class="many"' if len(notes) > 6 else ""
        listed = f"<ul{many}>{''.join(f'<li>{_note(note)}</li>' for note in notes)}</ul>"
    else:
        listed = sentence(without)
    title = '<h2 id="notes-title">Read this first</h2>'
    return f'<section id="notes" class="notes" aria-labelledby="notes-title">{title}{listed}</section>'


def _note(note: str) -> str:
    subject, colon, rest = note.partition(": ")
    return f"<strong>{escape(subject)}:</strong> {escape(rest)}" if colon and len(subject) < 40 else escape(note)


def figure_grid(figures: Iterable[Figure]) -> str:
    """Figures side by side where the screen is wide enough."""
    return f'<div class="grid">{"".join(figure_box(figure) for figure in figures)}</div>'


def figure_box(figure: Figure) -> str:
    """One figure with its title and caption, or the sentence that stands in its place."""
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


def section(key: str, title: str, body: str) -> str:
    """A section of the page under its own heading."""
    return (
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{escape(title)}</h2>{body}</section>'
    )


def folded(summary: str, body: str) -> str:
    """A part that opens when its summary is clicked."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"
