from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError, SolveError
from alphaloom.factors import load_library
from alphaloom.forecast import Blend, Ridge, load_model, save_model
from alphaloom.forecast.augmentation import Augmentation
from alphaloom.forecast.inputs import learn
from alphaloom.forecast.neural import MLP, FactorAttention, NetForecaster, parts_in_time
from alphaloom.market import Market
from alphaloom.metrics import ranking
from alphaloom.nn import FactorTransformer, Mlp, Training
from alphaloom.roles import Forecaster, Learner
from alphaloom.signal import forward_returns
from alphaloom.testing import check_learner

QUICK = Training(epochs=12, patience=4, lr=5e-3)
NET = Mlp((16, 8))
TOKENS = FactorTransformer(8, 2, 1)


def ic(values, panel, horizon=1):
    daily = ranking.rank_ic(values, forward_returns(panel, Market(), horizon=horizon).values)
    daily = daily[np.isfinite(daily)]
    return float(daily.mean()), float(daily.std() / np.sqrt(len(daily)))


def learners(factors, **rest):
    parts = {"horizon": 1, "training": QUICK, "members": 1, **rest}
    return MLP(factors, net=NET, **parts), FactorAttention(factors, net=TOKENS, **parts)


def test_they_play_their_roles(planted, factors):
    panel = planted(80, 20)
    for learner in learners(factors, training=Training(epochs=2)):
        assert isinstance(learner, Learner)
        forecaster = learner.fit(panel, Market())
        assert isinstance(forecaster, Forecaster)
        signal = forecaster.predict(panel)
        assert (signal.kind, signal.horizon, signal.values.shape) == ("score", 1, (80, 20))
        assert hash(learner) == hash(replace(learner))
        assert "kept after epoch" in forecaster.notes[-1]


def test_what_is_planted_is_found(planted, factors):
    panel = planted(400, 40)
    train, test = panel[:250], panel[250:]
    oracle, _ = ic(test["x"] - 0.5 * test["y"], test)
    for learner in learners(factors):
        found, _ = ic(learner.fit(train, Market()).predict(test).values, test)
        assert found > 0.9 * oracle > 0.2


def test_a_bend_is_found_where_a_line_sees_nothing(planted, factors):
    panel = planted(500, 40, bend=True)
    train, test = panel[:350], panel[350:]
    line, _ = ic(Ridge(factors, horizon=1).fit(train, Market()).predict(test).values, test)
    for learner in learners(factors, training=replace(QUICK, epochs=25)):
        bent, _ = ic(learner.fit(train, Market()).predict(test).values, test)
        assert bent > 0.2 > 0.05 > abs(line)


def test_noise_is_not_found(planted, factors):
    panel = planted(500, 40, strength=0.0, seed=3)
    for learner in learners(factors):
        found, error = ic(learner.fit(panel[:250], Market()).predict(panel[250:]).values, panel[250:])
        assert abs(found) < 3 * error


@pytest.mark.parametrize("loss", ["ic", "rank_ic", "listwise", "adj_mse", "adj_mse_half", "adj_mse_logistic", "huber"])
def test_every_loss_orders_the_assets(planted, factors, loss):
    panel = planted(300, 30)
    learner = MLP(factors, horizon=1, net=NET, training=replace(QUICK, loss=loss), members=1)
    found, _ = ic(learner.fit(panel[:200], Market()).predict(panel[200:]).values, panel[200:])
    assert found > 0.25


def test_members_are_different_nets_and_their_mean(planted, factors):
    panel = planted(150, 20)
    two = MLP(factors, horizon=1, net=NET, training=QUICK, members=2, seed=4).fit(panel, Market())
    assert len(two.nets) == 2
    assert not np.array_equal(two.nets[0].state["0.weight"], two.nets[1].state["0.weight"])
    alone = [replace(two, nets=(net,), scales=(scale,)) for net, scale in zip(two.nets, two.scales, strict=True)]
    mean = sum(one.predict(panel).values for one in alone) / 2
    np.testing.assert_allclose(two.predict(panel).values, mean, rtol=1e-12)
    for one in alone:  # each member speaks in its own standard deviations
        assert np.nanstd(one.predict(panel[:120]).values) == pytest.approx(1.0, abs=0.1)


def test_returns_are_said_in_their_own_unit(planted, factors):
    panel = planted(400, 40)
    learner = MLP(factors, horizon=1, target="return", scale="zscore", net=NET, training=QUICK, members=1)
    signal = learner.fit(panel[:250], Market()).predict(panel[250:])
    assert signal.kind == "return"
    x, y = panel["x"][250:], panel["y"][250:]
    expected = 0.01 * (x - 0.5 * y)
    known = np.isfinite(signal.values)
    slope = np.polyfit(signal.values[known], expected[known], 1)[0]
    assert slope == pytest.approx(1.0, abs=0.25)
    assert replace(learner, training=replace(QUICK, loss="ic")).fit(panel[:100], Market()).kind == "score"


def test_the_rows_that_judge_are_later_and_what_reaches_into_them_is_left_out(planted, factors):
    panel = planted(100, 20)
    recipe = MLP(factors, horizon=3, augmentation=Augmentation(), holdout=0.25)
    _, table, _ = learn(recipe, panel, Market(), drawn=75)
    learned, held = parts_in_time(recipe, panel, Market(), table=table, cut=75)
    row = table.cell // 20
    assert not (learned & held).any()
    assert row[learned & ~table.synthetic].max() == 75 - 3 - 2  # entered at the next open, left three opens later
    assert row[held].min() == 75
    assert not table.synthetic[held].any()
    assert learned[table.synthetic].all()
    assert row[table.synthetic].min() >= 100
    assert row[table.synthetic].max() < 175
    assert table.weight[table.synthetic].sum() == pytest.approx(0.5 * (~table.synthetic).sum())


def test_synthetic_bars_come_from_before_those_that_judge(planted, factors):
    """A block of held-out bars among the synthetic ones would teach what judges."""
    panel = planted(120, 20)
    late = {
        k: np.where(np.arange(120)[:, None] < 96, v, 2 * v) for k, v in panel.fields.items() if k in ("open", "close")
    }
    other = panel.replace(fields={**panel.fields, **late})
    recipe = MLP(factors, horizon=1, augmentation=Augmentation())
    one, two = (learn(recipe, part, Market(), drawn=96)[1] for part in (panel, other))
    np.testing.assert_array_equal(one.y[one.synthetic], two.y[two.synthetic])


@pytest.mark.parametrize("mode", ["iid", "correlated", "block", "regime"])
def test_augmented_learning_still_finds_what_is_planted(planted, factors, mode):
    panel = planted(300, 30)
    learner = MLP(factors, horizon=1, net=NET, training=QUICK, members=1, augmentation=Augmentation(mode))
    found, _ = ic(learner.fit(panel[:200], Market()).predict(panel[200:]).values, panel[200:])
    assert found > 0.25


def test_the_law_of_time_holds(planted, factors):
    panel = planted(90, 15)
    for learner in learners(factors, training=Training(epochs=2, patience=1)):
        check_learner(learner, panel, market=Market(), rows=4)


def test_what_is_said_of_a_day_is_the_same_alone_and_in_a_long_panel(planted, factors):
    panel = planted(200, 30)
    for learner in learners(factors, training=Training(epochs=2)):
        forecaster = learner.fit(panel[:120], Market())
        whole = forecaster.predict(panel).values
        for t in (130, 150, 199):
            np.testing.assert_array_equal(
                forecaster.predict(panel[t - forecaster.lookback : t + 1]).values[-1], whole[t]
            )


def test_stored_nets_say_the_same_to_the_bit(planted, factors, tmp_path):
    panel = planted(100, 15)
    for learner in learners(factors, training=Training(epochs=2), members=2):
        forecaster = learner.fit(panel, Market())
        path = save_model(forecaster, tmp_path / "model.json")
        written = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        back = load_model(path)
        np.testing.assert_array_equal(back.predict(panel).values, forecaster.predict(panel).values)
        assert (back.notes, back.name, back.lookback) == (forecaster.notes, forecaster.name, forecaster.lookback)
        save_model(back, path)
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == written
        state = forecaster.state()
        state["inputs"]["factors"] = state["inputs"]["factors"][:2]
        with pytest.raises(DataError, match="parts fit each other"):
            NetForecaster.from_state(state)


SCRIPT = """
import hashlib, numpy as np
from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.forecast.augmentation import Augmentation
from alphaloom.forecast.neural import MLP
from alphaloom.market import Market
from alphaloom.nn import Mlp, Training
panel = simulate(EmbeddedMarket(days=300, assets=20))
learner = MLP(net=Mlp((8,)), training=Training(epochs=2), members=2, augmentation=Augmentation(), seed=3)
values = learner.fit(panel[:250], Market()).predict(panel).values
print(hashlib.sha256(values.tobytes()).hexdigest())
"""


def test_equal_seeds_give_equal_scores_in_any_process():
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": str(k)}
        )
        for k in range(2)
    ]
    one, two = (job.communicate()[0] for job in jobs)
    assert one == two
    assert len(one) > len(hashlib.sha256().hexdigest())


def test_a_net_may_be_blended(planted, factors):
    panel = planted(200, 20)
    blend = Blend((Ridge(factors, horizon=1), learners(factors)[0])).fit(panel, Market())
    assert any(isinstance(member, NetForecaster) for member in blend.forecasters)
    assert np.isfinite(blend.predict(panel).values[-1]).all()


def test_without_patience_every_row_teaches(planted, factors):
    panel = planted(60, 12)
    learner = MLP(factors, horizon=1, net=NET, training=Training(epochs=2, patience=0), members=1)
    assert "last" not in learner.fit(panel, Market()).notes[-1]
    with pytest.raises(SolveError, match="before and after the cut"):
        MLP(factors, horizon=5, net=NET).fit(panel[:8], Market())


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"members": 0}, "members"),
        ({"holdout": 1.0}, "holdout"),
        ({"seed": -1}, "seed"),
        ({"horizon": 0}, "horizon"),
        ({"training": Training(loss="bce")}, "training"),
    ],
)
def test_settings_that_no_fit_could_use_are_refused(bad, where):
    for kind in (MLP, FactorAttention):
        with pytest.raises(DataError) as fault:
            kind(**bad)
        assert fault.value.where == f"{kind.__name__}.{where}"


@pytest.mark.slow
@pytest.mark.parametrize("noise", [False, True], ids=["planted", "noise"])
def test_the_embedded_market_s_alpha_is_recovered_and_its_noise_twin_is_silent(noise):
    panel = simulate(EmbeddedMarket(days=1250, assets=100, noise=noise, seed=7))
    train, test = panel[:800], panel[800:]
    training = Training(epochs=12, patience=3, lr=1e-3)
    factors = load_library("classic")
    for learner in (
        MLP(factors, horizon=1, net=Mlp((64, 32)), training=training, members=3),
        FactorAttention(factors, horizon=1, net=FactorTransformer(16, 4, 1, tokens=12), training=training, every=2),
    ):
        start = len(train) - factors.lookback
        values = learner.fit(train, Market()).predict(panel[start:]).values[factors.lookback :]
        found, error = ic(values, test)
        assert abs(found) < 3 * error if noise else found > 3 * error
