"""Guards: what must not be sent is not sent, and the reason is told."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.market import Book, History
from alphaloom.panel import Panel
from alphaloom.production import Guards
from alphaloom.production.orders import order_list

PRICES = np.array([10.0, 20.0, 50.0, 5.0])


def world(*, missing=0, cash=10_000.0):
    """Four assets at 10, 20, 50 and 5 for ten working days up to Friday 2020-01-17; the last one is held."""
    times = np.array([np.busday_offset("2020-01-06", k) for k in range(10)], dtype="datetime64[ns]")
    close = np.tile(PRICES, (10, 1))
    if missing:
        close[-missing:, 1] = np.nan
    panel = Panel(times, ("A", "B", "C", "D"), {"close": close}, periods_per_year=252.0)
    shares = np.array([0.0, 0.0, 0.0, 400.0])
    equity = cash + 2_000.0
    book = Book(times[-1], cash, shares, PRICES, History(times[-1:], np.array([equity]), shares[None]))
    return panel, book


def orders(panel, *shares, assets=None):
    return order_list("run", panel.times[-1], assets=assets or panel.assets, shares=np.array(shares))


def test_nothing_is_refused_without_limits():
    panel, book = world()
    wished = orders(panel, 10.0, -5.0, 100.0, -400.0)
    verdict = Guards().check(wished, book, panel)
    assert verdict.allowed == wished
    assert (verdict.refused, verdict.stopped) == ((), "")


def test_an_order_that_is_too_large_is_refused_alone():
    panel, book = world()  # equity 12,000
    verdict = Guards(max_order=0.1).check(orders(panel, 120.0, 60.1, 0.0, 0.0), book, panel)
    assert [order.asset for order in verdict.allowed] == ["A"], "exactly at the limit passes"
    (refusal,) = verdict.refused
    assert (refusal.guard, refusal.order.asset) == ("max_order", "B")
    assert "0.1002 of equity, more than 0.1" in refusal.reason


def test_a_position_may_shrink_but_not_grow_beyond_its_limit():
    panel, book = world()  # D is 2,000 of 12,000
    guards = Guards(max_position=0.1)
    assert guards.check(orders(panel, 0.0, 0.0, 0.0, 1.0), book, panel).refused[0].guard == "max_position"
    assert not guards.check(orders(panel, 0.0, 0.0, 0.0, -10.0), book, panel).refused
    assert not guards.check(orders(panel, 0.0, 0.0, 0.0, -400.0), book, panel).refused
    assert guards.check(orders(panel, 0.0, 0.0, 0.0, -900.0), book, panel).refused, "a short is a position too"


def test_too_much_turnover_stops_the_whole_day():
    panel, book = world()
    guards = Guards(max_turnover=0.25)
    assert len(guards.check(orders(panel, 100.0, -50.0, 20.0, 0.0), book, panel).allowed) == 3
    verdict = guards.check(orders(panel, 100.0, -50.0, 20.0, 1.0), book, panel)
    assert verdict.allowed == ()
    assert {refusal.guard for refusal in verdict.refused} == {"max_turnover"}
    assert len(verdict.refused) == 4
    assert "trade 0.2504 of equity" in verdict.stopped


def test_a_kill_switch_stops_the_day_while_it_exists(tmp_path):
    panel, book = world()
    guards = Guards(kill_switch=str(tmp_path / "stop"))
    wished = orders(panel, 10.0, 0.0, 0.0, 0.0)
    assert guards.check(wished, book, panel).allowed == wished
    (tmp_path / "stop").touch()
    verdict = guards.check(wished, book, panel)
    assert verdict.allowed == ()
    assert "kill_switch" in verdict.stopped
    (tmp_path / "stop").unlink()
    assert guards.check(wished, book, panel).allowed == wished


@pytest.mark.parametrize(("today", "stopped"), [("2020-01-17", False), ("2020-01-20", False), ("2020-01-21", True)])
def test_stale_data_stop_the_day_and_a_weekend_does_not(today, stopped):
    panel, book = world()
    verdict = Guards(stale_bars=1).check(orders(panel, 1.0, 0.0, 0.0, 0.0), book, panel, today=np.datetime64(today))
    assert bool(verdict.stopped) is stopped
    assert bool(verdict.allowed) is not stopped


def test_a_book_of_another_day_stops_the_day():
    panel, book = world()
    wished = orders(panel, 1.0, 0.0, 0.0, 0.0)
    assert "the book stands at 2020-01-17" in Guards().check(wished, book, panel[:-1]).stopped


@pytest.mark.parametrize(
    ("missing", "guards", "guard"),
    [
        (1, Guards(), "price_today"),
        (1, Guards(price_today=False), ""),
        (3, Guards(price_today=False, stale_bars=2), "stale_bars"),
        (2, Guards(price_today=False, stale_bars=2), ""),
    ],
)
def test_an_asset_without_a_price_is_not_traded(missing, guards, guard):
    panel, book = world(missing=missing)
    verdict = guards.check(orders(panel, 1.0, 1.0, 0.0, 0.0), book, panel)
    assert "A" in [order.asset for order in verdict.allowed]
    assert [(r.guard, r.order.asset) for r in verdict.refused] == ([(guard, "B")] if guard else [])


def test_an_asset_that_vanished_is_not_traded():
    panel, book = world()
    verdict = Guards(max_turnover=1.0).check(orders(panel, 1.0, assets=("Z",)), book, panel)
    assert verdict.refused[0].guard == "unknown"


def test_a_book_without_money_trades_nothing():
    panel, book = world(cash=-2_000.0)
    assert "worth 0.00" in Guards().check(orders(panel, 1.0, 0.0, 0.0, 0.0), book, panel).stopped


@pytest.mark.parametrize(
    "wrong", [{"max_order": 0.0}, {"max_turnover": -1.0}, {"max_position": np.nan}, {"stale_bars": -2}]
)
def test_a_limit_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(DataError) as caught:
        Guards(**wrong)
    assert caught.value.where == f"Guards.{next(iter(wrong))}"
