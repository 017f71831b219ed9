"""The figures of a search for formulas: its course, its pool, its book, and what luck would have shown."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from alphaloom.report.figures import Figure, Pen, absent, line, rounded
from alphaloom.report.formats import number_of, number_text
from alphaloom.report.mining_rows import pool_rows
from alphaloom.report.reading import growth, times_of

if TYPE_CHECKING:
    from alphaloom.study.mining import MiningResult

__all__ = ["mining_figures"]

DIVERGING: Final = [[0.0, "$down"], [0.5, "$sheet"], [1.0, "$up"]]
Columns = Mapping[str, NDArray[Any]]


def mining_figures(result: MiningResult) -> dict[str, Figure]:
    """Course against evaluations and seconds, likeness, equity and summed coefficients, placebos."""
    evaluations = np.asarray(result.curve["evaluations"], dtype=np.float64)
    found = {
        "evaluations": _course(result, "evaluations", "formulas evaluated", evaluations),
        "seconds": _course(result, "seconds", "seconds", _seconds(result)),
        "likeness": _likeness(result),
        "equity": _equity("equity", "Equity on validation", result.daily),
        "summed": _summed("summed", "Coefficients on validation", result.daily, result.facts["horizon"]),
        "placebo": _placebo(result),
    }
    if result.holdout_daily is not None:
        found["test-equity"] = _equity("test-equity", "Equity on the test", result.holdout_daily)
        daily, horizon = result.holdout_daily, result.facts["horizon"]
        found["test-summed"] = _summed("test-summed", "Coefficients on the test", daily, horizon)
    return found


def _seconds(result: MiningResult) -> NDArray[np.float64]:
    points = result.timings.get("curve", [])
    if len(points) != len(result.curve["evaluations"]):
        return np.zeros(0)
    return np.array([point[1] for point in points], dtype=np.float64)


def _course(result: MiningResult, key: str, unit: str, x: NDArray[np.float64]) -> Figure:
    name, kicker = f"course-{key}", f"Search against {unit}"
    if len(x) < 2 or not x[-1] > x[0]:
        return absent(name, kicker, f"The search noted its state fewer than two times, or without {unit}.")
    pool, best = (np.asarray(result.curve[each], dtype=np.float64) for each in ("pool", "best"))
    # What a screen can show of a long search: the first and last note and those between in equal steps.
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), 600)).round().astype(int))
    traces = [
        _steps(x[rows], pool[rows], "pool", "$strategy", 2.2),
        _steps(x[rows], best[rows], "best formula", "$muted", 1.4),
    ]
    half = int(np.searchsorted(pool, 0.9 * pool[-1])) if pool[-1] > 0 else 0
    told = f"{x[half]:,.0f} {unit}" if key == "evaluations" else f"{x[half]:,.1f} {unit}"
    title = f"The pool had nine tenths of its final training IC of {number_text(pool[-1], 'correlation')} after {told}"
    layout = {
        "yaxis": {"title": {"text": "training IC"}, "tickformat": ".3f", "rangemode": "tozero"},
        "xaxis": {"type": "linear", "title": {"text": unit}, "nticks": 7, "rangemode": "tozero"},
    }
    caption = "Training rows alone: a curve that rises says nothing yet about rows that were not searched."
    return Figure(name, kicker, title, traces, layout, caption, height=300)


def _steps(x: NDArray[Any], y: NDArray[Any], name: str, color: str, width: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": rounded(x),
        "y": rounded(y),
        "line": {"color": color, "width": width, "shape": "hv"},
        "hovertemplate": "%{y:.4f}",
    }


def _likeness(result: MiningResult) -> Figure:
    key, kicker = "likeness", "Likeness of the formulas"
    K = len(result.alphas)
    if K < 2:
        return absent(key, kicker, "A single formula has no others to be compared with.")
    order = [number for number, _ in pool_rows(result)]
    at = np.array(order) - 1
    rho = result.correlations[np.ix_(at, at)]
    formulas = [str(result.alphas[k]["formula"]) for k in at]
    names = [f"#{place}" for place in range(1, K + 1)]
    off = np.abs(rho[~np.eye(K, dtype=bool)])
    trace = {
        "type": "heatmap",
        "name": "mean daily product",
        "x": names,
        "y": names,
        "z": [[round(float(cell), 2) for cell in row] for row in rho],
        "text": [[escape(f"{one} | {other}", quote=False) for other in formulas] for one in formulas],
        "zmin": -1,
        "zmax": 1,
        "colorscale": DIVERGING,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ".1f"},
        "hovertemplate": "%{y} and %{x}: %{z:.2f}<extra></extra>",
    }
    axis = {"type": "category", "ticks": "", "showgrid": False, "tickfont": {"size": 10}}
    layout = {"xaxis": axis, "yaxis": {**axis, "autorange": "reversed", "nticks": K}, "hovermode": "closest"}
    title = f"The mean size of mutual coefficients is {number_text(float(off.mean()), 'ratio')}"
    caption = "Mean daily product of standardised values on training rows; numbers as in the table of the pool."
    return Figure(key, kicker, title, [trace], layout, caption, height=max(300, min(640, 160 + 18 * K)))


def _equity(key: str, kicker: str, daily: Columns) -> Figure:
    times = times_of(dict(daily))
    if times.size < 2:
        return absent(key, kicker, "There are fewer than two bars.")
    own, rival = (growth(np.asarray(daily[name], dtype=np.float64)) for name in ("equity", "benchmark"))
    traces = [
        line(times, rival, "equal weights", Pen("$rival1", ".3f", 1.3)),
        line(times, own, "pool", Pen("$strategy", ".3f", 2.2)),
    ]
    title = f"One unit of money became {own[-1]:.2f} after costs; in equal weights {rival[-1]:.2f}"
    layout = {"yaxis": {"title": {"text": "growth of 1"}, "tickformat": "~g"}}
    caption = "Both after costs, from the same cash on the same day."
    return Figure(key, kicker, title, traces, layout, caption, height=320)


def _summed(key: str, kicker: str, daily: Columns, horizon: int) -> Figure:
    times = times_of(dict(daily))
    series = {name: np.asarray(daily[name], dtype=np.float64) for name in ("ic", "rank_ic")}
    known = np.isfinite(series["ic"])
    if known.sum() < 2:
        return absent(key, kicker, "There are fewer than two dates with a coefficient.")
    kinds = (("rank_ic", "rank IC", "$muted", 1.4), ("ic", "IC", "$strategy", 2.2))
    traces = [
        line(
            times[known],
            np.cumsum(np.where(np.isfinite(series[name]), series[name], 0.0)[known]),
            label,
            Pen(color, ".2f", width),
        )
        for name, label, color, width in kinds
    ]
    above = float((series["ic"][known] > 0).mean())
    title = f"The coefficient was above zero on {100 * above:.0f} % of dates"
    layout = {"yaxis": {"title": {"text": "sum of daily coefficients"}, "tickformat": ".1f", "zeroline": True}}
    caption = f"Labels over {horizon} bars overlap, so neighbouring dates are not independent evidence."
    return Figure(key, kicker, title, traces, layout, caption, height=320)


def _placebo(result: MiningResult) -> Figure:
    key, kicker = "placebo", "Against placebos"
    test = result.holdout
    if test is None:
        return absent(key, kicker, "Placebo searches are run when the test is read.")
    bands = [("training", test["placebo"]["train"]), ("test", test["placebo"]["test"])]
    if not any(band["values"] for _, band in bands):
        return absent(key, kicker, "No placebo was run.")
    traces = []
    for name, color, size in (
        ("placebos", "$muted", 9),
        ("95th percentile", "$down", 12),
        ("this search", "$strategy", 13),
    ):
        x, y = [], []
        for part, band in bands:
            values = {"placebos": band["values"], "95th percentile": [band["high"]], "this search": [band["real"]]}[
                name
            ]
            shown = [value for value in values if number_of(value) is not None]
            x += [part] * len(shown)
            y += shown
        symbol = "line-ew-open" if name == "95th percentile" else "circle"
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": x,
                "y": rounded(y),
                "marker": {
                    "size": size,
                    "color": color,
                    "symbol": symbol,
                    "opacity": 0.85,
                    "line": {"width": 2 if symbol != "circle" else 0, "color": color},
                },
                "hovertemplate": f"{name}: %{{y:.4f}}<extra></extra>",
            }
        )
    beyond = [part for part, band in bands if band["beyond"]]
    title = (
        f"The search lies beyond the placebos in {' and '.join(beyond)}"
        if beyond
        else "The search lies within the placebos"
    )
    budget, block = test["placebo"]["evaluations"], test["placebo"]["block"]
    caption = (
        f"{test['placebo']['runs']} searches of {budget:,} evaluations on labels whose days were permuted in blocks "
        f"of {block}; "
        "in training the real search is read at the same number of evaluations."
    )
    layout = {
        "yaxis": {"title": {"text": "IC"}, "tickformat": ".3f", "zeroline": True},
        "xaxis": {"type": "category", "ticks": ""},
        "hovermode": "closest",
    }
    return Figure(key, kicker, title, traces, layout, caption, height=320)
