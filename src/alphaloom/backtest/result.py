"""What a back-test leaves behind: data only; ratios and drawdowns are functions of the metrics room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.market import Market

__all__ = ["COSTS", "STATUS", "BacktestResult", "Orders"]

STATUS = ("filled", "partial", "cash", "halted", "limit", "unlisted")
COSTS = ("commission", "tax", "slippage", "impact", "borrow", "interest")


@dataclass(frozen=True, eq=False)
class Orders:
    """Every order, in the order in which the market met them: one row of equal arrays for each.

    Shape: (M,) each; `decided` and `filled` are rows of the result's times, `asset` is a column of its assets.
    Unit: `ordered` and `done` shares, negative for a sale; `price` the fill price, NaN where nothing was done; the four
    costs money; `status` indexes STATUS: filled, partial (cut to fit the cash), or not filled for want of cash, for a
    halt, at a price limit, or for an asset that is not listed. What is not filled lapses.
    """

    decided: NDArray[np.int32]
    filled: NDArray[np.int32]
    asset: NDArray[np.int32]
    ordered: NDArray[np.float64]
    done: NDArray[np.float64]
    price: NDArray[np.float64]
    commission: NDArray[np.float64]
    tax: NDArray[np.float64]
    slippage: NDArray[np.float64]
    impact: NDArray[np.float64]
    status: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.decided)

    @property
    def value(self) -> NDArray[np.float64]:
        """Money traded by each order, zero where nothing was done."""
        return np.where(self.done != 0.0, np.abs(self.done) * self.price, 0.0)

    def columns(self, times: NDArray[np.datetime64], assets: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        """The orders as named columns with dates, asset names and status words, ready for a table or a file."""
        names: dict[str, NDArray[Any]] = {
            "decided": times[self.decided],
            "filled": times[self.filled],
            "asset": np.array(assets, dtype=object)[self.asset],
        }
        numbers = {item.name: getattr(self, item.name) for item in fields(self)[3:-1]}
        return {**names, **numbers, "status": np.array(STATUS, dtype=object)[self.status]}


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """One policy's life in one market.

    Shape: K rows, the first is the close of the first decision; `equity`, `cash`, `traded` (K,); `shares`, `prices`
    (last known close) and `weights` (decided; a row of NaN holds) (K, N); `costs` six (K,) rows of money paid, so
    interest that was earned is negative.
    Time: equity, shares and prices stand at the close of the row, after its trades; costs and `traded` are booked in
    the row of the fill.
    """

    times: NDArray[np.datetime64]
    assets: tuple[str, ...]
    capital: float
    equity: NDArray[np.float64]
    cash: NDArray[np.float64]
    shares: NDArray[np.float64]
    prices: NDArray[np.float64]
    weights: NDArray[np.float64]
    costs: Mapping[str, NDArray[np.float64]]
    traded: NDArray[np.float64]
    orders: Orders
    market: Market
    periods_per_year: float
    notes: tuple[str, ...] = ()
    bankrupt: np.datetime64 | None = None

    @property
    def returns(self) -> NDArray[np.float64]:
        """Return of each bar; zero after bankruptcy.

        Shape: (K,).   Time: row 0 is what the first decision itself cost, zero unless fills are at the same close.
        """
        before = np.concatenate(([self.capital], self.equity[:-1]))
        alive = before > 0.0
        return np.where(alive, self.equity / np.where(alive, before, 1.0) - 1.0, 0.0)

    @property
    def holdings(self) -> NDArray[np.float64]:
        """Fractions of equity held at each close.   Shape: (K, N)."""
        alive = self.equity > 0.0
        values = np.where(self.shares != 0.0, self.shares * self.prices, 0.0)
        return np.where(alive[:, None], values / np.where(alive, self.equity, 1.0)[:, None], 0.0)
