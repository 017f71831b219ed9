from __future__ import annotations

import numpy as np
import pytest

from alphaloom.forecast import Blend, LightGBM, Ridge, sharing
from alphaloom.forecast.inputs import Inputs, cross_zscore
from alphaloom.market import Market
from alphaloom.units import ONE


@pytest.fixture
def counted(monkeypatch):
    calls, real = [], sharing.evaluate

    def evaluate(factors, panel, **rest):
        calls.append(len(panel))
        return real(factors, panel, **rest)

    monkeypatch.setattr(sharing, "evaluate", evaluate)
    return calls


def test_a_blend_computes_its_factors_once(planted, factors, counted):
    panel = planted(100, 20)
    blend = Blend((Ridge(factors), LightGBM(factors, trees=5, min_rows=50)), weighting="ic")
    forecaster = blend.fit(panel, Market())
    assert counted == [100]
    forecaster.predict(panel)
    assert counted == [100, 100]
    Ridge(factors).fit(panel, Market())
    assert counted == [100, 100, 100]


def test_slices_get_their_own_rows_and_other_panels_their_own_values(planted, factors, counted):
    panel = planted(60, 10)
    inputs = Inputs(factors, "zscore")

    def read(part):
        return np.concatenate([block for _, block in inputs.grids(part, np.arange(len(part)))])[:, 0]

    with sharing.shared_factors(panel):
        whole = cross_zscore(panel["x"].astype(np.float32))
        for rows in (slice(0, 60), slice(0, 40), slice(13, 60), slice(20, 30)):
            np.testing.assert_array_equal(read(panel[rows]), whole[rows])
        assert counted == [60]
        other = panel.with_field("x", panel["x"] ** 2, ONE)
        np.testing.assert_array_equal(read(other), cross_zscore((panel["x"] ** 2).astype(np.float32)))
        with sharing.shared_factors(panel[5:20]):
            read(panel[5:20])
    assert counted == [60, 60]


def test_sharing_changes_no_forecast(planted, factors):
    panel = planted(150, 20)
    learner = Ridge(factors, horizon=2)
    alone = learner.fit(panel[:100], Market())
    with sharing.shared_factors(panel):
        assert learner.fit(panel[:100], Market()) == alone
        np.testing.assert_array_equal(alone.predict(panel[50:]).values, alone.predict(panel).values[50:])
