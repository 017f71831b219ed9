"""One account for each asset: every one lives alone, and published figures are their averages."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.agents.accounts import figures, isolated, one_asset, shared
from alphaloom.agents.observation import Observed
from alphaloom.agents.policy import AgentPolicy
from alphaloom.agents.signal_policy import SignalPolicy
from alphaloom.agents.signals import DowTracking, MovingAverageSignals, RandomSignals
from alphaloom.agents.trading import Trading
from alphaloom.backtest import backtest
from alphaloom.errors import AxisError, DataError
from alphaloom.market import Market

FILLS = ("next_open", "same_close")


def market(fill="next_open") -> Market:
    return Market(commission=0.001, slippage=0.0, fill=fill)


class Closes:
    """An observer of nothing but the close, scaled by a thousand."""

    spec, lookback, notes, window = "closes", 0, (), 1

    def observe(self, panel, *, since=0):
        return Observed.of(panel, np.asarray(panel["close"])[:, :, None] / 1000.0, ("close",))

    def state(self):
        return {}


class Lots:
    """A brain that does what lots say, whatever is held."""

    spec = "closes"

    def __init__(self, said):
        self.said, self.met = said, []

    def act(self, observed, rows, portfolio):
        self.met.append(portfolio[0].astype(float))
        return (self.said[rows] + 1).astype(np.int8)

    def state(self):
        return {}


class Digits(Lots):
    """A brain that acts on what it sees, if only on a late digit of the close."""

    def __init__(self):
        super().__init__(None)

    def act(self, observed, rows, portfolio):
        return (np.floor(observed.features[rows, :, 0] * 1e4) % 3).astype(np.int8)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("sizing", ["fraction", "full"])
def test_an_account_is_the_back_test_of_its_asset_alone(fill, sizing, make_panel):
    panel = make_panel(T=120, N=4)
    policy = RandomSignals(seed=5, sizing=sizing).fit(panel, market(fill))
    accounts = isolated(policy, panel, market(fill), start=30, cash=10_000.0)
    for j in range(4):
        alone = backtest(policy, one_asset(panel, j), market(fill), start=30, cash=10_000.0)
        assert np.array_equal(accounts.equity[:, j], alone.equity)
        assert np.array_equal(accounts.costs[:, j], sum(alone.costs.values()))
        assert np.array_equal(accounts.traded[:, j], alone.traded)
    assert accounts.costs.sum() > 0.0
    together = backtest(policy, panel, market(fill), start=30, cash=40_000.0)
    assert not np.allclose(accounts.equity.sum(axis=1), together.equity, rtol=1e-4)


def test_accounts_agree_with_a_slow_loop_of_their_own(make_panel):
    panel = make_panel(T=80, N=3)
    policy = RandomSignals(seed=9, buy=0.3, sell=0.3, sizing="full").fit(panel, market())
    accounts = isolated(policy, panel, market(), cash=1000.0)
    said, c = policy.signals(panel), 0.001
    for j in range(3):
        cash, held, equity = 1000.0, 0.0, [1000.0]
        for row in range(len(panel) - 1):
            close, fill = panel["close"][row, j], panel["open"][row + 1, j]
            wanted = cash / (close * (1 + c)) if said[row, j] > 0 else 0.0
            bought = min(wanted, cash / (fill * (1 + c)))
            sold = held if said[row, j] < 0 else 0.0
            cash += sold * fill * (1 - c) - bought * fill * (1 + c)
            held += bought - sold
            equity.append(cash + held * panel["close"][row + 1, j])
        assert np.allclose(accounts.equity[:, j], equity, rtol=1e-9)


@pytest.mark.parametrize("sizing", [(0.2, 0.5), (1.0, 1.0)])
def test_an_agents_accounts_are_those_of_the_same_words(sizing, make_panel):
    panel = make_panel(T=90, N=3)
    said = RandomSignals(seed=3).signals(panel)
    trading = Trading(mode="discrete", buy=sizing[0], sell=sizing[1])
    brain = Lots(said)
    agent = AgentPolicy(Closes(), brain, trading, market())
    found = isolated(agent, panel, market(), start=10, cash=5_000.0)
    spoken = isolated(SignalPolicy(RandomSignals(seed=3), trading, market()), panel, market(), start=10, cash=5_000.0)
    assert np.allclose(found.equity, spoken.equity, rtol=1e-10)
    assert np.allclose(found.costs, spoken.costs, rtol=1e-8, atol=1e-8)
    assert np.allclose(found.traded, spoken.traded, rtol=1e-8, atol=1e-6)
    # The agent was told of the accounts as of one portfolio.
    met = np.array(brain.met)
    assert np.allclose(met.sum(axis=1), 1.0, atol=1e-5)
    assert met[0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert ((met > 0.0).sum(axis=1) >= 3).any()


def test_one_account_for_all_is_the_back_test(make_panel):
    panel = make_panel(T=70, N=3)
    for policy in (
        RandomSignals(seed=4).fit(panel, market()),
        AgentPolicy(Closes(), Digits(), Trading(mode="discrete"), market()),
        DowTracking().fit(panel, market()),
    ):
        slow = backtest(policy, panel, market(), start=12, cash=500.0)
        quick = shared(policy, panel, market(), start=12, cash=500.0)
        assert np.array_equal(slow.equity, quick.equity)
        assert np.array_equal(slow.shares, quick.shares)
        assert slow.traded.sum() > 0.0


def test_an_agent_of_whole_portfolios_has_no_single_accounts(make_panel):
    panel = make_panel(T=40, N=3)
    agent = AgentPolicy(Closes(), Lots(None), Trading(mode="weights"), market())
    with pytest.raises(DataError, match="single assets"):
        isolated(agent, panel, market())


def test_the_index_in_single_accounts_is_holding_each_asset(make_panel):
    panel = make_panel(T=100, N=3)
    free = Market(commission=0.0, slippage=0.0, fill="same_close")
    accounts = isolated(DowTracking().fit(panel, free), panel, free, start=5, cash=1.0)
    close = panel["close"]
    assert np.allclose(accounts.equity, close[5:] / close[5], rtol=1e-9)
    growth = accounts.averages()["return"]
    years = (len(panel) - 6) / panel.periods_per_year
    assert np.isclose(growth, ((close[-1] / close[5]) ** (1 / years) - 1).mean())


def test_averages_leave_an_account_that_never_moved_out_of_the_ratio_alone(make_panel):
    panel = make_panel(T=80, N=3)
    member = panel.member.copy()
    member[:, 1] = False
    part = panel.replace(member=member)
    accounts = isolated(MovingAverageSignals(5, sizing="full").fit(part, market()), part, market())
    each, mean = accounts.each(), accounts.averages()
    assert np.isnan(each["sharpe"][1])
    assert (accounts.equity[:, 1] == 10_000.0).all()
    assert np.isclose(mean["sharpe"], each["sharpe"][[0, 2]].mean())
    assert np.isclose(mean["volatility"], each["volatility"].mean())
    assert np.isclose(mean["moved"], 2 / 3)


def test_figures_of_a_known_series():
    returns = np.array([0.1, -0.5, 0.2, 0.0])
    found = figures(returns, 4.0)
    assert np.isclose(found["return"], 1.1 * 0.5 * 1.2 - 1.0)
    assert np.isclose(found["max_drawdown"], 0.5)
    assert np.isclose(found["volatility"], returns.std(ddof=1) * 2.0)
    assert np.isclose(found["sharpe"], returns.mean() / returns.std(ddof=1) * 2.0)


def test_accounts_open_on_a_row_of_the_panel(make_panel):
    panel = make_panel(T=30, N=2)
    policy = RandomSignals().fit(panel, market())
    with pytest.raises(AxisError, match="row of their panel"):
        isolated(policy, panel, market(), start=30)
