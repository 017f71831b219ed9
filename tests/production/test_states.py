"""Whatever is called in whatever order, the money adds up, and desk and broker end with one view of it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from rough_world import rough_panel

from alphaloom.market import Market
from alphaloom.production import Desk, Journal, PaperBroker
from alphaloom.production.journal import read_journal
from alphaloom.production.orders import Report, order_list
from alphaloom.production.reconcile import catch_up

MARKET = Market(commission=0.001, sell_tax=0.002, slippage=0.0005, short=True, leverage=2.0)
PANEL = rough_panel(T=60, N=5, seed=3)
START, CASH = 20, 1e6


class Trading(RuleBasedStateMachine):
    """A desk, a broker, their journals, and everything that a bad week brings."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.row = START
        self.copies = []

    @initialize()
    def begin(self):
        self.broker, self.desk = self.open_broker(), Desk.open(self.folder / "desk")
        catch_up(self.desk, self.broker, PANEL[: self.row + 1])

    def open_broker(self):
        return PaperBroker.open(self.folder / "broker", MARKET, cash=CASH)

    @rule(shares=st.lists(st.integers(-300, 300), min_size=5, max_size=5), sent=st.booleans())
    def order(self, shares, sent):
        orders = order_list("run", PANEL.times[self.row], assets=PANEL.assets, shares=np.array(shares, dtype=float))
        fresh = [order for order in orders if order.client_id not in {known.client_id for known in self.desk.orders}]
        self.desk.intend(fresh)
        if sent:
            self.desk.send(self.broker)

    @rule(bars=st.integers(1, 3), heard=st.booleans())
    def pass_time(self, bars, heard):
        for _ in range(min(bars, len(PANEL) - 1 - self.row)):
            self.row += 1
            told = self.broker.trade(PANEL[: self.row + 1])
            self.desk.hear([*told[::-1], *told[:2]] if heard else [])

    @rule(pick=st.integers(0, 50), heard=st.booleans())
    def cancel(self, pick, heard):
        orders = self.desk.orders
        if orders:
            told = self.broker.cancel([orders[pick % len(orders)].client_id])
            self.desk.hear(told if heard else [])

    @rule(count=st.integers(0, 8))
    def send_again(self, count):
        mine = [order for order in self.desk.orders if order.decided == PANEL.times[self.row]][:count]
        assert [report.order for report in self.broker.submit(mine)] == mine

    @rule()
    def reconnect(self):
        self.broker.close()
        self.desk.close()
        self.broker, self.desk = self.open_broker(), Desk.open(self.folder / "desk")
        assert self.broker.trade(PANEL[: self.row + 1]) == ()

    @rule()
    def tear(self):
        """A kill in the middle of a write."""
        self.broker.close()
        with (self.folder / "broker").open("ab") as file:
            file.write(b'{"body":{"cash":1')
        self.broker = self.open_broker()
        self.broker.trade(PANEL[: self.row + 1])

    @rule(lost=st.integers(1, 10))
    def restore(self, lost):
        """The broker comes back from an older copy."""
        self.broker.close()
        lines = (self.folder / "broker").read_bytes().splitlines(keepends=True)
        (self.folder / "broker").write_bytes(b"".join(lines[: max(2, len(lines) - lost)]))
        self.broker = self.open_broker()
        passes = catch_up(self.desk, self.broker, PANEL[: self.row + 1])
        assert passes[-1].agreed

    @rule()
    def reconcile(self):
        found = self.desk.reconcile(self.broker)
        assert found.agreed or self.desk.reconcile(self.broker).agreed
        statement = self.broker.statement()
        assert self.desk.positions() == pytest.approx(dict(statement.positions))
        for report in statement.reports:
            assert self.desk.report(report.order.client_id) == report

    @invariant()
    def the_money_adds_up(self):
        if not hasattr(self, "broker"):
            return
        statement = self.broker.statement()
        reports = statement.reports
        assert len({report.order.client_id for report in reports}) == len(reports)
        assert all(self.right(report) for report in reports)
        gone = {action.asset for action in statement.actions}
        shares = {}
        for report in reports:
            shares[report.order.asset] = shares.get(report.order.asset, 0.0) + report.done
        held = {asset: total for asset, total in shares.items() if total and asset not in gone}
        assert held == pytest.approx({a: s for a, s in statement.positions.items() if a not in gone})
        if not gone:
            paid = sum(r.done * (r.price or 0.0) + r.commission + r.tax + r.slippage + r.impact for r in reports)
            assert statement.cash == pytest.approx(CASH - paid)

    @staticmethod
    def right(report: Report) -> bool:
        """Filled on the bar after the decision, at its open, and never more than was ordered."""
        if report.done == 0.0:
            return True
        row, at = int(np.searchsorted(PANEL.times, report.filled)), PANEL.assets.index(report.order.asset)
        return (
            PANEL.times[row - 1] == report.order.decided
            and report.price == PANEL["open"][row, at]
            and 0.0 < report.done / report.order.shares <= 1.0
        )

    def teardown(self):
        if hasattr(self, "broker"):
            self.broker.close()
            self.desk.close()
            for name in ("broker", "desk"):
                with Journal(self.folder / name) as journal:
                    assert journal.verify(journal.head) == len(read_journal(self.folder / name))
        shutil.rmtree(self.folder)


TestTrading = Trading.TestCase
TestTrading.settings = settings(max_examples=25, stateful_step_count=25, deadline=None, derandomize=True)
