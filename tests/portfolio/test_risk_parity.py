from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.portfolio.budgets import budgeted, contributions
from alphaloom.portfolio.covariance import Risk, estimate
from alphaloom.portfolio.risk_parity import RiskParity
from alphaloom.testing import check_policy


def random_risk(N, K, seed):
    rng = np.random.default_rng(seed)
    exposures = rng.normal(size=(N, K)) * rng.lognormal(0, 0.7, (N, 1))
    exposures[:, 0] += 1.5
    return Risk(exposures, np.diag(rng.uniform(0.1, 1, K)), rng.uniform(0.2, 1.0, N))


def test_two_assets_by_hand():
    # With two assets equal contributions mean inverse deviations, whatever the correlation.
    sigma = np.array([[0.04, 0.018], [0.018, 0.09]])
    weights, _ = budgeted(Risk(np.linalg.cholesky(sigma), np.eye(2), np.zeros(2)), np.array([0.5, 0.5]), total=1.0)
    np.testing.assert_allclose(weights, [0.6, 0.4], rtol=1e-10)


@pytest.mark.parametrize(("N", "K"), [(30, 4), (30, 60), (200, 10), (1, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_contributions_are_the_budgets(N, K, seed):
    risk = random_risk(N, K, seed)
    budgets = np.random.default_rng(seed).lognormal(0, 1.5, N)
    for wanted in (np.ones(N), budgets):
        weights, steps = budgeted(risk, wanted, total=0.97)
        assert weights.sum() == pytest.approx(0.97, abs=1e-12)
        assert weights.min() > 0
        assert steps < 40
        borne = weights * (risk.dense() @ weights)
        np.testing.assert_allclose(borne / borne.sum(), wanted / wanted.sum(), rtol=1e-6)
        np.testing.assert_allclose(contributions(risk, weights), borne / borne.sum(), rtol=1e-9)


def test_order_and_scale_of_the_assets_do_not_matter():
    risk = random_risk(40, 7, 2)
    order = np.random.default_rng(0).permutation(40)
    first = budgeted(risk, np.ones(40), total=1.0)[0]
    np.testing.assert_allclose(budgeted(risk.part(order), np.ones(40), total=1.0)[0], first[order], rtol=1e-8)
    np.testing.assert_allclose(budgeted(risk.scaled(21), np.ones(40), total=1.0)[0], first, rtol=1e-8)


def test_weights_of_skfolio(make_panel):
    pytest.importorskip("skfolio", reason="the extra `portfolio` is not installed")
    from skfolio.optimization import RiskBudgeting

    panel = make_panel(130, 15, seed=4)
    x = (panel["close"][1:] / panel["close"][:-1] - 1)[-120:]
    budgets = np.linspace(1, 3, 15)
    for wanted in (np.ones(15), budgets):
        expected = RiskBudgeting(risk_budget=wanted / wanted.sum()).fit(x).weights_
        found, _ = budgeted(estimate("sample", panel, 120), wanted, total=1.0)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_sectors_bear_equal_risk(make_panel, book_of):
    panel = make_panel(80, 10, seed=3)  # sectors of 4, 3 and 3 assets
    policy = RiskParity(window=60, label="sector", cash=0.02)
    weights = policy.decide(panel, book_of(panel))
    assert weights.sum() == pytest.approx(0.98)
    borne = contributions(estimate("ledoit_wolf", panel, 60), weights)
    sums = [borne[panel.labels["sector"][-1] == k].sum() for k in range(3)]
    np.testing.assert_allclose(sums, 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(borne[[0, 3, 6, 9]], 1 / 12, rtol=1e-6)
    assert policy.counts == {"solves": 1, "fallbacks": 0}
    with pytest.raises(DataError, match=r"RiskParity\.label"):
        RiskParity(window=60, label="colour").decide(panel, book_of(panel))


def test_halted_and_new_assets_and_failures(make_panel, book_of, monkeypatch):
    panel = make_panel(70, 6, seed=1)
    close = panel["close"].copy()
    close[-1, 2] = np.nan
    close[:50, 4] = np.nan
    panel = panel.replace(fields={**panel.fields, "close": close})
    policy = RiskParity(window=60, cash=0.0, risk="sample")
    weights = policy.decide(panel, book_of(panel, np.array([0.0, 0, 0.25, 0, 0.1, 0])))
    assert weights[2] == pytest.approx(0.25)
    assert weights[4] == 0.0
    assert (weights[[0, 1, 3, 5]] > 0).all()
    assert weights.sum() == pytest.approx(1.0)
    assert np.isnan(policy.decide(panel[:60], book_of(panel[:60]))).all()
    from alphaloom.portfolio import budgets

    monkeypatch.setattr(budgets, "budgeted", lambda *args, **named: None)
    assert np.isnan(policy.decide(panel, book_of(panel))).all()
    assert policy.counts["fallbacks"] == 1
    assert "was kept" in policy.notes[0]


@pytest.mark.parametrize("policy", [RiskParity(window=40, every=1), RiskParity(window=40, risk="ewma", label="sector")])
def test_the_law_of_policies(make_panel, policy):
    check_policy(policy, make_panel(90, 10, holes=0.05), rows=8)


def test_faults_are_named():
    for setting in ({"risk": "none"}, {"window": 1}, {"every": 0}, {"cash": 1.0}, {"factors": 0}):
        with pytest.raises(DataError, match=rf"RiskParity\.{next(iter(setting))}"):
            RiskParity(**setting)
