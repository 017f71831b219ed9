"""What a figure is, and the figures about money: equity, drawdown, rolling Sharpe ratio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.report.curves import deepest, drawdowns, rolling_sharpe, thin
from alphaloom.report.findings import fall_text, joined
from alphaloom.report.formats import date_text, number_text
from alphaloom.report.reading import bars_per_year, benchmarks_of, column, growth, rival, times_of

if TYPE_CHECKING:
    from alphaloom.study import StudyResult

__all__ = ["Figure", "Pen", "absent", "dotted_box", "line", "money_figures", "rounded"]

Array = NDArray[np.float64]
Trace = dict[str, Any]


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


def dotted_box(values: Sequence[float] | Array, label: str, *, name: str, listed: bool) -> Trace:
    """One line of a figure of portfolios by lot: a box with a dot for each; `listed` in the legend.   Shape: (K,)."""
    return {
        "type": "box",
        "orientation": "h",
        "name": name,
        "x": rounded(values),
        "y": [label] * len(values),
        "boxpoints": "all",
        "jitter": 0.7,
        "pointpos": 0,
        "marker": {"size": 3, "color": "$faint"},
        "line": {"color": "$muted", "width": 1},
        "fillcolor": "rgba(0,0,0,0)",
        "hoverinfo": "skip",
        "showlegend": listed,
    }


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
    layout = {"yaxis": {"title": {"text": "below the peak"}, "tickformat": ".3~%"}}
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


def _rank(own: bool) -> Trace:
    # The strategy is drawn last, on top, but named first.
    return {"legendrank": 1 if own else 1000}
