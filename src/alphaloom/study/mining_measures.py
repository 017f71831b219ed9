"""What a pool is worth on rows that it was not made from: coefficients, a book after costs, each formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import BacktestResult, backtest
from alphaloom.errors import UnitError
from alphaloom.factors import Expr, lookback, unit_of
from alphaloom.market import Market
from alphaloom.metrics import performance, ranking
from alphaloom.metrics.inference import bootstrap_interval, newey_west
from alphaloom.mining import Alpha
from alphaloom.panel import Panel
from alphaloom.portfolio import EqualWeight
from alphaloom.roles import Allocator
from alphaloom.signal import Signal, Target
from alphaloom.study.curves import gross_returns, paid, turnover
from alphaloom.study.mining_split import Rows
from alphaloom.units import Unit

__all__ = ["Desk", "alpha_row", "coefficients", "mimicking", "mimicking_turnover", "neutral_returns", "traded"]

Floats = NDArray[np.float64]
CALENDAR = 21  # bars between two restorations of the benchmark's equal weights


@dataclass(frozen=True)
class Desk:
    """How a score is traded: the rule, the market and its costs, the money at the start."""

    allocator: Allocator
    market: Market
    cash: float = 1e6


def coefficients(
    signal: Signal, target: Target, *, min_pairs: int, seed: int
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """IC, RankIC, ICIR and RankICIR of a score with 95 % intervals, and the daily values; both hold the same rows.

    The intervals resample blocks as long as the label; `t` takes Newey-West errors with that lag.
    """
    scores, later = signal.values, target.values
    daily = {
        "ic": ranking.ic(scores, later, min_pairs=min_pairs),
        "rank_ic": ranking.rank_ic(scores, later, min_pairs=min_pairs),
    }
    found: dict[str, Any] = {"days": int(np.isfinite(daily["ic"]).sum())}
    for name, values in daily.items():
        for key, statistic in ((name, _mean), (f"{name}ir", _ratio)):
            found[key] = _interval(statistic, values, block=float(target.horizon), seed=seed)
        found[f"{name}_t"] = _plain(newey_west(values, lag=target.horizon).t)
    return found, daily


def _interval(statistic: Callable[..., Floats], values: Floats, *, block: float, seed: int) -> dict[str, float | None]:
    found = bootstrap_interval(statistic, values, seed=seed, block=block)
    return {"value": _plain(found.value), "low": _plain(found.low), "high": _plain(found.high)}


def _mean(values: Floats) -> Floats:
    return np.asarray(values.mean(axis=0))


def _ratio(values: Floats) -> Floats:
    spread = values.std(axis=0, ddof=1)
    return np.where(spread > 0, values.mean(axis=0) / np.where(spread > 0, spread, 1.0), np.nan)


def traded(signal: Signal, panel: Panel, desk: Desk, *, rows: Rows) -> tuple[dict[str, Any], dict[str, Floats]]:
    """The score's book after costs on the rows, beside the members in equal parts: its numbers and its days.

    The signal holds these rows alone, for its own rows are what an allocator counts.

    The active Sharpe ratio is that of the book's return less the benchmark's.
    """
    part = panel[: rows.stop]
    book = backtest(desk.allocator.policy(signal), part, desk.market, start=rows.start, cash=desk.cash)
    rival = backtest(EqualWeight(every=CALENDAR), part, desk.market, start=rows.start, cash=desk.cash)
    years = panel.periods_per_year
    active = book.returns - rival.returns
    numbers = {
        **_earned(book, years),
        "gross_sharpe": _plain(performance.sharpe(gross_returns(book), periods_per_year=years)),
        "active_sharpe": _plain(performance.sharpe(active, periods_per_year=years)),
        "turnover": _plain(turnover(book).mean()),
        "holdings": _plain(np.median((book.shares != 0.0).sum(axis=1))),
        "benchmark": _earned(rival, years),
    }
    daily = {"equity": book.equity, "benchmark": rival.equity, "cost": paid(book), "active": active}
    return numbers, daily


def _earned(book: BacktestResult, years: float) -> dict[str, float | None]:
    returns = book.returns
    return {
        "cagr": _plain(performance.cagr(returns, periods_per_year=years)),
        "volatility": _plain(performance.volatility(returns, periods_per_year=years)),
        "sharpe": _plain(performance.sharpe(returns, periods_per_year=years)),
        "max_drawdown": _plain(performance.max_drawdown(returns)),
        "costs": _plain(paid(book).sum() / book.capital),
    }


def alpha_row(
    alpha: Alpha, judged: Alpha, *, weight: float, units: Mapping[str, Unit], turned: float
) -> dict[str, Any]:
    """One formula of the pool as a row of the page: what it is, and its worth in training and validation."""
    return {
        "formula": str(alpha.expr),
        "weight": _plain(weight),
        "ic": _plain(alpha.ic),
        "icir": _plain(alpha.icir),
        "valid_ic": _plain(judged.ic),
        "valid_icir": _plain(judged.icir),
        "coverage": _plain(alpha.coverage),
        "turnover": _plain(turned),
        "unit": _unit(alpha.expr, units),
        "lookback": lookback(alpha.expr),
    }


def _unit(expr: Expr, units: Mapping[str, Unit]) -> str:
    try:
        return str(unit_of(expr, units))
    except UnitError:
        return "mixed"


def mimicking(z: NDArray[Any]) -> Floats:
    """Standardised values as a book without net exposure whose sides add up to 1.   Shape: (S, N) -> (S, N)."""
    gross = np.abs(z).sum(axis=1, dtype=np.float64)
    return np.asarray(z / np.where(gross > 0, gross, 1.0)[:, None], dtype=np.float64)


def neutral_returns(signal: Signal, next_bar: Target) -> Floats:
    """Returns a bar of the score's book without net exposure, before costs.   Shape: -> (S,)."""
    known = np.isfinite(signal.values) & np.isfinite(next_bar.values)
    count = np.maximum(known.sum(axis=1), 1)[:, None]
    scores = np.where(known, signal.values, 0.0)
    centred = np.where(known, scores - scores.sum(axis=1, keepdims=True) / count, 0.0)
    return np.asarray((mimicking(centred) * np.where(known, next_bar.values, 0.0)).sum(axis=1))


def mimicking_turnover(alpha: Alpha) -> float:
    """The share of such a book that is exchanged on a bar, on average.   Missing: NaN without the values."""
    if alpha.z is None:
        return float("nan")
    weights = mimicking(alpha.z)
    known = np.abs(weights).sum(axis=1) > 0
    both = known[1:] & known[:-1]
    if not both.any():
        return float("nan")
    return float(0.5 * np.abs(np.diff(weights, axis=0)).sum(axis=1)[both].mean())


def _plain(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None
