"""The batched judgement of factors against the one-factor measures and against hand-made orders."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.errors import AxisError, DataError
from alphaloom.metrics import factors, inference, ranking

HORIZONS = (1, 5)


def awkward(T: int = 60, N: int = 57, seed: int = 0):
    """Factors with holes, ties, one constant, one that moves slowly, one with an outlier, zeros of both signs."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(T, N, 6)).astype(np.float32)
    values[:, :, 1] = np.round(values[:, :, 1])
    values[:, :, 2] = np.cumsum(values[:, :, 2], axis=0)
    values[rng.random(values.shape) < 0.1] = np.nan
    values[:, :, 3] = 1.0
    values[:, 0, 4] = 1e12
    values[:, 1, 4] = np.inf
    values[5] = np.nan
    values[:, :, 0][rng.random((T, N)) < 0.05] = 0.0
    values[:, :, 0][rng.random((T, N)) < 0.05] = -0.0
    member = rng.random((T, N)) < 0.9
    later = {h: np.where(rng.random((T, N)) < 0.1, np.nan, rng.normal(size=(T, N)).round(1)) for h in HORIZONS}
    return values, member, later


@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_equals_the_measures_of_one_factor(threads):
    values, member, later = awkward()
    found = factors.factor_scores(values, factors.rank_targets(later, member=member), threads=threads)
    for k in range(values.shape[2]):
        one = np.where(member & np.isfinite(values[:, :, k]), values[:, :, k].astype(np.float64), np.nan)
        for h, horizon in enumerate(HORIZONS):
            earned = np.where(member, later[horizon], np.nan)
            assert found.rank_ic[h, k] == pytest.approx(ranking.rank_ic(one, earned), abs=1e-12, nan_ok=True)
            assert found.ic[h, k] == pytest.approx(ranking.ic(one, earned), abs=1e-6, nan_ok=True)
            wanted = ranking.quantile_returns(one, earned)
            assert found.buckets[h, k] == pytest.approx(wanted, abs=1e-6, nan_ok=True)
        for a, lag in enumerate((1, 5)):
            wanted = ranking.rank_autocorrelation(one, lag=lag)
            assert found.autocorrelation[a, k] == pytest.approx(wanted, abs=1e-12, nan_ok=True)
        assert found.known[k].tolist() == np.isfinite(one).sum(axis=1).tolist()
    assert np.isfinite(found.ic[:, [0, 1, 2, 4]]).sum() > 400
    assert np.isnan(found.ic[:, 3]).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.02, 0.4]), st.sampled_from([3, 11, 64]))
def test_rank_coefficients_agree_whatever_is_missing_or_tied(seed, holes, levels):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels, (4, 19, 2)).astype(np.float32)
    values[rng.random(values.shape) < holes] = np.nan
    later = np.where(rng.random((4, 19)) < holes, np.nan, rng.integers(0, levels, (4, 19)).astype(float))
    ranked = factors.rank_targets({1: later}, member=np.ones((4, 19), bool))
    found = factors.factor_scores(values, ranked, min_pairs=3, lags=(1,))
    for k in range(2):
        one = values[:, :, k].astype(float)
        assert found.rank_ic[0, k] == pytest.approx(ranking.rank_ic(one, later, min_pairs=3), abs=1e-12, nan_ok=True)
        assert found.ic[0, k] == pytest.approx(ranking.ic(one, later, min_pairs=3), abs=1e-6, nan_ok=True)
        wanted = ranking.rank_autocorrelation(one, min_pairs=3)
        assert found.autocorrelation[0, k] == pytest.approx(wanted, abs=1e-12, nan_ok=True)


def test_an_outlier_without_a_return_leaves_no_rounding_behind():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(1, 40, 1)).astype(np.float32)
    values[0, 7, 0] = 3e15
    later = values[:, :, 0].astype(float) + rng.normal(size=(1, 40))
    later[0, 7] = np.nan
    found = factors.factor_scores(values, factors.rank_targets({1: later}, member=np.ones((1, 40), bool)))
    assert found.ic[0, 0, 0] == pytest.approx(ranking.ic(values[:, :, 0], later)[0], abs=1e-6)
    assert found.ic[0, 0, 0] > 0.3


def test_turnover_by_hand():
    # Ten assets in five buckets of two; on the second day the best two and the worst two change places.
    first, second = np.arange(10.0), np.array([8.0, 9, 2, 3, 4, 5, 6, 7, 0, 1])
    values = np.stack([first, second, second])[:, :, None].astype(np.float32)
    ranked = factors.rank_targets({1: np.zeros((3, 10))}, member=np.ones((3, 10), bool))
    found = factors.factor_scores(values, ranked).turnover[0]
    assert np.isnan(found[0]).all()
    assert found[1].tolist() == [1, 0, 0, 0, 1]
    assert found[2].tolist() == [0, 0, 0, 0, 0]


def test_a_day_without_values_breaks_the_turnover():
    values = np.tile(np.arange(10.0, dtype=np.float32), (4, 1))[:, :, None]
    values[1] = np.nan
    ranked = factors.rank_targets({1: np.zeros((4, 10))}, member=np.ones((4, 10), bool))
    found = factors.factor_scores(values, ranked).turnover[0]
    assert np.isnan(found[:3]).all()
    assert (found[3] == 0).all()


def test_what_outsiders_hold_changes_nothing():
    values, member, later = awkward(seed=5)
    poisoned = np.where(member[:, :, None], values, np.float32(1e9))
    other = {h: np.where(member, y, 1e6) for h, y in later.items()}
    one = factors.factor_scores(values, factors.rank_targets(later, member=member))
    two = factors.factor_scores(poisoned, factors.rank_targets(other, member=member))
    for name in ("ic", "rank_ic", "buckets", "turnover", "autocorrelation", "known"):
        assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True)


def test_many_mean_tests_equal_one_at_a_time():
    series = np.random.default_rng(1).normal(0.1, 1, (2, 3, 80)).cumsum(axis=-1)
    series[0, 1, [3, 70]] = np.nan
    series[1, 2] = np.nan
    series[1, 1] = 2.0
    found = factors.mean_tests(series, lag=4)
    for at in np.ndindex(2, 3):
        wanted = inference.newey_west(series[at], lag=4)
        assert (found.mean[at], found.error[at], found.t[at], found.count[at]) == pytest.approx(wanted, nan_ok=True)
    with pytest.raises(DataError):
        factors.mean_tests(series, lag=-1)


def test_correlation_between_factors():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(40, 200)), rng.normal(size=(40, 200))
    values = np.stack([a, np.exp(a), -a, a + b, b], axis=2).astype(np.float32)
    ranked = factors.rank_targets({1: np.zeros((40, 200))}, member=np.ones((40, 200), bool))
    rows = range(0, 40, 4)
    rho = factors.mean_rank_correlation(factors.factor_scores(values, ranked, sample=rows).ranks)
    assert rho[0] == pytest.approx([1, 1, -1, 0.69, 0], abs=0.05)
    assert rho == pytest.approx(rho.T)
    daily = [ranking.rank_ic(a[t : t + 1], (a + b)[t : t + 1])[0] for t in rows]
    assert rho[0, 3] == pytest.approx(np.mean(daily), abs=1e-5)
    order, clusters = factors.related_order(rho, alike=0.9)
    assert clusters[0] == clusters[1] == clusters[2]
    assert len(set(clusters[[0, 3, 4]])) == 3
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert (np.diff(clusters[order]) >= 0).all()


def test_correlation_with_holes_uses_shared_assets():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(30, 300, 2)).astype(np.float32)
    values[:, :, 1] += values[:, :, 0]
    full = factors.rank_targets({1: np.zeros((30, 300))}, member=np.ones((30, 300), bool))
    whole = factors.mean_rank_correlation(factors.factor_scores(values, full, sample=range(30)).ranks)
    values[:, ::3, 0] = np.nan
    values[:, 1::7, 1] = np.nan
    values[4, :, 0] = np.nan
    holed = factors.mean_rank_correlation(factors.factor_scores(values, full, sample=range(30)).ranks)
    assert holed[0, 1] == pytest.approx(whole[0, 1], abs=0.02)
    values[:, :, 1] = np.nan
    none = factors.mean_rank_correlation(factors.factor_scores(values, full, sample=range(30)).ranks)
    assert math.isnan(none[0, 1])
    assert none[0, 0] == pytest.approx(1, abs=1e-5)


def test_false_discoveries_by_hand():
    # Step-up: 0.02 alone misses 2/5 * 0.05, but 0.03 passes 3/5 * 0.05 and takes it along.
    p = [0.03, 0.001, 0.6, 0.021, math.nan]
    assert factors.benjamini_hochberg(p).tolist() == [True, True, False, True, False]
    assert not factors.benjamini_hochberg([0.2, 0.03]).any()
    assert factors.benjamini_hochberg([]).tolist() == []
    with pytest.raises(DataError):
        factors.benjamini_hochberg(p, level=0)


def test_noise_rarely_stands_and_its_best_t_is_as_foretold():
    rng = np.random.default_rng(7)
    t = rng.normal(size=(2000, 50))
    false = [factors.benjamini_hochberg(factors.normal_p(row)).any() for row in t]
    assert 0.03 < np.mean(false) < 0.07
    assert np.abs(t).max(axis=1).mean() == pytest.approx(factors.expected_max_t(50), abs=0.03)
    assert factors.expected_max_t(1) == pytest.approx(math.sqrt(2 / math.pi), abs=1e-6)
    assert factors.normal_p([0.0, 1.959964, -1.959964]) == pytest.approx([1, 0.05, 0.05])


def test_misfits_are_refused():
    values, member, later = awkward()
    ranked = factors.rank_targets(later, member=member)
    with pytest.raises(AxisError):
        factors.factor_scores(values[1:], ranked)
    with pytest.raises(AxisError):
        factors.rank_targets(later, member=member[1:])
    with pytest.raises(DataError):
        factors.rank_targets({}, member=member)
    with pytest.raises(DataError):
        factors.factor_scores(values, ranked, quantiles=1)
    with pytest.raises(DataError):
        factors.factor_scores(values, ranked, lags=(0,))
    with pytest.raises(DataError):
        factors.expected_max_t(0)
