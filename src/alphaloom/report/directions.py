"""The section on sides: how often longs and shorts were right, by horizon and by what the market was like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from alphaloom.report.formats import interval_text, number_of, number_text
from alphaloom.report.reading import spelled
from alphaloom.report.shell import folded, section
from alphaloom.report.tables import framed, heading, line_of, number_cell

if TYPE_CHECKING:
    from alphaloom.study import StudyResult

__all__ = ["direction_section"]

ABOUT: Final = (
    "A hit is a move on the side that the signal took, over so many bars after the next fill. Interval and p count "
    "every h-th bar alone, because outcomes over h bars overlap; they still take the assets of a bar as independent, "
    "so p is too small. t is one observation a bar: the hit rate less the share of all assets that moved that way."
)
COLUMNS: Final = (
    ("views", "Views", "count"),
    ("hit_rate", "Hit rate", "percent"),
    ("tries", "Tries on every h-th bar", "count"),
    ("interval", "95 % interval", ""),
    ("p_half", "p against 50 %", "probability"),
    ("base_rate", "Base rate", "percent"),
    ("p_base", "p against base", "probability"),
    ("t", "t over bars", "ratio"),
)
ORDER: Final = ("long", "short", "both")


def direction_section(result: StudyResult) -> list[str]:
    """The section as HTML, nothing for a signal without two sides."""
    if not result.directions:
        return []
    sides = sorted((row for row in result.directions if "regime" not in row), key=_side)
    by_regime = [row for row in result.directions if "regime" in row]
    quarters = [row for row in by_regime if row["regime"] == "quarter"]
    others = [row for row in by_regime if row["regime"] != "quarter"]
    about = f'<p class="quiet">{escape(ABOUT)}</p>'
    keys, labels = ("regime", "bucket", "side"), ("Regime", "Bucket", "Side")
    parts = [about, _table("Hit rates by side and horizon", sides, ("side", "horizon"), ("Side", "Bars ahead"))]
    if others:
        parts.append(_table("Hit rates by regime and side", others, keys, labels))
    if quarters:
        parts.append(folded("Calendar quarters", _table("Hit rates by quarter and side", quarters, keys, labels)))
    return [section("directions", "Directions", "".join(parts))]


def _side(row: Mapping[str, Any]) -> int:
    return ORDER.index(row["side"])


def _table(caption: str, rows: Sequence[Mapping[str, Any]], keys: tuple[str, ...], labels: tuple[str, ...]) -> str:
    head = line_of([*(heading(label) for label in labels), *(heading(label, True) for _, label, _ in COLUMNS)])
    body, before = [], None
    for row in rows:
        first = str(row[keys[0]])
        again = ' class="again"' if first == before else ""
        cells = [f'<th scope="row"><span{again}>{escape(spelled(first))}</span></th>']
        cells += [f"<td>{escape(str(row[key]))}</td>" for key in keys[1:]]
        cells += [number_cell(_text(row, name, form)) for name, _, form in COLUMNS]
        opens = ' class="opens"' if first != before else ""
        body.append(f"<tr{opens}>{''.join(cells)}</tr>")
        before = first
    return framed(caption, head, body, "regimes")


def _text(row: Mapping[str, Any], name: str, form: str) -> str:
    if name == "interval":
        return interval_text(row.get("low"), row.get("high"), "percent")
    value = number_of(row.get(name))
    return "< 0.001" if form == "probability" and value is not None and value < 0.001 else number_text(value, form)
