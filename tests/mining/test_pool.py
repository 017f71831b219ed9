"""The pool's algebra against brute force, and the rules by which formulas come and go."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.factors import Expr
from alphaloom.mining import Alpha, Pool
from alphaloom.mining.pool import lasso

S, N = 40, 15


def standard(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def made(number: int, values: np.ndarray, target: np.ndarray) -> Alpha:
    z = standard(values).astype(np.float32)
    b = (z * target).sum(axis=1)
    return Alpha(Expr.name(f"f{number}"), float(b.mean()), float(b.mean() / b.std(ddof=1)), 1.0, "", z, b)


@pytest.fixture
def market():
    random = np.random.default_rng(3)
    target = standard(random.normal(size=(S, N)))
    candidates = [made(k, 0.3 * target + random.normal(size=(S, N)) * 0.2, target) for k in range(8)]
    return target, candidates


def brute_force(alphas: list[Alpha], weights: np.ndarray, target: np.ndarray) -> float:
    total = sum(w * alpha.z.astype(np.float64) for w, alpha in zip(weights, alphas, strict=True))
    return float((standard(total) * target).sum(axis=1).mean())


def test_the_composite_coefficient_is_that_of_the_weighted_sum(market):
    target, candidates = market
    pool = Pool(5, l1=0.0)
    for alpha in candidates:
        pool.offer(alpha)
    kept = [next(a for a in candidates if a.expr is member.expr) for member in pool.alphas]
    assert len(pool) == 5
    assert pool.ic == pytest.approx(brute_force(kept, pool.weights, target), abs=1e-6)


def test_a_full_pool_drops_its_smallest_weight_and_nothing_worse_comes_in(market):
    target, candidates = market
    pool = Pool(3)
    for alpha in candidates[:3]:
        assert pool.offer(alpha).accepted
    before = (pool.ic, pool.weights.tolist(), [a.expr for a in pool.alphas])
    noise = made(99, np.random.default_rng(0).normal(size=(S, N)), target)
    done = pool.offer(noise)
    if not done.accepted:
        assert (pool.ic, pool.weights.tolist(), [a.expr for a in pool.alphas]) == before
        assert pool.offer(noise).reason == "refused before"
    better = made(7, target + 0.01 * np.random.default_rng(1).normal(size=(S, N)), target)
    done = pool.offer(better)
    assert done.accepted
    assert done.dropped
    assert done.after > done.before
    assert len(pool) == 3


def test_a_mirror_image_is_no_news(market):
    target, candidates = market
    pool = Pool(5)
    pool.offer(candidates[0])
    mirror = made(50, -candidates[0].z.astype(np.float64), target)
    assert pool.offer(mirror).reason == "too alike"
    assert pool.offer(candidates[0]).reason == "member"


def test_a_formula_against_the_target_gets_a_negative_weight(market):
    target, _ = market
    pool = Pool(5)
    pool.offer(made(0, -target, target))
    assert pool.weights[0] < 0
    assert pool.ic == pytest.approx(1.0, abs=1e-5)


def test_threads_change_no_bit(market):
    target, _ = market
    random = np.random.default_rng(5)
    candidates = [made(k, 0.2 * target + random.normal(size=(S, N)) * 0.2, target) for k in range(15)]
    pools = [Pool(12, threads=threads) for threads in (1, 3)]
    for pool in pools:
        for alpha in candidates:
            pool.offer(alpha)
    assert pools[0].weights.tolist() == pools[1].weights.tolist()


def test_a_recalled_pool_is_the_same_pool(market):
    _, candidates = market
    pool = Pool(4)
    for alpha in candidates[:6]:
        pool.offer(alpha)
    other = Pool(4)
    by_name = {alpha.expr: alpha for alpha in candidates}
    other.recall([by_name[member.expr] for member in pool.alphas], pool.memory())
    for alpha in candidates[6:]:
        assert pool.offer(alpha) == other.offer(alpha)
    assert pool.weights.tolist() == other.weights.tolist()
    assert pool.correlations.tolist() == other.correlations.tolist()


def test_coordinate_descent_finds_what_a_convex_solver_finds():
    cp = pytest.importorskip("cvxpy")
    random = np.random.default_rng(2)
    for K in (1, 4, 12):
        root = random.normal(size=(K, K + 3))
        gram, b = root @ root.T / K, random.normal(size=K)
        w = cp.Variable(K)
        problem = cp.Problem(cp.Minimize(cp.sum_squares(root.T @ w) / K - 2 * b @ w + 0.3 * cp.norm1(w)))
        problem.solve(solver="CLARABEL")
        assert lasso(gram, b, l1=0.3) == pytest.approx(w.value, abs=1e-6)


def test_bad_settings_and_bare_formulas_are_refused(market):
    with pytest.raises(DataError, match="at least one"):
        Pool(0)
    with pytest.raises(DataError, match="penalty"):
        Pool(3, l1=-1.0)
    with pytest.raises(DataError, match="values"):
        Pool(3).offer(Alpha(Expr.name("close"), 0.1, 0.1, 1.0))
    assert Pool(3).offer(Alpha(Expr.name("close"), 0.1, 0.1, 1.0, "thin")).reason == "thin"


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_remembered_of_a_formula_is_what_would_be_computed(threads):
    random = np.random.default_rng(5)
    target = standard(random.normal(size=(S, N)))
    alphas = [made(k, 0.2 * target + random.normal(size=(S, N)), target) for k in range(30)]
    by_name, asked = {alpha.expr: alpha for alpha in alphas}, []

    def fill(alpha: Alpha) -> Alpha:
        asked.append(alpha.expr)
        return by_name[alpha.expr]

    lean, plain = Pool(10, threads=threads), Pool(10)
    bare = [Alpha(alpha.expr, alpha.ic, alpha.icir, 1.0) for alpha in alphas]
    for _ in range(2):
        for k, alpha in enumerate(alphas):
            other = alphas[(7 * k) % 30]
            seen = plain.similarity(other)
            assert np.array_equal(lean.similarity(bare[(7 * k) % 30], fill), seen)
            fresh = Pool(10)
            fresh.recall([by_name[member.expr] for member in plain.alphas], plain.memory())
            assert np.array_equal(fresh.similarity(other), seen)
            assert lean.offer(bare[k], fill) == plain.offer(alpha)
        assert np.array_equal(lean.correlations, plain.correlations)
        assert lean.daily_ic.tobytes() == plain.daily_ic.tobytes()
    assert {len(lean)} == {len(plain)} == {10}
    before = len(asked)
    lean.similarity(bare[3], fill)
    lean.similarity(bare[3], fill)
    assert len(asked) <= before + 1


def test_values_are_asked_for_where_they_are_lacking(market):
    _, candidates = market
    pool, bare = Pool(3), Alpha(candidates[0].expr, 0.1, 1.0, 1.0)
    with pytest.raises(DataError, match="standardised values"):
        pool.offer(bare)
    assert pool.offer(bare, lambda alpha: candidates[0]).accepted
    assert pool.offer(bare).reason == "member"


def test_a_pool_becomes_one_that_fits_it(market):
    _, candidates = market
    weights = {"weights": [0.5, 0.5], "refused": []}
    for given, match in ((candidates[:3], "fit it"), (candidates[:1], "for each weight")):
        with pytest.raises(DataError, match=match):
            Pool(5).recall(iter(given), weights)
    with pytest.raises(DataError, match="fit it"):
        Pool(1).recall(candidates[:2], weights)
    pool = Pool(5)
    pool.recall(iter(candidates[:2]), weights)
    assert len(pool) == 2
