"""The columns of a study: what happened bar by bar, and the larger tables that only the disk keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import STATUS, BacktestResult
from alphaloom.panel import Panel
from alphaloom.signal import Signal, Target

__all__ = [
    "INDEX",
    "daily_columns",
    "exposure_columns",
    "gross_returns",
    "index_curve",
    "index_level",
    "orders_columns",
    "paid",
    "signal_table",
    "turnover",
    "weights_columns",
]

INDEX = "index"
_STALE = 5
_INDEX_SERIES = ("index", "benchmark")
_UNKNOWN = "unknown"

Floats = NDArray[np.float64]


def daily_columns(
    book: BacktestResult, panel: Panel, *, benchmarks: Mapping[str, BacktestResult], index: Floats | None
) -> dict[str, NDArray[Any]]:
    """The days of a back-test; `panel` holds the rows of the test span only.

    Shape: every column (K,).
    Unit: `cost` is what trading and short holdings took; `cost.interest`, negative when earned, is not part of it.
    """
    holdings = book.holdings
    columns: dict[str, NDArray[Any]] = {
        "time": book.times,
        "equity": book.equity,
        "returns": book.returns,
        "cash": book.cash,
        "cost": paid(book),
        **{f"cost.{kind}": values for kind, values in book.costs.items()},
        "turnover": turnover(book),
        "gross": np.abs(holdings).sum(axis=1),
        "net": holdings.sum(axis=1),
        "holdings": (book.shares != 0.0).sum(axis=1).astype(np.int64),
    }
    columns |= {f"benchmark.{name}": result.equity for name, result in benchmarks.items()}
    if index is not None:
        columns[f"benchmark.{INDEX}"] = index
    return columns | {f"series.{name}": values for name, values in panel.series.items()}


def paid(book: BacktestResult) -> Floats:
    """Money that trading and short holdings took, bar by bar.   Shape: (K,)."""
    parts = [values for kind, values in book.costs.items() if kind != "interest"]
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def turnover(book: BacktestResult) -> Floats:
    """Half the money traded on each bar over the equity before it: the share of the portfolio that was exchanged.

    Shape: (K,).
    """
    return 0.5 * _over_equity(book.traded, book)


def gross_returns(book: BacktestResult) -> Floats:
    """The returns that the same trades would have earned without costs.   Shape: (K,)."""
    return book.returns + _over_equity(paid(book), book)


def _over_equity(money: Floats, book: BacktestResult) -> Floats:
    """Money of a bar as a fraction of the equity at the close before it; zero once nothing is left."""
    before = np.concatenate(([book.capital], book.equity[:-1]))
    alive = before > 0.0
    return np.where(alive, money / np.where(alive, before, 1.0), 0.0)


def index_level(panel: Panel) -> Floats | None:
    """The panel's index, bar by bar, if it has one.   Shape: (T,)."""
    name = next((name for name in _INDEX_SERIES if name in panel.series), None)
    return None if name is None else panel.series[name]


def index_curve(panel: Panel, cash: float) -> Floats | None:
    """What the cash would have become in the index, without any cost; None when the panel has no usable index.

    Time: the curve starts with the first row of the panel.
    Missing: a bar without a level keeps the level of the bar before; a first bar without a level, a level that is not
    positive, or an index that stops more than 5 bars before the panel does makes it unusable: a flat line is no index.
    """
    level = index_level(panel)
    if level is None:
        return None
    known = np.isfinite(level)
    if not known[0] or (level[known] <= 0.0).any() or not known[-_STALE:].any():
        return None
    carried = level[np.maximum.accumulate(np.where(known, np.arange(len(level)), 0))]
    return np.asarray(cash * carried / carried[0])


def exposure_columns(book: BacktestResult, panel: Panel) -> dict[str, NDArray[Any]]:
    """Net weight in each sector at each close; empty when the panel knows no sectors.

    Shape: every column (K,).   Missing: holdings without a sector are in the column "unknown".
    """
    if "sector" not in panel.labels:
        return {}
    codes = panel.labels["sector"]
    holdings = book.holdings
    names = panel.label_names.get("sector", tuple(f"sector {code}" for code in range(int(codes.max(initial=-1)) + 1)))
    columns = {name: np.where(codes == code, holdings, 0.0).sum(axis=1) for code, name in enumerate(names)}
    nowhere = (codes < 0) | (codes >= len(names))
    if (nowhere & (holdings != 0.0)).any():
        columns[_UNKNOWN] = columns.get(_UNKNOWN, 0.0) + np.where(nowhere, holdings, 0.0).sum(axis=1)
    return {"time": book.times, **columns}


def signal_table(signal: Signal, target: Target) -> dict[str, Any]:
    """Every view with what came true after it, a row each; `target` is NaN where it could not be earned."""
    from alphaloom.study.tables import signal_columns

    seen = ~np.isnan(signal.values)
    return {**signal_columns(signal), "target": target.values[seen].astype(np.float32)}


def weights_columns(book: BacktestResult) -> dict[str, Any]:
    """Every decided weight, a row each; a bar without rows held what it had."""
    from alphaloom.study.tables import named

    row, column = np.nonzero(np.isfinite(book.weights))
    return {
        "time": book.times[row],
        "asset": named(book.assets, column),
        "weight": book.weights[row, column],
    }


def orders_columns(book: BacktestResult) -> dict[str, Any]:
    """Every order with its fill and its costs, a row each."""
    from alphaloom.study.tables import named

    orders = book.orders
    numbers = ("ordered", "done", "price", "commission", "tax", "slippage", "impact")
    return {
        "decided": book.times[orders.decided],
        "filled": book.times[orders.filled],
        "asset": named(book.assets, orders.asset),
        **{name: np.asarray(getattr(orders, name), dtype=np.float64) for name in numbers},
        "status": named(STATUS, orders.status),
    }
