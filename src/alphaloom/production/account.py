"""The state of a paper account: what a broker's journal, read from its first record to its last, comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.production.orders import WAITING, Action, Order, Report, time_value

__all__ = ["Account"]

Floats = NDArray[np.float64]


class Account:
    """Cash, holdings, orders and their past; `apply` is the only way in which it changes.

    `held` gives the shares, the last known close and the adjustment factor (None where the panel has none) of every
    holding and of every asset with an order; `waiting` the shares of the orders that wait, in the units of `held`.
    """

    def __init__(self) -> None:
        self.terms: Mapping[str, Any] = {}
        self.assets: list[str] = []
        self.times: list[np.datetime64] = []
        self.cash: list[float] = []
        self.equity: list[float] = []
        self.held: dict[str, Sequence[float | None]] = {}
        self.orders: dict[str, Report] = {}
        self.waiting: dict[str, tuple[str, float]] = {}
        self.actions: list[Action] = []
        self.periods_per_year = 0.0
        self.dead = False
        self._shares = np.zeros((0, 0))

    @property
    def now(self) -> np.datetime64 | None:
        """The last bar that was played."""
        return self.times[-1] if self.times else None

    @property
    def shares(self) -> Floats:
        """Shares at each close.   Shape: (K, A), A the assets that the account has met."""
        return self._shares[: len(self.times), : len(self.assets)]

    def apply(self, kind: str, body: Mapping[str, Any]) -> None:
        """Take in one record of the journal."""
        {
            "open": self._open,
            "order": self._order,
            "cancel": self._cancel,
            "bar": self._bar,
            "rebase": self._rebase,
        }[kind](body)

    def _open(self, body: Mapping[str, Any]) -> None:
        self.terms = body

    def _order(self, body: Mapping[str, Any]) -> None:
        order = Order.of(body)
        self.orders[order.client_id] = Report(order, body["status"])
        if body["status"] == WAITING:
            self.waiting[order.asset] = (order.client_id, order.shares)
            self.held.setdefault(order.asset, [0.0, body["price"], body["factor"]])

    def _cancel(self, body: Mapping[str, Any]) -> None:
        order = self.orders[body["client_id"]].order
        self.orders[order.client_id] = Report(order, "cancelled")
        del self.waiting[order.asset]

    def _bar(self, body: Mapping[str, Any]) -> None:
        time = time_value(body["time"])
        self.assets.extend(body["new"])
        self.times.append(time)
        self.cash.append(body["cash"])
        self.equity.append(body["equity"])
        self.held, self.dead = dict(body["held"]), body["dead"]
        self.periods_per_year = body["periods_per_year"]
        for client, outcome in body["ended"].items():
            order = self.orders[client].order
            self.orders[client] = Report.of(order, outcome)
            del self.waiting[order.asset]
        self.actions.extend(Action(time, asset, 0.0) for asset in body["left"])
        self._keep_row()

    def _keep_row(self) -> None:
        K, A = len(self.times), len(self.assets)
        if self._shares.shape[0] < K or self._shares.shape[1] < A:
            grown = np.zeros((max(16, 2 * K), A))
            grown[: self._shares.shape[0], : self._shares.shape[1]] = self._shares
            self._shares = grown
        place = {name: at for at, name in enumerate(self.assets)} if self.held else {}
        for asset, (shares, _, _) in self.held.items():
            self._shares[K - 1, place[asset]] = shares

    def _rebase(self, body: Mapping[str, Any]) -> None:
        time, place = time_value(body["time"]), {name: at for at, name in enumerate(self.assets)}
        for asset, factor in body["factors"].items():
            self._shares[: len(self.times), place[asset]] *= factor
            self.actions.append(Action(time, asset, factor))
            if asset in self.waiting:
                client, shares = self.waiting[asset]
                self.waiting[asset] = (client, shares * factor)
        self.held.update(body["held"])
