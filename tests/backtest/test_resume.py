"""A book that goes on from where it stood has the bits of one that never stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.backtest import Standing, backtest, latest_values, resume
from alphaloom.backtest.tape import draw_tape
from alphaloom.errors import AxisError, DataError
from alphaloom.market import Market
from alphaloom.panel import Panel, last_known
from alphaloom.units import ONE

T, N = 60, 6
MARKET = Market(
    sell_tax=0.001, impact=0.4, borrow=0.05, cash_rate=0.02, lot=10.0, short=True, leverage=2.0, delist_loss=0.2
)


def world(make_panel, seed=0) -> Panel:
    """Holes, a delisting, and a factor that is not always known."""
    panel = make_panel(T=T, N=N, seed=seed, holes=0.1)
    random = np.random.default_rng(seed)
    factor = np.where(random.random((T, N)) < 0.3, np.nan, np.where(np.arange(T) < 30, 0.5, 1.0)[:, None])
    listed = np.array(panel.listed)
    listed[40:, 2] = False
    fields = {**panel.fields, "close": np.where(listed, panel["close"], np.nan)}
    return panel.replace(fields=fields, listed=listed).with_field("adj_factor", factor, ONE)


class Deal:
    """Weights drawn anew every day."""

    lookback = 0

    def decide(self, view, book):
        random = np.random.default_rng(len(view))
        weights = random.normal(0.0, 0.25, N)
        return np.where(np.isfinite(book.prices), weights / max(1.0, np.abs(weights).sum() / 1.8), 0.0)


@pytest.mark.parametrize("fill", ["next_open", "next_close"])
@pytest.mark.parametrize("cut", [5, 29, 39, 40, 57])
def test_a_cut_leaves_no_trace(make_panel, fill, cut):
    panel, market = world(make_panel), replace(MARKET, fill=fill)
    whole = backtest(Deal(), panel[: cut + 2], market, start=4, cash=1e5)
    at = cut - 4
    waiting = np.zeros(N)
    mine = whole.orders.decided == at
    waiting[whole.orders.asset[mine]] = whole.orders.ordered[mine]
    rest = resume(Standing(whole.cash[at], whole.shares[at], waiting), panel, market, start=cut)
    assert np.count_nonzero(mine) > 2
    for name in ("cash", "equity", "shares", "prices"):
        assert np.array_equal(getattr(rest, name)[:2], getattr(whole, name)[at:], equal_nan=True)
    assert rest.traded[1] == whole.traded[at + 1]
    assert rest.costs[:, 1].tolist() == [costs[at + 1] for costs in whole.costs.values()]
    assert rest.orders.done.tolist() == whole.orders.done[mine].tolist()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(start=st.integers(0, T - 1), seed=st.integers(0, 5))
def test_a_tape_is_the_same_wherever_it_starts(start, seed):
    random = np.random.default_rng(seed)
    close = np.where(random.random((T, N)) < 0.3, np.nan, 10.0 * np.exp(random.normal(0, 0.05, (T, N)).cumsum(axis=0)))
    fields = {"open": close * 1.01, "close": close, "volume": np.exp(random.normal(9, 1, (T, N)))}
    fields["adj_factor"] = np.where(random.random((T, N)) < 0.5, np.nan, random.uniform(0.5, 2.0, (T, N)))
    times = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]").astype("datetime64[ns]")
    panel = Panel(times, tuple("ABCDEF"), fields)
    whole, part = draw_tape(panel, MARKET, 0), draw_tape(panel, MARKET, start)
    for one, other in zip(whole, part, strict=True):
        assert np.array_equal(one[start:], other, equal_nan=one.dtype.kind == "f")
    assert np.array_equal(latest_values(close, start), last_known(close)[start], equal_nan=True)


def test_a_cap_cuts_to_whole_lots_and_only_the_first_bar(make_panel):
    panel = make_panel(T=10, N=2)
    standing = Standing(1e6, np.zeros(2), np.array([95.0, -95.0]))
    passage = resume(standing, panel, replace(MARKET, impact=0.0), start=3, most=np.array([55.0, 5.0]))
    assert passage.orders.done.tolist() == [50.0]
    assert passage.shares[1:].tolist() == [[50.0, 0.0]] * 6


def test_what_cannot_go_on_is_refused(make_panel):
    panel = make_panel(T=10, N=2)
    standing = Standing(1e6, np.zeros(2), np.zeros(2))
    with pytest.raises(DataError, match="fills after its decision"):
        resume(standing, panel, Market(fill="same_close"), start=3)
    with pytest.raises(AxisError, match="row of its panel"):
        resume(standing, panel, MARKET, start=10)
    with pytest.raises(AxisError, match="one number for each asset"):
        resume(Standing(1e6, np.zeros(3), np.zeros(2)), panel, MARKET, start=3)


def test_a_dead_book_stays_dead(make_panel):
    panel = make_panel(T=10, N=2)
    passage = resume(Standing(-5.0, np.zeros(2), np.array([10.0, 0.0]), True), panel, MARKET, start=3)
    assert passage.dead
    assert passage.equity.tolist() == [-5.0] * 7
    assert len(passage.orders) == 0
