"""One factor at a time: its formula, its numbers, and four small figures."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from alphaloom.report.factor_rows import COLUMNS, cell, flags, interval, value
from alphaloom.report.figures import Figure, Pen, absent, line, rounded
from alphaloom.report.formats import number_text
from alphaloom.report.reading import times_of
from alphaloom.report.shell import figure_grid
from alphaloom.report.tables import typeset

if TYPE_CHECKING:
    from alphaloom.study import FactorAnalysis

__all__ = ["badges", "detail_figures", "factor_detail"]

HEIGHT: Final = 230
POINTS: Final = 700


def badges(analysis: FactorAnalysis, row: int) -> str:
    """The flags of a factor as small labels."""
    return "".join(
        f'<span class="flag {kind}" title="{escape(about)}">{escape(word)}</span>'
        for kind, word, about in flags(analysis, row)
    )


def factor_detail(analysis: FactorAnalysis, row: int, figures: list[Figure]) -> str:
    """The part of the page about one factor."""
    table = analysis.table
    name, family, source = (str(table[key][row]) for key in ("name", "family", "source"))
    origin = " · ".join(part for part in (family, source) if part)
    told = [
        f"<div><dt>{escape(column.label)}</dt><dd>{typeset(cell(analysis, column, row))}</dd></div>"
        for column in COLUMNS
        if column.key not in ("first_half", "second_half", "cluster")
    ]
    halves = " and ".join(
        number_text(value(analysis, half, row), "correlation") for half in ("first_half", "second_half")
    )
    about = f"95 % interval of the mean rank IC {interval(analysis, row) or 'not known'}; by halves {halves}."
    return (
        f'<article class="factor" id="factor-{row}"><h3>{escape(name)} {badges(analysis, row)}</h3>'
        f'<p class="quiet">{escape(origin)}</p><p class="formula"><code>{escape(str(table["formula"][row]))}</code></p>'
        f'<dl class="numbers">{"".join(told)}</dl><p class="quiet">{typeset(about)}</p>{figure_grid(figures)}</article>'
    )


def detail_figures(analysis: FactorAnalysis, row: int) -> list[Figure]:
    """Cumulative rank IC, decay, returns by fifth, rank IC by year."""
    return [_sum(analysis, row), _decay(analysis, row), _fifths(analysis, row), _by_year(analysis, row)]


def _sum(analysis: FactorAnalysis, row: int) -> Figure:
    key, kicker = f"sum-{row}", "Cumulative rank IC"
    daily = np.asarray(analysis.rank_ic[:, row], dtype=np.float64)
    if not np.isfinite(daily).any():
        return absent(key, kicker, "This factor has no date with enough assets.")
    times, total = times_of({"time": analysis.times}), np.cumsum(np.nan_to_num(daily))
    rows = np.unique(np.append(np.arange(0, len(times), max(1, len(times) // POINTS)), len(times) - 1))
    trace = line(times[rows], total[rows], "sum of rank IC", Pen("$strategy", ".1f", 1.8))
    positive = 100 * np.mean(daily[np.isfinite(daily)] > 0)
    title = f"It reached {total[-1]:.1f}; {positive:.0f} % of dates were positive"
    layout = {"yaxis": {"tickformat": "~g", "zeroline": True}, "showlegend": False}
    return Figure(key, kicker, title, [trace], layout, height=HEIGHT)


def _decay(analysis: FactorAnalysis, row: int) -> Figure:
    key, kicker = f"decay-{row}", "Decay"
    mean, error = analysis.decay["rank_ic"][row], analysis.decay["rank_ic_se"][row]
    known = np.isfinite(mean)
    if not known.any():
        return absent(key, kicker, "The rank IC is not known at any horizon.")
    x = [f"{horizon}" for horizon in analysis.horizons]
    trace = {
        "type": "bar",
        "name": "mean rank IC",
        "x": x,
        "y": rounded(mean),
        "marker": {"color": "$faint"},
        "error_y": {"type": "data", "array": rounded(2 * error), "color": "$strategy", "thickness": 1.2, "width": 3},
        "hovertemplate": "%{y:.3f} ± %{error_y.array:.3f}<extra></extra>",
    }
    best = int(np.argmax(np.where(known, np.abs(mean), -1.0)))
    bars = f"{x[best]} bar{'s' if x[best] != '1' else ''}"
    title = f"It is strongest over {bars} ({number_text(mean[best], 'correlation')})"
    layout = {
        "yaxis": {"tickformat": ".3f", "zeroline": True},
        "xaxis": {"type": "category", "title": {"text": "horizon, bars"}},
        "bargap": 0.45,
        "showlegend": False,
        "hovermode": "closest",
    }
    return Figure(key, kicker, title, [trace], layout, "Whiskers: two Newey-West errors either way.", height=HEIGHT)


def _fifths(analysis: FactorAnalysis, row: int) -> Figure:
    key, kicker = f"fifths-{row}", "Return by fifth"
    means = 1e4 * analysis.quantiles[row, 0]
    if not np.isfinite(means).any():
        return absent(key, kicker, "No date had enough assets to form fifths.")
    Q, horizon = len(means), analysis.horizons[0]
    trace: dict[str, Any] = {
        "type": "bar",
        "name": "mean return",
        "x": [str(k + 1) for k in range(Q)],
        "y": rounded(means),
        "marker": {"color": [f"$quintile{1 + round(4 * k / (Q - 1))}" for k in range(Q)]},
        "text": [f"{mean:.1f}" if np.isfinite(mean) else "" for mean in means],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y:.1f} bp<extra></extra>",
    }
    spread, strength = value(analysis, "spread", row), value(analysis, "spread_t", row)
    title = f"Highest less lowest {number_text(spread, 'basis')}, t = {number_text(strength, 'ratio')}"
    layout = {
        "yaxis": {"title": {"text": "bp"}, "tickformat": "~g", "zeroline": True},
        "xaxis": {"type": "category", "tickangle": 0, "title": {"text": "fifth by score, 5 highest"}},
        "bargap": 0.35,
        "showlegend": False,
        "hovermode": "closest",
    }
    caption = f"Mean return over {horizon} bar{'s' if horizon != 1 else ''} after the fill, before costs."
    return Figure(key, kicker, title, [trace], layout, caption, height=HEIGHT)


def _by_year(analysis: FactorAnalysis, row: int) -> Figure:
    key, kicker = f"year-{row}", "Rank IC by year"
    means = analysis.yearly[row]
    known = np.isfinite(means)
    if not known.any():
        return absent(key, kicker, "No year had enough dates.")
    trace = {
        "type": "bar",
        "name": "mean rank IC",
        "x": [str(year) for year in analysis.years],
        "y": rounded(means),
        "marker": {"color": ["$down" if mean < 0 else "$strategy" for mean in np.nan_to_num(means)]},
        "hovertemplate": "%{x}: %{y:.3f}<extra></extra>",
    }
    sign = np.sign(np.nan_to_num(value(analysis, "rank_ic", row) or 0.0))
    agree = int((np.sign(means[known]) == sign).sum())
    title = f"{agree} of {int(known.sum())} years have the sign of the whole"
    layout = {
        "yaxis": {"tickformat": ".3f", "zeroline": True},
        "xaxis": {"type": "category", "nticks": 5, "tickangle": 0},
        "bargap": 0.3,
        "showlegend": False,
        "hovermode": "closest",
    }
    return Figure(key, kicker, title, [trace], layout, height=HEIGHT)
