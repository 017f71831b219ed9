"""The figures about money: equity, drawdown, rolling Sharpe ratio, trading and costs, exposure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from alphaloom.report.curves import deepest, drawdowns, gross_returns, rolling_mean, rolling_sharpe, thin
from alphaloom.report.findings import fall_text, joined, rival
from alphaloom.report.formats import date_text, number_text
from alphaloom.report.reading import bars_per_year, benchmarks_of, column, growth, times_of

if TYPE_CHECKING:
    from alphaloom.study import StudyResult

__all__ = ["Figure", "Pen", "absent", "line", "money_figures", "rounded", "trading_figures"]

Array = NDArray[np.float64]
Trace = dict[str, Any]
COSTS: Final = ("commission", "tax", "slippage", "impact", "borrow", "interest")
SECTORS_SHOWN: Final = 8


@dataclass(frozen=True)
class Figure:
    """One figure of the page: its name, a title that says what is seen, Plotly traces, or a sentence why it is empty.

    Colours are written as names (`$strategy`); the page puts in the values of the theme.
    """

    key: str
    kicker: str
    title: str
    traces: list[Trace] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    caption: str = ""
    height: int = 300
    wide: bool = False
    log: bool = False


def absent(key: str, kicker: str, why: str) -> Figure:
    """A figure without data: the page prints the sentence instead."""
    return Figure(key, kicker, why)


def rounded(values: Iterable[Any]) -> list[float | None]:
    """Numbers with six significant digits; NaN and infinity become None.   Shape: (K,) -> K."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]


@dataclass(frozen=True)
class Pen:
    """How a curve is drawn: colour name, format of the value under the pointer, width, dash."""

    color: str
    hover: str
    width: float = 1.6
    dash: str = "solid"


def line(times: NDArray[np.datetime64], values: Array, name: str, pen: Pen) -> Trace:
    """A curve over time, thinned when it is too long for a screen; its name is text, not Plotly's markup."""
    rows = thin(values)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escape(name, quote=False),
        "x": [date_text(time) for time in times[rows]],
        "y": rounded(values[rows]),
        "line": {"color": pen.color, "width": pen.width, "dash": pen.dash},
        "hovertemplate": f"%{{y:{pen.hover}}}",
    }


def money_figures(result: StudyResult) -> list[Figure]:
    """Equity, drawdown and rolling Sharpe ratio."""
    if column(result.daily, "equity") is None or times_of(result.daily).size < 2:
        why = "The study has fewer than two bars of equity, so there is no curve to draw."
        return [absent(key, kicker, why) for key, kicker in (("equity", "Equity"), ("drawdown", "Drawdown"))]
    return [_equity(result), _drawdown(result), _rolling(result)]


def trading_figures(result: StudyResult) -> list[Figure]:
    """Turnover, costs and exposure."""
    return [_turnover(result), _costs(result), _gross_and_net(result), _exposure(result), _sectors(result)]


def _curves(result: StudyResult) -> list[tuple[str, str, Array]]:
    # Benchmarks first, so that the strategy is drawn on top of them.
    rivals = [
        (rival(name), f"$rival{k % 4 + 1}", equity) for k, (name, equity) in enumerate(benchmarks_of(result).items())
    ]
    own = column(result.daily, "equity")
    assert own is not None
    return [*rivals, ("strategy", "$strategy", own)]


def _equity(result: StudyResult) -> Figure:
    times = times_of(result.daily)
    traces, ends = [], []
    for name, color, equity in _curves(result):
        grown = growth(equity)
        own = name == "strategy"
        pen = Pen(color, ".3f", 2.2 if own else 1.3)
        traces.append(line(times, grown, name, pen) | _rank(own))
        known = grown[np.isfinite(grown)]
        if known.size:
            ends.append((name, float(known[-1])))
    told = [f"{name} {end:.2f}" for name, end in ends[:-1]]
    title = f"One unit of money became {ends[-1][1]:.2f}" if ends else "The equity curve has no known value"
    layout = {"yaxis": {"title": {"text": "growth of 1"}, "tickformat": "~g"}}
    caption = "After costs; the benchmarks start with the same cash on the same day."
    versus = f"; in {joined(told)}" if told else ""
    return Figure("equity", "Equity", title + versus, traces, layout, caption, height=400, wide=True, log=True)


def _drawdown(result: StudyResult) -> Figure:
    times = times_of(result.daily)
    traces = []
    for name, color, equity in _curves(result):
        own = name == "strategy"
        fill = {"fill": "tozeroy", "fillcolor": "$strategyfaint"} if own else {}
        pen = Pen(color, ".1%", 1.8 if own else 1.0)
        traces.append(line(times, drawdowns(equity), name, pen) | fill | _rank(own))
    equity = _curves(result)[-1][2]
    worst = deepest(equity)
    if worst is None:
        title = "The equity never stood below an earlier peak"
    else:
        after = "not recovered since"
        if worst.recovery is not None:
            after = f"recovered on {date_text(times[worst.recovery])}"
        depth, days = number_text(worst.depth, "percent"), (times[worst.peak], times[worst.bottom])
        title = f"The deepest fall was {depth}, from {date_text(days[0])} to {date_text(days[1])}, {after}"
    layout = {"yaxis": {"title": {"text": "below the peak"}, "tickformat": ".0%"}}
    caption = f"The strategy stood below an earlier peak on {fall_text(result)} of bars."
    return Figure("drawdown", "Drawdown", title, traces, layout, caption, height=260, wide=True)


def _rolling(result: StudyResult) -> Figure:
    key, kicker = "rolling", "Rolling Sharpe ratio"
    times, own = times_of(result.daily), _curves(result)[-1][2]
    window = min(252, (own.size - 1) // 2)
    if window < 20:
        return absent(key, kicker, "A rolling Sharpe ratio needs at least 40 returns; this study has fewer.")
    periods = bars_per_year(result)
    traces, mine = [], np.empty(0)
    for name, color, equity in _curves(result):
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = equity[1:] / equity[:-1] - 1.0
        mine = rolling_sharpe(np.where(np.isfinite(steps), steps, np.nan), window, periods)
        pen = Pen(color, ".2f", 2.0 if name == "strategy" else 1.1)
        traces.append(line(times[window:], mine[window - 1 :], name, pen) | _rank(name == "strategy"))
    known = mine[np.isfinite(mine)]
    if not known.size:
        return absent(key, kicker, "The returns do not move, so a rolling Sharpe ratio is not defined.")
    low, high, share = number_text(known.min(), "ratio"), number_text(known.max(), "ratio"), np.mean(known > 0)
    title = f"Over {window} bars it lay between {low} and {high}, above zero in {100 * share:.0f} % of windows"
    layout = {"yaxis": {"title": {"text": "Sharpe ratio a year"}, "tickformat": ".1f", "zeroline": True}}
    caption = "Returns after costs; no riskless rate is subtracted."
    return Figure(key, kicker, title, traces, layout, caption, wide=True, height=280)


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
    layout = {"yaxis": {"title": {"text": "of equity, one way"}, "tickformat": ".0%", "rangemode": "tozero"}}
    return Figure(key, kicker, f"{mean} of the book changed hands on an average bar", traces, layout)


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
    layout = {"yaxis": {"title": {"text": "of equity, summed"}, "tickformat": ".0%", "rangemode": "tozero"}}
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
        "yaxis": {"title": {"text": "of equity"}, "tickformat": ".0%", "domain": [0.44, 1.0], "rangemode": "tozero"},
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
    order = sorted(known, key=lambda name: (-float(np.abs(known[name]).mean()), name))
    shown = [(name, known[name]) for name in order[:SECTORS_SHOWN]]
    if len(order) > SECTORS_SHOWN:
        rest = [known[name] for name in order[SECTORS_SHOWN:]]
        shown.append((f"{len(rest)} others", np.asarray(np.sum(rest, axis=0), dtype=np.float64)))
    times = times_of(result.exposure)
    stacked = all(bool((values >= -1e-9).all()) for _, values in shown)
    traces = []
    for k, (name, values) in enumerate(shown):
        stack = {"stackgroup": "sectors", "fillcolor": f"$sector{k + 1}"} if stacked else {}
        pen = Pen("$paper" if stacked else f"$sector{k + 1}", ".1%", 0.5 if stacked else 1.4)
        traces.append(line(times, values, name, pen) | stack)
    share = number_text(float(shown[0][1].mean()), "percent")
    layout = {"yaxis": {"title": {"text": "net, of equity"}, "tickformat": ".0%"}}
    title = f"{shown[0][0]} was the largest sector with {share} of equity on an average bar"
    return Figure(key, kicker, title, traces, layout, height=340, wide=True)


def _rank(own: bool) -> Trace:
    # The strategy is drawn last, on top, but named first.
    return {"legendrank": 1 if own else 1000}
