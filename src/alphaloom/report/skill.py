"""The section on skill: a policy beside portfolios that cannot have any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from alphaloom.report.figures import Figure, dotted_box, rounded
from alphaloom.report.formats import interval_text, number_text
from alphaloom.report.shell import figure_grid, folded, section
from alphaloom.report.tables import framed, heading, line_of, number_cell, typeset
from alphaloom.study.skill import load_skill

if TYPE_CHECKING:
    from alphaloom.study import StudyResult
    from alphaloom.study.skill import Skill

__all__ = ["skill_of", "skill_section"]

ABOUT: Final = (
    "A policy that holds a rising market earns the market. These portfolios trade the same assets over the same bars "
    "with the same costs and fills and cannot know anything: constant weights by lot, a side for each asset by the "
    "toss of a coin, and the policy's own average weights held constant. Only what lies beyond them can be skill."
)
COLUMNS: Final = (
    ("sharpe", "Sharpe", "ratio"),
    ("high", "95 % of them below", "ratio"),
    ("cagr", "Return a year", "percent"),
    ("volatility", "Volatility", "percent"),
    ("max_drawdown", "Drawdown", "percent"),
    ("turnover", "Turnover a year", "ratio"),
    ("cost", "Costs over capital", "percent"),
)
FILLS: Final = {"same_close": "the same close", "next_open": "the next open", "next_close": "the next close"}


def skill_of(result: StudyResult) -> Skill | None:
    """The test for skill that stands beside a run; None where none was made."""
    return None if result.directory is None else load_skill(result.directory)


def skill_section(skill: Skill | None) -> tuple[list[str], list[Figure]]:
    """The section as HTML and its figure; nothing where no test was made."""
    if skill is None:
        return [], []
    figure = _figure(skill)
    about = f'<p class="quiet">{escape(ABOUT)}</p>'
    parts = [f'<p class="verdict">{typeset(skill.sentence)}</p>', about, _checks(skill), figure_grid([figure])]
    beside = _lines("The policy and its controls", [_own(skill), *skill.lines], "Portfolio")
    parts.append(f'<div class="block"><h3>Means of each group</h3>{beside}</div>')
    if skill.grid:
        parts.append(_grid(skill))
    parts.append(folded(f"{len(skill.runs)} seeds", _lines("The policy's runs", skill.runs, "Seed")))
    parts += [f'<p class="quiet">{typeset(note)}</p>' for note in skill.notes]
    return [section("skill", "Skill or exposure", "".join(parts))], [figure]


def _own(skill: Skill) -> dict[str, Any]:
    """The means of the policy over its seeds, as a line like those of the controls."""
    found: dict[str, Any] = {}
    for key, _, _ in COLUMNS:
        known = [run[key] for run in skill.runs if run.get(key) is not None]
        found[key] = sum(known) / len(known) if known else None
    return {**found, "name": "the policy, mean over seeds"}


def _checks(skill: Skill) -> str:
    spread = skill.spread
    rows = [
        ("Mean Sharpe ratio", number_text(spread["mean"], "ratio")),
        ("95 % interval", interval_text(spread["low"], spread["high"], "ratio")),
        ("Deviation over seeds", number_text(spread["deviation"], "ratio")),
        ("Interquartile mean", number_text(spread["interquartile_mean"], "ratio")),
        (f"Deflated Sharpe ratio, {spread['trials']} trials", number_text(spread["deflated"], "probability")),
    ]
    for check in skill.checks:
        word = "holds" if check["holds"] else "does not hold"
        found, needed = (number_text(check[key], "ratio") for key in ("found", "needed"))
        rows.append((check["rule"][:1].upper() + check["rule"][1:], f"{word}: {found} against {needed}"))
    body = [line_of([f'<th scope="row">{escape(label)}</th>', number_cell(text)]) for label, text in rows]
    return framed("What decides", line_of([heading("Rule"), heading("Found", True)]), body, "folds")


def _lines(caption: str, lines: Sequence[Mapping[str, Any]], first: str) -> str:
    columns = [column for column in COLUMNS if any(line.get(column[0]) is not None for line in lines)]
    head = line_of([heading(first), *(heading(label, True) for _, label, _ in columns)])
    body = []
    for line in lines:
        count = line.get("count", 1)
        name = f"{line['name']} ({count})" if isinstance(count, int) and count > 1 else str(line["name"])
        cells = [number_cell(number_text(line.get(key), form)) for key, _, form in columns]
        body.append(line_of([f'<th scope="row">{escape(name)}</th>', *cells]))
    return framed(caption, head, body, "folds")


def _grid(skill: Skill) -> str:
    head = line_of(
        [heading("Filled at"), *(heading(text, True) for text in ("Commission a side", "Sharpe", "Return a year"))]
    )
    body, before = [], None
    for row in skill.grid:
        again = ' class="again"' if row["fill"] == before else ""
        opens = "" if row["fill"] == before else ' class="opens"'
        cells = [f'<th scope="row"><span{again}>{escape(FILLS[row["fill"]])}</span></th>']
        cells += [number_cell(number_text(row["commission"], "basis"))]
        cells += [number_cell(number_text(row[key], form)) for key, form in (("sharpe", "ratio"), ("cagr", "percent"))]
        body.append(f"<tr{opens}>{''.join(cells)}</tr>")
        before = row["fill"]
    table = framed("Other costs and fills than those that were learned with", head, body, "regimes")
    return f'<div class="block"><h3>The same policies at other costs and fills</h3>{table}</div>'


def _figure(skill: Skill) -> Figure:
    """Where the policy's seeds lie among the portfolios by lot."""
    traces: list[dict[str, Any]] = []
    drawn = [line for line in skill.lines if len(line.get("ratios", ())) > 1]
    lots = [line for line in drawn if line["name"].startswith("random")]
    for line in lots:
        traces.append(dotted_box(line["ratios"], line["name"], name=line["name"], listed=False))
    dots = [("the policy, each seed", [run["sharpe"] for run in skill.runs], "$strategy", "diamond")]
    for line in skill.lines[:2]:
        if not line["name"].startswith("random"):
            dots.append((line["name"], line.get("ratios", [line["sharpe"]]), "$rival1", "x"))
    for name, values, colour, symbol in dots:
        known = [value for value in values if value is not None]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": rounded(known),
                "y": [name] * len(known),
                "marker": {"size": 10, "color": colour, "symbol": symbol},
                "hovertemplate": "%{y}: %{x:.2f}<extra></extra>",
                "showlegend": False,
            }
        )
    layout = {
        "xaxis": {"type": "linear", "title": {"text": "Sharpe ratio a year after costs"}, "tickformat": ".1f"},
        "yaxis": {"type": "category", "autorange": "reversed", "tickfont": {"size": 12}, "automargin": True},
        "hovermode": "closest",
    }
    title = "The policy beats its controls" if skill.beats else "The policy does not stand out from its controls"
    return Figure("skill", "Among portfolios without skill", title, traces, layout, "", height=360, wide=True)
