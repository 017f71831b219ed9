from __future__ import annotations

import numpy as np
import pytest

from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError, SolveError
from alphaloom.factors import Factor, FactorSet, load_library, parse
from alphaloom.forecast import load_model, save_model
from alphaloom.forecast.directional import DirectionalNets
from alphaloom.forecast.directional_choice import Calibration, Choice, choose, fit_calibration, views
from alphaloom.forecast.directional_rows import fit_scaling, move_sizes, outcomes, sides
from alphaloom.market import Market
from alphaloom.metrics import ranking
from alphaloom.signal import forward_returns
from alphaloom.testing import check_forecaster, check_learner

pytest.importorskip("torch")
SMALL = {
    "feed_forward": 1,
    "recurrent": 1,
    "length": 4,
    "hidden": (16,),
    "width": 8,
    "horizons": 3,
    "validation": 20,
    "holdout": 15,
    "every": 1,
    "epochs": 3,
}


def test_labels_by_hand():
    earned = np.array([[0.02, 0.02, -0.04, np.nan]], dtype=np.float32)
    # Usual move 4 %: the dead zone of a quarter is 1 %, 1.41 %, 1.73 %, 2 %.
    np.testing.assert_array_equal(sides(earned, np.array([0.04]), 0.25), [[1, 1, -1, 0]])
    np.testing.assert_array_equal(sides(earned, np.array([0.06]), 0.25), [[1, 0, -1, 0]])
    np.testing.assert_array_equal(sides(earned, np.array([9.0]), 0.0), [[1, 1, -1, 0]])


def test_the_usual_move_is_the_deviation_of_one_bar(planted):
    panel = planted(80, 5)
    earned = outcomes(panel, Market(), 3)
    np.testing.assert_allclose(move_sizes(earned), np.nanstd(earned[:, :, 0], axis=0, ddof=1), rtol=1e-6)
    short = earned.copy()
    short[5:, 2] = np.nan
    assert move_sizes(short)[2] == pytest.approx(np.median(np.delete(move_sizes(earned), 2)))
    with pytest.raises(SolveError):
        move_sizes(earned[:10])


def test_outcomes_end_with_their_slice(planted):
    panel = planted(60, 4)
    whole, part = outcomes(panel, Market(), 5), outcomes(panel[:40], Market(), 5)
    for h in range(1, 6):
        last = 40 - 1 - h  # entry at the next open, exit h bars later
        assert np.isfinite(part[last - 1, :, h - 1]).all()
        assert np.isnan(part[last:, :, h - 1]).all()
        np.testing.assert_array_equal(part[: last - 1, :, h - 1], whole[: last - 1, :, h - 1])


def test_market_factors_are_scaled_over_time_and_others_across_the_date(planted):
    panel = planted(60, 6)
    factors = FactorSet(
        "two", (Factor("x", parse("x"), family="price"), Factor("m", parse("cs_mean(y)"), family="market"))
    )
    scaling = fit_scaling(factors, panel[:40], 0.5)
    grid, able = scaling.grid(panel)
    assert able.all()
    order = panel["x"].argsort(axis=1).argsort(axis=1)
    np.testing.assert_allclose(grid[..., 0], 2 * ((order + 0.5) / 6 - 0.5), atol=1e-6)
    mean = panel["y"].mean(axis=1)
    expected = np.clip((mean - mean[:40].mean()) / mean[:40].std(), -4, 4)
    np.testing.assert_allclose(grid[:, 0, 1], expected, rtol=1e-4, atol=1e-5)
    later = panel.replace(fields={**panel.fields, "y": np.vstack([panel["y"][:40], 9 * panel["y"][40:]])})
    assert fit_scaling(factors, later[:40], 0.5) == scaling


def test_calibration_says_how_often_it_came_true():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.1, 0.5, 4000)
    draw = rng.random(4000)
    side = np.where(draw < truth, 1, np.where(draw < truth + 0.3, -1, 0)).astype(np.int8)[:, None]
    raw = np.stack([truth**2, np.full(4000, 0.9)], axis=1)[:, None, :]  # far too low, and a constant far too high
    fitted = fit_calibration(raw, side, np.ones((4000, 1), np.bool_))
    said = fitted(raw)
    for low in (0.1, 0.2, 0.3, 0.4):
        here = (truth >= low) & (truth < low + 0.1)
        assert said[here, 0, 0].mean() == pytest.approx(truth[here].mean(), abs=0.04)
    assert said[:, 0, 1].mean() == pytest.approx(0.3, abs=0.03)
    assert (np.diff(said[np.argsort(truth), 0, 0]) >= 0).all()
    few = fit_calibration(raw[:30], side[:30], np.ones((30, 1), np.bool_))
    np.testing.assert_array_equal(few(raw * 0.5), raw * 0.5)


def test_probabilities_of_both_sides_stay_below_one():
    both = Calibration()(np.array([[[0.9, 0.6]], [[0.2, np.nan]]]))
    np.testing.assert_allclose(both[0, 0], [0.6, 0.4])
    assert np.isnan(both[1, 0]).any()


def test_views_by_hand():
    up, down = [[0.5, 0.4, 0.6], [0.4, 0.3, 0.3], [0.2, 0.2, 0.2]], [[0.3, 0.3, 0.3], [0.3, 0.4, 0.3], [0.5, 0.3, 0.4]]
    told = np.stack([up, down], axis=2)
    np.testing.assert_allclose(views(told, Choice(0.1, 3)), [0.2, 0.0, -0.2])
    np.testing.assert_allclose(views(told, Choice(0.21, 3)), [0.0, 0.0, 0.0])
    told[0, 2] = [0.3, 0.35]
    np.testing.assert_allclose(views(told, Choice(0.0, 3)), [0.0, 0.0, -0.2], atol=1e-12)
    np.testing.assert_allclose(views(told, Choice(0.0, 2)), [0.25 / 3, 0.0, -0.2], atol=1e-12)
    told[1] = np.nan
    assert np.isnan(views(told, Choice())[1])


def test_the_threshold_that_was_right_is_chosen():
    """Only views above 0.3 are right, and only where all three horizons agree."""
    rng = np.random.default_rng(1)
    R = 6000
    edge = rng.uniform(-0.5, 0.5, (R, 1)) + np.where(rng.random((R, 1)) < 0.5, 0.0, rng.choice([-1, 1], (R, 3)))
    told = np.stack([0.5 + edge / 2, 0.5 - edge / 2], axis=2)
    mean = edge.mean(axis=1)
    agree = (np.sign(edge) == np.sign(mean)[:, None]).all(axis=1)
    earned = np.where(agree & (np.abs(mean) > 0.3), 0.01 * np.sign(mean), 0.0) + 0.02 * rng.normal(size=R)
    choice, t, tried = choose(told, earned, np.arange(R) // 100, agreement=True)
    assert choice.agree == 3
    assert 0.1 < choice.tau < 0.45
    assert t > 5
    assert tried > 6
    assert choose(told, earned, np.arange(R) // 100, agreement=False)[0].agree == 0


def test_a_market_that_rises_chooses_nothing():
    """All assets of a date earn the same: no threshold is better than another, so the laxest stays."""
    rng = np.random.default_rng(2)
    told = rng.uniform(0.2, 0.5, (3000, 3, 2))
    earned = np.repeat(rng.normal(0.01, 0.01, 60), 50)
    choice, t, _ = choose(told, earned, np.arange(3000) // 50, agreement=True)
    assert (choice, np.isnan(t)) == (Choice(0.0, 0), True)


@pytest.fixture(scope="module")
def market_panel():
    return simulate(EmbeddedMarket(days=420, assets=30, seed=5))


@pytest.fixture(scope="module")
def fitted(market_panel):
    return DirectionalNets(**SMALL, seed=3).fit(market_panel[:350], Market())


def test_what_it_says_has_the_right_shape(fitted, market_panel):
    told = fitted.probabilities(market_panel)
    assert told.shape == (*market_panel.shape, 3, 2)
    known = np.isfinite(told).all(axis=(2, 3))
    assert (told[known] >= 0).all()
    assert (told[known].sum(axis=-1) <= 1 + 1e-12).all()
    signal = fitted.predict(market_panel)
    assert (signal.kind, signal.horizon, signal.name) == ("score", 2, "directional")
    np.testing.assert_array_equal(np.isfinite(signal.values), known)
    assert not known[: fitted.lookback].any()
    assert known[fitted.lookback :].any(axis=1).all()
    np.testing.assert_allclose(signal.values[known], views(told[known], fitted.choice), atol=1e-12)
    assert any("thresholds tau" in note for note in fitted.notes)


def test_it_obeys_the_law_of_time(fitted, market_panel):
    check_forecaster(fitted, market_panel, rows=4)


def test_learning_obeys_the_law_of_time(market_panel):
    factors = FactorSet("few", load_library("directional").factors[:3])
    learner = DirectionalNets(factors, **{**SMALL, "epochs": 1, "length": 2})
    check_learner(lambda panel: learner, market_panel[300:], market=Market(), rows=2)


def test_equal_seeds_say_equal_things_and_it_can_be_stored(fitted, market_panel, tmp_path):
    again = DirectionalNets(**SMALL, seed=3).fit(market_panel[:350], Market())
    view = market_panel[-fitted.lookback - 5 :]
    np.testing.assert_array_equal(again.predict(view).values, fitted.predict(view).values)
    restored = load_model(save_model(fitted, tmp_path / "nets.json"))
    np.testing.assert_array_equal(restored.probabilities(view), fitted.probabilities(view))
    np.testing.assert_array_equal(restored.predict(view).values, fitted.predict(view).values)
    assert restored.notes == fitted.notes
    other = DirectionalNets(**SMALL, seed=4).fit(market_panel[:350], Market())
    assert not np.array_equal(other.probabilities(view), fitted.probabilities(view), equal_nan=True)


def test_a_stored_form_whose_parts_do_not_fit_is_refused(fitted):
    state = fitted.state()
    for wrong in ({"horizons": 4}, {"calibration": {"knots": [[0.1]], "shares": [[0.1]]}}):
        with pytest.raises(DataError):
            type(fitted).from_state({**state, **wrong})


@pytest.mark.parametrize("off", [{"recurrent": 0}, {"feed_forward": 0}, {"feed_forward": 0, "memory": "lstm"}])
def test_a_planted_direction_is_found_by_each_kind_of_net(planted, factors, off):
    panel = planted(500, 30, strength=0.02)
    # The relation holds for one bar; its longer horizons dilute it.
    recipe = {**SMALL, "horizons": 2, "validation": 40, "holdout": 30, "epochs": 12, "length": 2, **off}
    fitted = DirectionalNets(factors, **recipe).fit(panel[:350], Market())
    test = panel[350:]
    found = np.nanmean(ranking.rank_ic(fitted.predict(test).values, forward_returns(test, Market()).values))
    assert found > 0.2


@pytest.mark.parametrize(
    "off", [{"calibrate": False}, {"thresholds": False}, {"agreement": False}, {"dead_zone": 0.0}, {"centred": True}]
)
def test_each_step_can_be_left_out(market_panel, off):
    fitted = DirectionalNets(**{**SMALL, "recurrent": 0, **off}).fit(market_panel[:350], Market())
    signal = fitted.predict(market_panel[-fitted.lookback - 10 :])
    assert np.isfinite(signal.values[-1]).any()
    if "calibrate" in off:
        assert fitted.calibration == Calibration()
    if "thresholds" in off:
        assert fitted.choice == Choice()
        assert (signal.values[np.isfinite(signal.values)] != 0).mean() > 0.9
    if "centred" in off:
        # The base is the mean edge of the validation bars, so that both sides are spoken about there.
        assert len(fitted.choice.base) == 3
        told = fitted.probabilities(market_panel[:350])[330:]
        edge = fitted.choice.edge(told[np.isfinite(told).all(axis=(2, 3))])
        assert abs(edge.mean()) < 0.02
        assert type(fitted).from_state(fitted.state()).choice == fitted.choice
    if "agreement" in off:
        assert fitted.choice.agree == 0


def test_too_few_bars_and_wrong_settings_are_refused(market_panel):
    with pytest.raises(SolveError, match="bars to learn from"):
        DirectionalNets(**SMALL).fit(market_panel[:38], Market())
    for wrong in (
        {"horizons": 0},
        {"validation": 5},
        {"memory": "rnn"},
        {"dead_zone": -1.0},
        {"known": 0.0},
        {"feed_forward": 0, "recurrent": 0},
        {"hidden": ()},
        {"learning_rate": 0.0},
    ):
        with pytest.raises(DataError):
            DirectionalNets(**wrong)
