"""The rules and costs of a market, and what a policy holds in it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError

__all__ = ["Book", "Fill", "History", "Market"]

Fill = Literal["next_open", "next_close", "same_close"]


@dataclass(frozen=True)
class Market:
    """How orders are filled and what they cost.

    Unit: `commission`, `sell_tax` and `slippage` are fractions of the traded value; `impact` is the coefficient of the
    square-root law, cost fraction = impact * daily volatility * sqrt(traded value / average daily money volume);
    `borrow` and `cash_rate` are yearly rates on short value and on free cash; `lot` is the trading unit in shares, 0 is
    fractional; `leverage` bounds gross exposure over equity; a delisted holding is paid its last close less
    `delist_loss`.
    Time: weights decided on row t are sized at that close and filled as `fill` says.
    Raises: DataError for a negative cost or an unknown fill.
    """

    commission: float = 0.0005
    sell_tax: float = 0.0
    slippage: float = 0.0005
    impact: float = 0.0
    borrow: float = 0.0
    cash_rate: float = 0.0
    lot: float = 0.0
    fill: Fill = "next_open"
    short: bool = False
    leverage: float = 1.0
    delist_loss: float = 0.0

    def __post_init__(self) -> None:
        if self.fill not in get_args(Fill):
            raise DataError(
                "an order is filled at the next open, the next close or the same close",
                found=self.fill,
                where="market.fill",
                fix=f"one of: {', '.join(get_args(Fill))}",
            )
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in ("fill", "short", "cash_rate") and not 0 <= value < np.inf:
                raise DataError("a cost or limit is not negative", found=value, where=f"market.{item.name}")
        if self.leverage <= 0 or self.delist_loss > 1:
            raise DataError(
                "leverage is positive and a delisting loses at most everything",
                found=f"leverage {self.leverage}, delist_loss {self.delist_loss}",
                where="market",
            )


@dataclass(frozen=True, eq=False)
class History:
    """The closes that a book has lived through, the present one last.

    Shape: times (K,), equity (K,), shares (K, N).
    """

    times: NDArray[np.datetime64]
    equity: NDArray[np.float64]
    shares: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Book:
    """What is held at the close of `now`.

    Shape: shares (N,), negative when short; prices (N,), the last known close.   Unit: money, shares, price.
    Missing: the price of an asset that never traded is NaN and its shares are zero.
    """

    now: np.datetime64
    cash: float
    shares: NDArray[np.float64]
    prices: NDArray[np.float64]
    history: History

    @property
    def values(self) -> NDArray[np.float64]:
        """Money in each asset.   Shape: (N,)."""
        return np.where(self.shares != 0.0, self.shares * self.prices, 0.0)

    @property
    def equity(self) -> float:
        """Cash and holdings at the last known closes."""
        return float(self.cash + self.values.sum())

    @property
    def weights(self) -> NDArray[np.float64]:
        """Fractions of equity; a policy that returns them trades exactly nothing.   Shape: (N,)."""
        return self.values / self.equity if self.equity > 0 else np.zeros_like(self.shares)
