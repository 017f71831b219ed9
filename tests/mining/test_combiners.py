"""Combiners against brute force, a convex solver and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError, SolveError
from alphaloom.factors import Expr
from alphaloom.metrics.ranking import rank_ic
from alphaloom.mining import Alpha
from alphaloom.mining.combiners import Boosting, Dynamic, Evidence, Terms, combine, ridge, tree_scores, walked_scores
from alphaloom.mining.scaling import daily_products, standard_target, standardised

S, N = 120, 25


def standard(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def made(number: int, values: np.ndarray, target: np.ndarray) -> Alpha:
    z = standard(values).astype(np.float32)
    b = (z * target).sum(axis=1)
    return Alpha(Expr.name(f"f{number}"), float(b.mean()), float(b.mean() / b.std(ddof=1)), 1.0, "", z, b)


@pytest.fixture
def given() -> tuple[np.ndarray, list[Alpha]]:
    random = np.random.default_rng(4)
    target = standard(random.normal(size=(S, N)))
    strength = random.uniform(0.0, 0.4, 6)
    return target, [made(k, s * target + 0.2 * random.normal(size=(S, N)), target) for k, s in enumerate(strength)]


def coefficients(alphas: list[Alpha], weights: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The daily coefficients of the weighted sum, with the sum made."""
    total = sum(w * np.asarray(a.z, np.float64) for w, a in zip(weights, alphas, strict=True))
    return (standard(total) * target).sum(axis=1)


def dense(combination, count: int) -> np.ndarray:
    out = np.zeros(count)
    out[list(combination.used)] = combination.weights
    return out


def test_products_are_inner_products(given):
    _, alphas = given
    z = np.stack([a.z for a in alphas])
    assert daily_products(z) == pytest.approx(np.einsum("ksn,lsn->skl", z, z), abs=1e-5)


def test_mse_is_least_squares_of_the_standardised_cells(given):
    target, alphas = given
    x = np.stack([np.asarray(a.z, np.float64).ravel() for a in alphas], axis=1)
    brute = np.linalg.lstsq(x, target.ravel(), rcond=None)[0]
    assert dense(combine("mse", alphas), 6) == pytest.approx(brute, rel=1e-3)


def test_the_daily_coefficient_needs_no_values(given):
    target, alphas = given
    evidence = Evidence.of(alphas)
    weights = dense(combine("mse", evidence), 6)
    assert evidence.daily_ic(weights) == pytest.approx(coefficients(alphas, weights, target), abs=1e-6)


def test_lasso_is_what_a_convex_solver_finds_and_leaves_formulas_out(given):
    cp = pytest.importorskip("cvxpy")
    _, alphas = given
    gram, b = Evidence.of(alphas).means()
    w = cp.Variable(6)
    loss = cp.quad_form(w, cp.psd_wrap((gram + gram.T) / 2)) - 2 * b @ w + 0.4 * cp.norm1(w)
    cp.Problem(cp.Minimize(loss)).solve(solver="CLARABEL")
    found = combine("lasso", alphas, terms=Terms(l1=0.4))
    assert dense(found, 6) == pytest.approx(w.value, abs=1e-5)
    assert 0 < len(found.used) < 6


@pytest.mark.parametrize(("kind", "beta"), [("icir", None), ("lcb", 0.5), ("lcb", 3.0)])
def test_the_ascent_ends_where_no_direction_is_better(given, kind, beta):
    target, alphas = given

    def goal(weights: np.ndarray) -> float:
        daily = coefficients(alphas, weights, target)
        spread = daily.std(ddof=1)
        return float(daily.mean() / spread if beta is None else daily.mean() - beta * spread)

    terms = Terms(beta=beta or 0.5)
    best = dense(combine(kind, alphas, terms=terms), 6)
    reached = goal(best)
    assert reached > goal(dense(combine("mse", alphas), 6)) - 1e-9
    random = np.random.default_rng(0)
    for size in (0.3, 0.03):
        for _ in range(100):
            assert goal(best + size * np.linalg.norm(best) * random.normal(size=6) / 6) <= reached + 1e-6


def test_the_walked_scores_is_the_one_that_did_best_later(given):
    target, alphas = given
    evidence, ridges = Evidence.of(alphas), (1e-3, 0.3, 30.0)
    blocks, purge = 3, 4
    parts = np.array_split(np.arange(S), blocks + 1)
    scores = []
    for penalty in ridges:
        total = 0.0
        for part in parts[1:]:
            early = np.arange(part[0] - purge)
            z = np.stack([np.asarray(a.z, np.float64)[early] for a in alphas])
            gram = np.einsum("ksn,lsn->kl", z, z) / len(early)
            b = np.einsum("ksn,sn->k", z, target[early]) / len(early)
            weights = np.linalg.solve(gram + penalty * np.eye(6), b)
            total += coefficients(alphas, weights, target)[part].sum()
        scores.append(total)
    assert walked_scores(evidence, ridges, blocks=blocks, purge=purge) == pytest.approx(scores, rel=1e-5)
    chosen = ridges[int(np.argmax(scores))]
    found = combine("ridge_wf", evidence, terms=Terms(ridges=ridges, blocks=blocks), purge=purge)
    assert dense(found, 6) == pytest.approx(ridge(*evidence.means(), chosen))


def test_dates_on_which_nothing_speaks_count_for_nothing(given):
    _, alphas = given
    holes = np.r_[np.asarray(0), np.asarray(50), S - 1]

    def holed(alpha: Alpha) -> Alpha:
        z, b = np.array(alpha.z), np.array(alpha.b)
        z[holes], b[holes] = 0.0, 0.0
        return Alpha(alpha.expr, alpha.ic, alpha.icir, alpha.coverage, "", z, b)

    rest = np.delete(np.arange(S), holes)
    cut = [Alpha(a.expr, a.ic, a.icir, 1.0, "", np.asarray(a.z)[rest], np.asarray(a.b)[rest]) for a in alphas]
    for kind in ("mse", "lasso", "icir", "lcb"):
        left, right = combine(kind, [holed(a) for a in alphas]), combine(kind, cut)
        assert dense(left, 6) == pytest.approx(dense(right, 6), rel=1e-4), kind


def curved(seed: int, rows: int, held: bool) -> tuple[Evidence, np.ndarray]:
    """Two formulas whose product foretells the target, and a third of noise: no weighted sum can say it."""
    random = np.random.default_rng([seed, held])
    x = random.normal(size=(3, rows, 60))
    target = standard(np.sign(x[0] * x[1]) + 0.5 * random.normal(size=(rows, 60)))
    z = np.stack([standard(part) for part in x]).astype(np.float32)
    return Evidence(z, np.einsum("ksn,sn->sk", z, target), target), target


def test_trees_say_what_no_weighted_sum_can():
    early, _ = curved(1, 200, False)
    later, target = curved(1, 60, True)
    # depth 3 needs a hint of order to start from: a first split is made on either side of the middle
    found = combine("gbdt", early, held=later, terms=Terms(boosting=Boosting(min_rows=20)))
    assert found.kind == "gbdt"
    assert found.used == (0, 1, 2)
    assert sum(found.weights) == pytest.approx(1.0)
    assert found.weights[2] < 0.1
    scores = tree_scores(found.trees, later.z, np.ones(target.shape, bool))
    daily = (standard(scores) * target).sum(axis=1)
    weights = dense(combine("mse", early), 3)
    plain = later.daily_ic(weights)
    assert daily.mean() > 0.5
    assert abs(np.nanmean(plain)) < 0.1


def test_trees_are_the_same_bytes_and_read_the_best_formulas_alone():
    early, target = curved(2, 120, False)
    terms = Terms(boosting=Boosting(top=2, min_rows=20, trees=30))
    one, two = (combine("gbdt", early, terms=terms, purge=5) for _ in range(2))
    assert one.trees == two.trees
    best = np.argsort(-np.abs(early.means()[1]))[:2]
    assert one.used == tuple(sorted(best.tolist()))
    part = early.at(one.used)
    inside = np.ones(target.shape, bool)
    inside[3, ::2] = False
    scores = tree_scores(one.trees, part.z, inside)
    assert np.isnan(scores[~inside]).all()
    assert np.isfinite(scores[inside]).all()


def test_trees_without_a_target_or_rows_are_refused(given):
    target, alphas = given
    with pytest.raises(DataError, match="target"):
        combine("gbdt", alphas)
    with pytest.raises(SolveError, match="two leaves"):
        combine("gbdt", Evidence.of(alphas, target), terms=Terms(boosting=Boosting(min_rows=5000)))


def test_the_dynamic_table_is_made_day_by_day_from_what_was_known():
    random = np.random.default_rng(8)
    T, K, delay = 90, 4, 6
    target = random.normal(size=(T, N))
    values = np.stack([s * target + random.normal(size=(T, N)) for s in (0.6, -0.6, 0.3, 0.0)])
    z = np.stack([standard(part) for part in values])
    y = standard(target)
    grams, b = np.einsum("ksn,lsn->skl", z, z), np.einsum("ksn,sn->sk", z, y)
    ics = np.stack([rank_ic(part, target) for part in values], axis=1)
    rule = Dynamic(window=30, most=2, rank_ic=0.02, rank_icir=0.2)
    otherwise = np.arange(K) + 1.0
    table = rule.weights(ics, grams, b, delay=delay, otherwise=otherwise)
    for t in range(T):
        rows = [r for r in range(t - delay - 29, t - delay + 1) if r >= 0]
        if len(rows) < 30:
            assert table[t] == pytest.approx(otherwise)
            continue
        mean, spread = ics[rows].mean(axis=0), ics[rows].std(axis=0, ddof=1)
        good = [k for k in range(K) if abs(mean[k]) > 0.02 and abs(mean[k] / spread[k]) > 0.2]
        kept = sorted(good, key=lambda k: -abs(mean[k] / spread[k]))[:2]
        x = np.stack([z[k][rows].ravel() for k in kept], axis=1)
        fitted = np.linalg.lstsq(x, y[rows].ravel(), rcond=None)[0]
        expected = np.zeros(K)
        expected[kept] = fitted
        assert table[t] == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert (table[-1][2:] == 0).all()
    ics[80 - delay + 1 :] = 99.0  # what was not known on day 80
    assert rule.weights(ics, grams, b, delay=delay, otherwise=otherwise)[80] == pytest.approx(table[80])


def test_a_day_on_which_nothing_is_good_takes_the_weights_of_training():
    rule = Dynamic(window=20, rank_ic=0.5)
    random = np.random.default_rng(0)
    ics = 0.01 * random.normal(size=(40, 3))
    table = rule.weights(ics, np.ones((40, 3, 3)), np.ones((40, 3)), delay=2, otherwise=np.array([1.0, 2.0, 3.0]))
    assert (table == [1.0, 2.0, 3.0]).all()


def test_dynamic_keeps_every_formula_and_its_rule(given):
    _, alphas = given
    found = combine("dynamic", alphas, terms=Terms(l1=0.4, dynamic=Dynamic(window=40)))
    assert found.used == tuple(range(6))
    assert found.dynamic == Dynamic(window=40)


@pytest.mark.parametrize("kind", ["mse", "lasso", "icir", "lcb", "ridge_wf"])
def test_formulas_that_say_nothing_get_no_weight(given, kind):
    _, alphas = given
    mute = [Alpha(a.expr, 0.0, 0.0, 1.0, "", a.z, np.zeros(S)) for a in alphas]
    assert combine(kind, mute).used == ()


def test_a_standard_target_is_that_of_the_members():
    random = np.random.default_rng(0)
    returns = random.normal(size=(5, 12))
    member = np.ones((5, 12), bool)
    member[:, 3] = False
    returns[2, 5] = np.nan
    found = standard_target(returns, member, least=10)
    assert np.isnan(found[:, 3]).all()
    assert np.isnan(found[2, 5])
    known = np.isfinite(found)
    assert np.nansum(found, axis=1) == pytest.approx(np.zeros(5), abs=1e-5)
    assert np.nansum(found**2, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert known.sum() == 5 * 11 - 1
    assert np.isnan(standard_target(returns, member, least=12)).all()


def test_clipping_is_by_robust_deviations():
    values = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1000.0]])
    held = standardised(values, np.zeros((1, 10)), clip=2.0, least=5)
    bound = 5.5 + 2.0 * 1.4826 * 2.5
    assert held.z[0] == pytest.approx(standard(np.minimum(values, bound))[0], abs=1e-6)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Terms(l1=-1.0), "penalty"),
        (lambda: Terms(ridges=()), "positive"),
        (lambda: Terms(blocks=1), "blocks"),
        (lambda: Boosting(trees=0), "at least 1"),
        (lambda: Boosting(learning_rate=0.0), "rate"),
        (lambda: Boosting(holdout=1.0), "between"),
        (lambda: Dynamic(window=5), "at least 20"),
        (lambda: Dynamic(rank_ic=-0.1), "threshold"),
        (lambda: combine("mean", []), "one of"),
        (lambda: combine("mse", []), "needs a formula"),
        (lambda: combine("mse", [Alpha(Expr.name("close"), 0.1, 0.1, 1.0)]), "values"),
    ],
)
def test_bad_settings_are_refused(build, match):
    with pytest.raises(DataError, match=match):
        build()
