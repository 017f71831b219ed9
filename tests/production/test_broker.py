"""The paper broker: the back-test's arithmetic, one day at a time, from a journal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rough_world import CALM, ROUGH, Restless, rough_panel

from alphaloom.backtest import COSTS, STATUS, backtest, order_shares
from alphaloom.production import PaperBroker
from alphaloom.production.journal import read_journal
from alphaloom.production.orders import client_id, order_list


def live(path, policy, panel, market, *, start, cash=1e6, reopen=False, participation=np.inf, stop=None):
    """Every day of a panel at a paper broker; with `reopen` each day is another process's."""
    settings = {"cash": cash, "participation": participation}
    broker = PaperBroker.open(path, market, **settings)
    for row in range(start, stop or len(panel)):
        view = panel[: row + 1]
        broker.trade(view)
        book = broker.book(view)
        weights = policy.decide(view, book)
        shares = order_shares(weights, book, view, market)
        broker.submit(order_list("run", view.times[-1], assets=view.assets, shares=shares))
        if reopen:
            broker.close()
            broker = PaperBroker.open(path, market, **settings)
    return broker


@pytest.mark.parametrize(
    ("market", "policy"),
    [
        (ROUGH, Restless(gross=1.4, short=True)),
        (replace(ROUGH, fill="next_close", short=False, leverage=1.0), Restless()),
        (CALM, Restless(gross=1.0)),
        (replace(ROUGH, leverage=9.0, borrow=2.0, impact=3.0), Restless(gross=8.9, short=True)),
    ],
    ids=["rough", "next_close", "calm", "ruinous"],
)
def test_250_days_are_the_back_test_to_the_bit(tmp_path, market, policy):
    panel, start = rough_panel(), 40
    expected = backtest(policy, panel, market, start=start, cash=1e6)
    assert len(expected.orders) > 400 or expected.bankrupt is not None
    broker = live(tmp_path / "broker.jsonl", policy, panel, market, start=start)
    history = broker.book(panel).history
    assert np.array_equal(history.times, expected.times)
    assert history.equity.tobytes() == expected.equity.tobytes()
    assert np.array_equal(history.shares, expected.shares)
    records = read_journal(tmp_path / "broker.jsonl")
    bars = [record.body for record in records if record.kind == "bar"]
    assert [bar["cash"] for bar in bars] == expected.cash.tolist()
    assert [bar["traded"] for bar in bars] == expected.traded.tolist()
    for name in COSTS:
        assert [bar["costs"][name] for bar in bars] == expected.costs[name].tolist()
    ended = {client: outcome for bar in bars for client, outcome in bar["ended"].items()}
    assert len(ended) == len(expected.orders)
    told = expected.orders
    for at in range(len(told)):
        name = client_id("run", expected.times[told.decided[at]], panel.assets[told.asset[at]])
        outcome = ended[name]
        assert (outcome["status"], outcome["done"]) == (STATUS[told.status[at]], told.done[at])
        assert outcome["impact"] == told.impact[at]
    broker.close()


def test_another_process_every_day_changes_nothing(tmp_path):
    panel, policy = rough_panel(T=90), Restless(gross=1.4, short=True)
    one = live(tmp_path / "one.jsonl", policy, panel, ROUGH, start=20)
    other = live(tmp_path / "other.jsonl", policy, panel, ROUGH, start=20, reopen=True)
    assert one.head == other.head
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "other.jsonl").read_bytes()
