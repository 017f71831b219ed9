"""The figures of an arena: studies among drawn portfolios, growth, seeds against equal weight, overfitting, steps."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from alphaloom.report.figures import Figure, Pen, absent, dotted_box, line, rounded
from alphaloom.report.formats import number_text
from alphaloom.report.reading import spelled, times_of

if TYPE_CHECKING:
    from alphaloom.study.arena import ArenaResult, Line

__all__ = ["arena_figures"]

Trace = dict[str, Any]
PENS: Final = ("$strategy", "$rival2", "$rival3", "$rival1", "$down", "$kind1", "$kind2", "$kind5")
CONTROLS: Final = {"equal_weight": "dash", "buy_and_hold": "dot", "index": "dashdot"}
BINS: Final = 41


def arena_figures(result: ArenaResult) -> list[Figure]:
    """Bands, growth, information ratios, overfitting, steps."""
    return [_bands(result), _growth(result), _against(result), _picking(result), _steps(result)]


def _whole(result: ArenaResult) -> list[Line]:
    return [each for each in result.lines if not each.of]


def _label(name: str) -> str:
    # Plotly reads markup in every label.
    return escape(spelled(name), quote=False)


def _dots(x: list[Any], y: list[str], name: str, marker: Trace) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x,
        "y": y,
        "marker": marker,
        "hovertemplate": f"%{{y}}, {name}: %{{x:.2f}}<extra></extra>",
    }


def _bands(result: ArenaResult) -> Figure:
    key, kicker = "bands", "Among portfolios drawn by lot"
    lines = [each for each in _whole(result) if each.name in result.bands]
    if not lines:
        return absent(key, kicker, "No study held anything, so no portfolio could be drawn with its habits.")
    traces: list[Trace] = []
    for each in lines:
        drawn = np.asarray(result.bands[each.name]["sharpe"], dtype=np.float64)
        drawn = drawn[np.isfinite(drawn)]
        traces.append(dotted_box(drawn, _label(each.name), name="drawn by lot", listed=each is lines[0]))
    names = [(_label(each.name), run) for each in lines for run in each.runs]
    for number, label, marker in (
        ("shuffled_sharpe", "shuffled signal", {"size": 9, "color": "$rival1", "symbol": "x"}),
        ("sharpe", "study, each seed", {"size": 11, "color": "$strategy", "symbol": "diamond"}),
    ):
        known = [(run[number], name) for name, run in names if run[number] is not None]
        if known:
            traces.append(_dots(rounded(x for x, _ in known), [name for _, name in known], label, marker))
    places = [each.numbers["place"].mean for each in lines]
    best = int(np.argmax([-1.0 if place is None else place for place in places]))
    title = (
        f"{spelled(lines[best].name)} lies above {number_text(places[best], 'percent')} of portfolios "
        "drawn by lot with its own habits"
    )
    equal = result.controls["equal_weight"]["sharpe"]
    shapes = []
    if equal is not None:
        mark = {"color": "$down", "width": 1.4, "dash": "dash"}
        ends = {"x0": equal, "x1": equal, "y0": 0, "y1": 1, "yref": "paper"}
        shapes.append({"type": "line", **ends, "line": mark})
    layout = {
        "xaxis": {"type": "linear", "title": {"text": "Sharpe ratio a year after costs"}, "tickformat": ".1f"},
        "yaxis": {"type": "category", "autorange": "reversed", "tickfont": {"size": 12}},
        "hovermode": "closest",
        "shapes": shapes,
    }
    caption = (
        f"Each dot is one of {result.facts['random']} portfolios with the study's number of holdings, rebalancing and "
        f"turnover. Dashed: equal weight ({number_text(equal, 'ratio')})."
    )
    return Figure(key, kicker, title, traces, layout, caption, height=170 + 80 * len(lines), wide=True)


def _growth(result: ArenaResult) -> Figure:
    key, kicker = "growth", "Growth"
    times = times_of(result.curves)
    lines = _whole(result)
    if times.size < 2:
        return absent(key, kicker, "The arena has fewer than two bars, so there is no curve to draw.")
    traces: list[Trace] = []
    first = lines[0].name
    for part, fill in (("low", {}), ("high", {"fill": "tonexty", "fillcolor": "$strategyfaint"})):
        curve = result.curves.get(f"random.{first}.{part}")
        if curve is not None:
            pen = Pen("$faint", ".3f", 0.6)
            named = f"drawn by lot, {'5 % to 95 %' if part == 'high' else '5 %'}"
            traces.append(line(times, _above(curve), named, pen) | fill | {"showlegend": part == "high"})
    for name, dash in CONTROLS.items():
        curve = result.curves.get(f"control.{name}")
        if curve is not None:
            traces.append(line(times, _above(curve), spelled(name), Pen("$muted", ".3f", 1.2, dash)))
    for place, each in enumerate(lines):
        curve = np.asarray(result.curves[f"study.{each.name}"], dtype=np.float64)
        traces.append(line(times, _above(curve), spelled(each.name), Pen(PENS[place % len(PENS)], ".3f", 2.0)))
    ends = [f"{spelled(each.name)} {result.curves[f'study.{each.name}'][-1]:.2f}" for each in lines[:4]]
    equal = result.curves["control.equal_weight"][-1]
    title = f"One unit of money became: {', '.join(ends)}; equal weight {equal:.2f}"
    layout = {"yaxis": {"type": "log", "title": {"text": "growth of 1, log scale"}, "tickformat": "~g", "nticks": 8}}
    caption = (
        f"After costs; the mean over seeds. The band holds nine in ten of the portfolios drawn for {spelled(first)}."
    )
    return Figure(key, kicker, title, traces, layout, caption, height=420, wide=True)


def _above(values: NDArray[Any]) -> NDArray[np.float64]:
    """Only what a log scale can show."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(numbers > 0.0, numbers, np.nan)


def _whiskers(low: list[float], mid: list[float], high: list[float]) -> Trace:
    return {
        "type": "data",
        "symmetric": False,
        "array": rounded(np.subtract(high, mid)),
        "arrayminus": rounded(np.subtract(mid, low)),
        "color": "$muted",
        "thickness": 1.2,
        "width": 4,
    }


def _against(result: ArenaResult) -> Figure:
    key, kicker = "against", "Against equal weight"
    rows = [
        (f"{_label(each.name)} · {seed}", run)
        for each in _whole(result)
        for seed, run in zip(each.seeds, each.runs, strict=True)
    ]
    names = ("information_low", "information_ratio", "information_high")
    known = [(name, [float(run[key] or 0.0) for key in names]) for name, run in rows if run[names[0]] is not None]
    if not known:
        return absent(key, kicker, "No run differs from equal weight on enough bars.")
    low, mid, high = ([values[k] for _, values in known] for k in range(3))
    clear = [
        "$strategy" if bottom > 0 else "$down" if top < 0 else "$muted" for bottom, top in zip(low, high, strict=True)
    ]
    trace = _dots(rounded(mid), [name for name, _ in known], "information ratio", {"size": 8, "color": clear})
    trace["error_x"] = _whiskers(low, mid, high)
    above = sum(bottom > 0 for bottom in low)
    title = f"{above} of {len(known)} runs are ahead of equal weight beyond their own interval"
    layout = {
        "xaxis": {
            "type": "linear",
            "title": {"text": "information ratio a year"},
            "tickformat": ".1f",
            "zeroline": True,
        },
        "yaxis": {"type": "category", "autorange": "reversed", "tickfont": {"size": 11}},
        "hovermode": "closest",
        "showlegend": False,
    }
    caption = "One row for each study and seed; whiskers are 95 % intervals from a block bootstrap."
    return Figure(key, kicker, title, [trace], layout, caption, height=max(300, 110 + 26 * len(known)))


def _picking(result: ArenaResult) -> Figure:
    key, kicker = "picking", "Picking the best"
    logits = np.asarray(result.picking.logits, dtype=np.float64)
    if not logits.size or result.picking.pbo is None:
        return absent(
            key, kicker, "The probability of overfitting needs two different trials and 32 bars; there are fewer."
        )
    middle, shares, width = _shares(logits)
    trace: Trace = {
        "type": "bar",
        "name": "halves",
        "x": rounded(middle),
        "y": rounded(shares),
        "width": width,
        "marker": {"color": ["$down" if value <= 0 else "$strategy" for value in middle]},
        "hovertemplate": "%{x:.2f}: %{y:.1%}<extra></extra>",
    }
    pbo = result.picking.pbo
    title = f"In {number_text(pbo, 'percent')} of halves the best trial lands in the lower part of the other half"
    layout = {
        "xaxis": {"type": "linear", "title": {"text": "logit of its rank in the other half"}},
        "yaxis": {"title": {"text": "share of halves"}, "tickformat": ".0%"},
        "bargap": 0.05,
        "hovermode": "closest",
        "showlegend": False,
    }
    caption = (
        f"Over {result.picking.distinct} different trials and {logits.size:,} pairs of halves. Red, at or below zero: "
        "its share is the probability of overfitting."
    )
    return Figure(key, kicker, title, [trace], layout, caption, height=300)


def _shares(logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Where the logits lie, how many lie there, and how wide a bar may be; few trials have few possible ranks."""
    values, counts = np.unique(logits, return_counts=True)
    if values.size <= BINS:
        gap = float(np.diff(values).min()) if values.size > 1 else 1.0
        return values, counts / logits.size, round(0.9 * gap, 4)
    reach = float(np.abs(values).max())
    counts, edges = np.histogram(logits, bins=np.linspace(-reach, reach, BINS + 1))
    return (edges[1:] + edges[:-1]) / 2, counts / logits.size, round(0.9 * 2 * reach / BINS, 4)


def _steps(result: ArenaResult) -> Figure:
    key, kicker = "steps", "What each step is worth"
    known = [each for each in result.ablations if each.sharpe_low is not None and each.sharpe_high is not None]
    if not known:
        why = "No step was left out; `--ablate` runs every system again with each of its steps left out or exchanged."
        return absent(key, kicker, why)
    several = len({each.study for each in known}) > 1
    names = [_label(f"{each.study}: {each.step}" if several else each.step) for each in known]
    low, mid, high = (
        [float(getattr(each, f"sharpe_{part}") or 0.0) for each in known] for part in ("low", "difference", "high")
    )
    color = [
        "$strategy" if bottom > 0 else "$down" if top < 0 else "$muted" for bottom, top in zip(low, high, strict=True)
    ]
    trace = _dots(rounded(mid), names, "difference", {"size": 9, "color": color})
    trace["error_x"] = _whiskers(low, mid, high)
    helped = sum(bottom > 0 for bottom in low)
    harmed = sum(top < 0 for top in high)
    title = f"Of {len(known)} steps {helped} raise the net Sharpe ratio beyond their interval, {harmed} lower it"
    layout = {
        "xaxis": {
            "type": "linear",
            "title": {"text": "Sharpe net, whole less variant"},
            "tickformat": ".2f",
            "zeroline": True,
        },
        "yaxis": {"type": "category", "autorange": "reversed", "tickfont": {"size": 12}},
        "hovermode": "closest",
        "showlegend": False,
    }
    caption = "The mean over the same seeds; both are resampled together. To the right, the step helps."
    return Figure(key, kicker, title, [trace], layout, caption, height=max(260, 110 + 34 * len(known)), wide=True)
