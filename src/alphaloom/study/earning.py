"""What the trades earned: numbers of return, risk, cost and luck, from the returns of a back-test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import BacktestResult
from alphaloom.metrics import inference, performance, relative, trading
from alphaloom.panel import Panel
from alphaloom.study.curves import INDEX, gross_returns, turnover
from alphaloom.study.scoring import DRAWS

__all__ = ["against", "between", "index_numbers", "luck", "riskless", "settled", "traded_numbers"]

_RENAMED = {"value_at_risk": "var_95", "expected_shortfall": "cvar_95"}
_RATE_SERIES = "risk_free"
_LARGEST_RATE = 0.5  # a yearly rate above this is a percentage or a level by mistake

Floats = NDArray[np.float64]


def settled(returns: Floats) -> Floats:
    """Returns of the K - 1 bars between K closes: what the first decision cost at its own close joins the next bar.

    Shape: (K,), the first NaN, which every metric leaves out.
    """
    whole = np.array(returns, dtype=np.float64)
    whole[1:2] = (1.0 + whole[:1]) * (1.0 + whole[1:2]) - 1.0
    whole[:1] = np.nan
    return whole


def between(equity: Floats) -> Floats:
    """The returns of a curve, the first NaN.   Shape: (K,)."""
    before = equity[:-1]
    alive = before > 0.0
    return np.concatenate([[np.nan], np.where(alive, equity[1:] / np.where(alive, before, 1.0) - 1.0, 0.0)])


def riskless(panel: Panel, cash_rate: float) -> tuple[Floats, str]:
    """The riskless return of each bar, and a sentence about where it comes from.

    Shape: (T,).
    Unit: the panel's series `risk_free` is a yearly rate as a fraction; without it the market's `cash_rate` is taken.
    Time: the rate known at a close is earned until the next one.   Missing: a bar without a rate keeps the last one.
    """
    bars = panel.periods_per_year
    plain = f"Sharpe ratios: above {cash_rate:.2%} a year, the market's rate on cash"
    rate = panel.series.get(_RATE_SERIES)
    if rate is None or not np.isfinite(rate).any():
        return np.full(len(panel), cash_rate / bars), plain
    known = np.isfinite(rate)
    if (np.abs(rate[known]) > _LARGEST_RATE).any():
        aside = "the series risk_free is left aside, since it is not a yearly rate as a fraction"
        return np.full(len(panel), cash_rate / bars), f"{plain}; {aside}"
    last = np.maximum.accumulate(np.where(known, np.arange(len(rate)), -1))
    carried = np.where(last >= 0, rate[np.maximum(last, 0)], cash_rate) / bars
    return np.concatenate([carried[:1], carried[:-1]]), "Sharpe ratios: above the panel's series risk_free"


def traded_numbers(book: BacktestResult, *, periods_per_year: float, rf: Floats) -> dict[str, Any]:
    """Performance, turnover and what costs took, of one back-test."""
    net, gross = settled(book.returns), settled(gross_returns(book))
    return {
        **_renamed(performance.summary(net, periods_per_year=periods_per_year, rf=rf)),
        "turnover": float(turnover(book).mean()),
        "cost_drag": trading.cost_drag(gross, net, periods_per_year=periods_per_year),
        "gross_sharpe": performance.sharpe(gross, periods_per_year=periods_per_year, rf=rf),
    }


def index_numbers(index: Floats, *, periods_per_year: float, rf: Floats) -> dict[str, Any]:
    """Performance of a curve that nobody traded."""
    return _renamed(performance.summary(between(index), periods_per_year=periods_per_year, rf=rf))


def _renamed(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {_RENAMED.get(name, name): value for name, value in numbers.items()}


def against(daily: Mapping[str, Any], *, periods_per_year: float, rf: Floats) -> dict[str, Any]:
    """The study against the index, or against its first benchmark when the panel has no index."""
    rivals = [name for name in daily if name.startswith("benchmark.")]
    if not rivals:
        return dict.fromkeys(("information_ratio", "beta", "alpha", "correlation"))
    index = f"benchmark.{INDEX}"
    own, other = settled(daily["returns"]), between(daily[index if index in rivals else rivals[0]])
    return {
        "information_ratio": relative.information_ratio(own, other, periods_per_year=periods_per_year),
        "beta": relative.beta(own, other, rf=rf),
        "alpha": relative.alpha(own, other, periods_per_year=periods_per_year, rf=rf),
        "correlation": relative.correlation(own, other),
    }


def luck(returns: Floats, *, trials: int, seed: int, periods_per_year: float, rf: Floats) -> dict[str, Any]:
    """Could it be luck: the interval of the Sharpe ratio, and its probability given the number of trials.

    Without the Sharpe ratios of the other trials, their spread is taken to be that of worthless ones over as many bars.
    """

    def ratio(plain: Floats, rate: Floats) -> Floats:
        if len(plain) < 2:
            return np.full(plain.shape[1:], np.nan)
        # The spread is that of the returns themselves, so the rate only moves their mean.
        spread = plain.std(axis=0, ddof=1)
        varies = spread > 1e-13 * np.abs(plain).max(axis=0)
        return np.where(varies, (plain - rate).mean(axis=0) / np.where(varies, spread, 1.0), np.nan) * yearly

    yearly = math.sqrt(periods_per_year)
    # What must keep its memory is the excess return; a slow rate's own would stretch the blocks over months.
    block = inference.block_length(returns - rf)
    drawn = inference.bootstrap_interval(ratio, (returns, rf), seed=seed, draws=DRAWS, block=block)
    facts = performance.summary(returns, periods_per_year=periods_per_year, rf=rf)
    count, per_bar = int(np.isfinite(returns).sum()), float(facts["sharpe"]) / yearly
    shape = {"skew": float(facts["skew"]), "kurtosis": float(facts["kurtosis"])}
    variance = 1.0 / (count - 1) if count > 1 else 0.0
    return {
        "sharpe": {"value": float(facts["sharpe"]), "low": drawn.low, "high": drawn.high},
        "psr": inference.probabilistic_sharpe(per_bar, count=count, **shape),
        "dsr": inference.deflated_sharpe(per_bar, count=count, trials=trials, variance=variance, **shape),
        "trials": trials,
        "min_track_record": inference.min_track_record(per_bar, **shape),
    }
