"""The figures about trading: turnover, costs, exposure, sectors."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from alphaloom.report.curves import block_means, gross_returns, rolling_mean
from alphaloom.report.figures import Figure, Pen, absent, line, rounded
from alphaloom.report.formats import date_text, number_text
from alphaloom.report.reading import column, growth, times_of

if TYPE_CHECKING:
    from alphaloom.study import StudyResult

__all__ = ["trading_figures"]

Array = NDArray[np.float64]
Trace = dict[str, Any]
COSTS: Final = ("commission", "tax", "slippage", "impact", "borrow", "interest")
SECTORS_SHOWN: Final = 8


def trading_figures(result: StudyResult) -> list[Figure]:
    """Turnover, costs and exposure."""
    return [_turnover(result), _costs(result), _gross_and_net(result), _exposure(result), _sectors(result)]


def _turnover(result: StudyResult) -> Figure:
    key, kicker = "turnover", "Turnover"
    turnover = column(result.daily, "turnover")
    if turnover is None:
        return absent(key, kicker, "The study recorded no turnover.")
    times, window = times_of(result.daily), max(1, min(21, turnover.size // 4))
    mean = number_text(float(np.nanmean(turnover)), "percent")
    traces = [
        line(times, turnover, "each bar", Pen("$faint", ".1%", 1.0)),
        line(times, rolling_mean(turnover, window), f"mean of {window} bars", Pen("$strategy", ".1%", 2.0)),
    ]
    axis: dict[str, Any] = {"title": {"text": "of equity, one way"}, "tickformat": ".3~%", "rangemode": "tozero"}
    caption = ""
    known = np.nan_to_num(turnover)
    opening = int(np.argmax(known > 0))
    rest = float(np.delete(known, opening).max(initial=0.0))
    # The first purchase of a calm policy is so large that nothing else would be seen beside it.
    if 0 < 3 * rest < known[opening]:
        axis["range"] = [0, 1.1 * rest]
        caption = f"The first purchase, {number_text(known[opening], 'percent')}, lies beyond the axis."
    return Figure(key, kicker, f"{mean} of the book changed hands on an average bar", traces, {"yaxis": axis}, caption)


def _cost_share(result: StudyResult, name: str) -> Array | None:
    cost, equity = column(result.daily, name), column(result.daily, "equity")
    if cost is None or equity is None:
        return None
    return np.nan_to_num(gross_returns(np.zeros_like(cost), cost, equity))


def _costs(result: StudyResult) -> Figure:
    key, kicker = "costs", "Costs"
    times = times_of(result.daily)
    traces, ends = [], []
    for k, kind in enumerate(COSTS):
        share = _cost_share(result, f"cost.{kind}")
        if share is None or not np.any(share):
            continue
        paid: Array = np.cumsum(share)
        stack = {"stackgroup": "paid", "fillcolor": f"$kind{k + 1}"} if bool((share >= 0).all()) else {}
        traces.append(line(times, paid, kind, Pen(f"$kind{k + 1}", ".2%", 0.8)) | stack)
        ends.append((kind, float(paid[-1])))
    if not ends:
        return absent(key, kicker, "The study paid no costs, or recorded none.")
    total = number_text(sum(end for _, end in ends), "percent")
    largest = max(ends, key=lambda item: item[1])
    title = f"Costs added up to {total} of equity, most of it for {largest[0]}"
    layout = {"yaxis": {"title": {"text": "of equity, summed"}, "tickformat": ".3~%", "rangemode": "tozero"}}
    return Figure(
        key,
        kicker,
        title,
        traces,
        layout,
        "Each cost is taken as a share of the equity of the bar before, then summed.",
    )


def _gross_and_net(result: StudyResult) -> Figure:
    key, kicker = "drag", "Cost drag"
    returns, cost, equity = (column(result.daily, name) for name in ("returns", "cost", "equity"))
    if returns is None or cost is None or equity is None or not np.any(np.nan_to_num(cost)):
        return absent(key, kicker, "Without recorded costs, equity before and after costs are the same curve.")
    times = times_of(result.daily)
    before = np.cumprod(1.0 + np.nan_to_num(gross_returns(returns, cost, equity)), dtype=np.float64)
    after = growth(equity)
    lost = f"Without costs one unit would have become {before[-1]:.2f}"
    traces = [
        line(times, before, "before costs", Pen("$muted", ".3f", 1.3)),
        line(times, after, "after costs", Pen("$strategy", ".3f", 2.0)),
    ]
    title = f"{lost} instead of {after[np.isfinite(after)][-1]:.2f}" if np.isfinite(after).any() else lost
    layout = {"yaxis": {"title": {"text": "growth of 1"}, "tickformat": "~g"}}
    return Figure(
        key, kicker, title, traces, layout, "The same trades, with every cost given back at the end of its bar."
    )


def _exposure(result: StudyResult) -> Figure:
    key, kicker = "exposure", "Exposure"
    found = {name: column(result.daily, name) for name in ("gross", "net", "holdings")}
    gross, net, holdings = found["gross"], found["net"], found["holdings"]
    if gross is None and net is None and holdings is None:
        return absent(key, kicker, "The study recorded no exposure.")
    times = times_of(result.daily)
    pens = [("gross", gross, Pen("$muted", ".1%", dash="dash")), ("net", net, Pen("$strategy", ".1%", 1.8))]
    if gross is not None and net is not None and np.allclose(gross, net, equal_nan=True):
        pens = [("gross and net", gross, Pen("$strategy", ".1%", 1.8))]
    traces = [line(times, values, name, pen) for name, values, pen in pens if values is not None]
    said = [f"{name} {number_text(float(np.nanmean(v)), 'percent')}" for name, v, _ in pens if v is not None]
    layout: dict[str, Any] = {
        "yaxis": {"title": {"text": "of equity"}, "tickformat": ".3~%", "domain": [0.44, 1.0], "rangemode": "tozero"},
    }
    if holdings is not None:
        traces.append(line(times, holdings, "holdings", Pen("$rival4", ".0f", 1.2)) | {"yaxis": "y2"})
        layout["yaxis2"] = {"title": {"text": "holdings"}, "domain": [0.0, 0.32], "rangemode": "tozero", "nticks": 4}
        layout["xaxis"] = {"anchor": "y2"}
        said.append(f"{np.nanmean(holdings):.0f} holdings")
    return Figure(key, kicker, f"On an average bar: {', '.join(said)}", traces, layout)


def _sectors(result: StudyResult) -> Figure:
    key, kicker = "sectors", "Exposure by sector"
    columns = {name: column(result.exposure, name) for name in result.exposure if name != "time"}
    known = {name: np.nan_to_num(values) for name, values in columns.items() if values is not None}
    if not known:
        return absent(key, kicker, "The assets carry no sector labels, so exposure by sector is not known.")
    times = times_of(result.exposure)
    if any(bool((values < -1e-9).any()) for values in known.values()):
        return _long_and_short(times, known)
    order = sorted(known, key=lambda name: (-float(known[name].mean()), name))
    shown = [(name, known[name]) for name in order[:SECTORS_SHOWN]]
    if len(order) > SECTORS_SHOWN:
        rest = [known[name] for name in order[SECTORS_SHOWN:]]
        shown.append((f"{len(rest)} others", np.asarray(np.sum(rest, axis=0), dtype=np.float64)))
    traces = []
    for k, (name, values) in enumerate(shown):
        stack = {"stackgroup": "sectors", "fillcolor": f"$sector{k + 1}"}
        traces.append(line(times, values, name, Pen("$paper", ".1%", 0.5)) | stack)
    share = number_text(float(shown[0][1].mean()), "percent")
    layout = {"yaxis": {"title": {"text": "net, of equity"}, "tickformat": ".3~%"}}
    title = f"{shown[0][0]} was the largest sector with {share} of equity on an average bar"
    return Figure(key, kicker, title, traces, layout, height=340, wide=True)


def _long_and_short(times: NDArray[np.datetime64], known: dict[str, Array]) -> Figure:
    """Sectors that are held long and short as bands of colour, which stacked areas cannot show."""
    order = sorted(known, key=lambda name: (float(known[name].mean()), name))
    blocks = [block_means(known[name], 600) for name in order]
    rows, length = blocks[0][0], blocks[0][2]
    bound = max(float(np.abs(means).max()) for _, means, _ in blocks)
    trace: Trace = {
        "type": "heatmap",
        "name": "net weight",
        "x": [date_text(time) for time in times[rows]],
        "y": [escape(name, quote=False) for name in order],
        "z": [rounded(means) for _, means, _ in blocks],
        "zmin": -bound,
        "zmax": bound,
        "colorscale": [[0, "$down"], [0.5, "$paper"], [1, "$up"]],
        "colorbar": {"tickformat": ".3~%", "thickness": 10, "outlinewidth": 0},
        "hovertemplate": "%{y}, %{x}: %{z:.1%}<extra></extra>",
    }
    ends = [f"{name} {number_text(float(known[name].mean()), 'percent')}" for name in (order[-1], order[0])]
    title = f"Average net weights ran from {ends[0]} down to {ends[1]}"
    caption = "Net weight of each sector, of equity: blue is long, red is short."
    if length > 1:
        caption += f" Each column averages {length} bars."
    layout = {"yaxis": {"type": "category"}, "hovermode": "closest"}
    return Figure("sectors", "Exposure by sector", title, [trace], layout, caption, height=340, wide=True)
