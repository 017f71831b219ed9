from __future__ import annotations

import numpy as np
import pytest

from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError, SolveError
from alphaloom.forecast import load_model, save_model
from alphaloom.forecast.baselines import AlwaysLong, MacroLogistic, MomentumSign, PreviousSign
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.roles import Forecaster, Learner
from alphaloom.testing import check_forecaster, check_learner


@pytest.fixture(scope="module")
def panel():
    return simulate(EmbeddedMarket(days=400, assets=20, seed=2))


PLAIN = (AlwaysLong(), PreviousSign(), MomentumSign(20))


@pytest.mark.parametrize("forecaster", PLAIN, ids=lambda f: type(f).__name__)
def test_they_are_forecasters_that_keep_the_law_and_can_be_stored(forecaster, panel, tmp_path):
    assert isinstance(forecaster, Forecaster)
    assert not isinstance(forecaster, Learner)
    check_forecaster(forecaster, panel, rows=8)
    assert load_model(save_model(forecaster, tmp_path / "one.json")) == forecaster
    values = forecaster.predict(panel).values
    assert np.isnan(values[~panel.member]).all()
    assert set(np.unique(values[np.isfinite(values)])) <= {-1.0, 0.0, 1.0}


def test_signs_by_hand(make_panel):
    panel = make_panel(5, 2)
    close = np.array([[10, 10], [11, 9], [11, 12], [9, 13], [12, 13]], dtype=float)
    panel = panel.replace(fields={"close": close, "open": close})
    np.testing.assert_array_equal(PreviousSign().predict(panel).values[1:], [[1, -1], [0, 1], [-1, 1], [1, 0]])
    assert np.isnan(PreviousSign().predict(panel).values[0]).all()
    np.testing.assert_array_equal(MomentumSign(3).predict(panel).values[3:], [[-1, 1], [1, 1]])
    np.testing.assert_array_equal(AlwaysLong().predict(panel).values, np.ones((5, 2)))


def macro_panel(T=400, N=10, seed=0, *, with_series=True):
    """The members rise after the volatility series was high."""
    rng = np.random.default_rng(seed)
    vix = 20 + np.cumsum(rng.normal(0, 1, T)) * 0.2 + 5 * np.sin(np.arange(T) / 15)
    steps = 0.004 * rng.normal(size=(T, N))
    steps[2:] += 0.004 * np.sign(vix[:-2] - 20)[:, None]
    open_ = 50 * np.exp(np.cumsum(steps, axis=0))
    times = (np.datetime64("2012-01-02") + np.arange(T)).astype("datetime64[ns]")
    series = {"vix": vix, "index": open_.mean(axis=1)} if with_series else {}
    assets = tuple(f"A{j}" for j in range(N))
    return Panel(times=times, assets=assets, fields={"open": open_, "close": open_.copy()}, series=series)


def test_a_line_through_the_macro_finds_what_moves_the_market(tmp_path):
    panel = macro_panel()
    fitted = MacroLogistic(horizon=1).fit(panel[:250], Market())
    said = fitted.predict(panel).values[250:]
    truth = np.sign(panel.series["vix"][250:] - 20)
    assert (np.sign(said[:, 0]) == truth).mean() > 0.8
    assert (said == said[:, :1]).all()
    assert "term_spread, credit_spread, dollar" in fitted.notes[0]
    assert load_model(save_model(fitted, tmp_path / "line.json")) == fitted
    check_forecaster(fitted, panel, rows=6)
    check_learner(lambda _: MacroLogistic(horizon=1), panel, market=Market(), rows=3)


def test_without_any_series_the_members_mean_stands_in():
    panel = macro_panel(with_series=False)
    fitted = MacroLogistic().fit(panel[:300], Market())
    assert fitted.series == ()
    assert np.isfinite(fitted.predict(panel).values[20:]).all()
    check_forecaster(fitted, panel, rows=4)


def test_a_market_that_only_rose_teaches_nothing():
    panel = macro_panel()
    up = np.cumprod(np.full(panel.shape, 1.001), axis=0)
    rising = panel.replace(fields={"open": up, "close": up})
    with pytest.raises(SolveError, match="rises and falls"):
        MacroLogistic().fit(rising, Market())


def test_faults_show_at_construction():
    for make in (lambda: AlwaysLong(0), lambda: MomentumSign(0), lambda: PreviousSign(0), lambda: MacroLogistic(0)):
        with pytest.raises(DataError):
            make()
    with pytest.raises(DataError):
        MacroLogistic(strength=0.0)


def test_a_series_that_begins_after_the_training_slice_is_left_out_with_a_note(make_panel):
    panel = make_panel(200, 6)
    vix = 20.0 + np.random.default_rng(0).normal(size=200)
    late = np.where(np.arange(200) < 150, np.nan, 100.0)
    known = panel.replace(series={"vix": vix, "dollar": late})
    fitted = MacroLogistic().fit(known[:140], Market())
    assert fitted.series == ("vix",)
    assert "dollar" in fitted.notes[0]
    assert np.isfinite(fitted.predict(known[:140]).values[-1]).all()
