"""A brain becomes a policy: pure, causal, stored, and refused where it does not fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from alphaloom.agents.observation import Observation
from alphaloom.agents.policy import BRAINS, AgentPolicy, Brain, Constant, portfolio_of
from alphaloom.agents.trading import Trading
from alphaloom.backtest import backtest
from alphaloom.errors import AxisError, DataError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.forecast import load_model, save_model
from alphaloom.market import Book, History, Market
from alphaloom.panel import Panel
from alphaloom.roles import Learner, Policy
from alphaloom.testing import attacked, check_learner, check_policy, decision

MOVES = FactorSet("moves", (Factor("one", parse("returns")), Factor("five", parse("close / delay(close, 5) - 1"))))


@dataclass(frozen=True, eq=False)
class Slopes:
    """A linear rule over windows: softmax of what it makes of each asset, and a little of what is held."""

    slopes: np.ndarray  # (window, F)
    spec: str

    def act(self, observed, rows, portfolio):
        liking = np.einsum("bwnf,wf->bn", observed.windows(rows), self.slopes) + 0.5 * portfolio[:, 1:]
        liking = np.where(observed.usable[rows], liking, -np.inf)
        scores = np.exp(np.concatenate([np.zeros((len(rows), 1)), liking], axis=1))
        return scores / scores.sum(axis=1, keepdims=True)

    def state(self) -> dict[str, Any]:
        return {"slopes": self.slopes, "spec": self.spec}


@dataclass(frozen=True)
class Regression:
    """Learns the slopes of tomorrow's return on the features of the training rows."""

    observation: Observation = field(default_factory=lambda: Observation(MOVES, window=2))

    def fit(self, train: Panel, market: Market) -> AgentPolicy:
        observer = self.observation.fit(train)
        seen = observer.observe(train)
        rows = np.arange(seen.first, len(train) - 1)
        future = train["close"][rows + 1] / train["close"][rows] - 1
        x = seen.windows(rows).transpose(0, 2, 1, 3).reshape(-1, observer.window * len(observer.names))
        slopes = np.linalg.lstsq(x.astype(np.float64), np.nan_to_num(future.ravel()), rcond=None)[0]
        brain = Slopes(slopes.reshape(observer.window, -1), observer.spec)
        return AgentPolicy(observer, brain, Trading(), market)


@pytest.fixture
def panel(make_panel):
    return make_panel(400, 5)


@pytest.fixture
def agent(panel) -> AgentPolicy:
    return Regression().fit(panel[:200], Market())


def test_it_plays_its_role(agent):
    assert isinstance(agent, Policy)
    assert isinstance(agent.brain, Brain)
    assert isinstance(Regression(), Learner)
    assert agent.lookback == agent.observer.lookback


def test_it_obeys_the_law_of_policies(agent, panel):
    check_policy(agent, panel, rows=5)
    check_policy(agent.on(panel), panel, rows=5)


def test_its_learner_obeys_the_law_of_learners(make_panel):
    check_learner(Regression(), make_panel(180, 4), rows=4)


def test_it_needs_no_more_rows_than_it_says(agent, panel):
    row = 350
    whole = decision(agent, panel, row)
    part = panel[row - agent.lookback : row + 1]
    assert np.array_equal(decision(agent, part, len(part) - 1), whole)
    assert not np.array_equal(decision(agent, panel, row - 1), whole)
    for attack in ("cut", "shuffle", "poison"):
        assert np.array_equal(decision(agent, attacked(panel, row, attack), row), whole)


def test_what_is_seen_at_once_gives_the_same_back_test_bit_by_bit(agent, panel):
    slow = backtest(agent, panel, Market(), start=340)
    fast = backtest(agent.on(panel), panel, Market(), start=340)
    assert np.array_equal(slow.equity, fast.equity)
    assert np.array_equal(slow.weights, fast.weights, equal_nan=True)
    assert len(np.unique(fast.weights[~np.isnan(fast.weights)])) > 100
    with pytest.raises(DataError, match="looked at"):
        decision(agent.on(panel[:200]), panel, 250)


def test_what_is_held_is_held_before_the_windows_are_full(agent, panel):
    first = agent.observer.observe(panel).first
    assert np.isnan(decision(agent, panel, first - 1)).all()
    assert np.isfinite(decision(agent, panel, first)).all()


def test_a_brain_sees_shares_of_equity(panel):
    one = History(panel.times[:1], np.array([1000.0]), np.array([[4.0, 0.0]]))
    book = Book(panel.times[0], 600.0, np.array([4.0, 0.0]), np.array([100.0, np.nan]), one)
    assert np.array_equal(portfolio_of(book), np.array([0.6, 0.4, 0.0], np.float32))
    broke = Book(panel.times[0], 0.0, np.zeros(2), np.ones(2), one)
    assert np.array_equal(portfolio_of(broke), np.array([1.0, 0.0, 0.0], np.float32))


@pytest.mark.parametrize(
    ("trading", "action", "expected"),
    [
        (Trading(), [0.5, 0.5, 0.0, 0.0], [0.5, 0.0, 0.0]),
        (Trading(mode="discrete", buy=0.2, sell=0.5), [2, 1, 0], [0.22, 0.3, 0.15]),
        (Trading(mode="shares", hmax=1e6), [-1.0, 0.0, 0.0], [0.0, 0.3, 0.3]),
    ],
)
def test_an_action_means_what_its_mode_says(make_panel, trading, action, expected):
    """A tenth in cash, the rest in equal parts, no costs: a fifth of the cash after sales buys, half is sold."""
    panel = make_panel(120, 3)
    observer = Observation(MOVES, market=False).fit(panel)
    agent = AgentPolicy(observer, Constant(np.array(action), observer.spec), trading, Market(0.0, 0.0, 0.0))
    cash = 0.1 + 0.15 if trading.mode == "discrete" else 0.1
    if trading.mode == "discrete":
        expected = [0.3 + 0.2 * cash, 0.3, 0.15]
    assert decision(agent, panel, 100) == pytest.approx(expected, abs=1e-9)


def test_the_risk_switch_sells_everything(make_panel):
    calm = make_panel(120, 3).replace(series={"vix": np.full(120, 20.0)})
    wild = calm.replace(series={"vix": np.full(120, 80.0)})
    trading = Trading(mode="discrete", risk="vix", risk_threshold=70.0)
    observer = Observation(MOVES, market=False).fit(calm)
    agent = AgentPolicy(observer, Constant(np.array([2, 2, 2]), observer.spec), trading, Market(0.0, 0.0, 0.0))
    assert (decision(agent, calm, 100) > 0.3).all()
    assert decision(agent, wild, 100) == pytest.approx(np.zeros(3))


def test_a_brain_of_another_layout_is_refused_with_both(agent, panel):
    other = Observation(MOVES, window=3).fit(panel)
    with pytest.raises(DataError, match=f"{other.spec}, trained on {agent.observer.spec}"):
        AgentPolicy(other, agent.brain, agent.trading, agent.market)


def test_an_agent_that_knows_its_assets_by_place_trades_no_others(agent, panel):
    fixed = AgentPolicy(agent.observer, agent.brain, agent.trading, agent.market, assets=panel.assets)
    assert np.array_equal(decision(fixed, panel, 250), decision(agent, panel, 250))
    renamed = panel.replace(assets=tuple(reversed(panel.assets)))
    with pytest.raises(AxisError, match="from A000, in their order"):
        decision(fixed, renamed, 250)
    with pytest.raises(AxisError):
        fixed.on(renamed)


def test_it_is_stored_and_says_the_same_bits(agent, panel, tmp_path):
    constant = Constant(np.array([0.25, 0.75, 0.0, 0.0, 0.0, 0.0], np.float32), agent.observer.spec)
    trading = Trading(hmax=7.0)
    made = AgentPolicy(agent.observer, constant, trading, Market(commission=0.002), panel.assets, ("early",))
    again = load_model(save_model(made, tmp_path / "agent.json"))
    assert again.observer == made.observer
    assert (again.trading, again.market, again.assets) == (trading, made.market, panel.assets)
    assert again.notes == (*made.observer.notes, "early")
    assert again.brain.action.dtype == np.float32
    assert np.array_equal(decision(again, panel, 250), decision(made, panel, 250))
    with pytest.raises(DataError, match="stored form"):
        save_model(agent, tmp_path / "own.json")
    state = made.state()
    with pytest.raises(DataError, match="constant"):
        AgentPolicy.from_state(state | {"brain": {"kind": "oracle", "parts": {}}})


@pytest.mark.parametrize("kind", sorted(BRAINS))
def test_every_brain_of_the_table_can_be_read(kind):
    module, name = BRAINS[kind]
    pytest.importorskip("torch")
    found = getattr(import_module(module), name)
    assert callable(found.from_state)
    assert callable(found.act)
    assert callable(found.state)
