from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from alphaloom.errors import DataError, SolveError
from alphaloom.forecast import Blend, BlendForecaster, Ridge
from alphaloom.market import Market
from alphaloom.portfolio import BuyAndHold
from alphaloom.signal import Signal


@dataclass(frozen=True)
class Fixed:
    """Says a multiple of one field; learns nothing."""

    field: str
    sign: float = 1.0
    lookback: int = 0
    horizon: int = 1

    def fit(self, train, market):
        return self

    def predict(self, panel):
        return Signal(panel.times, panel.assets, self.sign * panel[self.field], horizon=self.horizon)


@dataclass(frozen=True)
class Rule:
    def fit(self, train, market):
        return BuyAndHold()


def test_a_bad_learner_gets_no_weight(planted, factors):
    panel = planted(200, 30)
    blend = Blend((Fixed("x", -1.0), Ridge(factors, horizon=1))).fit(panel, Market())
    assert [type(member).__name__ for member in blend.forecasters] == ["RidgeForecaster"]
    assert blend.weights == (1.0,)
    assert "Fixed -0." in blend.notes[0]


def test_weights_follow_the_rank_ic_on_held_out_bars(planted):
    panel = planted(300, 40)
    blend = Blend((Fixed("x"), Fixed("y", -1.0))).fit(panel, Market())
    strong, weak = blend.weights
    assert strong + weak == pytest.approx(1.0)
    assert 1.5 < strong / weak < 3.0  # planted as x - y / 2


def test_judging_ignores_the_first_part(planted):
    panel = planted(200, 30)
    x = panel["x"].copy()
    x[:160] *= -1.0  # wrong before the cut, right after it
    panel = panel.replace(fields={**panel.fields, "x": x})
    assert Blend((Fixed("x"), Fixed("x", -1.0))).fit(panel, Market()).forecasters == (Fixed("x"),)


def test_nothing_positive_weighs_the_same_and_says_so(planted):
    blend = Blend((Fixed("x", -1.0), Fixed("y"))).fit(planted(200, 30), Market())
    assert blend.weights == (0.5, 0.5)
    assert any("all weigh the same" in note for note in blend.notes)


def test_each_learner_is_judged_on_bars_it_was_not_fitted_on(planted, factors):
    seen = []

    @dataclass(frozen=True)
    class Spy(Fixed):
        def fit(self, train, market):
            seen.append(len(train))
            return self

        def predict(self, panel):
            seen.append((len(panel), panel.times[-1]))
            return super().predict(panel)

    panel = planted(100, 30)
    Blend((Spy("x", lookback=7), Fixed("y")), holdout=0.2).fit(panel, Market())
    assert seen == [80, (27, panel.times[-1]), 100]


def test_ranks_are_averaged_and_gaps_are_filled_by_the_others(planted):
    panel = planted(3, 4)
    x = np.array([[1.0, 2, 3, 4], [4, 3, np.nan, 1], [np.nan] * 4])
    y = np.array([[10.0, 30, 20, 40], [1, 2, 3, 4], [np.nan] * 4])
    panel = panel.replace(fields={**panel.fields, "x": x, "y": y})
    blend = BlendForecaster((Fixed("x"), Fixed("y", lookback=5)), (0.75, 0.25))
    assert blend.lookback == 5
    values = blend.predict(panel).values
    ranks = np.array([-0.375, -0.125, 0.125, 0.375])
    np.testing.assert_allclose(values[0], 0.75 * ranks + 0.25 * ranks[[0, 2, 1, 3]])
    three = np.array([1 / 3, 0, -1 / 3])
    np.testing.assert_allclose(values[1, [0, 1, 3]], 0.75 * three + 0.25 * ranks[[0, 1, 3]])
    assert values[1, 2] == pytest.approx(0.125)
    assert np.isnan(values[2]).all()


def test_faults_are_named(planted):
    with pytest.raises(DataError, match="at least one learner"):
        Blend(())
    with pytest.raises(DataError, match=r"Blend\.holdout"):
        Blend((Fixed("x"),), holdout=1.0)
    with pytest.raises(DataError, match=r"Blend\.weighting"):
        Blend((Fixed("x"),), weighting="best")
    with pytest.raises(DataError, match="Rule fits a BuyAndHold"):
        Blend((Rule(),)).fit(planted(30, 10), Market())
    with pytest.raises(SolveError, match="held-out"):
        Blend((Fixed("x", horizon=20), Fixed("y", horizon=20))).fit(planted(50, 10), Market())
