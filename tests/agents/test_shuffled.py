"""The control without sight: causal, the same on both paths, seeing other days than today."""

import numpy as np
import pytest

from alphaloom.agents.observation import Observation
from alphaloom.agents.policy import AgentPolicy
from alphaloom.agents.shuffled import PAST, ShuffledAgent
from alphaloom.agents.trading import Trading
from alphaloom.backtest import backtest
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.market import Market
from alphaloom.testing import check_policy

MOVES = FactorSet("moves", (Factor("one", parse("returns")),))


class Looker:
    """Buys what rose on the day that it is shown, and remembers which days those were."""

    def __init__(self, spec):
        self.spec, self.shown = spec, []

    def act(self, observed, rows, portfolio):
        self.shown += rows.tolist()
        rose = np.where(observed.features[rows][:, :, 0] > 0, 1.0, 0.0)
        return np.concatenate([np.ones((len(rows), 1)), rose], axis=1) / (1.0 + rose.sum(axis=1, keepdims=True))

    def state(self):
        return {}


@pytest.fixture
def panel(make_panel):
    return make_panel(600, 5)


@pytest.fixture
def agent(panel):
    observer = Observation(MOVES, market=False).fit(panel[:200])
    return AgentPolicy(observer, Looker(observer.spec), Trading(), Market())


def test_it_is_causal_and_the_same_on_both_paths(agent, panel):
    blind = agent.shuffled(3)
    assert isinstance(blind, ShuffledAgent)
    check_policy(blind, panel, rows=5)
    slow, fast = (backtest(policy, panel, Market(), start=400).equity for policy in (blind, blind.on(panel)))
    assert np.array_equal(slow, fast)


def test_it_is_shown_other_days_of_the_last_year(agent, panel):
    backtest(agent.shuffled(3).on(panel), panel, Market(), start=400)
    shown = np.array(agent.brain.shown)
    late = np.arange(400, 400 + len(shown)) - shown
    assert (late >= 0).all()
    assert (late <= PAST).all()
    assert (late == 0).mean() < 0.05
    assert 80 < late.mean() < 170
    agent.brain.shown.clear()
    backtest(agent.shuffled(4).on(panel), panel, Market(), start=400)
    assert agent.brain.shown != shown.tolist()
