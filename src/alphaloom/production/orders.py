"""What a desk and a broker say to each other: orders, reports on them, and a statement of the whole account."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import STATUS
from alphaloom.errors import DataError

__all__ = [
    "CLOSED",
    "REFUSALS",
    "WAITING",
    "Action",
    "Broker",
    "Order",
    "Report",
    "Statement",
    "client_id",
    "day_text",
    "order_list",
    "time_text",
    "time_value",
]

WAITING = "waiting"
# Why a broker does not take an order: the asset is not in its market, no short sales, decided on an earlier bar, a
# second order for one asset, an order of no size, an account without money. The rest are the ledger's words.
REFUSALS = ("unknown", "short", "late", "second", "empty", "bankrupt")
# "volume": a participation cap left nothing to fill.
CLOSED = (*STATUS, "volume", "cancelled", *REFUSALS)


@dataclass(frozen=True)
class Order:
    """A wish to trade, with a name that the same wish always gets again.

    Unit: `shares` in the adjusted shares of the panel that it was decided on, negative to sell.
    Time: `decided` is the bar of the decision; the order is good for the next fill only.
    """

    client_id: str
    asset: str
    shares: float
    decided: np.datetime64

    def __post_init__(self) -> None:
        if not np.isfinite(self.shares):
            raise DataError("an order is a number of shares", found=self.shares, where=f"order for {self.asset}")
        object.__setattr__(self, "shares", float(self.shares))
        object.__setattr__(self, "decided", self.decided.astype("datetime64[ns]"))

    def body(self) -> dict[str, Any]:
        """The order as plain values for a journal."""
        return {
            "client_id": self.client_id,
            "asset": self.asset,
            "shares": self.shares,
            "decided": time_text(self.decided),
        }

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Order:
        """The order that `body` wrote down."""
        return cls(body["client_id"], body["asset"], body["shares"], time_value(body["decided"]))


@dataclass(frozen=True)
class Report:
    """What a broker says about one order: that it waits, or how it ended.

    Unit: `done` shares, signed; `price` the fill price, None where nothing was done; the four costs money.
    Time: `filled` is the bar of the fill, or of the failure to fill; None while it waits and for a refusal.
    `status` is "waiting", a status of the ledger (filled, partial, cash, halted, limit, unlisted), "volume" for want of
    volume, "cancelled", or why the order was refused (REFUSALS).
    """

    order: Order
    status: str
    done: float = 0.0
    price: float | None = None
    commission: float = 0.0
    tax: float = 0.0
    slippage: float = 0.0
    impact: float = 0.0
    filled: np.datetime64 | None = None

    @property
    def closed(self) -> bool:
        """True when nothing more will happen to the order."""
        return self.status != WAITING

    def outcome(self) -> dict[str, Any]:
        """All but the order itself as plain values for a journal."""
        numbers = {name: getattr(self, name) for name in ("done", "price", "commission", "tax", "slippage", "impact")}
        return {"status": self.status, **numbers, "filled": None if self.filled is None else time_text(self.filled)}

    @classmethod
    def of(cls, order: Order, outcome: Mapping[str, Any]) -> Report:
        """The report that `outcome` wrote down."""
        facts = dict(outcome)
        filled = facts.pop("filled")
        return cls(order, **facts, filled=None if filled is None else time_value(filled))


@dataclass(frozen=True)
class Action:
    """What happened to a holding without an order: its shares were multiplied by `factor`.

    A factor of 0 is a delisting (or a bankruptcy) that was paid out; any other one is a new adjustment of the prices.
    Time: it happened at the close of `time`, after the fills of that bar.
    """

    time: np.datetime64
    asset: str
    factor: float


@dataclass(frozen=True)
class Statement:
    """The account as the broker sees it at the close of `now`.

    `reports` are the orders decided at or after the time that was asked for, `actions` what happened since to the
    holdings; both whole when nothing was asked. `earlier` counts the orders before that time (those that came late
    aside), so that a loss among them shows. `now` is None before the first bar.
    """

    now: np.datetime64 | None
    cash: float
    positions: Mapping[str, float]
    reports: tuple[Report, ...]
    actions: tuple[Action, ...]
    earlier: int = 0


@runtime_checkable
class Broker(Protocol):
    """Anything that takes orders by client id. A call that gets no answer raises TimeoutError or ConnectionError."""

    def submit(self, orders: Sequence[Order]) -> tuple[Report, ...]: ...

    def cancel(self, client_ids: Sequence[str]) -> tuple[Report, ...]: ...

    def statement(self, since: np.datetime64 | None = None) -> Statement: ...


def client_id(run: str, decided: np.datetime64, asset: str) -> str:
    """The name of the one order that a run may give for an asset on a bar."""
    return hashlib.sha256(f"{run}\0{time_text(decided)}\0{asset}".encode()).hexdigest()[:24]


def order_list(
    run: str, decided: np.datetime64, *, assets: Sequence[str], shares: NDArray[np.float64]
) -> tuple[Order, ...]:
    """One order for each asset with shares to trade.   Shape: shares (N,), zero where nothing is wished."""
    wished = np.flatnonzero(shares)
    return tuple(
        Order(client_id(run, decided, assets[at]), assets[at], float(shares[at]), decided) for at in wished.tolist()
    )


def time_text(time: np.datetime64) -> str:
    """A time as text, to the nanosecond."""
    return str(time.astype("datetime64[ns]"))


def time_value(text: str) -> np.datetime64:
    """The time that `time_text` wrote."""
    return np.datetime64(text, "ns")


def day_text(time: np.datetime64) -> str:
    """The day of a time, for messages."""
    return str(np.datetime_as_string(time, unit="D"))
