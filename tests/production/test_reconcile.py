"""Whatever goes wrong between a desk and its broker, two passes later both say the same."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_broker import FAULTS, FaultyBroker
from rough_world import ROUGH, Restless, rough_panel

from alphaloom.backtest import backtest, order_shares
from alphaloom.errors import DataError
from alphaloom.production import Desk, PaperBroker
from alphaloom.production.orders import Order, Report, order_list
from alphaloom.production.reconcile import catch_up

POLICY = Restless(gross=1.4, short=True)


def run_days(tmp_path, *, faults, seed, T=46, start=20):
    """Every day of a panel over a bad line; after each day's calls the line is good for the second pass."""
    panel = rough_panel(T=T)
    broker = FaultyBroker(tmp_path / "broker.jsonl", ROUGH, faults=faults, seed=seed)
    desk = Desk.open(tmp_path / "desk.jsonl")
    for row in range(start, T):
        view = panel[: row + 1]
        broker.trouble()
        for passed in missed(desk, broker, panel, row):
            desk.hear(broker.trade(passed))
            settle(desk, broker)
        book = broker.book(view)
        shares = order_shares(POLICY.decide(view, book), book, view, ROUGH)
        desk.intend(order_list("run", view.times[-1], assets=view.assets, shares=shares))
        desk.send(broker)
        settle(desk, broker)
    return panel, desk, broker


def missed(desk, broker, panel, row):
    """The bars that a broker has not played yet; the one where it stands first, so that it can be told its orders."""
    now = desk.begun if broker.now is None else broker.now
    first = row if now is None else int(np.searchsorted(panel.times, now))
    return [panel[: at + 1] for at in range(first, row + 1)]


def settle(desk, broker):
    first = desk.reconcile(broker)
    if not first.agreed:
        broker.troubled = False
        assert desk.reconcile(broker).agreed
    broker.troubled = True


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("fault", [*FAULTS, "all"])
def test_every_fault_is_settled_within_two_passes(tmp_path, fault, seed):
    faults = FAULTS if fault == "all" else (fault,)
    panel, desk, broker = run_days(tmp_path, faults=faults, seed=seed)
    assert all(broker.met.values()), "every fault was met"
    broker.troubled = False
    statement = broker.statement()
    assert desk.positions() == pytest.approx(dict(statement.positions))
    assert {report.order.client_id for report in statement.reports} == {order.client_id for order in desk.orders}
    assert all(desk.report(report.order.client_id) == report for report in statement.reports)
    if "rejected" not in faults:
        # Nothing was lost and nothing was done twice: the account is the back-test's, to the bit.
        expected = backtest(POLICY, panel, ROUGH, start=20, cash=1e6)
        history = broker.book(panel).history
        assert history.equity.tobytes() == expected.equity.tobytes()
        assert np.array_equal(history.shares, expected.shares)
    broker.close()
    desk.close()


@pytest.fixture
def pair(tmp_path):
    panel = rough_panel(T=40)
    broker, desk = PaperBroker.open(tmp_path / "b", ROUGH), Desk.open(tmp_path / "d")
    broker.trade(panel[:31])
    yield panel, broker, desk
    broker.close()
    desk.close()


def orders_at(panel, row, shares, run="run"):
    return order_list(run, panel.times[row], assets=panel.assets[: len(shares)], shares=np.array(shares))


def test_a_position_that_nobody_ordered_is_flagged_until_it_is_accepted(pair):
    panel, broker, desk = pair
    broker.submit(orders_at(panel, 30, [100.0], run="somebody else"))
    desk.hear(broker.trade(panel[:33]))
    found = desk.reconcile(broker)
    assert not found.agreed
    assert len(found.foreign) == 1
    assert found.positions == ("A00: the broker holds 100, the orders come to 0",)
    before = len(desk._journal)
    assert not desk.reconcile(broker).agreed
    assert len(desk._journal) == before, "a flag is written once"
    desk.accept(broker, "the order of a person")
    assert desk.reconcile(broker).agreed
    assert desk.positions() == {"A00": 100.0}


def test_what_was_never_sent_lapses_when_its_bar_has_passed(pair):
    panel, broker, desk = pair
    (order,) = orders_at(panel, 30, [100.0])
    desk.intend([order])
    desk.hear(broker.trade(panel[:32]))
    found = desk.reconcile(broker)
    assert found.agreed
    assert found.lapsed == (order.client_id,)
    assert desk.report(order.client_id) == Report(order, "late")
    assert broker.submit([order])[0].status == "late"
    assert desk.reconcile(broker).agreed


def test_a_fill_that_was_not_heard_is_adopted(pair):
    panel, broker, desk = pair
    orders = orders_at(panel, 30, [100.0, 0.0, -50.0])
    desk.intend(orders)
    assert [report.status for report in desk.send(broker)] == ["waiting", "waiting"]
    assert desk.send(broker) == (), "what was answered is not sent again"
    told = broker.trade(panel[:32])
    found = desk.reconcile(broker)
    assert found.agreed
    assert set(found.adopted) == {order.client_id for order in orders}
    before = len(desk._journal)
    desk.hear([*told, *told])
    assert len(desk._journal) == before, "what is known is not written again"


def test_one_name_is_one_order(pair):
    panel, broker, desk = pair
    (order,) = orders_at(panel, 30, [100.0])
    other = Order(order.client_id, order.asset, 101.0, order.decided)
    desk.intend([order])
    with pytest.raises(DataError, match="one order"):
        desk.intend([other])
    broker.submit([order])
    with pytest.raises(DataError, match="one order"):
        broker.submit([other])


def test_a_desk_goes_on_where_it_stood(pair, tmp_path):
    panel, broker, desk = pair
    desk.intend(orders_at(panel, 30, [100.0, 0.0, -50.0]))
    desk.refuse(orders_at(panel, 30, [0.0, 0.0, 0.0, 7.0]), ["too large"])
    desk.send(broker)
    catch_up(desk, broker, panel)
    positions, head = desk.positions(), desk.head
    assert positions
    desk.close()
    again = Desk.open(tmp_path / "d")
    assert (again.positions(), again.head, again.begun) == (positions, head, panel.times[30])
    assert again.reconcile(broker).agreed
    again.close()


def test_an_order_that_did_nothing_is_missed_when_the_broker_forgets_it(tmp_path):
    panel = rough_panel(T=40)
    row = next(row for row in range(25, 35) if not panel.buyable[row + 1].all() and panel.listed[row + 1, 0])
    at = int(np.flatnonzero(~panel.buyable[row + 1])[0])
    with Desk.open(tmp_path / "d") as desk:
        broker = PaperBroker.open(tmp_path / "b", ROUGH)
        catch_up(desk, broker, panel[: row + 1])
        (order,) = orders_at(panel, row, [0.0] * at + [100.0])
        desk.intend([order])
        desk.send(broker)
        assert all(found.agreed for found in catch_up(desk, broker, panel[: row + 4]))
        assert desk.report(order.client_id).done == 0.0
        broker.close()
        lines = (tmp_path / "b").read_bytes().splitlines(keepends=True)
        (tmp_path / "b").write_bytes(b"".join(lines[:2]))
        broker = PaperBroker.open(tmp_path / "b", ROUGH)
        broker.trade(panel[: row + 4])
        found = desk.reconcile(broker)
        assert found.agreed
        assert found.lapsed == (order.client_id,)
        broker.close()
