from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alphaloom.backtest import backtest
from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError, SolveError
from alphaloom.market import Market
from alphaloom.portfolio.covariance import estimate
from alphaloom.portfolio.limits import read_situation
from alphaloom.portfolio.optimise import Limits, MaximumSharpe, MeanVariance, ReferenceTracking
from alphaloom.portfolio.problem import solve
from alphaloom.portfolio.sharpe_ratio import best_ratio
from alphaloom.roles import Allocator, Policy
from alphaloom.signal import Signal
from alphaloom.testing import check_policy

WINDOW = 40


def reversal(panel, kind="return", horizon=1):
    """Yesterday's loser is expected to win: a return signal that everybody can compute."""
    close = np.asarray(panel["close"], dtype=float)
    values = np.full(panel.shape, np.nan)
    values[1:] = -0.1 * (close[1:] / close[:-1] - 1.0)
    return Signal(panel.times, panel.assets, values, kind, horizon, "reversal")


@pytest.fixture(scope="module")
def market_panel():
    return simulate(EmbeddedMarket(days=160, assets=24, seed=5))


RULES = {
    "plain": MeanVariance(window=WINDOW, limits=Limits(cap=0.1)),
    "everything": MeanVariance(
        window=WINDOW,
        limits=Limits(cap=0.1, turnover=0.1, band=0.05, beta=0.2, participation=0.1, tracking=0.1),
        impact=0.01,
        fallback="relax",
    ),
    "osqp": MeanVariance(window=WINDOW, limits=Limits(cap=0.1), solver="osqp"),
    "both": MeanVariance(window=WINDOW, limits=Limits(cap=0.1, sides="both", beta=0.05), risk="ewma"),
    "ratio": MaximumSharpe(window=WINDOW, limits=Limits(cap=0.1, band=0.1)),
    "reference": ReferenceTracking(window=WINDOW, limits=Limits(cap=0.2)),
}


@pytest.mark.parametrize("name", RULES)
def test_every_optimiser_obeys_the_law_of_policies(name, market_panel):
    rule = RULES[name]
    assert isinstance(rule, Allocator)
    policy = rule.policy(reversal(market_panel))
    assert isinstance(policy, Policy)
    check_policy(policy, market_panel, rows=6)
    assert policy.counts["solves"] > 0


@pytest.mark.parametrize("name", RULES)
def test_decisions_keep_budget_and_box(name, market_panel, book_of):
    rule = replace(RULES[name], every=1)
    weights = rule.policy(reversal(market_panel)).decide(market_panel, book_of(market_panel))
    total = 0.0 if rule.limits.sides == "both" else 0.99
    assert weights.sum() == pytest.approx(total, abs=1e-8)
    assert np.abs(weights).max() <= rule.limits.cap + 1e-12
    if rule.limits.sides == "both":
        assert np.abs(weights).sum() <= 1.0 + 1e-9
        assert weights.min() < -0.01
    else:
        assert weights.min() >= 0.0


def test_a_score_is_refused_with_the_way_out(market_panel):
    for rule in (MeanVariance(), MaximumSharpe()):
        with pytest.raises(SolveError, match="ReturnScale"):
            rule.policy(reversal(market_panel, kind="score"))


def test_the_covariance_is_that_of_the_signals_horizon(market_panel, book_of):
    book = book_of(market_panel)
    gain = reversal(market_panel).values[-1]
    risk = estimate("ledoit_wolf", market_panel, WINDOW)
    one = read_situation(Limits(), market_panel, book, gain=gain, risk=risk, horizon=1, cash=0.01)
    five = read_situation(Limits(), market_panel, book, gain=gain, risk=risk, horizon=5, cash=0.01)
    equal = np.full(one.problem.count, 1.0 / one.problem.count)
    assert five.problem.deviation(equal) ** 2 == pytest.approx(5.0 * one.problem.deviation(equal) ** 2)


def test_sector_beta_and_turnover_limits_hold_in_the_weights(market_panel, book_of):
    limits = Limits(cap=0.2, turnover=0.15, band=0.03, beta=0.05)
    held = np.zeros(24)
    held[:12] = 0.08
    book = book_of(market_panel, held)
    policy = MeanVariance(window=WINDOW, limits=limits, aversion=1.0, cost=0.0, fallback="relax").policy(
        reversal(market_panel)
    )
    found = policy.decide(market_panel, book)
    risk = estimate("ledoit_wolf", market_panel, WINDOW)
    gain = reversal(market_panel).values[-1]
    today = read_situation(limits, market_panel, book, gain=gain, risk=risk, horizon=1, cash=0.01)
    relaxed = policy.counts["relaxed"]
    if not relaxed:
        assert np.abs(found - held).sum() / 2.0 <= 0.15 + 1e-9
        for band in today.problem.bands:
            exposure = band.loads @ found[today.columns]
            assert (exposure <= band.high + 1e-9).all()
            assert (exposure >= band.low - 1e-9).all()
    assert policy.counts["held"] == 0


def test_an_empty_book_may_be_filled_whatever_the_turnover_limit(market_panel, book_of):
    policy = MeanVariance(window=WINDOW, limits=Limits(cap=0.1, turnover=0.01)).policy(reversal(market_panel))
    assert policy.decide(market_panel, book_of(market_panel)).sum() == pytest.approx(0.99)


def test_a_locked_market_is_left_as_it_is(market_panel, book_of):
    stuck = np.zeros(market_panel.shape, dtype=bool)
    panel = market_panel.replace(buyable=stuck, sellable=stuck)
    held = np.full(24, 0.99 / 24)
    book = book_of(panel, held)
    weights = MeanVariance(window=WINDOW, limits=Limits(cap=0.1)).policy(reversal(panel)).decide(panel, book)
    assert np.array_equal(weights, book.weights)


def test_a_holding_outside_its_cap_is_sold_as_far_as_capacity_lets_it(market_panel, book_of):
    held = np.zeros(24)
    held[3] = 0.9
    book = book_of(market_panel, held)
    limits = Limits(cap=0.1, participation=0.001, idle=0.9)
    weights = (
        MeanVariance(window=WINDOW, limits=limits, cost=0.0).policy(reversal(market_panel)).decide(market_panel, book)
    )
    money = (market_panel["close"][-20:, 3] * market_panel["volume"][-20:, 3]).astype(float).mean()
    assert weights[3] == pytest.approx(max(held[3] - 0.001 * money / book.equity, 0.0), rel=1e-9) or weights[3] <= 0.1


@pytest.mark.parametrize("fallback", ["hold", "relax", "equal"])
def test_an_infeasible_set_of_limits_takes_the_declared_way_out_and_counts_it(fallback, market_panel, book_of):
    # 24 assets of at most 2 % each cannot hold 99 %.
    policy = MeanVariance(window=WINDOW, limits=Limits(cap=0.02), fallback=fallback).policy(reversal(market_panel))
    weights = policy.decide(market_panel, book_of(market_panel))
    assert policy.counts["infeasible"] == policy.counts["fallbacks"] == 1
    key = {"hold": "held", "relax": "relaxed", "equal": "equal"}[fallback]
    assert policy.counts[key] == 1
    assert any("relax budget by" in note for note in policy.notes)
    if fallback == "hold":
        assert np.isnan(weights).all()
    elif fallback == "equal":
        assert weights.sum() == pytest.approx(0.99)
        assert np.ptp(weights[weights > 0.0]) < 1e-12
    else:
        assert 0.4 < weights.sum() <= 0.99 + 1e-9
        assert (weights >= 0.0).all()


def test_a_whole_back_test_with_one_infeasible_stretch_goes_on(market_panel):
    policy = MeanVariance(
        window=WINDOW, limits=Limits(cap=0.1, turnover=0.05, band=0.02), fallback="relax", every=3
    ).policy(reversal(market_panel))
    result = backtest(policy, market_panel, Market(), start=WINDOW + 5)
    counts = policy.counts
    assert counts["solves"] >= 30
    assert counts["fallbacks"] == counts["held"] + counts["relaxed"] + counts["equal"]
    assert np.isfinite(result.equity).all()
    again = MeanVariance(
        window=WINDOW, limits=Limits(cap=0.1, turnover=0.05, band=0.02), fallback="relax", every=3
    ).policy(reversal(market_panel))
    assert backtest(again, market_panel, Market(), start=WINDOW + 5).equity.tobytes() == result.equity.tobytes()


def test_costs_in_the_objective_save_costs_in_the_market(market_panel):
    signal = reversal(market_panel)

    def paid(cost: float) -> float:
        policy = MeanVariance(window=WINDOW, limits=Limits(cap=0.1), cost=cost, every=2).policy(signal)
        result = backtest(policy, market_panel, Market(), start=WINDOW + 5)
        return float(sum(part.sum() for part in result.costs.values()))

    assert paid(0.002) < 0.8 * paid(0.0)


def test_the_best_ratio_lies_on_the_frontier(market_panel, book_of):
    book = book_of(market_panel)
    risk = estimate("ledoit_wolf", market_panel, WINDOW)
    gain = reversal(market_panel).values[-1] + 0.001
    today = read_situation(Limits(cap=0.15), market_panel, book, gain=gain, risk=risk, horizon=1, cash=0.0)
    found = best_ratio(today.problem)
    assert found.residual <= 1e-6
    assert found.weights.sum() == pytest.approx(1.0, abs=1e-8)
    frontier = []
    for aversion in np.geomspace(0.5, 200.0, 40):
        weights = solve(replace(today.problem, aversion=aversion)).weights
        frontier.append(today.problem.gain @ weights / today.problem.deviation(weights))
    assert found.objective >= max(frontier) - 1e-9
    assert found.objective == pytest.approx(max(frontier), rel=2e-3)


def test_two_independent_assets_of_the_best_ratio_are_weighted_by_gain_over_variance():
    from alphaloom.portfolio.covariance import Risk
    from alphaloom.portfolio.problem import make_problem

    risk = Risk(np.zeros((2, 1)), np.eye(1), np.array([0.1, 0.2]))
    found = best_ratio(make_problem(np.array([0.01, 0.02]), risk))
    assert found.weights == pytest.approx([2 / 3, 1 / 3], abs=1e-8)  # 0.01 / 0.01 to 0.02 / 0.04
    nothing = best_ratio(make_problem(np.array([-0.01, -0.02]), risk))
    assert nothing.status == "infeasible"
    assert "positive" in nothing.reason


def test_without_costs_and_limits_the_tracker_is_its_reference(market_panel, book_of):
    rule = ReferenceTracking(window=WINDOW, cost=0.0, limits=Limits(cap=1.0), every=1)
    weights = rule.policy(reversal(market_panel)).decide(market_panel, book_of(market_panel))
    held = weights > 0.0
    assert weights[held] == pytest.approx(np.full(held.sum(), 0.99 / held.sum()), abs=1e-7)
    assert np.array_equal(held, market_panel.member[-1])


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: Limits(cap=0.0), "Limits.cap"),
        (lambda: Limits(turnover=-0.1), "Limits.turnover"),
        (lambda: Limits(sides="up"), "Limits.sides"),
        (lambda: Limits(net=2.0), "Limits.gross"),
        (lambda: MeanVariance(aversion=-1.0), "MeanVariance.aversion"),
        (lambda: MeanVariance(solver="osqp", impact=0.1), "MeanVariance.solver"),
        (lambda: MeanVariance(fallback="pray"), "MeanVariance.fallback"),
        (lambda: MeanVariance(fallback="equal", limits=Limits(sides="both")), "MeanVariance.fallback"),
        (lambda: MaximumSharpe(limits=Limits(turnover=0.1)), "MaximumSharpe.limits"),
        (lambda: MeanVariance(risk="gut"), "MeanVariance.risk"),
    ],
)
def test_settings_out_of_range_are_refused(make, where):
    with pytest.raises(DataError) as fault:
        make()
    assert fault.value.where == where


def test_a_band_on_a_label_that_the_panel_lacks_names_those_it_has(market_panel, book_of):
    policy = MeanVariance(window=WINDOW, limits=Limits(band=0.1, label="colour")).policy(reversal(market_panel))
    with pytest.raises(DataError, match="label") as fault:
        policy.decide(market_panel, book_of(market_panel))
    assert "sector" in fault.value.fix


def test_a_study_with_an_optimiser_runs_from_its_configuration(tmp_path):
    from alphaloom.app.config import load_config

    text = """
name = "optimised"
[data]
kind = "embedded"
days = 140
assets = 15
seed = 4
[plan]
train = 60
test = 40
[learner]
kind = "return_scale"
[learner.learner]
kind = "ridge"
factors = "classic"
horizon = 2
[allocator]
kind = "mean_variance"
window = 40
every = 2
fallback = "relax"
[allocator.limits]
cap = 0.15
turnover = 0.3
band = 0.1
"""
    path = tmp_path / "optimised.toml"
    path.write_text(text)
    config = load_config(path)
    assert config.allocator == MeanVariance(
        window=40, every=2, fallback="relax", limits=Limits(cap=0.15, turnover=0.3, band=0.1)
    )


def test_a_walk_forward_study_of_learned_returns_runs_end_to_end():
    from alphaloom.forecast import ReturnScale, Ridge
    from alphaloom.study import Study, WalkForward

    panel = simulate(EmbeddedMarket(days=220, assets=20, seed=6))
    rule = MeanVariance(window=WINDOW, every=2, limits=Limits(cap=0.15, turnover=0.3, band=0.1), fallback="relax")
    study = Study(
        name="optimised",
        learner=ReturnScale(learner=Ridge(factors="classic", horizon=2)),
        market=Market(),
        plan=WalkForward(train=120, test=50),
        allocator=rule,
    )
    result = study.run(panel)
    assert np.isfinite(result.daily["equity"]).all()
    assert result.daily["turnover"].sum() > 0.5
    assert result.daily["gross"].max() <= 1.0 + 1e-9
