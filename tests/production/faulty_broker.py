"""A paper broker behind a line on which everything goes wrong that can, by a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alphaloom.market import Market
from alphaloom.production import PaperBroker
from alphaloom.production.orders import Report, Statement

FAULTS = ("duplicate", "delayed", "reordered", "dropped", "timed_out", "rejected", "restarted")


class FaultyBroker:
    """Offers what a PaperBroker offers; `faults` are drawn for each call while `troubled` is True."""

    def __init__(self, path: Path, market: Market, *, faults=FAULTS, seed=0, rate=0.6, cash=1e6):
        self.path, self.market, self.cash = path, market, cash
        self.faults, self.rate = faults, rate
        self.random = np.random.default_rng(seed)
        self.met = dict.fromkeys(faults, 0)
        self.troubled = True
        self._late = []
        self._refused: dict[str, Report] = {}
        self.broker = PaperBroker.open(path, market, cash=cash)

    @property
    def now(self):
        return self.broker.now

    def draw(self, *possible):
        possible = [fault for fault in possible if fault in self.faults]
        if not self.troubled or not possible or self.random.random() > self.rate:
            return ""
        fault = str(self.random.choice(possible))
        self.met[fault] += 1
        return fault

    def submit(self, orders):
        self._deliver()
        fault = self.draw("duplicate", "delayed", "reordered", "dropped", "timed_out", "rejected")
        if fault == "dropped":
            raise ConnectionError("the request was lost")
        if fault == "delayed":
            self._late.extend(orders)
            raise TimeoutError("the request is on its way")
        if fault == "reordered":
            orders = [orders[at] for at in self.random.permutation(len(orders))]
        if fault == "rejected":
            for order in orders:
                if self.random.random() < 0.5 and order.client_id not in self.broker._account.orders:
                    self._refused[order.client_id] = Report(order, "halted")
        answers = self._take(orders)
        if fault == "timed_out":
            raise TimeoutError("the answer was lost")
        if fault == "duplicate":
            answers = (*answers, *self._take(orders))
        return answers

    def _take(self, orders):
        taken = self.broker.submit([order for order in orders if order.client_id not in self._refused])
        return (*taken, *(self._refused[o.client_id] for o in orders if o.client_id in self._refused))

    def _deliver(self):
        late, self._late = self._late, []
        # A broker that was restored meanwhile does not know the day of an order that is still on its way.
        self._take([order for order in late if order.decided <= self.now])

    def cancel(self, client_ids):
        return self.broker.cancel(client_ids)

    def statement(self, since=None):
        if self.draw("dropped", "timed_out"):
            raise ConnectionError("the line is down")
        plain = self.broker.statement(since)
        refused = [r for r in self._refused.values() if since is None or r.order.decided >= since]
        earlier = plain.earlier + len(self._refused) - len(refused)
        return Statement(plain.now, plain.cash, plain.positions, (*plain.reports, *refused), plain.actions, earlier)

    def trade(self, panel):
        told = list(self.broker.trade(panel))
        self._deliver()
        fault = self.draw("duplicate", "delayed", "reordered", "dropped")
        if fault == "duplicate":
            told = [*told, *told]
        elif fault in ("dropped", "delayed"):
            told = [message for message in told if self.random.random() < 0.5]
        elif fault == "reordered":
            told = [told[at] for at in self.random.permutation(len(told))]
        return tuple(told)

    def trouble(self):
        """Between two days the broker may fall over."""
        if self.draw("restarted"):
            self.restart(int(self.random.integers(1, 40)))

    def restart(self, lost):
        """Come back from an older copy: the last records are gone, and their numbers are given out again."""
        self.broker.close()
        lines = self.path.read_bytes().splitlines(keepends=True)
        self.path.write_bytes(b"".join(lines[: max(1, len(lines) - lost)]))
        self.broker = PaperBroker.open(self.path, self.market, cash=self.cash)

    def book(self, panel):
        return self.broker.book(panel)

    def close(self):
        self.broker.close()
