"""Policies through the ledger: what they decide is tradable, and both ways to run a schedule give the same money."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from alphaloom.backtest import backtest
from alphaloom.market import Market
from alphaloom.portfolio import BuyAndHold, EqualWeight, LongShort, MovingAverageCross, Threshold, TopK
from alphaloom.signal import Signal


@dataclass(frozen=True, eq=False)
class Sequential:
    """The same policy without its table."""

    policy: object

    @property
    def lookback(self):
        return self.policy.lookback

    def decide(self, view, book):
        return self.policy.decide(view, book)


@pytest.fixture
def rough(make_panel):
    """A panel with halts, late listings, a delisting and a universe that changes."""
    panel = make_panel(120, 12, seed=4, holes=0.04)
    fields = {name: values.copy() for name, values in panel.fields.items()}
    for values in fields.values():
        values[:40, 10] = np.nan
        values[70:, 11] = np.nan
    member = panel.member & (np.random.default_rng(0).random(panel.shape) < 0.95)
    return panel.replace(fields=fields, listed=None, buyable=None, sellable=None, member=member)


@pytest.fixture
def signal(rough):
    rng = np.random.default_rng(9)
    values = np.cumsum(rng.normal(size=rough.shape), axis=0) / 5
    values[rng.random(rough.shape) < 0.05] = np.nan
    return Signal(rough.times[30:], rough.assets, values[30:])


MARKET = Market(short=True, leverage=1.5, borrow=0.02)


@pytest.mark.parametrize("every", [1, 5])
def test_sequential_and_scheduled_give_the_same_money(rough, signal, every):
    crossing = MovingAverageCross(fast=3, slow=10, every=every)
    for policy in (LongShort(every=every, gross=1.2).policy(signal), crossing):
        scheduled = backtest(policy, rough, MARKET, start=30)
        sequential = backtest(Sequential(policy), rough, MARKET, start=30)
        np.testing.assert_array_equal(scheduled.equity, sequential.equity)
        np.testing.assert_array_equal(scheduled.weights, sequential.weights)
        np.testing.assert_array_equal(scheduled.shares, sequential.shares)
        assert len(scheduled.orders.asset) > 10


def test_every_policy_runs_through_a_rough_market(rough, signal):
    for policy in (
        TopK(k=4, buffer=2).policy(signal),
        TopK(k=4, weighting="rank", every=3, cash=0.0).policy(signal),
        Threshold(enter=0.5, leave=0.1, slots=5, sides="both").policy(signal),
        BuyAndHold(),
        EqualWeight(every=10),
    ):
        result = backtest(policy, rough, MARKET, start=30)
        assert np.isfinite(result.equity).all()
        assert result.traded.sum() > 0


def test_long_only_policies_run_in_a_market_without_shorts_or_leverage(rough, signal):
    for policy in (TopK(k=3, cash=0.0).policy(signal), Threshold(enter=0.5, leave=0.1, slots=3).policy(signal)):
        result = backtest(policy, rough, Market(), start=30)
        assert (result.shares >= 0).all()


def test_buy_and_hold_trades_once_wherever_it_starts(make_panel):
    panel = make_panel(60, 5)
    for start in (0, 17):
        result = backtest(BuyAndHold(), panel, Market(), start=start)
        assert set(result.orders.decided.tolist()) in ({0}, {start})
        # From the second close on the shares stay what they are.
        assert (result.shares[1:] == result.shares[1]).all()
        np.testing.assert_allclose(result.holdings[1].sum(), 0.99, atol=0.02)


def test_equal_weight_restores_its_parts(make_panel):
    panel = make_panel(50, 5)
    result = backtest(EqualWeight(every=21, cash=0.0), panel, Market(commission=0, slippage=0), start=3)
    decided = np.flatnonzero(np.isfinite(result.weights).all(axis=1))
    assert decided.tolist() == [0, 21, 42]


def test_the_buffer_lowers_traded_money(rough, signal):
    plain, buffered = (backtest(TopK(k=4, buffer=b).policy(signal), rough, Market(), start=30) for b in (0, 4))
    assert buffered.traded.sum() < 0.8 * plain.traded.sum()
