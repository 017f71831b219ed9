"""The bars that a paper account lives through, as records for its journal."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphaloom.backtest import COSTS, STATUS, Passage
from alphaloom.panel import Panel
from alphaloom.production.account import Account
from alphaloom.production.adjusting import Marks, marks_at
from alphaloom.production.orders import Report, time_text

__all__ = ["bar_bodies"]


def bar_bodies(account: Account, panel: Panel, passage: Passage, *, start: int, rate: float) -> list[dict[str, Any]]:
    """One body for each bar after row `start` (and for that row itself when the account begins there)."""
    begins = account.now is None
    place = {name: at for at, name in enumerate(panel.assets)}
    met = set(account.assets)
    bodies: list[dict[str, Any]] = []
    for k in range(0 if begins else 1, len(panel) - start):
        ended = _ended(account, panel, passage, place=place, row=start + 1) if k == 1 and not begins else {}
        body = {
            "time": time_text(panel.times[start + k]),
            "cash": float(passage.cash[k]),
            "equity": float(passage.equity[k]),
            "traded": float(passage.traded[k]),
            "costs": {name: float(passage.costs[at, k]) for at, name in enumerate(COSTS)},
            "dead": bool(passage.dead and passage.equity[k] <= 0.0),
            "ended": {name: report.outcome() for name, report in ended.items()},
            "left": _left(panel, passage, k, ended=ended, place=place),
            "held": _held(panel, passage, k, marks=marks_at(panel, start + k)),
            "new": [] if bodies else [name for name in panel.assets if name not in met],
            "periods_per_year": rate,
        }
        bodies.append(body)
    return bodies


def _ended(account: Account, panel: Panel, passage: Passage, *, place: dict[str, int], row: int) -> dict[str, Report]:
    """How each order that waited ended in the bar after it, by client id."""
    orders, filled = passage.orders, panel.times[row]
    found = {asset: at for at, asset in enumerate(orders.asset.tolist())}
    ended = {}
    for asset, (client, wished) in account.waiting.items():
        order = account.orders[client].order
        at = found.get(place.get(asset, -1))
        if at is None:
            # The ledger met no such order: the asset left the panel, or a cap left nothing of it.
            ended[client] = Report(order, "volume" if asset in place else "unknown", filled=filled)
            continue
        done, status = float(orders.done[at]), STATUS[orders.status[at]]
        if status == "filled" and abs(orders.ordered[at]) < abs(wished):
            status = "partial"
        ended[client] = Report(
            order,
            status,
            done=done,
            price=float(orders.price[at]) if done != 0.0 else None,
            commission=float(orders.commission[at]),
            tax=float(orders.tax[at]),
            slippage=float(orders.slippage[at]),
            impact=float(orders.impact[at]),
            filled=filled,
        )
    return ended


def _left(panel: Panel, passage: Passage, k: int, *, ended: dict[str, Report], place: dict[str, int]) -> list[str]:
    """The assets whose holding went away without an order."""
    if k == 0:
        return []
    before = np.array(passage.shares[k - 1])
    for report in ended.values():
        if report.done:
            before[place[report.order.asset]] += report.done
    return [panel.assets[at] for at in np.flatnonzero((before != 0.0) & (passage.shares[k] == 0.0)).tolist()]


def _held(panel: Panel, passage: Passage, k: int, *, marks: Marks) -> dict[str, list[float | None]]:
    row = passage.shares[k]
    return {panel.assets[at]: [float(row[at]), *marks.facts(at)] for at in np.flatnonzero(row).tolist()}
