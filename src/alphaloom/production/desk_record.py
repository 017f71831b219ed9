"""What a desk knows: its own orders, what it heard about them, and the positions that follow from both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alphaloom.production.orders import Action, Order, Report, time_text, time_value

__all__ = ["DeskRecord", "action_body", "action_of"]

# In one bar a holding is first traded, then adjusted or paid out, and only then accepted as it is.
_FILL, _ACTION, _ACCEPTED = 0, 1, 2


class DeskRecord:
    """The state of a desk; `apply` is the only way in which it changes.

    `orders` were intended, `heard` is the last word on each of them, `refused` the reason of each order that a guard
    stopped, `begun` and `agreed` the first and the last bar at which desk and broker said the same.
    """

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.heard: dict[str, Report] = {}
        self.refused: dict[str, str] = {}
        self.actions: set[Action] = set()
        self.flags: set[str] = set()
        self.begun: np.datetime64 | None = None
        self.agreed: np.datetime64 | None = None
        self._accepted: dict[str, list[tuple[np.datetime64, float]]] = {}
        self._clients: dict[str, list[str]] = {}
        self._positions: dict[str, float] = {}
        self._moved: set[str] = set()
        self._actions: dict[str, set[Action]] = {}

    def apply(self, kind: str, body: Mapping[str, Any]) -> None:
        """Take in one record of the journal."""
        {
            "intend": self._intend,
            "refuse": self._refuse,
            "hear": self._hear,
            "forget": self._forget,
            "act": self._act,
            "undo": self._undo,
            "accept": self._accept,
            "flag": self._flag,
            "agree": self._agree,
        }[kind](body)

    def positions(self) -> dict[str, float]:
        """Shares of each asset by what was heard; zero ones are left out."""
        for asset in self._moved:
            self._count(asset)
        self._moved.clear()
        return {asset: shares for asset, shares in sorted(self._positions.items()) if shares != 0.0}

    def _intend(self, body: Mapping[str, Any]) -> None:
        order = Order.of(body)
        self.orders[order.client_id] = order
        self._clients.setdefault(order.asset, []).append(order.client_id)

    def _refuse(self, body: Mapping[str, Any]) -> None:
        self.refused[body["client_id"]] = body["reason"]

    def _hear(self, body: Mapping[str, Any]) -> None:
        order = self.orders[body["client_id"]]
        self.heard[order.client_id] = Report.of(order, body["outcome"])
        self._moved.add(order.asset)

    def _forget(self, body: Mapping[str, Any]) -> None:
        self.heard.pop(body["client_id"], None)
        self._moved.add(self.orders[body["client_id"]].asset)

    def _act(self, body: Mapping[str, Any]) -> None:
        action = action_of(body)
        self.actions.add(action)
        self._actions.setdefault(action.asset, set()).add(action)
        self._moved.add(body["asset"])

    def _undo(self, body: Mapping[str, Any]) -> None:
        action = action_of(body)
        self.actions.discard(action)
        self._actions.get(action.asset, set()).discard(action)
        self._moved.add(body["asset"])

    def _accept(self, body: Mapping[str, Any]) -> None:
        self._accepted.setdefault(body["asset"], []).append((time_value(body["time"]), body["shares"]))
        self._moved.add(body["asset"])

    def _flag(self, body: Mapping[str, Any]) -> None:
        self.flags.add(body["text"])

    def _agree(self, body: Mapping[str, Any]) -> None:
        self.agreed = time_value(body["time"])
        self.begun = self.agreed if self.begun is None else self.begun
        self.flags.clear()

    def _count(self, asset: str) -> None:
        """The position of one asset from all that happened to it, in the order of time however it was heard."""
        reports = (self.heard[name] for name in self._clients.get(asset, ()) if name in self.heard)
        events = [(report.filled, _FILL, report.done) for report in reports if report.filled is not None]
        events += [(action.time, _ACTION, action.factor) for action in self._actions.get(asset, ())]
        events += [(time, _ACCEPTED, shares) for time, shares in self._accepted.get(asset, ())]
        shares = 0.0
        for _, kind, number in sorted(events):
            shares = shares * number if kind == _ACTION else shares + number
        self._positions[asset] = shares


def action_of(body: Mapping[str, Any]) -> Action:
    """The action that a record wrote down."""
    return Action(time_value(body["time"]), body["asset"], body["factor"])


def action_body(action: Action) -> dict[str, Any]:
    """An action as plain values for a journal."""
    return {"time": time_text(action.time), "asset": action.asset, "factor": action.factor}
