"""Experts of stable-baselines3: the library's own checks, the exact environment behind them, arrays that act alone."""

from __future__ import annotations

import random
import warnings
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import stable_baselines3
import torch
from planted_market import planted
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from alphaloom.agents.baselines3 import PUBLISHED, Expert
from alphaloom.agents.baselines3_brain import LayeredBrain, simplex
from alphaloom.agents.baselines3_env import SB3VecEnv
from alphaloom.agents.observation import Observation
from alphaloom.agents.observed import Observed
from alphaloom.agents.policy import AgentPolicy, Constant
from alphaloom.agents.simulator import Simulator
from alphaloom.agents.trading import Trading
from alphaloom.app.config import describe, parse_config
from alphaloom.backtest import backtest
from alphaloom.errors import AxisError, ConfigError, DataError, SolveError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.forecast import load_model, save_model
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.roles import Learner
from alphaloom.testing import check_learner, check_policy, decision

X = FactorSet("x", (Factor("x", parse("x")), Factor("one", parse("returns"))))
SEEN = Observation(X, market=False, levels="raw", window=2)
FREE = Market(commission=0.0, slippage=0.0, fill="same_close")
COSTLY = Market(commission=0.001, slippage=0.0, fill="same_close")
WEIGHTS = Trading(reward_scale=100.0, episode="random", length=50)
# The smallest training of each algorithm that steps its net.
FEW = {
    "a2c": {"n_steps": 4},
    "ppo": {"n_steps": 16, "batch_size": 16, "n_epochs": 1},
    "sac": {"learning_starts": 4, "batch_size": 8},
    "ddpg": {"learning_starts": 4, "batch_size": 8},
    "td3": {"learning_starts": 4, "batch_size": 8},
}
TINY = Expert("a2c", SEEN, WEIGHTS, steps=48, copies=2, hidden=(8,), settings=FEW["a2c"], validation=30, laps=2)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return planted(160, 3, 1)


def world(panel: Panel, trading: Trading, *, count: int = 2, market: Market = COSTLY, **more) -> Simulator:
    return Simulator(panel, SEEN.fit(panel).observe(panel), market, trading, count=count, **more)


def deeds(env: SB3VecEnv) -> np.ndarray:
    return np.stack([env.action_space.sample() for _ in range(env.num_envs)])


@pytest.mark.parametrize("mode", ["weights", "shares", "discrete", "joint", "binary"])
def test_it_is_the_simulator_step_by_step(panel, mode):
    """The same actions on a simulator beside it: the same sights, pay and ends, and what was seen at an end."""
    trading = Trading(mode=mode, episode="random", length=7)
    env, twin = SB3VecEnv(world(panel, trading, count=3)), world(panel, trading, count=3)
    assert isinstance(env, VecEnv)
    env.action_space.seed(3)
    env.seed(11)
    twin.reset(11)
    assert np.array_equal(env.reset(), twin.observe())
    ends = 0
    for _ in range(20):
        actions = deeds(env)
        seen, pay, done, infos = env.step(actions)
        raw = simplex(actions, twin.usable[twin.row]) if mode == "weights" else actions
        step = twin.step(raw)
        assert np.array_equal(seen, twin.observe())
        assert seen.shape[1:] == env.observation_space.shape
        assert np.array_equal(pay, step.reward.astype(np.float32))
        assert pay.dtype == np.float32
        assert np.array_equal(done, step.truncated | step.terminated)
        assert [info["equity"] for info in infos] == step.equity.tolist()
        for b in np.flatnonzero(done):
            ends += 1
            assert infos[b]["TimeLimit.truncated"] is True
            final = twin.observe_final(step, np.array([b]))
            assert np.array_equal(infos[b]["terminal_observation"], final[0])
        assert all("terminal_observation" not in infos[b] for b in np.flatnonzero(~done))
    assert ends == 6


def test_ruin_is_an_end_and_not_a_cut():
    panel = planted(30, 2, 2)
    close = panel["close"].copy()
    close[20:] = 1e-12
    gone = panel.replace(fields={**panel.fields, "open": close, "close": close})
    env = SB3VecEnv(world(gone, Trading(), count=1, market=Market(commission=0.5, slippage=0.0, fill="same_close")))
    for _ in range(30):
        _, _, done, infos = env.step(np.array([[-5.0, 5.0, 5.0]]))
        if done[0]:
            break
    assert infos[0]["TimeLimit.truncated"] is bool(infos[0]["equity"] > 0.0)


def test_a_seed_says_what_happens(panel):
    env = SB3VecEnv(world(panel, replace(WEIGHTS, length=20), count=4))
    env.seed(5)
    first = env.reset()
    again = env.reset()
    env.seed(5)
    assert np.array_equal(env.reset(), first)
    assert not np.array_equal(first, again)
    assert len(set(env.get_attr("row"))) > 1


def test_sights_of_several_parts(panel):
    env = SB3VecEnv(world(panel, Trading(mode="discrete", layout="dict")))
    seen = env.reset()
    assert set(seen) == {"features", "portfolio", "mask"}  # no market was observed
    assert env.observation_space.contains({name: part[0] for name, part in seen.items()})
    model = stable_baselines3.A2C("MultiInputPolicy", env, n_steps=4, device="cpu")
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.learn(16)
    for _ in range(200):
        _, _, done, infos = env.step(deeds(env))
        if done.any():
            break
    assert set(infos[0]["terminal_observation"]) == set(seen)
    with pytest.raises(DataError, match="places of rows"):
        SB3VecEnv(env.simulator, layout="rows")


def test_what_it_answers_the_library(panel):
    env = SB3VecEnv(world(panel, Trading()))
    assert env.get_attr("equity") == [1e6, 1e6]
    assert env.get_attr("cash", 1) == [1e6]
    assert env.get_attr("trading", [0]) == [Trading()]
    assert env.render_mode is None
    assert env.env_is_wrapped(VecMonitor) == [False, False]
    assert not env.has_attr("nonsense")
    for ask in (lambda: env.set_attr("cash", 1.0), lambda: env.env_method("sell")):
        with pytest.raises(AttributeError, match="share one simulator"):
            ask()
    watched = VecMonitor(env)
    watched.reset()
    while not (told := watched.step(np.zeros((2, 4)))[3][0]).get("episode"):
        pass
    assert told["episode"]["l"] == len(panel) - 1 - env.simulator.rows[0]
    env.close()


@pytest.mark.parametrize(
    ("mode", "action"),
    [
        ("weights", [[6.0, 0.0, 0.0, 0.0]]),
        ("weights", [[np.nan, 0.0, 0.0, 0.0]]),
        ("weights", [[0.0, 0.0, 0.0]]),
        ("shares", [[0.0, 1.5, 0.0]]),
        ("shares", [[0.0, np.nan, 0.0]]),
        ("discrete", [[0, 3, 0]]),
        ("discrete", [[0.5, 1, 0]]),
        ("joint", [8]),
        ("binary", [-1]),
        ("binary", ["buy"]),
    ],
)
def test_an_action_outside_the_space_is_refused_and_nothing_happens(panel, mode, action):
    env = SB3VecEnv(world(panel, Trading(mode=mode), count=1))
    before = env.reset()
    with pytest.raises(DataError, match="in the space of its mode"):
        env.step(np.array(action))
    assert np.array_equal(env.simulator.observe(), before)
    assert env.simulator.equity[0] == 1e6
    with pytest.raises(DataError, match="follows actions"):
        env.step_wait()


def test_what_may_not_be_traded_gets_no_weight():
    weights = simplex(np.array([[0.0, 5.0, 0.0]]), np.array([[False, True]]))
    assert weights == pytest.approx(np.array([[0.5, 0.0, 0.5]]))
    assert simplex(np.array([[3.0, 5.0, 0.0]]), np.array([[False, False]])) == pytest.approx(np.array([[1.0, 0, 0]]))


@pytest.mark.parametrize(
    ("algorithm", "mode"),
    [
        *((algorithm, "weights") for algorithm in FEW),
        ("ppo", "shares"),
        ("sac", "shares"),
        ("ppo", "discrete"),
        ("a2c", "joint"),
    ],
)
def test_the_arrays_act_as_the_net_of_the_library(panel, algorithm, mode, monkeypatch):
    """What `predict` says of what an environment shows, the brain says of the row and the portfolio."""
    made = []
    kind = getattr(stable_baselines3, algorithm.upper())
    plain = kind.__init__

    def init(self, *args, **more):
        made.append(self)
        plain(self, *args, **more)

    init.__signature__ = __import__("inspect").signature(plain)
    monkeypatch.setattr(kind, "__init__", init)
    learner = Expert(
        algorithm,
        SEEN,
        replace(WEIGHTS, mode=mode),
        steps=64,
        copies=2,
        hidden=(16, 16),
        settings={**FEW[algorithm], "learning_rate": 0.01},
        validation=0,
    )
    policy = learner.fit(panel, COSTLY)
    (model,) = made
    env = SB3VecEnv(world(panel, learner.trading, count=5), layout="flat")
    seen = env.reset()
    for _ in range(8):
        said, _ = model.predict(seen, deterministic=True)
        simulator = env.simulator
        ours = policy.brain.act(simulator.observed, simulator.row, simulator.portfolio)
        wanted = simplex(said, simulator.usable[simulator.row]) if mode == "weights" else said
        assert ours == pytest.approx(wanted, abs=2e-5)
        assert ours.shape == wanted.shape
        seen = env.step(deeds(env))[0]
    assert policy.assets == panel.assets


@pytest.mark.parametrize("algorithm", list(FEW))
def test_every_algorithm_learns_and_says_how_long(algorithm, panel):
    """Not how well, which takes minutes: more steps lead to other weights, and the laps are judged."""
    learner = replace(TINY, algorithm=algorithm, settings=FEW[algorithm], validation=0)
    policies = [replace(learner, steps=steps).fit(panel, FREE) for steps in (24, 48)]
    pairs = zip(*(policy.brain.layers for policy in policies), strict=True)
    assert all((a[0] != b[0]).any() for a, b in pairs)
    assert policies[1].notes[-1] == f"{algorithm} of stable-baselines3, 48 steps"
    judged = replace(learner, validation=30).fit(panel, FREE)
    assert f"{algorithm} of stable-baselines3, 48 steps; the net of lap" in judged.notes[-1]


def test_an_expert_finds_a_planted_signal():
    panel = planted(700, 2, 5, strength=0.02)
    settings = {"n_steps": 64, "batch_size": 256, "learning_rate": 3e-3, "gamma": 0.0}
    learner = Expert("ppo", replace(SEEN, window=1), WEIGHTS, steps=8_192, copies=16, settings=settings)
    policy = learner.fit(panel, FREE)
    fresh = planted(300, 2, 6, strength=0.02)
    gained = np.log(backtest(policy.on(fresh), fresh, FREE, start=1).equity[-1] / 1e6)
    rises = fresh["x"][1:-1] > 0.0
    moves = fresh["close"][2:] / fresh["close"][1:-1] - 1.0
    best = np.log1p((moves * rises).sum(axis=1) / np.maximum(rises.sum(axis=1), 1)).sum()
    assert gained >= 0.6 * best > 1.0


def test_the_lap_that_trades_the_validation_rows_best_is_kept(panel):
    learner = replace(TINY, steps=120, laps=5, settings={"n_steps": 4, "learning_rate": 0.05})
    policy = learner.fit(panel, COSTLY)
    note = policy.notes[-1]
    lap, score = int(note.split("lap ")[1].split(" ")[0]), float(note.rsplit(" ", 1)[1])
    observer = SEEN.fit(panel[:-30])
    observed = observer.observe(panel)
    copy = Simulator(panel, observed, COSTLY, replace(WEIGHTS, episode="full"), rows=(130, 160))
    while not (step := copy.step(policy.brain.act(observed, copy.row, copy.portfolio))).truncated[0]:
        pass
    assert np.log(step.equity[0] / 1e6) == pytest.approx(score, abs=1e-4)
    assert 1 <= lap <= 5
    assert policy.observer == observer


def test_equal_seeds_give_equal_bytes_and_chance_is_given_back(panel):
    np.random.seed(1)  # noqa: NPY002 - the library seeds it too
    random.seed(1)
    torch.manual_seed(1)
    before = (np.random.get_state()[1].tobytes(), random.getstate(), torch.get_rng_state().numpy().tobytes())  # noqa: NPY002
    threads = torch.get_num_threads()
    for algorithm in ("a2c", "td3"):
        learner = replace(TINY, algorithm=algorithm, settings=FEW[algorithm], seed=4)
        one, two = learner.fit(panel, COSTLY), learner.fit(panel, COSTLY)
        other = replace(learner, seed=5).fit(panel, COSTLY)
        pairs = list(zip(one.brain.layers, two.brain.layers, other.brain.layers, strict=True))
        assert all((a[k] == b[k]).all() for a, b, _ in pairs for k in (0, 1))
        assert any((a[0] != c[0]).any() for a, _, c in pairs)
    after = (np.random.get_state()[1].tobytes(), random.getstate(), torch.get_rng_state().numpy().tobytes())  # noqa: NPY002
    assert after == before
    assert torch.get_num_threads() == threads


def test_it_obeys_the_laws(panel):
    assert isinstance(TINY, Learner)
    check_policy(TINY.fit(panel, COSTLY), panel, rows=5)
    check_learner(TINY, panel, rows=3)


@pytest.mark.parametrize("mode", ["weights", "shares", "discrete", "joint"])
def test_a_stored_expert_acts_as_before_and_without_the_library(tmp_path, panel, mode):
    policy = replace(TINY, trading=replace(WEIGHTS, mode=mode), validation=0).fit(panel, COSTLY)
    again = load_model(save_model(policy, tmp_path / "expert"))
    assert isinstance(again, AgentPolicy)
    assert isinstance(again.brain, LayeredBrain)
    assert again.trading == policy.trading
    for row in (60, 100):
        assert np.array_equal(decision(again, panel, row), decision(policy, panel, row))
    with pytest.raises(AxisError, match="in their order"):
        decision(again, planted(160, 4, 1), 100)


def test_a_stored_brain_that_does_not_fit_is_refused(panel):
    brain = replace(TINY, validation=0).fit(panel, COSTLY).brain
    state = brain.state()
    broken = {**state["layers"], "1": {"weights": np.zeros((4, 5), np.float32), "offset": np.zeros(4, np.float32)}}
    for wrong in ({"layers": broken}, {"layers": {}}, {"mode": "binary"}, {"activation": "sine"}):
        with pytest.raises(DataError):
            LayeredBrain.from_state(state | wrong)
    wide = planted(160, 4, 1)
    seen = SEEN.fit(wide).observe(wide)
    with pytest.raises(AxisError, match="assets and the layout of its training"):
        brain.act(seen, np.array([50]), np.zeros((1, 5), np.float32))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"algorithm": "dqn"}, "algorithm"),
        ({"steps": 0}, "steps"),
        ({"copies": 0}, "copies"),
        ({"validation": 1}, "validation"),
        ({"hidden": ()}, "hidden"),
        ({"laps": 0}, "laps"),
        ({"trading": Trading(mode="binary")}, "trading"),
        ({"algorithm": "sac", "trading": Trading(mode="discrete")}, "trading"),
    ],
)
def test_settings_without_meaning_are_refused(change, place):
    with pytest.raises(DataError) as caught:
        replace(TINY, **change)
    assert caught.value.where == f"Expert.{place}"


def test_a_training_that_cannot_be_is_refused(panel):
    for change, text in (
        ({"settings": {"n_step": 4}}, "n_steps"),
        ({"settings": {"device": "cuda"}}, "learning_rate"),
        ({"settings": {"use_sde": "perhaps", "n_steps": -1}}, "stable-baselines3 takes"),
        ({"validation": 157}, "windows are full"),
        ({"validation": 500}, "windows are full"),
        ({"trading": Trading(mode="joint")}, None),
    ):
        wide = planted(60, 13, 1) if text is None else panel
        with pytest.raises(DataError, match=text or "at most 12"):
            replace(TINY, **{"validation": 0, **change}).fit(wide, COSTLY)


def test_a_net_that_is_lost_says_so(panel):
    learner = replace(TINY, settings={"n_steps": 4, "learning_rate": 1e38, "max_grad_norm": 1e30})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SolveError, match="finite"):
            learner.fit(panel, COSTLY)


def test_progress_is_told(panel):
    told: list[tuple[str, int, int]] = []
    TINY.fit(panel, COSTLY, progress=lambda *news: told.append(news))
    assert told[-1] == ("train", 48, 48)
    assert [news[1] for news in told] == sorted(news[1] for news in told)


def test_it_can_be_named_in_a_configuration():
    tables = {
        "name": "one",
        "seed": 11,
        "data": {"kind": "embedded", "days": 300, "assets": 4},
        "plan": {"train": 200, "test": 50},
        "agent": {
            "kind": "expert",
            "algorithm": "sac",
            "hidden": [32, 32],
            "settings": {"batch_size": 64, "ent_coef": "auto"},
            "trading": {"mode": "shares", "reward": "delta"},
        },
    }
    agent = parse_config(tables, "test").agent
    assert isinstance(agent, Expert)
    assert (agent.seed, agent.hidden, agent.trading.reward) == (11, (32, 32), "delta")
    assert agent.settings_wanted["batch_size"] == 64
    assert agent.settings_wanted["learning_rate"] == PUBLISHED["sac"][1]["learning_rate"]
    assert parse_config({**tables, "agent": describe(agent)}, "test").agent == agent
    with pytest.raises(ConfigError, match="algorithm"):
        parse_config({**tables, "agent": {"kind": "expert", "algorithm": "dqn"}}, "test")


def test_a_memory_is_no_larger_than_what_can_be_remembered():
    assert Expert("td3").settings_wanted["buffer_size"] == 50_001
    assert Expert("ddpg", steps=100, copies=4).settings_wanted["buffer_size"] == 104
    assert "buffer_size" not in Expert("ppo").settings_wanted


def test_a_brain_of_another_layout_is_refused_with_both(panel):
    one, other = SEEN.fit(panel), replace(SEEN, window=3).fit(panel)
    with pytest.raises(DataError, match=f"layout {other.spec}, trained on {one.spec}"):
        AgentPolicy(other, Constant(np.zeros(4), one.spec), Trading(), COSTLY)
    own = Observed.of(panel, panel["x"][:, :, None], ["x"])
    assert own.spec not in (one.spec, other.spec)
