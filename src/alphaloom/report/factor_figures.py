"""The figures about a whole set of factors: luck, turnover, kinship, years, coverage."""

from __future__ import annotations

from html import escape
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from alphaloom.report.figures import Figure, Pen, absent, line, rounded
from alphaloom.report.formats import number_text
from alphaloom.report.reading import times_of

if TYPE_CHECKING:
    from alphaloom.study import FactorAnalysis

__all__ = ["overview_figures"]

MOST_RELATED: Final = 150
MOST_YEARLY: Final = 40
DIVERGING: Final = [[0.0, "$down"], [0.5, "$sheet"], [1.0, "$up"]]
_NORMAL: Final = NormalDist()


def overview_figures(analysis: FactorAnalysis) -> list[Figure]:
    """Luck, coefficient against turnover, kinship, years and coverage of a set of factors."""
    return [_luck(analysis), _trade_off(analysis), _kinship(analysis), _years(analysis), _coverage(analysis)]


def _names(analysis: FactorAnalysis, rows: NDArray[Any]) -> list[str]:
    # Plotly reads markup in every label.
    return [escape(str(analysis.table["name"][row]), quote=False) for row in rows]


def _luck(analysis: FactorAnalysis) -> Figure:
    key, kicker = "luck", "Against luck"
    t = np.abs(np.asarray(analysis.table["rank_ic_t"], dtype=np.float64))
    rows = analysis.ranking[: int(np.isfinite(t).sum())]
    if rows.size < 2:
        return absent(key, kicker, "A single factor has no others to be compared with by luck.")
    F, facts = len(analysis), analysis.facts
    place = np.arange(1, rows.size + 1)
    noise = [_NORMAL.inv_cdf(1.0 - (k - 0.5) / F / 2.0) for k in place]
    stands = np.asarray(analysis.table["stands_bh"], dtype=bool)[rows]
    x = place.tolist()
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "factors, strongest first",
            "x": x,
            "y": rounded(t[rows]),
            "text": _names(analysis, rows),
            "marker": {"size": 7, "color": ["$strategy" if good else "$muted" for good in stands]},
            "hovertemplate": "%{text}: %{y:.2f}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "if all were worthless",
            "x": x,
            "y": rounded(noise),
            "line": {"color": "$down", "width": 1.6},
            "hovertemplate": "noise: %{y:.2f}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Bonferroni",
            "x": x,
            "y": [round(facts["bonferroni_t"], 4)] * rows.size,
            "line": {"color": "$muted", "width": 1.2, "dash": "dot"},
            "hoverinfo": "skip",
        },
    ]
    above = int((t[rows] > np.array(noise)).sum())
    title = f"{above} of {rows.size} factors lie above what noise would show at their place"
    layout = {
        "yaxis": {"title": {"text": "|t| of mean rank IC"}, "tickformat": "~g", "rangemode": "tozero"},
        "xaxis": {"type": "linear", "title": {"text": "place by |t|"}, "nticks": 8},
        "hovermode": "closest",
    }
    caption = "Blue factors stand after Benjamini-Hochberg. The noise curve takes the factors to be unrelated."
    return Figure(key, kicker, title, traces, layout, caption, height=340)


def _trade_off(analysis: FactorAnalysis) -> Figure:
    key, kicker = "trade-off", "Rank IC and turnover"
    mean = np.asarray(analysis.table["rank_ic"], dtype=np.float64)
    turnover = np.asarray(analysis.table["turnover"], dtype=np.float64)
    stands = np.asarray(analysis.table["stands_bh"], dtype=bool)
    known = np.isfinite(mean) & np.isfinite(turnover)
    if not known.any():
        return absent(key, kicker, "No factor has both a rank IC and a turnover.")
    traces = []
    for good, name, color in ((False, "does not stand", "$muted"), (True, "stands (Benjamini-Hochberg)", "$strategy")):
        rows = np.flatnonzero(known & (stands == good))
        if rows.size:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": rounded(turnover[rows]),
                    "y": rounded(mean[rows]),
                    "text": _names(analysis, rows),
                    "marker": {"size": 8, "color": color, "opacity": 0.8},
                    "hovertemplate": "%{text}: rank IC %{y:.3f}, turnover %{x:.1%}<extra></extra>",
                }
            )
    strong = known & stands
    slow = int((strong & (turnover < 0.2)).sum())
    title = f"{slow} of {int(strong.sum())} factors that stand exchange less than a fifth of their outer fifths a bar"
    layout = {
        "yaxis": {"title": {"text": "mean rank IC"}, "tickformat": ".3f", "zeroline": True},
        "xaxis": {
            "type": "linear",
            "title": {"text": "turnover of the outer fifths, a bar"},
            "tickformat": ".0%",
            "rangemode": "tozero",
        },
        "hovermode": "closest",
    }
    caption = "What turns over fast pays costs that no figure on this page holds."
    return Figure(key, kicker, title, traces, layout, caption, height=340)


def _kinship(analysis: FactorAnalysis) -> Figure:
    key, kicker = "kinship", "Related factors"
    rows, F = np.asarray(analysis.order), len(analysis)
    if F < 2:
        return absent(key, kicker, "A single factor has no relatives.")
    shown = F <= MOST_RELATED
    if not shown:
        strongest = np.zeros(F, dtype=bool)
        strongest[analysis.ranking[:MOST_RELATED]] = True
        rows = rows[strongest[rows]]
    # A factor and its mirror image are one idea: each is read in the direction in which it foretold returns.
    way = np.where(np.asarray(analysis.table["rank_ic"], dtype=np.float64)[rows] < 0, -1.0, 1.0)
    rho = analysis.correlation[np.ix_(rows, rows)] * way[:, None] * way[None, :]
    names = _names(analysis, rows)
    off = np.abs(rho[~np.eye(rows.size, dtype=bool)])
    trace = {
        "type": "heatmap",
        "name": "rank correlation",
        "x": names,
        "y": names,
        "z": [[None if not np.isfinite(cell) else round(float(cell), 2) for cell in line_] for line_ in rho],
        "zmin": -1,
        "zmax": 1,
        "colorscale": DIVERGING,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ".1f"},
        "hovertemplate": "%{y} and %{x}: %{z:.2f}<extra></extra>",
    }
    labelled = rows.size <= 60
    axis = {"type": "category", "showticklabels": labelled, "ticks": "", "showgrid": False, "tickfont": {"size": 9}}
    layout = {
        "xaxis": {**axis, "showticklabels": False, "showline": False},
        "yaxis": {**axis, "autorange": "reversed", "nticks": rows.size},
        "hovermode": "closest",
    }
    mean = number_text(float(np.nanmean(off)) if np.isfinite(off).any() else None, "ratio")
    title = f"{F} factors form {analysis.facts['clusters']} clusters; the mean size of their correlations is {mean}"
    part = "" if shown else f" Only the {MOST_RELATED} strongest factors are drawn."
    dates = analysis.facts["sampled_dates"]
    caption = (
        f"Mean rank correlation on {dates} dates, each factor read in the direction of its rank IC; alike ones stand "
        f"side by side.{part}"
    )
    return Figure(key, kicker, title, [trace], layout, caption, height=min(820, 200 + 12 * rows.size), wide=True)


def _years(analysis: FactorAnalysis) -> Figure:
    key, kicker = "years", "Rank IC by year"
    rows = analysis.ranking[:MOST_YEARLY]
    table = analysis.yearly[rows]
    known = np.isfinite(table)
    if analysis.years.size < 2 or not known.any():
        return absent(key, kicker, "The span holds fewer than two years with enough dates.")
    bound = max(0.005, float(np.quantile(np.abs(table[known]), 0.97)))
    trace = {
        "type": "heatmap",
        "name": "mean rank IC",
        "x": [str(year) for year in analysis.years],
        "y": _names(analysis, rows),
        "z": [rounded(line_) for line_ in np.round(table, 4)],
        "zmin": -bound,
        "zmax": bound,
        "colorscale": DIVERGING,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ".2f"},
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{y}, %{x}: %{z:.3f}<extra></extra>",
    }
    layout = {
        "xaxis": {"type": "category", "ticks": "", "showline": False},
        "yaxis": {
            "type": "category",
            "autorange": "reversed",
            "ticks": "",
            "showgrid": False,
            "tickfont": {"size": 10},
            "nticks": rows.size,
        },
        "hovermode": "closest",
    }
    with np.errstate(invalid="ignore"):
        same = np.sign(table) == np.sign(np.asarray(analysis.table["rank_ic"], dtype=np.float64)[rows])[:, None]
    steady = int((same | ~known).all(axis=1).sum())
    title = f"{steady} of the {rows.size} strongest factors kept their sign in every year"
    caption = "Mean rank IC over the first horizon, strongest factors first."
    return Figure(key, kicker, title, [trace], layout, caption, height=140 + 17 * rows.size, wide=True)


def _coverage(analysis: FactorAnalysis) -> Figure:
    key, kicker = "coverage", "Coverage"
    share = np.asarray(analysis.coverage, dtype=np.float64)
    dates = np.isfinite(share).all(axis=1)
    if dates.sum() < 2:
        return absent(key, kicker, "There are no two dates with members, so coverage is not known.")
    times, share = times_of({"time": analysis.times})[dates], share[dates]
    rows = np.unique(np.append(np.arange(0, len(times), max(1, len(times) // 700)), len(times) - 1))
    kinds = (("median factor", 0.5, "$strategy", 2.0), ("lowest tenth", 0.1, "$muted", 1.4))
    traces = [
        line(times[rows], np.quantile(share[rows], level, axis=1), name, Pen(color, ".1%", width))
        for name, level, color, width in kinds
    ]
    traces.append(line(times[rows], share[rows].min(axis=1), "lowest", Pen("$down", ".1%", 1.2)))
    sparse = int((np.asarray(analysis.table["missing"], dtype=np.float64) > 0.2).sum())
    title = f"{sparse} of {len(analysis)} factors lack more than a fifth of their values since their first one"
    layout = {"yaxis": {"title": {"text": "share of members"}, "tickformat": ".0%", "rangemode": "tozero"}}
    caption = "Share of the members of each date for which a factor has a value; look-back empties the first bars."
    return Figure(key, kicker, title, traces, layout, caption, height=260, wide=True)
