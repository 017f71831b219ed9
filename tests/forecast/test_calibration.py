from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError, SolveError
from alphaloom.forecast import Blend, ReturnScale, Ridge, load_model, save_model
from alphaloom.forecast.calibration import _centred
from alphaloom.market import Market
from alphaloom.portfolio import BuyAndHold
from alphaloom.signal import forward_returns
from alphaloom.testing import check_forecaster, check_learner


def test_expected_returns_have_the_size_of_what_is_earned(planted, factors):
    panel = planted(700, 40, strength=0.01)
    fitted = ReturnScale(Ridge(factors, horizon=1), window=20).fit(panel[:500], Market())
    signal = fitted.predict(panel)
    assert (signal.kind, signal.horizon) == ("return", 1)
    x, y = signal.values[500:], forward_returns(panel, Market(), horizon=1).values[500:]
    known = np.isfinite(x) & np.isfinite(y)
    x, y = _centred(x, known), _centred(y, known)
    assert (x * y).sum() / (x * x).sum() == pytest.approx(1.0, abs=0.15)


def test_a_score_that_earned_nothing_expects_nothing(planted, factors):
    panel = planted(200, 30, strength=0.0)
    found = [
        ReturnScale(Ridge(factors, horizon=1)).fit(planted(200, 30, seed, strength=0.0), Market()) for seed in range(6)
    ]
    none = [fitted for fitted in found if fitted.slope == 0.0]
    assert none
    assert any("expected returns over 1 bars are 0" in note for note in none[0].notes)
    said = none[0].predict(panel).values
    assert (said[np.isfinite(said)] == 0.0).all()
    assert all(fitted.slope >= 0.0 for fitted in found)


def test_it_obeys_time_and_is_stored(planted, factors, tmp_path):
    panel = planted(220, 20)
    learner = ReturnScale(Blend((Ridge(factors), Ridge(factors, alpha=1.0))), window=10)
    check_learner(learner, panel)
    fitted = learner.fit(panel[:150], Market())
    check_forecaster(fitted, panel)
    again = load_model(save_model(fitted, tmp_path / "scaled.json"))
    assert again == fitted
    assert again.predict(panel).values.tobytes() == fitted.predict(panel).values.tobytes()
    assert fitted.importance == fitted.forecaster.importance


def test_faults_are_named(planted, factors):
    for wrong in ({"holdout": 0.0}, {"window": 1}):
        with pytest.raises(DataError, match="ReturnScale"):
            ReturnScale(Ridge(factors), **wrong)
    with pytest.raises(SolveError, match="held-out"):
        ReturnScale(Ridge(factors, horizon=30), holdout=0.1).fit(planted(120, 10), Market())

    class Rule:
        def fit(self, train, market):
            return BuyAndHold()

    with pytest.raises(DataError, match="BuyAndHold"):
        ReturnScale(Rule()).fit(planted(60, 10), Market())
