"""What a user may hand over by mistake, whoever learns from it: a clear error, or the outcome that was defined."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from alphaloom.agents.a2c import ActorCritic
from alphaloom.agents.baselines3 import Expert
from alphaloom.agents.dqn import CrossSectionDQN
from alphaloom.agents.observation import Observation
from alphaloom.agents.observed import Observed
from alphaloom.agents.policy import AgentPolicy
from alphaloom.agents.simulator import Simulator
from alphaloom.agents.trading import PRESETS, Trading
from alphaloom.backtest import backtest
from alphaloom.errors import AlphaloomError, AxisError, ConfigError, DataError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.forecast import load_model, save_model
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.study import WalkForward

SEEN = Observation(FactorSet("own", (Factor("x", parse("x")), Factor("one", parse("returns")))), market=False, window=3)
MARKET = Market(commission=0.001, slippage=0.0)
EPISODES = Trading(episode="random", length=30)
LEARNERS: dict[str, Any] = {
    "actor_critic": ActorCritic(SEEN, EPISODES, net="mlp", steps=80, rollout=10, copies=2, validation=30, laps=1),
    "expert": Expert("a2c", SEEN, EPISODES, steps=20, hidden=(8,), validation=30, laps=1),
    "dqn": CrossSectionDQN(SEEN, widths=(8,), steps=200, memory=200, batch=32, validation=30, experts="per_asset"),
}
every_learner = pytest.mark.parametrize("name", list(LEARNERS))


def made(T: int = 150, N: int = 3, seed: int = 0) -> Panel:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (T, N)), axis=0))
    times = np.busday_offset("2015-01-05", np.arange(T), roll="forward").astype("datetime64[ns]")
    fields = {"open": close, "close": close, "x": rng.normal(size=(T, N))}
    return Panel(times, tuple(f"A{k}" for k in range(N)), fields)


@pytest.fixture(scope="module")
def trained() -> dict[str, AgentPolicy]:
    return {name: learner.fit(made(), MARKET) for name, learner in LEARNERS.items()}


@every_learner
@pytest.mark.parametrize("validation", [147, 150, 1000])
def test_rows_that_judge_and_rows_that_teach_do_not_overlap(name, validation):
    """There are 150 rows; a validation that leaves none to learn from is refused, not shared."""
    with pytest.raises(DataError, match=r"training rows|rows are left"):
        replace(LEARNERS[name], validation=validation).fit(made(), MARKET)


def test_a_test_block_does_not_begin_before_the_training_ends():
    with pytest.raises(ConfigError, match="testing begins at row 110"):
        WalkForward(train=100, test=20, embargo=10, first=105)


@every_learner
def test_a_model_is_not_applied_to_another_layout(name, trained):
    policy = trained[name]
    for other in (replace(SEEN, window=4), replace(SEEN, clip=3.0), replace(SEEN, features="ratio")):
        observer = other.fit(with_bars())
        with pytest.raises(DataError, match=f"{observer.spec}, trained on {policy.observer.spec}"):
            replace(policy, observer=observer)


def with_bars() -> Panel:
    """A panel on which the ratio library can be asked."""
    panel = made()
    more = {"high": panel["close"], "low": panel["close"], "volume": np.abs(panel["x"])}
    return panel.replace(fields={**panel.fields, **more})


@every_learner
def test_a_panel_without_what_was_seen_is_refused(name, trained):
    panel = made()
    blind = panel.replace(fields={field: panel[field] for field in ("open", "close")})
    with pytest.raises(AlphaloomError, match="x"):
        backtest(trained[name], blind, MARKET, start=140)


@every_learner
def test_other_assets_are_refused_where_they_are_known_by_their_place(name, trained):
    with pytest.raises(AxisError):
        backtest(trained[name], made(N=4), MARKET, start=140)


@every_learner
def test_a_feature_that_is_unknown_on_a_tradable_row_is_not_looked_at(name, trained):
    """An asset with a hole in its window keeps what is held of it: none, where it was never usable."""
    panel = made(seed=1)
    holes = panel["x"].copy()
    holes[97:, 1] = np.nan
    result = backtest(trained[name], panel.replace(fields={**panel.fields, "x": holes}), MARKET, start=100)
    assert np.isfinite(result.equity).all()
    assert (result.shares[:, 1] == 0.0).all()


def test_a_hole_in_features_of_your_own_is_named():
    panel = made()
    own = np.zeros((*panel.shape, 2), np.float32)
    own[40, 2, 1] = np.nan
    with pytest.raises(DataError) as caught:
        Observed.of(panel, own, ["first", "second"])
    assert caught.value.where == f"second of A2 at {str(panel.times[40])[:10]}"
    usable = np.ones(panel.shape, bool)
    usable[40, 2] = False
    assert not Observed.of(panel, own, ["first", "second"], usable=usable).usable[40, 2]


@every_learner
@pytest.mark.parametrize("fate", ["delisted", "worthless"])
def test_an_asset_that_ends_is_paid_out_or_written_off(name, fate, trained):
    """The account goes on: what was held of a delisted asset is cash, of a worthless one nothing."""
    panel = made(seed=2)
    close, listed = panel["close"].copy(), np.ones(panel.shape, bool)
    if fate == "delisted":
        close[120:, 0] = np.nan
        listed[120:, 0] = False
    else:
        close[120:, 0] = 1e-9
    x = np.where(np.isnan(close), np.nan, panel["x"])
    ended = Panel(panel.times, panel.assets, {"open": close, "close": close, "x": x}, listed=listed)
    result = backtest(trained[name], ended, MARKET, start=100)
    assert np.isfinite(result.equity).all()
    assert (result.equity > 0.0).all()
    if fate == "delisted":
        assert (result.shares[-20:, 0] == 0.0).all()
    before = result.shares[19, 0] * panel["close"][119, 0]
    lost = result.equity[19] - result.equity[20]
    others = np.abs(result.shares[19, 1:] * (close[120, 1:] - close[119, 1:])).sum() + 0.01 * result.equity[19]
    assert lost == pytest.approx(before if fate == "worthless" else 0.0, abs=others)


def test_a_training_on_which_an_asset_ends_is_a_training():
    panel = made()
    close, listed = panel["close"].copy(), np.ones(panel.shape, bool)
    close[60:, 0] = np.nan
    listed[60:, 0] = False
    x = np.where(np.isnan(close), np.nan, panel["x"])
    ended = Panel(panel.times, panel.assets, {"open": close, "close": close, "x": x}, listed=listed)
    for learner in LEARNERS.values():
        policy = learner.fit(ended, MARKET)
        assert np.isfinite(backtest(policy, ended, MARKET, start=100).equity).all()


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(DataError) as caught:
        Trading.preset("finrl2")
    assert all(name in caught.value.fix for name in PRESETS)


def test_an_environment_without_a_row_to_decide_on_is_refused():
    panel = made()
    observed = SEEN.fit(panel).observe(panel)
    for rows in ((0, 50), (50, 51), (60, 50), (100, 151)):
        with pytest.raises(DataError, match="a row to decide on"):
            Simulator(panel, observed, MARKET, Trading(), rows=rows)
    with pytest.raises(AxisError):
        Simulator(panel[:100], observed, MARKET, Trading())
    with pytest.raises(DataError, match="at least one copy"):
        Simulator(panel, observed, MARKET, Trading(), count=0)


@every_learner
def test_a_stored_agent_that_was_damaged_is_refused(name, trained, tmp_path):
    path = save_model(trained[name], tmp_path / "agent.json")
    assert isinstance(load_model(path), AgentPolicy)
    for part in sorted(path.rglob("*") if path.is_dir() else path.parent.iterdir()):
        if part.is_file():
            part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    with pytest.raises(AlphaloomError):
        load_model(path)
