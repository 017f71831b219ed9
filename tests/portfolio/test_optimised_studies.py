"""The optimised policies from their configuration to a result, on the embedded market."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.app.config import describe, parse_config
from alphaloom.app.runs import study_of
from alphaloom.data import EmbeddedMarket, simulate

KINDS = {
    "minimum_variance": {"window": 120, "cap": 0.1, "risk": "constant_correlation"},
    "risk_parity": {"window": 120, "label": "sector"},
    "hierarchical_risk_parity": {"window": 120, "linkage": "ward", "distance": "correlation"},
    "clustered_risk": {"window": 120, "clusters": 5, "method": "nested"},
    "tail_risk": {"window": 120, "measure": "cdar", "level": 0.9, "cap": 0.1},
}
MARKET = {"days": 420, "assets": 40}


def tables(kind, **settings):
    return {
        "name": kind,
        "data": {"kind": "embedded", **MARKET},
        "policy": {"kind": kind, **KINDS[kind], **settings},
        "plan": {"train": 150, "test": 100},
        "benchmarks": {"equal_weight": {"kind": "equal_weight"}},
    }


@pytest.fixture(scope="module")
def panel():
    return simulate(EmbeddedMarket(**MARKET))


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_configuration_survives_the_way_there_and_back(kind):
    config = parse_config(tables(kind), "test")
    assert parse_config(describe(config), "again") == config
    assert all(getattr(config.policy, name) == value for name, value in KINDS[kind].items())


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_study_of_each_policy(kind, panel):
    study = study_of(parse_config(tables(kind), "test"))
    result = study.run(panel)
    solves = result.summary["count.solves"]
    assert solves == np.ceil(len(result.daily["time"]) / 21)
    assert result.summary.get("count.fallbacks", 0) == 0
    gross = result.daily["gross"][2:]
    assert 0.85 < gross.min() <= gross.max() <= 1.0
    again = study_of(parse_config(tables(kind), "test")).run(panel)
    np.testing.assert_array_equal(result.daily["equity"], again.daily["equity"])
    twice = study.run(panel)  # the same policy, asked again, counts from zero
    assert twice.summary["count.solves"] == solves


def test_least_variance_is_calmer_than_equal_weights_out_of_sample(panel):
    result = study_of(parse_config(tables("minimum_variance", risk="ledoit_wolf"), "test")).run(panel)
    assert result.summary["volatility"] < 0.9 * result.benchmarks["equal_weight"]["volatility"]


def test_the_style_model_works_on_a_panel_with_market_values(panel):
    from alphaloom.portfolio.covariance import estimate
    from alphaloom.portfolio.quadratic import least_variance

    risk = estimate("style", panel, 120)
    members = panel.member[-1] & np.isfinite(panel["close"][-1])
    assert risk.known.any()
    assert not (risk.known & ~members).any()
    found = least_variance(risk.part(risk.known), total=1.0, cap=0.2)
    assert found.kkt < 1e-6
    assert found.weights.sum() == pytest.approx(1.0)
