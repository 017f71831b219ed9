from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.portfolio.covariance import Risk, estimate
from alphaloom.portfolio.minimum_variance import MinimumVariance
from alphaloom.portfolio.quadratic import least_variance, least_variance_long_short
from alphaloom.testing import check_policy


def risk_of(sigma):
    """A covariance given as a matrix, in factor form."""
    return Risk(np.linalg.cholesky(sigma), np.eye(len(sigma)), np.zeros(len(sigma)))


def random_risk(N, K, seed):
    rng = np.random.default_rng(seed)
    exposures = rng.normal(size=(N, K))
    exposures[:, 0] += 1.5  # a market
    return Risk(exposures, np.diag(rng.uniform(0.1, 1, K)), rng.uniform(0.2, 1.0, N))


def test_two_assets_by_hand():
    # Uncorrelated, variances 1 and 4: weights in proportion to 1 and 1/4. With correlation 0.9 the second is left out.
    found = least_variance(risk_of(np.diag([1.0, 4.0])), total=1.0, cap=1.0)
    np.testing.assert_allclose(found.weights, [0.8, 0.2], rtol=1e-10)
    found = least_variance(risk_of(np.array([[1.0, 1.8], [1.8, 4.0]])), total=1.0, cap=1.0)
    assert found.weights.tolist() == [1.0, 0.0]
    # Long and short: (4 - 1.8, 1 - 1.8) / (1 + 4 - 3.6) = (2.2, -0.8) / 1.4.
    found = least_variance_long_short(risk_of(np.array([[1.0, 1.8], [1.8, 4.0]])), net=1.0, gross=3.0, cap=2.0)
    np.testing.assert_allclose(found.weights, [2.2 / 1.4, -0.8 / 1.4], atol=1e-7)
    # With gross 1.5 the short is 0.25.
    found = least_variance_long_short(risk_of(np.array([[1.0, 1.8], [1.8, 4.0]])), net=1.0, gross=1.5, cap=2.0)
    np.testing.assert_allclose(found.weights, [1.25, -0.25], atol=1e-7)


@pytest.mark.parametrize("cap", [1.0, 0.2, 0.06])
@pytest.mark.parametrize("seed", range(6))
def test_the_conditions_of_karush_kuhn_and_tucker(seed, cap):
    risk = random_risk(40, 8, seed)
    found = least_variance(risk, total=0.99, cap=cap)
    w, slope = found.weights, risk.dense() @ found.weights
    assert abs(w.sum() - 0.99) < 1e-12
    assert w.min() >= 0
    assert w.max() <= cap
    inside = (w > 0) & (w < cap)
    price = slope[inside].mean()
    tiny = 1e-9 * price
    assert np.ptp(slope[inside]) < tiny
    assert (slope[w == 0] >= price - tiny).all()
    assert (slope[w == cap] <= price + tiny).all()
    assert found.kkt < 1e-9
    assert found.way == "active_set"


@pytest.mark.parametrize("kind", ["sample", "ledoit_wolf", "constant_correlation", "ewma", "factor"])
@pytest.mark.parametrize("cap", [1.0, 0.01])
def test_five_hundred_assets_over_a_year(make_panel, kind, cap):
    panel = make_panel(253, 500, seed=11)
    shared = np.cumsum(np.random.default_rng(0).normal(0, 0.01, 253))
    panel = panel.replace(
        fields={**panel.fields, "close": panel["close"] * np.exp(np.outer(shared, np.linspace(0.2, 1.8, 500)))}
    )
    risk = estimate(kind, panel, 252)
    found = least_variance(risk, total=1.0, cap=cap)
    assert found.kkt <= 1e-9
    assert found.way == "active_set"
    assert found.rounds <= 20
    slope = risk.times(found.weights)  # in factor form, while the solver used the whole matrix
    np.testing.assert_allclose(slope, risk.dense() @ found.weights, rtol=1e-9)
    assert abs(found.weights.sum() - 1.0) < 1e-12
    assert 0.0 <= found.weights.min() <= found.weights.max() <= cap


def test_the_interior_point_solver_agrees_where_it_has_to_step_in(monkeypatch):
    from alphaloom.portfolio import quadratic

    risk = random_risk(30, 5, 1)
    pull = np.random.default_rng(1).normal(size=30) * 0.02
    first = least_variance(risk, total=0.9, cap=0.1, pull=pull)
    real, calls = quadratic._active_set, []

    def once_lost(*args, **named):
        calls.append(1)
        return None if len(calls) == 1 else real(*args, **named)

    monkeypatch.setattr(quadratic, "_active_set", once_lost)
    second = least_variance(risk, total=0.9, cap=0.1, pull=pull)
    assert second.way == "clarabel"
    np.testing.assert_allclose(second.weights, first.weights, atol=1e-12)
    monkeypatch.setattr(quadratic, "_active_set", lambda *args, **named: None)
    third = least_variance(risk, total=0.9, cap=0.1, pull=pull)
    assert third.kkt < 1e-6
    np.testing.assert_allclose(third.weights, first.weights, atol=1e-6)


@pytest.mark.parametrize("seed", range(30))
def test_matrices_that_are_hard_on_the_active_set(seed):
    """Strong positive and negative correlations, fewer bars than assets: the least variance is never beaten."""
    rng = np.random.default_rng(seed)
    N, K = 25, 12
    risk = Risk(rng.normal(size=(N, K)) * rng.lognormal(0, 1.5, (N, 1)), np.eye(K), np.full(N, 1e-3))
    found = least_variance(risk, total=1.0, cap=0.3)
    assert found.kkt < 1e-6
    assert abs(found.weights.sum() - 1) < 1e-8
    lowest = risk.variance(found.weights)
    for _ in range(300):
        i, j = rng.choice(N, 2, replace=False)
        step = min(found.weights[i], 0.3 - found.weights[j], 0.05 * rng.random())
        other = found.weights.copy()
        other[i] -= step
        other[j] += step
        assert risk.variance(other) >= lowest * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_long_and_short_weights_keep_their_limits_and_their_conditions(seed):
    risk = random_risk(30, 6, seed)
    free = least_variance_long_short(risk, net=1.0, gross=50.0, cap=50.0)
    inverse = np.linalg.solve(risk.dense(), np.ones(30))
    np.testing.assert_allclose(free.weights, inverse / inverse.sum(), atol=1e-6)
    bound = least_variance_long_short(risk, net=1.0, gross=1.4, cap=0.15)
    assert abs(bound.weights.sum() - 1) < 1e-8
    assert np.abs(bound.weights).sum() <= 1.4 + 1e-8
    assert np.abs(bound.weights).max() <= 0.15
    assert bound.kkt < 1e-6
    assert risk.variance(free.weights) < risk.variance(bound.weights)
    long = least_variance(risk, total=1.0, cap=0.15)
    same = least_variance_long_short(risk, net=1.0, gross=1.0, cap=0.15)
    np.testing.assert_allclose(same.weights, long.weights, atol=1e-6)


@pytest.mark.parametrize("gross", [1.05, 1.4, 3.0])
@pytest.mark.parametrize("cap", [1.0, 0.1])
def test_long_and_short_weights_of_the_interior_point_solver(gross, cap, monkeypatch):
    from alphaloom.portfolio import quadratic

    for seed in range(8):
        risk = random_risk(30, 6, seed)
        pull = np.random.default_rng(seed).normal(size=30) * 0.05
        limits = {"net": 0.9, "gross": gross, "cap": cap, "pull": pull}
        first = least_variance_long_short(risk, **limits)
        assert first.way == "active_set"
        assert first.kkt < 1e-9
        with monkeypatch.context() as patch:
            patch.setattr(quadratic, "signed_weights", lambda *args, **named: None)
            second = least_variance_long_short(risk, **limits)
        assert second.way == "clarabel"
        assert second.kkt < 1e-6
        np.testing.assert_allclose(first.weights, second.weights, atol=1e-6)


def test_more_assets_than_bars_and_no_shrinkage_go_to_the_interior_point_solver(make_panel):
    panel = make_panel(60, 90, seed=2)
    found = least_variance_long_short(estimate("sample", panel, 50), net=1.0, gross=1.3, cap=0.1)
    assert found.kkt < 1e-6
    assert abs(found.weights.sum() - 1) < 1e-8
    assert np.abs(found.weights).sum() <= 1.3 + 1e-8


def test_limits_that_contradict_each_other_have_no_weights():
    found = least_variance_long_short(random_risk(5, 2, 0), net=1.0, gross=2.0, cap=0.1)
    assert found.way == "none"
    assert np.isnan(found.weights).all()


def test_order_and_scale_of_the_assets_do_not_matter():
    risk = random_risk(35, 7, 2)
    order = np.random.default_rng(0).permutation(35)
    first = least_variance(risk, total=1.0, cap=0.1).weights
    np.testing.assert_allclose(least_variance(risk.part(order), total=1.0, cap=0.1).weights, first[order], atol=1e-12)
    np.testing.assert_allclose(least_variance(risk.scaled(21), total=1.0, cap=0.1).weights, first, atol=1e-12)


def test_weights_of_skfolio(make_panel):
    pytest.importorskip("skfolio", reason="the extra `portfolio` is not installed")
    from skfolio.moments import LedoitWolf
    from skfolio.optimization import MeanRisk
    from skfolio.prior import EmpiricalPrior

    panel = make_panel(130, 20, seed=4)
    close = panel["close"]
    x = (close[1:] / close[:-1] - 1)[-120:]
    model = MeanRisk(prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()), max_weights=0.08)
    expected = model.fit(x).weights_
    found = least_variance(estimate("ledoit_wolf", panel, 120), total=1.0, cap=0.08)
    np.testing.assert_allclose(found.weights, expected, atol=1e-4)


def test_a_decision_holds_what_does_not_trade_and_weighs_the_rest_against_it(make_panel, book_of):
    panel = make_panel(70, 6, seed=1)
    close = panel["close"].copy()
    close[-1, 2] = np.nan  # halted today
    close[:50, 4] = np.nan  # listed too lately for an estimate
    panel = panel.replace(fields={**panel.fields, "close": close})
    held = np.array([0.0, 0, 0.25, 0, 0.1, 0])
    policy = MinimumVariance(window=60, cash=0.05, risk="sample")
    weights = policy.decide(panel, book_of(panel, held))
    assert weights[2] == pytest.approx(0.25)
    assert weights[4] == 0.0
    assert weights.sum() == pytest.approx(0.95)
    assert policy.counts == {"solves": 1, "infeasible": 0, "fallbacks": 0, "interior": 0}
    assert policy.notes == ()
    risk = estimate("sample", panel, 60)
    best = [0, 1, 3, 5]
    slope = risk.part([0, 1, 2, 3, 5]).times(weights[[0, 1, 2, 3, 5]])[
        [0, 1, 3, 4]
    ]  # the halted holding is part of the portfolio
    assert np.isfinite(slope).all()
    inside = weights[best] > 0
    np.testing.assert_allclose(slope[inside], slope[inside].mean(), rtol=1e-8)
    assert (slope[~inside] >= slope[inside].mean()).all()


def test_halted_holdings_that_take_all_the_money_leave_none(make_panel, book_of):
    panel = make_panel(70, 4, seed=1)
    close = panel["close"].copy()
    close[-1, 2] = np.nan
    panel = panel.replace(fields={**panel.fields, "close": close})
    held = np.array([0.0, 0.0, 0.999, 0.0])
    weights = MinimumVariance(window=60).decide(panel, book_of(panel, held))
    np.testing.assert_allclose(weights, held, atol=1e-12)


def test_caps_that_leave_too_little_room_are_counted(make_panel, book_of):
    panel = make_panel(70, 5)
    policy = MinimumVariance(window=60, cap=0.1)
    np.testing.assert_allclose(policy.decide(panel, book_of(panel)), 0.1)
    assert policy.counts["infeasible"] == 1
    assert "rest stayed in cash" in policy.notes[0]
    long_short = MinimumVariance(window=60, cap=0.1, gross=1.5)
    np.testing.assert_allclose(long_short.decide(panel, book_of(panel)), 0.1, atol=1e-7)


def test_days_without_a_decision_hold(make_panel, book_of):
    panel = make_panel(70, 5)
    policy = MinimumVariance(window=60, every=5)
    assert np.isnan(policy.decide(panel[:60], book_of(panel[:60]))).all()
    assert np.isfinite(policy.decide(panel[:61], book_of(panel[:61]))).all()
    assert np.isnan(policy.decide(panel, book_of(panel, bars=3))).all()
    assert np.isfinite(policy.decide(panel, book_of(panel, bars=6))).all()
    nobody = panel.replace(member=np.zeros(panel.shape, bool))
    assert np.isnan(policy.decide(nobody, book_of(nobody))).all()


def test_an_optimisation_that_fails_holds_and_is_counted(make_panel, book_of, monkeypatch):
    from alphaloom.portfolio import quadratic

    monkeypatch.setattr(quadratic, "_active_set", lambda *args, **named: None)
    monkeypatch.setattr(quadratic, "_interior", lambda *args, **named: None)
    panel = make_panel(70, 5)
    policy = MinimumVariance(window=60)
    assert np.isnan(policy.decide(panel, book_of(panel))).all()
    assert policy.counts["fallbacks"] == 1
    assert "was kept" in policy.notes[0]


@pytest.mark.parametrize(
    "policy",
    [
        MinimumVariance(window=40, every=1),
        MinimumVariance(window=40, every=1, risk="factor", factors=2, cap=0.2),
        MinimumVariance(window=40, every=1, risk="ewma", gross=1.5),
    ],
)
def test_the_law_of_policies(make_panel, policy):
    check_policy(policy, make_panel(90, 10, holes=0.05), rows=8)


def test_it_is_calmer_than_equal_weights(make_panel):
    from alphaloom.backtest import backtest
    from alphaloom.portfolio import EqualWeight

    panel = make_panel(500, 12, seed=6)
    size = np.linspace(0.3, 2.5, 12)
    close = 50 * np.exp(
        np.diff(np.log(panel["close"]), axis=0, prepend=np.log(panel["close"][:1])).cumsum(axis=0) * size
    )
    panel = panel.replace(fields={"open": close, "close": close}, units={}, member=None, listed=None)
    calm, plain = (
        backtest(policy, panel, Market(), start=130).returns.std()
        for policy in (MinimumVariance(window=120), EqualWeight())
    )
    assert calm < 0.7 * plain


def test_faults_are_named():
    for setting in ({"risk": "none"}, {"window": 1}, {"every": 0}, {"cap": 0.0}, {"gross": 0.5}, {"cash": 1.0}):
        with pytest.raises(DataError, match=rf"MinimumVariance\.{next(iter(setting))}"):
            MinimumVariance(**setting)
    for setting in ({"half_life": 0.0}, {"factors": 0}):
        with pytest.raises(DataError, match=rf"MinimumVariance\.{next(iter(setting))}"):
            MinimumVariance(**setting)
