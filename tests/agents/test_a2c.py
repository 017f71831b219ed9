"""The actor-critic: it learns what is planted, nothing from noise, and the same bytes from the same seed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from planted_market import planted

from alphaloom.agents.a2c import ActorCritic
from alphaloom.agents.a2c_brain import ActorBrain, NetShape
from alphaloom.agents.observation import Observation
from alphaloom.agents.policy import AgentPolicy
from alphaloom.agents.trading import Trading
from alphaloom.backtest import backtest
from alphaloom.errors import AxisError, DataError, SolveError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.forecast import load_model, save_model
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.roles import Learner
from alphaloom.testing import check_learner, check_policy

X = FactorSet("x", (Factor("x", parse("x")),))
FREE = Market(commission=0.0, slippage=0.0, fill="same_close")
ALL_IN = Trading(mode="discrete", cash=10_000.0, buy=1.0, sell=1.0, episode="random", length=252)
SMALL = ActorCritic(
    Observation(X, market=False, levels="raw"),
    ALL_IN,
    steps=640,
    rollout=10,
    copies=4,
    validation=60,
    laps=4,
    rate=1e-3,
)


def earned(policy: AgentPolicy, panel: Panel, market: Market) -> np.ndarray:
    """Log returns of the back-test."""
    equity = backtest(policy.on(panel), panel, market, start=1, cash=10_000.0).equity
    return np.diff(np.log(equity))


def oracle(panel: Panel) -> float:
    """Log return of equal parts of all assets that will rise more often than not."""
    rises, close = panel["x"][1:-1] > 0.0, panel["close"]
    returns = close[2:] / close[1:-1] - 1.0
    return float(np.log1p((returns * rises).sum(axis=1) / np.maximum(rises.sum(axis=1), 1)).sum())


@pytest.mark.parametrize(("mode", "gamma"), [("discrete", 0.5), ("weights", 0.0)])
def test_a_planted_signal_is_found(mode, gamma):
    trading = replace(ALL_IN, mode=mode)
    learner = replace(
        SMALL,
        trading=trading,
        steps=24_000,
        rollout=20,
        copies=16,
        gamma=gamma,
        rate=3e-3,
        entropy=0.01,
        validation=252,
    )
    policy = learner.fit(planted(2000, 8, 1), FREE)
    fresh = planted(1000, 8, 99)
    assert earned(policy, fresh, FREE).sum() >= 0.8 * oracle(fresh)


def test_noise_with_costs_teaches_nothing():
    costly = Market(commission=0.001, slippage=0.0, fill="same_close")
    learner = replace(SMALL, steps=6_000, rollout=20, copies=16, validation=200)
    policy = learner.fit(planted(1000, 8, 2, strength=0.0), costly)
    log_returns = np.concatenate([earned(policy, planted(800, 8, seed, strength=0.0), costly) for seed in (3, 4, 5)])
    error = log_returns.std(ddof=1) / np.sqrt(len(log_returns))
    assert log_returns.mean() <= 2.0 * error


@pytest.mark.parametrize("net", ["attention", "mlp"])
def test_it_is_a_learner_whose_policy_obeys_the_law_of_time(net):
    learner = replace(SMALL, net=net, observation=replace(SMALL.observation, window=5), steps=80, laps=1)
    assert isinstance(learner, Learner)
    panel = planted(200, 4, 5)
    policy = learner.fit(panel, Market())
    check_policy(policy, panel)
    check_learner(learner, panel, rows=4)


@pytest.mark.parametrize("net", ["attention", "mlp"])
@pytest.mark.parametrize("mode", ["discrete", "weights", "shares"])
def test_a_stored_actor_acts_as_before(tmp_path, net, mode):
    learner = replace(SMALL, net=net, trading=replace(ALL_IN, mode=mode, hmax=20), steps=80, laps=1)
    panel = planted(260, 4, 6)
    policy = learner.fit(panel, FREE)
    save_model(policy, tmp_path / "agent")
    again = load_model(tmp_path / "agent")
    assert isinstance(again, AgentPolicy)
    assert isinstance(again.brain, ActorBrain)
    assert again.brain.history == policy.brain.history
    assert np.array_equal(earned(again, panel, FREE), earned(policy, panel, FREE))


def digest(brain: ActorBrain) -> str:
    import hashlib

    seen = hashlib.sha256()
    for name, values in sorted(brain.weights.items()):
        seen.update(name.encode() + np.ascontiguousarray(values).tobytes())
    return seen.hexdigest()


TWIN = """
import sys
sys.path.insert(0, {folder!r})
from test_a2c import SMALL, FREE, digest, earned, planted
policy = SMALL.fit(planted(260, 4, 6), FREE)
print(digest(policy.brain), earned(policy, planted(260, 4, 6), FREE).tobytes().hex()[:400])
"""


def test_two_processes_end_in_the_same_bytes():
    from pathlib import Path

    code = TWIN.format(folder=str(Path(__file__).parent))
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    policy = SMALL.fit(planted(260, 4, 6), FREE)
    book = earned(policy, planted(260, 4, 6), FREE)
    assert there == f"{digest(policy.brain)} {book.tobytes().hex()[:400]}\n"
    other = replace(SMALL, seed=1).fit(planted(260, 4, 6), FREE)
    assert digest(other.brain) not in there


class EnoughError(Exception):
    """Raised from within a training."""


@pytest.mark.parametrize("stop_at", [1, 200, 640])
def test_a_training_that_was_stopped_ends_where_one_that_was_not_ends(tmp_path, stop_at):
    panel, path = planted(260, 4, 6), tmp_path / "actor.safetensors"

    def stop(stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("train", 640)
        if done >= stop_at:
            raise EnoughError

    whole = SMALL.fit(panel, FREE)
    with pytest.raises(EnoughError):
        SMALL.fit(panel, FREE, checkpoint=path, progress=stop)
    told: list[int] = []
    resumed = SMALL.fit(panel, FREE, checkpoint=path, progress=lambda stage, done, total: told.append(done))
    assert digest(resumed.brain) == digest(whole.brain)
    assert resumed.brain.history == whole.brain.history
    assert resumed.notes == whole.notes
    assert told[-1] == 640
    # Once more there is nothing left to do.
    told.clear()
    assert digest(SMALL.fit(panel, FREE, checkpoint=path, progress=lambda *at: told.append(at[1])).brain) == digest(
        whole.brain
    )
    assert told == [640]
    with pytest.raises(DataError, match="another training"):
        replace(SMALL, rate=2e-3).fit(panel, FREE, checkpoint=path)


def test_what_others_set_in_torch_is_left_as_it_was():
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    before = torch.get_rng_state()
    policy = SMALL.fit(planted(260, 4, 6), FREE)
    earned(policy, planted(100, 4, 7), FREE)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_validation_keeps_the_weights_of_its_best_lap():
    policy = SMALL.fit(planted(260, 4, 6), FREE)
    held = policy.brain.history["held"]
    assert len(held) == len(policy.brain.history["reward"]) == 4
    assert policy.brain.best == int(np.argmax(held))
    assert f"lap {policy.brain.best + 1}" in policy.notes[-1]
    # What the judging says is what the back-test of those rows says.
    panel = planted(260, 4, 6)
    book = backtest(policy.on(panel), panel, FREE, start=200, cash=10_000.0)
    assert np.log(book.equity[-1] / 10_000.0) == pytest.approx(max(held), abs=1e-5)
    without = replace(SMALL, validation=0).fit(planted(260, 4, 6), FREE)
    assert without.brain.best == 3
    assert not without.brain.history["held"]


def test_validation_rows_teach_nothing_and_scale_nothing():
    panel = planted(260, 4, 6)
    x, close = panel["x"].copy(), panel["close"].copy()
    x[200:], close[200:] = 7.0 * x[200:] + 3.0, 100.0
    changed = replace(panel, fields={**panel.fields, "x": x, "open": close, "close": close}, source="")
    one, other = (replace(SMALL, laps=1).fit(p, FREE) for p in (panel, changed))
    assert digest(one.brain) == digest(other.brain)
    assert one.observer == other.observer


def test_attention_takes_any_number_of_assets_and_any_order():
    policy = SMALL.fit(planted(260, 4, 6), FREE)
    panel = planted(120, 7, 8)
    order = [3, 1, 6, 0, 2, 5, 4]
    turned = replace(
        panel,
        assets=tuple(panel.assets[k] for k in order),
        fields={name: values[:, order] for name, values in panel.fields.items()},
        **{name: getattr(panel, name)[:, order] for name in ("member", "listed", "buyable", "sellable")},
        source="",
    )
    assert np.allclose(earned(policy, panel, FREE), earned(policy, turned, FREE), atol=1e-9)


def test_a_flat_net_is_bound_to_its_assets():
    policy = replace(SMALL, net="mlp").fit(planted(260, 4, 6), FREE)
    with pytest.raises(AxisError, match="know"):
        backtest(policy, planted(120, 5, 8), FREE)
    brain = replace(SMALL, net="mlp").fit(planted(260, 4, 6), FREE).brain
    seen = policy.observer.observe(planted(120, 5, 8))
    with pytest.raises(DataError, match="assets 5, taught on 4"):
        brain.act(seen, np.array([50]), np.full((1, 6), 1 / 6, np.float32))


def test_what_may_not_be_traded_is_held_and_has_no_weight():
    panel = planted(260, 4, 6)
    x = panel["x"].copy()
    x[:, 2] = np.nan
    blind = replace(panel, fields={**panel.fields, "x": x}, source="")
    for mode in ("discrete", "weights", "shares"):
        policy = replace(SMALL, trading=replace(ALL_IN, mode=mode), steps=80, laps=1).fit(blind, FREE)
        seen = policy.observer.observe(blind)
        act = policy.brain.act(seen, np.array([100, 5, 100]), np.full((3, 5), 0.2, np.float32))
        assert act.shape == (3, 5 if mode == "weights" else 4)
        assert np.array_equal(act[0], act[2])
        assert set(act[:, 3 if mode == "weights" else 2].tolist()) == {1 if mode == "discrete" else 0}


def test_full_episodes_last_at_least_a_lap():
    learner = replace(SMALL, trading=replace(ALL_IN, episode="full"), steps=4_000, laps=50)
    policy = learner.fit(planted(260, 4, 6), FREE)
    # 199 steps a pass in rollouts of 10 make laps of 20 updates; 100 updates make 5 of them.
    assert len(policy.brain.history["reward"]) == 5


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"rate": 0.0}, "rate"),
        ({"gamma": 1.1}, "gamma"),
        ({"copies": 0}, "copies"),
        ({"validation": 1}, "validation"),
        ({"net": "tree"}, "net"),
        ({"device": "tpu"}, "device"),
        ({"trading": Trading(mode="joint")}, "mode"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(change, where):
    with pytest.raises(DataError) as told:
        replace(SMALL, **change)
    assert where in str(told.value.where)


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="left to learn from"):
        SMALL.fit(planted(61, 4, 6), FREE)
    slow = replace(SMALL.observation, features=FactorSet("slow", (Factor("x", parse("ts_mean(x, 50)")),)))
    with pytest.raises(DataError, match="windows are full"):
        replace(SMALL, observation=slow).fit(planted(110, 4, 6), FREE)


@pytest.mark.parametrize("change", [{"rate": 1e30}, {"value": 1e38}])
def test_a_loss_or_gradient_that_is_no_number_is_told(change):
    with pytest.raises(SolveError, match="finite"):
        replace(SMALL, **change, steps=400).fit(planted(260, 4, 6), FREE)


def test_weights_of_another_net_are_refused():
    brain = SMALL.fit(planted(260, 4, 6), FREE).brain
    state = brain.state()
    state["shape"] = {**state["shape"], "features": 3}
    with pytest.raises(DataError, match="fit their net"):
        ActorBrain.from_state(state)
    assert NetShape(**brain.state()["shape"]) == brain.shape
