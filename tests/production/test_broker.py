"""The paper broker: the back-test's arithmetic, one day at a time, from a journal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rough_world import CALM, ROUGH, Restless, rough_panel

from alphaloom.backtest import COSTS, STATUS, backtest, order_shares
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.production import Desk, PaperBroker
from alphaloom.production.journal import read_journal
from alphaloom.production.orders import Action, Report, client_id, order_list
from alphaloom.production.reconcile import catch_up


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
    ("market", "policy", "lived"),
    [
        (ROUGH, Restless(gross=1.4, short=True), "delistings"),
        (replace(ROUGH, fill="next_close", short=False, leverage=1.0), Restless(), "limit"),
        (CALM, Restless(gross=1.0, full=True), "cut to fit the cash"),
        (replace(ROUGH, leverage=9.0, borrow=30.0), Restless(gross=8.9, short=True), "bankrupt"),
    ],
    ids=["rough", "next_close", "calm", "ruinous"],
)
def test_250_days_are_the_back_test_to_the_bit(tmp_path, market, policy, lived):
    panel, start = rough_panel(T=290), 40
    expected = backtest(policy, panel, market, start=start, cash=1e6)
    assert lived in " ".join(expected.notes)
    assert len(expected.orders) > 30
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


def opened(tmp_path, market=CALM, **terms):
    return PaperBroker.open(tmp_path / "broker.jsonl", market, **terms)


def orders_at(panel, row, shares):
    return order_list("run", panel.times[row], assets=panel.assets[: len(shares)], shares=np.array(shares))


def flat_panel(T=12, N=3, *, volume=1000.0, factor=None, price=10.0):
    times = np.array([np.busday_offset("2020-01-06", k, roll="forward") for k in range(T)], dtype="datetime64[ns]")
    fields = {name: np.full((T, N), price) for name in ("open", "close")} | {"volume": np.full((T, N), volume)}
    if factor is not None:
        fields["adj_factor"] = np.array(factor)
        fields |= {name: fields[name] * fields["adj_factor"] for name in ("open", "close")}
        fields["volume"] = fields["volume"] / fields["adj_factor"]
    return Panel(times, ("A", "B", "C")[:N], fields, periods_per_year=252.0)


def test_a_submitted_order_is_taken_once(tmp_path):
    panel = flat_panel()
    with opened(tmp_path) as broker:
        broker.trade(panel[:3])
        orders = orders_at(panel, 2, [100.0, 50.0])
        first = broker.submit([*orders, orders[0]])
        assert [report.status for report in first] == ["waiting"] * 3
        count = len(read_journal(tmp_path / "broker.jsonl"))
        assert broker.submit(orders) == first[:2]
        assert len(read_journal(tmp_path / "broker.jsonl")) == count
        told = broker.trade(panel[:4])
        assert [(report.order.asset, report.done, report.price) for report in told] == [("A", 100, 10), ("B", 50, 10)]
        assert broker.submit(orders) == told, "the answer to a late copy is how the order ended"
        assert broker.statement().positions == {"A": 100.0, "B": 50.0}


def test_refusals_say_why(tmp_path):
    panel = flat_panel()
    with opened(tmp_path, replace(CALM, short=False)) as broker:
        with pytest.raises(DataError, match="played to nothing"):
            broker.submit(orders_at(panel, 2, [1.0]))
        broker.trade(panel[:4])
        late = orders_at(panel, 2, [1.0])
        (fine, *_), (foreign, *_) = orders_at(panel, 3, [5.0]), orders_at(panel, 3, [3.0])
        strange = replace(foreign, asset="Z", client_id="z")
        second = replace(fine, client_id="other", shares=7.0)
        short = orders_at(panel, 3, [0.0, -1.0])
        empty = replace(fine, client_id="none", asset="C", shares=0.0)
        told = broker.submit([*late, fine, strange, second, *short, empty])
        assert [report.status for report in told] == ["late", "waiting", "unknown", "second", "short", "empty"]
        assert broker.submit([second])[0].status == "second", "a refusal stands"
        with pytest.raises(DataError, match="played to 2020-01-09"):
            broker.submit(orders_at(panel, 5, [1.0]))
        assert [report.status for report in broker.trade(panel[:5])] == ["filled"]


def test_an_order_can_be_taken_back_until_it_ends(tmp_path):
    panel = flat_panel()
    with opened(tmp_path) as broker:
        broker.trade(panel[:3])
        a, b = orders_at(panel, 2, [100.0, 50.0])
        broker.submit([a, b])
        assert [report.status for report in broker.cancel([a.client_id, "nobody's"])] == ["cancelled"]
        assert [report.order for report in broker.trade(panel[:4])] == [b]
        assert broker.cancel([b.client_id])[0].status == "filled"
        assert broker.submit([a])[0].status == "cancelled"


def test_a_cap_on_participation_fills_in_part(tmp_path):
    panel = flat_panel(volume=1000.0)
    thin = panel.with_field("volume", np.where(np.arange(3) == 2, 0.0, panel["volume"]), panel.units["volume"])
    with opened(tmp_path, replace(CALM, lot=30.0), participation=0.1) as broker:
        broker.trade(thin[:3])
        broker.submit(orders_at(panel, 2, [300.0, 60.0, 30.0]))
        told = broker.trade(thin[:4])
        assert [(r.status, r.done) for r in told] == [("partial", 90.0), ("filled", 60.0), ("volume", 0.0)]
        assert all(report.closed for report in told), "what is not filled lapses"
        broker.submit(orders_at(panel, 3, [-90.0]))
        broker.trade(thin[:5])
        assert broker.statement().positions == {"B": 60.0}


def test_several_bars_at_once_are_the_same_as_one_by_one(tmp_path):
    panel = rough_panel(T=60)
    one = live(tmp_path / "one", Restless(gross=1.4, short=True), panel, ROUGH, start=20, stop=40)
    live(tmp_path / "many", Restless(gross=1.4, short=True), panel, ROUGH, start=20, stop=40).close()
    for row in range(40, 60):
        one.trade(panel[: row + 1])
    one.close()
    with PaperBroker.open(tmp_path / "many", ROUGH) as many:
        many.trade(panel)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()


def test_the_book_of_a_past_bar_is_what_it_was(tmp_path):
    panel, policy = rough_panel(T=60), Restless(gross=1.4, short=True)
    with live(tmp_path / "b", policy, panel, ROUGH, start=20, stop=41) as broker:
        then = broker.book(panel[:41])
        for row in range(41, 60):
            broker.trade(panel[: row + 1])
        now = broker.book(panel[:41])
        assert broker.trade(panel[:41]) == ()
    assert (now.now, now.cash) == (then.now, then.cash)
    for name in ("shares", "prices"):
        assert np.array_equal(getattr(now, name), getattr(then, name), equal_nan=True)
    for name in ("times", "equity", "shares"):
        assert np.array_equal(getattr(now.history, name), getattr(then.history, name))


def split_world(shown_after):
    """Raw prices of 10 that a two-for-one split on row 6 halves; before it is shown, the factor knows nothing of it."""
    raw = np.where(np.arange(12) < 6, 10.0, 5.0)[:, None] * np.ones((1, 3))
    raw[:, 1:] = 10.0
    factor = np.ones((12, 3))
    if shown_after:
        factor[:6, 0] = 0.5
    panel = flat_panel(factor=factor)
    fields = {**panel.fields, "open": raw * factor, "close": raw * factor}
    return panel.replace(fields=fields)


def test_a_new_adjustment_rebases_holdings_orders_and_the_past(tmp_path):
    before, after = split_world(False), split_world(True)
    market = replace(CALM, commission=0.0, slippage=0.0, lot=1.0)
    with opened(tmp_path, market) as broker:
        broker.trade(before[:3])
        broker.submit(orders_at(before, 2, [100.0, 40.0]))
        broker.trade(before[:6])
        waits = orders_at(before, 5, [20.0, 0.0, 30.0])
        broker.submit(waits)
        told = broker.trade(after[:7])
        assert [(a.asset, a.factor) for a in told if isinstance(a, Action)] == [("A", 2.0)]
        assert [(r.order.shares, r.done) for r in told if isinstance(r, Report)] == [(20.0, 40.0), (30.0, 30.0)]
        book = broker.book(after[:7])
        assert book.shares.tolist() == [240.0, 40.0, 30.0]
        assert book.history.shares[:, 0].tolist() == [0.0, 200.0, 200.0, 200.0, 240.0]
        assert book.history.equity.tolist() == [1e6] * 5, "nothing is earned or lost by it"
    with opened(tmp_path, market) as again:
        assert again.book(after[:7]).history.shares[:, 0].tolist() == [0.0, 200.0, 200.0, 200.0, 240.0]
        assert again.trade(after[:7]) == ()


def test_a_desk_follows_a_new_adjustment(tmp_path):
    before, after = split_world(False), split_world(True)
    with opened(tmp_path) as broker, Desk.open(tmp_path / "desk") as desk:
        catch_up(desk, broker, before[:3])
        desk.intend(orders_at(before, 2, [100.0]))
        desk.send(broker)
        catch_up(desk, broker, before[:6])
        assert all(done.agreed for done in catch_up(desk, broker, after[:8]))
        assert desk.positions() == {"A": 200.0}


def test_a_price_that_changed_without_a_factor_is_refused(tmp_path):
    panel = flat_panel()
    moved = panel.with_field("close", panel["close"] * np.array([0.5, 1.0, 1.0]), panel.units["close"])
    with opened(tmp_path) as broker:
        broker.trade(panel[:3])
        broker.submit(orders_at(panel, 2, [100.0]))
        broker.trade(panel[:5])
        with pytest.raises(DataError, match=r"A at 5\.0, was 10\.0"):
            broker.trade(moved[:6])
        other = panel.with_field("close", panel["close"] * np.array([1.0, 0.5, 1.0]), panel.units["close"])
        broker.trade(other[:6])
        assert broker.statement().positions == {"A": 100.0}, "what is not held may change"


def test_a_corrected_price_with_the_same_factor_is_noted(tmp_path):
    panel = flat_panel(factor=np.ones((12, 3)))
    moved = panel.with_field("close", panel["close"] * np.array([1.01, 1.0, 1.0]), panel.units["close"])
    with opened(tmp_path) as broker:
        broker.trade(panel[:3])
        broker.submit(orders_at(panel, 2, [100.0]))
        broker.trade(panel[:5])
        broker.trade(moved[:6])
        assert broker.statement().positions == {"A": 100.0}
    (body,) = [record.body for record in read_journal(tmp_path / "broker.jsonl") if record.kind == "rebase"]
    assert body["revised"] == {"A": [10.0, 10.1]}
    assert body["factors"] == {}


def test_a_day_that_went_missing_and_an_asset_that_vanished_are_errors(tmp_path):
    panel = flat_panel()
    with opened(tmp_path) as broker:
        broker.trade(panel[:3])
        broker.submit(orders_at(panel, 2, [100.0]))
        broker.trade(panel[:6])
        keep = np.arange(12) != 4
        fields = {name: values[keep] for name, values in panel.fields.items()}
        with pytest.raises(DataError, match="every bar that was played"):
            broker.trade(Panel(panel.times[keep], panel.assets, fields))
        fields = {name: values[:, 1:] for name, values in panel.fields.items()}
        with pytest.raises(DataError, match=r"an asset that is held stays.*no A"):
            broker.trade(Panel(panel.times, panel.assets[1:], fields))
        with pytest.raises(DataError, match="played to 2020-01-13"):
            broker.book(panel)
        assert broker.statement().now == panel.times[5], "an error changes nothing"


def test_new_assets_and_another_order_of_columns_are_fine(tmp_path):
    panel = flat_panel(N=2)
    with opened(tmp_path) as broker:
        broker.trade(panel[:3])
        broker.submit(orders_at(panel, 2, [100.0, 50.0]))
        broker.trade(panel[:4])
        wide = flat_panel(N=3)
        turned = Panel(wide.times, ("C", "B", "A"), wide.fields, periods_per_year=252.0)
        broker.trade(turned[:5])
        broker.submit([order for order in orders_at(wide, 4, [0.0, 0.0, 10.0]) if order.asset == "C"])
        broker.trade(turned[:6])
        book = broker.book(turned[:6])
        assert book.shares.tolist() == [10.0, 50.0, 100.0]
        assert book.history.shares[1].tolist() == [0.0, 50.0, 100.0]


@pytest.mark.parametrize(
    ("terms", "word"), [({"cash": 5.0}, "cash"), ({"participation": 0.5}, "participation"), ({"lot": 9.0}, "lot")]
)
def test_an_account_keeps_its_terms(tmp_path, terms, word):
    opened(tmp_path).close()
    lot = terms.pop("lot", 0.0)
    with pytest.raises(DataError, match=f"its {word} differs"):
        opened(tmp_path, replace(CALM, lot=lot), **terms)
    opened(tmp_path).close()


@pytest.mark.parametrize("terms", [{"market": Market(fill="same_close")}, {"cash": 0.0}, {"participation": 0.0}])
def test_an_account_that_cannot_be_is_refused(tmp_path, terms):
    with pytest.raises(DataError):
        opened(tmp_path, **terms)
