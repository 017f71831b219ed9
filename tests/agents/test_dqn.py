"""The cross-sectional DQN: it learns what is planted, nothing from noise, and the same bytes from the same seed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from alphaloom.agents.dqn import CrossSectionDQN
from alphaloom.agents.dqn_brain import CrossSectionBrain
from alphaloom.agents.observation import Observation
from alphaloom.agents.policy import AgentPolicy
from alphaloom.backtest import backtest
from alphaloom.errors import AxisError, DataError, SolveError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.forecast import load_model, save_model
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.testing import check_learner, check_policy

X = Observation(FactorSet("x", (Factor("x", parse("x")),)), market=False)
FREE = Market(commission=0.0, slippage=0.0, fill="same_close")
SMALL = CrossSectionDQN(X, widths=(16,), steps=4_000, memory=4_000, batch=128, rate=3e-3, copy_every=500, validation=0)


def planted(T: int, N: int, seed: int, *, strength: float = 0.004) -> Panel:
    """Today's x says the sign of tomorrow's return."""
    rng = np.random.default_rng(seed)
    x, returns = rng.normal(size=(T, N)), np.zeros((T, N))
    returns[1:] = strength * np.sign(x[:-1]) + rng.normal(0.0, 0.01, (T - 1, N))
    close = 100.0 * np.cumprod(1.0 + returns, axis=0)
    times = np.datetime64("2005-01-03", "ns") + np.arange(T) * np.timedelta64(1, "D")
    names = tuple(f"A{k}" for k in range(N))
    return Panel(times, names, {"open": close, "close": close, "volume": close, "x": x})


class Oracle:
    """Holds what x says."""

    lookback = 0

    def decide(self, view, book):
        held = view["x"][-1] > 0.0
        return held / max(1, int(held.sum()))


def growth(policy, panel: Panel, market: Market) -> np.ndarray:
    made = policy.on(panel) if isinstance(policy, AgentPolicy) else policy
    return np.log1p(backtest(made, panel, market).returns[1:])


@pytest.mark.parametrize("changes", [{}, {"centred": False}, {"double": False, "dueling": False}], ids=str)
def test_a_planted_signal_earns_what_the_oracle_earns(changes):
    agent = replace(SMALL, steps=30_000, memory=30_000, batch=256, copy_every=1_500, **changes)
    policy = agent.fit(planted(2_000, 8, 0), FREE)
    fresh = planted(1_000, 8, 1)
    own, best = growth(policy, fresh, FREE).mean(), growth(Oracle(), fresh, FREE).mean()
    assert best > 0.003
    assert own >= 0.8 * best


def test_noise_with_costs_earns_nothing():
    market = Market(commission=0.001, slippage=0.0)
    agent = replace(SMALL, steps=20_000, memory=20_000, validation=200, judge_every=5_000)
    policy = agent.fit(planted(1_200, 8, 2, strength=0.0), market)
    found = growth(policy, planted(800, 8, 3, strength=0.0), market)
    assert found.mean() <= 2.0 * found.std(ddof=1) / np.sqrt(len(found))


def test_costs_make_it_hold_on_to_what_it_has():
    panel = planted(1_500, 6, 4)
    agent = replace(SMALL, steps=20_000, memory=20_000, copy_every=1_000)
    switches = []
    for cost in (0.0, 0.008):
        shares = backtest(replace(agent, cost=cost).fit(panel, FREE).on(panel), panel, FREE, start=1_000).shares
        switches.append(np.abs(np.diff((shares[2:] > 0.0).astype(int), axis=0)).mean())
    assert switches[1] < 0.5 * switches[0]


def test_the_learner_and_its_policy_obey_the_law_of_time(make_panel):
    panel = make_panel(T=160, N=5, holes=0.02)
    features = FactorSet("m", (Factor("one", parse("returns")), Factor("five", parse("ts_mean(returns, 5)"))))
    agent = replace(SMALL, observation=Observation(features, market=False, window=2), validation=20, judge_every=2_000)
    check_learner(agent, panel, rows=4)
    check_policy(agent.fit(panel[:100], Market()), panel, rows=6)


@pytest.mark.parametrize("experts", ["shared", "per_asset", "per_cluster"])
def test_a_policy_is_stored_and_says_the_same(tmp_path, experts):
    panel = planted(300, 6, 5)
    agent = replace(SMALL, experts=experts, clusters=2, alignment="cdf", widths=(4, 8), validation=50, steps=2_000)
    policy = agent.fit(panel[:250], Market())
    save_model(policy, tmp_path / "model")
    again = load_model(tmp_path / "model")
    first, second = (backtest(made.on(panel), panel, Market(), start=100) for made in (policy, again))
    assert np.array_equal(first.equity, second.equity)
    brain = policy.brain
    assert isinstance(brain, CrossSectionBrain)
    assert brain.count == {"shared": 1, "per_asset": 6, "per_cluster": 2}[experts]
    assert any("on validation rows" in note for note in policy.notes)


def test_a_row_is_decided_alone_and_assets_have_no_place():
    panel = planted(200, 5, 6)
    policy = SMALL.fit(panel, FREE)
    observed = policy.observer.observe(panel)
    rows, portfolio = np.arange(100, 130), np.tile(np.array([0.5, 0.5, 0, 0, 0, 0], np.float32), (30, 1))
    whole = policy.brain.act(observed, rows, portfolio)
    assert whole.sum(axis=1) == pytest.approx(1.0)
    for b in (0, 7, 29):
        assert np.array_equal(policy.brain.act(observed, rows[b : b + 1], portfolio[b : b + 1])[0], whole[b])
    order = np.array([3, 1, 4, 0, 2])
    turned = Panel(
        panel.times, tuple(panel.assets[k] for k in order), {name: v[:, order] for name, v in panel.fields.items()}
    )
    moved = np.concatenate((portfolio[:, :1], portfolio[:, 1:][:, order]), axis=1)
    assert policy.brain.act(policy.observer.observe(turned), rows, moved)[:, 1:] == pytest.approx(
        whole[:, 1:][:, order]
    )


_RUN = """
import sys
sys.path.insert(0, {folder!r})
from test_dqn import SMALL, Market, planted, backtest
panel = planted(400, 5, 7)
policy = SMALL.fit(panel[:300], Market())
print(backtest(policy.on(panel), panel, Market(), start=300).equity.tobytes().hex())
"""


def test_two_processes_give_the_same_bytes():
    from pathlib import Path

    code = _RUN.format(folder=str(Path(__file__).parent))
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(2)]
    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout) > 100


def test_validation_rows_choose_the_net_and_are_not_learned_from():
    panel = planted(500, 5, 8)
    agent = replace(SMALL, validation=100, judge_every=1_000)
    first = agent.fit(panel, FREE)
    close = np.array(panel["close"])
    close[-100:] *= 1.0 + 0.3 * np.random.default_rng(0).random((100, 5))
    other = agent.fit(panel.replace(fields={**panel.fields, "close": close, "open": close}), FREE)
    assert first.observer == other.observer
    assert "of 4 kept" in first.notes[-1]
    # With one judgement there is nothing to choose: the same net, whatever the validation rows say.
    once = replace(agent, judge_every=4_000)
    one, two = (
        once.fit(panel, FREE),
        once.fit(panel.replace(fields={**panel.fields, "close": close, "open": close}), FREE),
    )
    for name, values in one.brain.members[0].weights.items():
        assert np.array_equal(values, two.brain.members[0].weights[name])


def test_assets_without_training_rows_have_no_expert():
    panel = planted(400, 5, 9)
    close = np.array(panel["close"])
    close[:300, 2] = np.nan
    fields = {**panel.fields, "close": close, "open": close}
    late = panel.replace(fields=fields, listed=None, member=None, buyable=None, sellable=None)
    policy = replace(SMALL, experts="per_asset").fit(late[:250], FREE)
    assert policy.brain.expert.tolist() == [0, 1, -1, 2, 3]
    assert any("no expert" in note for note in policy.notes)
    result = backtest(policy.on(late), late, FREE, start=260)
    assert (result.shares[:, 2] == 0.0).all()
    with pytest.raises(AxisError, match="assets of its training"):
        policy.decide(planted(20, 3, 0), None)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"experts": "everyone"}, "experts"),
        ({"alignment": "zscore"}, "alignment"),
        ({"widths": ()}, "widths"),
        ({"widths": (8, 8)}, "widths"),
        ({"steps": 0}, "steps"),
        ({"memory": 10}, "memory"),
        ({"k": 0}, "k"),
        ({"gamma": 1.0}, "gamma"),
        ({"rate": 0.0}, "rate"),
        ({"cost": -0.1}, "rate"),
        ({"trading": replace(SMALL.trading, mode="discrete")}, "trading"),
    ],
)
def test_settings_out_of_range_are_refused(changes, place):
    with pytest.raises(DataError) as caught:
        replace(SMALL, **changes)
    assert caught.value.where == f"CrossSectionDQN.{place}"


def test_too_few_rows_are_refused_with_their_count():
    with pytest.raises(DataError, match="training rows remain"):
        replace(SMALL, validation=100).fit(planted(101, 3, 0), FREE)
    panel = planted(60, 3, 0)
    with pytest.raises(SolveError, match="rows to learn from"):
        SMALL.fit(panel.replace(buyable=np.zeros(panel.shape, bool)), FREE)
