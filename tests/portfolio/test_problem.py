from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from alphaloom.errors import AxisError, DataError
from alphaloom.portfolio.covariance import Risk
from alphaloom.portfolio.problem import Band, make_problem, solve


def independent(*deviations: float) -> Risk:
    """Assets without a common factor."""
    N = len(deviations)
    return Risk(np.zeros((N, 1)), np.eye(1), np.array(deviations, dtype=float))


def draw(N: int, seed: int, *, curved: bool = False, dense: bool = False, both: bool = False, K: int = 6):
    """A random problem with costs, turnover, group bands and a factor covariance, in daily numbers."""
    rng = np.random.default_rng(seed)
    risk = Risk(rng.normal(0, 0.01, (N, K)), np.diag(rng.uniform(0.5, 1.5, K)), rng.uniform(0.01, 0.03, N))
    held = rng.dirichlet(np.ones(N))
    groups = (np.arange(N) % 4 == np.arange(4)[:, None]).astype(float)
    centre = groups @ held
    limits = {
        "aversion": 2.0,
        "held": held,
        "fee": 5e-4,
        "impact": 0.01 if curved else 0.0,
        "upper": np.maximum(3.0 / N, held),
        "bands": (Band("group", groups, centre - 0.05, centre + 0.05),),
        "turnover": 0.2,
    }
    if both:
        limits |= {
            "held": held - held.mean(),
            "lower": -0.5,
            "upper": 0.5,
            "gross": 1.2,
            "budget": (0.0, 0.0),
            "bands": (),
        }
    gain = rng.normal(0, 0.002, N)
    return make_problem(gain, risk.dense() if dense else risk, **limits)


# -- closed forms ------------------------------------------------------------------------------------------------------


def test_two_independent_assets_without_a_budget_are_weighted_by_gain_over_twice_aversion_times_variance():
    problem = make_problem(
        np.array([0.02, 0.01]), independent(0.1, 0.2), aversion=5.0, lower=-9.0, upper=9.0, budget=(-np.inf, np.inf)
    )
    found = solve(problem)
    # w = gain / (2 aversion variance): 0.02 / (10 * 0.01) and 0.01 / (10 * 0.04). No half in the objective.
    assert found.weights == pytest.approx([0.2, 0.025], abs=1e-9)
    assert found.objective == pytest.approx(0.02 * 0.2 + 0.01 * 0.025 - 5 * (0.01 * 0.04 + 0.04 * 0.025**2), abs=1e-12)
    assert found.residual <= 1e-9


def test_the_least_variance_of_two_assets_is_inverse_to_their_variances():
    found = solve(make_problem(np.zeros(2), independent(0.1, 0.2), aversion=1.0))
    assert found.weights == pytest.approx([0.8, 0.2], abs=1e-9)
    # The price of the budget: 2 Sigma w + price = 0.
    assert found.duals["budget"] == pytest.approx([-2 * 0.01 * 0.8], abs=1e-9)


def test_correlated_assets_follow_the_inverse_of_the_matrix():
    covariance = np.array([[0.04, 0.01], [0.01, 0.09]])
    gain = np.array([0.03, 0.02])
    found = solve(make_problem(gain, covariance, aversion=2.0, lower=-9, upper=9, budget=(-np.inf, np.inf)))
    assert found.weights == pytest.approx(np.linalg.solve(covariance, gain) / 4.0, abs=1e-9)


def test_a_linear_cost_leaves_a_zone_of_no_trade():
    # Gradient at the held weight: gain - 2 * 1 * 0.01 * 0.5 = gain - 0.01; nothing moves while that is below the fee.
    def at(gain: float) -> float:
        problem = make_problem(
            np.array([gain]), independent(0.1), held=0.5, fee=0.004, lower=-9, upper=9, budget=(-np.inf, np.inf)
        )
        return float(solve(problem).weights[0])

    assert at(0.013) == 0.5
    assert at(0.007) == 0.5
    assert at(0.016) == pytest.approx(0.5 + 0.002 / 0.02, abs=1e-9)
    assert at(0.004) == pytest.approx(0.5 - 0.002 / 0.02, abs=1e-9)


def test_the_power_cost_alone_sets_the_trade_where_its_slope_meets_the_gain():
    # No risk: gain = 1.5 m sqrt(d), so d = (gain / 1.5 m)^2.
    problem = make_problem(
        np.array([0.003]), independent(0.0), aversion=0.0, impact=0.01, lower=-9, upper=9, budget=(-np.inf, np.inf)
    )
    assert solve(problem).weights == pytest.approx([(0.003 / 0.015) ** 2], abs=1e-8)


def test_turnover_moves_money_from_the_worst_to_the_best_asset():
    problem = make_problem(
        np.array([0.01, 0.0, 0.02]), independent(0, 0, 0), aversion=0.0, held=[0.5, 0.5, 0.0], turnover=0.2
    )
    assert solve(problem).weights == pytest.approx([0.5, 0.3, 0.2], abs=1e-8)


def test_long_short_is_bounded_by_gross_exposure():
    problem = make_problem(
        np.array([0.02, 0.0, -0.01]), independent(0, 0, 0), aversion=0.0, lower=-1, budget=(0, 0), gross=1.0
    )
    assert solve(problem).weights == pytest.approx([0.5, 0.0, -0.5], abs=1e-8)


def test_a_tracking_limit_is_reached_along_the_gradient():
    problem = make_problem(
        np.array([0.02, 0.0]),
        independent(0.1, 0.1),
        aversion=0.0,
        reference=[0.5, 0.5],
        tracking=0.01,
        lower=-9,
        upper=9,
    )
    # w = reference + (a, -a) with 0.1 sqrt(2) a = 0.01.
    a = 0.1 / np.sqrt(2.0)
    assert solve(problem).weights == pytest.approx([0.5 + a, 0.5 - a], abs=1e-7)


# -- conditions of optimality ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("N", [8, 40, 160])
def test_random_problems_are_solved_to_the_last_digits(N, both, curved):
    for seed in range(6):
        problem = draw(N, seed, curved=curved, both=both)
        found = solve(problem)
        assert found.status == "solved", found.reason
        assert found.residual <= 1e-6
        low, high = problem.bounds
        assert abs(found.weights.sum() - problem.budget[0]) <= 1e-8
        assert (found.weights >= low).all()
        assert (found.weights <= high).all()


def test_residuals_see_a_worse_portfolio():
    problem = draw(20, 1)
    found = solve(problem)
    from alphaloom.portfolio.optimality import residuals

    moved = found.weights.copy()
    moved[:2] += [0.01, -0.01]
    assert residuals(problem, moved, dict(found.duals))["stationarity"] > 1e-4
    priced = {**found.duals, "lower": found.duals["lower"] - 1e-4}
    assert residuals(problem, found.weights, priced)["dual"] > 1e-4


@pytest.mark.parametrize("curved", [False, True])
def test_no_feasible_neighbour_is_better(curved):
    problem = draw(12, 3, curved=curved)
    found = solve(problem)
    rng = np.random.default_rng(0)
    low, high = problem.bounds
    better = 0
    for _ in range(500):
        step = rng.normal(0, 1e-3, 12)
        other = np.clip(found.weights + step - step.mean(), low, high)
        mixed = 0.9 * found.weights + 0.1 * problem.held  # the held weights satisfy every limit
        for trial in (other, mixed):
            from alphaloom.portfolio.optimality import violation

            if violation(problem, trial) <= 1e-12:
                better += problem.value(trial) > found.objective + 1e-12
    assert better == 0


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("both", [False, True])
def test_dense_and_factor_form_agree(both, curved):
    for seed in range(4):
        thin = solve(draw(50, seed, curved=curved, both=both))
        full = solve(draw(50, seed, curved=curved, both=both, dense=True))
        assert np.abs(thin.weights - full.weights).max() <= 1e-6
        assert full.residual <= 1e-6


def test_solvers_agree_where_they_can_solve_the_same():
    for seed in range(3):
        problem = draw(30, seed)
        assert solve(problem, "osqp").objective == pytest.approx(solve(problem).objective, abs=1e-10)
        linear = replace(problem, aversion=0.0)
        for engine in ("osqp", "highs"):
            other = solve(linear, engine)
            assert other.residual <= 1e-6
            assert other.objective == pytest.approx(solve(linear).objective, abs=1e-9)


def test_the_same_statement_in_a_modelling_language_has_the_same_solution():
    cvxpy = pytest.importorskip("cvxpy")
    for seed in range(2):
        problem = draw(25, seed, curved=True)
        root, spread, gain, held = (
            cvxpy.Parameter(v.shape) for v in (problem.root, problem.spread, problem.gain, problem.held)
        )
        w, z = cvxpy.Variable(25), cvxpy.Variable(25)
        risk = cvxpy.sum_squares(root.T @ w) + cvxpy.sum_squares(cvxpy.multiply(spread, w))
        cost = problem.fee @ cvxpy.abs(z) + problem.impact @ cvxpy.power(cvxpy.abs(z), 1.5)
        band = problem.bands[0]
        limits = [z == w - held, cvxpy.sum(w) == 1, w >= problem.lower, w <= problem.upper, cvxpy.norm1(z) <= 0.4]
        limits += [band.loads @ w >= band.low, band.loads @ w <= band.high]
        peer = cvxpy.Problem(cvxpy.Maximize(gain @ w - problem.aversion * risk - cost), limits)
        assert peer.is_dcp(dpp=True)
        root.value, spread.value, gain.value, held.value = problem.root, problem.spread, problem.gain, problem.held
        peer.solve(solver=cvxpy.CLARABEL)
        found = solve(problem)
        assert found.objective >= peer.value - 1e-9
        assert np.abs(found.weights - w.value).max() <= 1e-4


def test_days_in_a_row_are_solved_as_if_each_were_the_first():
    days = [draw(40, seed, curved=seed % 2 == 0) for seed in range(4)]
    alone = [solve(day).weights for day in days]
    for day, weights in [*zip(days, alone, strict=True), *reversed(list(zip(days, alone, strict=True)))]:
        assert solve(day).weights.tobytes() == weights.tobytes()


# -- limits ------------------------------------------------------------------------------------------------------------


def test_locked_assets_keep_to_what_can_be_traded():
    gain = np.array([0.05, -0.05, 0.03, 0.0])
    problem = make_problem(
        gain,
        independent(0.1, 0.1, 0.1, 0.1),
        held=[0.1, 0.2, 0.3, 0.4],
        buyable=[False, True, False, True],
        sellable=[True, False, False, True],
    )
    found = solve(problem)
    assert found.weights[0] <= 0.1  # limit-up: the best asset cannot be bought
    assert found.weights[1] >= 0.2  # limit-down: the worst cannot be sold
    assert found.weights[2] == 0.3  # suspended, to the bit
    assert found.weights.sum() == pytest.approx(1.0, abs=1e-12)


def test_capacity_bounds_each_trade():
    problem = draw(20, 2)
    room = np.full(20, 0.004)
    found = solve(replace(problem, room=room))
    assert (np.abs(found.weights - problem.held) <= room + 1e-15).all()
    assert found.residual <= 1e-6
    assert (np.abs(solve(problem).weights - problem.held) > room).any()


def test_bands_may_be_sparse():
    problem = draw(20, 4)
    band = problem.bands[0]
    thin = replace(problem, bands=(replace(band, loads=sparse.csr_matrix(band.loads)),))
    assert np.array_equal(solve(thin).weights, solve(problem).weights)


def test_a_range_of_cash_is_used_when_nothing_is_worth_its_risk():
    risk, gain = independent(0.3, 0.3), np.array([0.01, 0.01])
    found = solve(make_problem(gain, risk, aversion=1.0, budget=(0.02, 1.0)))
    assert found.weights == pytest.approx([0.01 / 0.18] * 2, abs=1e-9)


def test_everything_fixed_is_either_right_or_infeasible():
    risk = independent(0.1, 0.1)
    assert solve(make_problem(np.zeros(2), risk, lower=[0.4, 0.6], upper=[0.4, 0.6])).weights.tolist() == [0.4, 0.6]
    assert solve(make_problem(np.zeros(2), risk, lower=[0.4, 0.5], upper=[0.4, 0.5])).status == "infeasible"


# -- infeasible --------------------------------------------------------------------------------------------------------

ONE = np.eye(30)[0]
PAIR = Band("sector", np.eye(30)[:2], np.full(2, 0.2), np.full(2, 0.3))
FREE = {"turnover": np.inf, "bands": ()}
SMALL, TENTH = {"upper": np.full(30, 0.02)}, {"upper": np.full(30, 0.1)}


@pytest.mark.parametrize(
    ("family", "changes", "amount"),
    [
        ("box", FREE | SMALL, 1 / 30 - 0.02),
        ("budget", FREE | SMALL, 0.4),
        ("turnover", FREE | TENTH | {"held": ONE, "turnover": 0.2}, 0.7),
        ("capacity", FREE | TENTH | {"held": ONE, "room": np.full(30, 0.01)}, 0.89),
        ("gross", {"gross": 0.5, "bands": ()}, 0.5),
        ("sector", FREE | TENTH | {"bands": (PAIR,)}, 0.1),
        ("tracking", FREE | TENTH | {"reference": ONE, "tracking": 1e-3}, None),
    ],
)
def test_the_diagnosis_names_the_family_and_how_far_it_must_give_way(family, changes, amount):
    problem = replace(draw(30, 1), **changes)
    found = solve(problem)
    assert found.status == "infeasible"
    assert np.isnan(found.weights).all()
    assert found.diagnosis is not None
    size = found.diagnosis.alone[family]
    assert size is not None
    assert f"{family} by" in found.reason
    if amount is not None:
        assert size == pytest.approx(amount, abs=1e-6)
    # It is enough, and a hundredth less is not.
    assert solve(problem.relaxed({family: 1.0001 * size + 1e-7}), diagnose=False).status == "solved"
    assert solve(problem.relaxed({family: 0.99 * size}), diagnose=False).status == "infeasible"
    together = {name: 1.001 * part + 1e-6 for name, part in found.diagnosis.together.items()}
    assert solve(problem.relaxed(together), diagnose=False).status == "solved"


def test_locks_that_contradict_a_limit_are_told_from_limits_that_can_give_way():
    problem = make_problem(np.zeros(2), independent(0.1, 0.1), held=[0.9, 0.0], upper=0.5, sellable=[False, True])
    found = solve(problem)
    assert found.status == "infeasible"
    assert found.diagnosis is not None
    assert found.diagnosis.alone["box"] == pytest.approx(0.4, abs=1e-6)
    assert found.diagnosis.alone["budget"] is None


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_nonsense_is_refused_at_the_door():
    risk = independent(0.1, 0.1)
    with pytest.raises(DataError, match="finite"):
        make_problem(np.array([0.1, np.nan]), risk)
    with pytest.raises(AxisError):
        make_problem(np.zeros(3), risk)
    with pytest.raises(DataError, match="not negative"):
        make_problem(np.zeros(2), risk, fee=-1.0)
    with pytest.raises(DataError, match="fields of Problem"):
        make_problem(np.zeros(2), risk, ceiling=1.0)
    curved = make_problem(np.zeros(2), risk, impact=0.1)
    with pytest.raises(DataError, match="3/2"):
        solve(curved, "osqp")
    with pytest.raises(DataError, match="no risk"):
        solve(make_problem(np.zeros(2), risk), "highs")
