"""Both branches of a choice: the printed example, the fill that is really traded, assets that leave."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.agents.dqn_rewards import earned, pay_branches
from alphaloom.backtest import backtest
from alphaloom.market import Market
from alphaloom.panel import Panel

PAPER = Market(commission=0.0, slippage=0.0, fill="same_close")


def panel_of(close, open_=None, **more):
    close = np.asarray(close, dtype=float)
    times = np.datetime64("2020-01-01", "ns") + np.arange(len(close)) * np.timedelta64(1, "D")
    fields = {"close": close, "open": close if open_ is None else np.asarray(open_, dtype=float)}
    return Panel(times=times, assets=tuple(f"A{i}" for i in range(close.shape[1])), fields=fields, **more)


def test_the_printed_example():
    panel = panel_of([[100, 100, 100], [102, 99, 103]])
    usable = np.ones(panel.shape, bool)
    plain = pay_branches(panel, usable, PAPER, cost=0.001, centred=False)
    assert plain.hold[0, 0] - plain.entry == pytest.approx(0.019, abs=1e-7)
    assert plain.idle[0, 0] == pytest.approx(0.01, abs=1e-7)
    centred = pay_branches(panel, usable, PAPER, cost=0.001, symmetric=True)
    assert centred.hold[0, 0] == pytest.approx(0.01, abs=1e-7)
    assert centred.idle[0, 0] == 0.0
    assert (centred.entry, centred.leave) == (0.0005, 0.0005)
    assert not plain.valid[-1].any()


def test_centring_changes_no_difference_between_the_branches(make_panel):
    panel = make_panel(T=50, N=6, holes=0.05)
    usable = np.isfinite(panel["close"])
    plain, centred = (pay_branches(panel, usable, Market(), cost=0.0, centred=flag) for flag in (False, True))
    assert np.array_equal(plain.valid, centred.valid)
    assert np.allclose(plain.hold - plain.idle, centred.hold - centred.idle, atol=1e-6)


@pytest.mark.parametrize("fill", ["same_close", "next_open", "next_close"])
def test_a_bar_pays_what_the_ledger_pays_for_it(make_panel, fill):
    panel = make_panel(T=30, N=3)
    market = Market(commission=0.0, slippage=0.0, fill=fill)
    returns = earned(panel, market)

    class AllIn:
        lookback = 0

        def decide(self, view, book):
            return np.array([0.0, 1.0, 0.0])

    # Sized at one price and filled at another the last bit of cash differs, so compare growth between fills.
    result = backtest(AllIn(), panel, market, start=5)
    shares = result.shares[:, 1]
    price = panel["open"] if fill == "next_open" else panel["close"]
    shift = 0 if fill == "same_close" else 1
    for k in range(3, 10):
        held = shares[k + shift] * price[5 + k + shift : 7 + k + shift, 1]
        assert held[1] / held[0] - 1.0 == pytest.approx(returns[5 + k, 1], rel=1e-12)


def test_an_asset_that_leaves_is_paid_its_last_close_less_the_loss_and_is_not_seen_again():
    close = np.array([[10.0, 20.0], [10.0, 22.0], [10.0, np.nan], [10.0, np.nan], [10.0, np.nan]])
    panel = panel_of(close)
    market = Market(fill="same_close", delist_loss=0.5)
    returns = earned(panel, market)
    assert returns[0, 1] == pytest.approx(0.1)
    assert returns[1, 1] == pytest.approx(-0.5)
    assert np.isnan(returns[2:, 1]).all()
    pay = pay_branches(panel, np.isfinite(close), market, cost=0.0)
    assert pay.valid[1, 1]
    assert pay.last[:2, 1].tolist() == [False, True]


def test_what_cannot_be_bought_cannot_be_learned_from(make_panel):
    panel = make_panel(T=20, N=4)
    buyable = panel.buyable.copy()
    buyable[7, 2] = False
    returns = earned(panel.replace(buyable=buyable), Market())
    assert np.isnan(returns[6, 2])
    assert np.isfinite(returns[7, 2])
