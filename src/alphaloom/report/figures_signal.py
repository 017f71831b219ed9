"""The figures about the signal: IC by day, its sum, its decay over horizons, returns by quintile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alphaloom.report.curves import block_means, rolling_mean
from alphaloom.report.figures import Figure, Pen, absent, line, rounded
from alphaloom.report.formats import date_text, number_text
from alphaloom.report.reading import column, times_of

if TYPE_CHECKING:
    from alphaloom.study import StudyResult

__all__ = ["signal_figures"]

Array = NDArray[np.float64]
NO_SIGNAL = "This study ran a policy without scores, so there is no information coefficient and no return by score."


def signal_figures(result: StudyResult) -> list[Figure]:
    """Rank IC by day, cumulative IC, IC decay, quintile returns and their spread."""
    if not (result.ic or result.decay or result.quantiles):
        return [absent("signal", "No scores", NO_SIGNAL)]
    return [_by_day(result), _cumulative(result), _decay(result), _quintiles(result), _spread(result)]


def _by_day(result: StudyResult) -> Figure:
    key, kicker = "ic", "Rank IC by day"
    values = column(result.ic, "rank_ic")
    if values is None:
        return absent(key, kicker, NO_SIGNAL)
    times = times_of(result.ic)
    rows, means, length = block_means(values)
    window = max(1, min(60, values.size // 3))
    known = values[np.isfinite(values)]
    traces = [
        {
            "type": "bar",
            "name": "each day" if length == 1 else f"mean of {length} days",
            "x": [date_text(time) for time in times[rows]],
            "y": rounded(means),
            "marker": {"color": "$faint", "line": {"width": 0}},
            "hovertemplate": "%{y:.3f}",
        },
        line(times, rolling_mean(values, window), f"mean of {window} days", Pen("$strategy", ".3f", 2.0)),
    ]
    share = 100 * np.mean(known > 0)
    title = f"Rank IC averaged {number_text(known.mean(), 'correlation')} and was positive on {share:.0f} % of days"
    layout = {"yaxis": {"title": {"text": "rank IC"}, "tickformat": ".2f", "zeroline": True}, "bargap": 0}
    return Figure(key, kicker, title, traces, layout, wide=True, height=280)


def _cumulative(result: StudyResult) -> Figure:
    key, kicker = "ic-sum", "Cumulative IC"
    times, traces, last = times_of(result.ic), [], {}
    for name, label, color in (("ic", "IC", "$muted"), ("rank_ic", "rank IC", "$strategy")):
        values = column(result.ic, name)
        if values is not None:
            total = np.cumsum(np.nan_to_num(values))
            traces.append(line(times, total, label, Pen(color, ".2f")))
            last[label] = float(total[-1])
    if not traces:
        return absent(key, kicker, NO_SIGNAL)
    title = "Summed over days, " + " and ".join(f"{label} reached {end:.1f}" for label, end in reversed(last.items()))
    layout = {"yaxis": {"title": {"text": "sum of daily IC"}, "tickformat": "~g", "zeroline": True}}
    return Figure(key, kicker, title, traces, layout, "A steady slope is a steady signal; a bend is where it changed.")


def _decay(result: StudyResult) -> Figure:
    key, kicker = "decay", "IC decay"
    horizon, rank = column(result.decay, "horizon"), column(result.decay, "rank_ic")
    if horizon is None or rank is None:
        return absent(key, kicker, "The study measured no IC at other horizons, so its decay is not known.")
    error = column(result.decay, "rank_ic_se")
    x = [int(value) for value in horizon]
    strong = {
        "type": "scatter",
        "mode": "markers+lines",
        "name": "rank IC",
        "x": x,
        "y": rounded(rank),
        "marker": {"color": "$strategy", "size": 6},
        "line": {"color": "$strategy", "width": 1.2},
        "hovertemplate": "%{y:.3f}",
    }
    caption = "Forward return over the horizon from the fill."
    if error is not None:
        strong["error_y"] = {
            "type": "data",
            "array": rounded(2 * error),
            "color": "$strategy",
            "thickness": 1,
            "width": 2,
        }
        strong["hovertemplate"] = "%{y:.3f} ± %{error_y.array:.3f}"
        caption += " Bars show two standard errors either way."
    traces = [strong]
    plain = column(result.decay, "ic")
    if plain is not None:
        style = {"color": "$muted", "width": 1.2, "dash": "dash"}
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "IC",
                "x": x,
                "y": rounded(plain),
                "line": style,
                "hovertemplate": "%{y:.3f}",
            }
        )
    best = int(np.nanargmax(rank))
    bars = f"{x[best]} bar" + ("s" if x[best] != 1 else "")
    title = f"Rank IC is highest {bars} ahead ({number_text(rank[best], 'correlation')})"
    layout = {
        "yaxis": {"title": {"text": "IC"}, "tickformat": ".3f", "rangemode": "tozero", "zeroline": True},
        "xaxis": {"type": "linear", "title": {"text": "horizon, bars"}, "hoverformat": ".0f", "nticks": 12},
    }
    return Figure(key, kicker, title, traces, layout, caption)


def _buckets(result: StudyResult) -> dict[str, Array]:
    names = sorted(
        (name for name in result.quantiles if name[:1] == "q" and name[1:].isdigit()), key=lambda name: int(name[1:])
    )
    found = {name: column(result.quantiles, name) for name in names}
    return {name: values for name, values in found.items() if values is not None}


def _quintiles(result: StudyResult) -> Figure:
    key, kicker = "quantiles", "Return by score"
    buckets = _buckets(result)
    if len(buckets) < 2:
        return absent(key, kicker, "The study formed no groups by score, so there are no returns by quintile.")
    means = 1e4 * np.array([np.nanmean(values) for values in buckets.values()])
    names = list(buckets)
    labels = [
        f"{name} (lowest)" if k == 0 else f"{name} (highest)" if k == len(names) - 1 else name
        for k, name in enumerate(names)
    ]
    trace = {
        "type": "bar",
        "name": "mean forward return",
        "x": labels,
        "y": rounded(means),
        "marker": {"color": [f"$quintile{min(5, 1 + round(4 * k / (len(names) - 1)))}" for k in range(len(names))]},
        "text": [f"{value:.1f}" for value in means],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": "%{y:.1f} bp",
        "showlegend": False,
    }
    word = "above" if means[-1] >= means[0] else "below"
    title = f"The highest scores returned {abs(means[-1] - means[0]):.1f} bp {word} the lowest"
    layout = {
        "yaxis": {"title": {"text": "bp"}, "tickformat": "~g", "zeroline": True},
        "xaxis": {"type": "category", "title": {"text": "groups of equal size by score"}},
        "bargap": 0.35,
        "hovermode": "closest",
    }
    return Figure(key, kicker, title, [trace], layout, "Mean return of one bar after the fill, before costs.")


def _spread(result: StudyResult) -> Figure:
    key, kicker = "spread", "Spread of quintiles"
    buckets = _buckets(result)
    if len(buckets) < 2:
        return absent(key, kicker, "Without groups by score there is no spread between the highest and the lowest.")
    times = times_of(result.quantiles)
    values = np.array(list(buckets.values()))
    middle = np.mean(values, axis=0)
    legs = (
        ("highest less mean", values[-1] - middle, "$muted", 1.2),
        ("mean less lowest", middle - values[0], "$down", 1.2),
        ("highest less lowest", values[-1] - values[0], "$strategy", 2.0),
    )
    traces = [
        line(times, np.cumsum(np.nan_to_num(leg)), name, Pen(color, ".1%", width)) for name, leg, color, width in legs
    ]
    total = float(np.cumsum(np.nan_to_num(legs[2][1]))[-1])
    title = f"Highest less lowest added up to {number_text(total, 'percent')}"
    layout = {"yaxis": {"title": {"text": "summed return"}, "tickformat": ".3~%", "zeroline": True}}
    return Figure(key, kicker, title, traces, layout, "Returns of one bar, summed, not compounded, before costs.")
