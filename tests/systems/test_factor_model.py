from __future__ import annotations

import inspect

import numpy as np
import pytest

from alphaloom.backtest import backtest
from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.metrics import performance, ranking
from alphaloom.roles import Allocator, Learner
from alphaloom.signal import Signal, forward_returns
from alphaloom.systems import FactorModel, factor_model

SMALL = FactorModel(trees=40, leaves=15, min_rows=200, k=10, buffer=10, seed=1)


@pytest.fixture(scope="module")
def walked():
    """One fold on the embedded market: learned on the first 600 bars, told on the others."""
    panel = simulate(EmbeddedMarket(days=900, assets=60, seed=11))
    forecaster = SMALL.learner.fit(panel[:600], Market())
    signal = forecaster.predict(panel[600 - forecaster.lookback :])[forecaster.lookback :]
    return panel, forecaster, signal


def test_it_is_a_learner_and_an_allocator():
    assert isinstance(SMALL.learner, Learner)
    assert isinstance(SMALL.allocator, Allocator)
    assert FactorModel(trees=40, leaves=15, min_rows=200, k=10, buffer=10, seed=1) == SMALL
    assert len(inspect.getsource(factor_model).splitlines()) <= 150


def test_it_beats_its_own_shuffled_signal(walked):
    panel, forecaster, signal = walked
    target = forward_returns(panel, Market(), horizon=signal.horizon).values[600:]
    daily = ranking.rank_ic(signal.values, target)
    assert np.nanmean(daily) > 0.02
    rng = np.random.default_rng(0)
    mixed = np.array([row[rng.permutation(len(row))] for row in signal.values])
    mixed[~np.isfinite(signal.values)] = np.nan
    shuffled = Signal(signal.times, signal.assets, mixed, horizon=signal.horizon)
    runs = [backtest(SMALL.allocator.policy(told), panel, Market(), start=600) for told in (signal, shuffled)]
    told, noise = (performance.sharpe(run.returns, periods_per_year=panel.periods_per_year) for run in runs)
    assert told > noise
    held = runs[0].holdings
    assert (held >= 0).all()
    assert (held[1:].sum(axis=1) > 0.9).all()
    assert np.median((held[1:] > 0).sum(axis=1)) == 10
    assert forecaster.notes
    assert sum(forecaster.importance.values()) == pytest.approx(1.0)


def test_it_is_the_same_system_twice(walked):
    panel, forecaster, signal = walked
    again = SMALL.learner.fit(panel[:600], Market())
    assert again == forecaster
    np.testing.assert_array_equal(again.predict(panel[600 - again.lookback :])[again.lookback :].values, signal.values)


def test_faults_show_at_construction():
    for wrong in ({"k": 0}, {"trees": 0}, {"horizon": 0}, {"holdout": 1.0}, {"cash": 1.0}):
        with pytest.raises(DataError):
            FactorModel(**wrong)


def test_it_finds_nothing_in_noise():
    panel = simulate(EmbeddedMarket(days=900, assets=60, seed=11, noise=True))
    forecaster = SMALL.learner.fit(panel[:600], Market())
    signal = forecaster.predict(panel)
    daily = ranking.rank_ic(signal.values[600:], forward_returns(panel, Market(), horizon=5).values[600:])
    assert abs(ranking.ic_summary(daily, periods_per_year=panel.periods_per_year, horizon=5)["t"]) < 3.0
