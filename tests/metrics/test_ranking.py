"""Ranking measures against slow loops and hand-made orders."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alphaloom.errors import AxisError, DataError
from alphaloom.metrics import ranking


def slow_ranks(x: list[float]) -> list[float]:
    return [sum(b < a for b in x) + (sum(b == a for b in x) + 1) / 2 for a in x]


def slow_pearson(x: list[float], y: list[float]) -> float:
    mx, my = sum(x) / len(x), sum(y) / len(y)
    top = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    below = math.sqrt(sum((a - mx) ** 2 for a in x) * sum((b - my) ** 2 for b in y))
    return top / below if below > 1e-12 else math.nan


def holed(T: int = 30, N: int = 17, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score, later = rng.integers(0, 8, (T, N)).astype(float), rng.normal(size=(T, N)).round(1)
    score[rng.random((T, N)) < 0.2] = np.nan
    later[rng.random((T, N)) < 0.2] = np.inf
    score[3] = 2.0
    return score, later


@pytest.mark.parametrize("ranked", [False, True])
def test_coefficients_equal_the_slow_loop(ranked: bool) -> None:
    score, later = holed()
    found = (ranking.rank_ic if ranked else ranking.ic)(score, later)
    assert np.isnan(found[3])
    for t in range(len(score)):
        good = np.isfinite(score[t]) & np.isfinite(later[t])
        x, y = score[t, good].tolist(), later[t, good].tolist()
        wanted = math.nan
        if len(x) >= 10:
            wanted = slow_pearson(slow_ranks(x), slow_ranks(y)) if ranked else slow_pearson(x, y)
        assert found[t] == pytest.approx(wanted, abs=1e-12, nan_ok=True)
    assert np.isnan(found).sum() < len(found)


def test_few_pairs_are_no_date() -> None:
    score = np.arange(9.0)[None, :]
    assert np.isnan(ranking.ic(score, score)).all()
    assert ranking.ic(score, score, min_pairs=9)[0] == pytest.approx(1)
    with pytest.raises(AxisError):
        ranking.ic(score, score.T)


@settings(max_examples=40, deadline=None)
@given(arrays(np.int64, (4, 12), elements=st.integers(-20, 20)), st.integers(0, 2**31))
def test_rank_coefficient_sees_only_the_order(score: np.ndarray, seed: int) -> None:
    later = np.random.default_rng(seed).normal(size=score.shape)
    one = ranking.rank_ic(score, later)
    assert ranking.rank_ic(np.exp(score / 7.0) + 3, later) == pytest.approx(one, nan_ok=True)
    assert ranking.rank_ic(-score, later) == pytest.approx(-one, nan_ok=True)
    assert np.nanmax(np.abs(one), initial=0) <= 1


def test_summary_of_coefficients() -> None:
    values = np.array([0.1, 0.0, np.nan, 0.2, -0.1, 0.3])
    found = ranking.ic_summary(values, periods_per_year=252)
    known = values[np.isfinite(values)]
    assert found["mean"] == pytest.approx(0.1)
    assert found["count"] == 5
    assert found["hit_rate"] == 0.6
    assert found["ir"] == pytest.approx(known.mean() / known.std(ddof=1))
    assert found["annual_ir"] == pytest.approx(found["ir"] * math.sqrt(252))
    assert found["t"] == pytest.approx(found["ir"] * math.sqrt(5))
    empty = ranking.ic_summary([], periods_per_year=252)
    assert empty["count"] == 0
    assert math.isnan(empty["mean"])
    assert math.isnan(empty["t"])
    assert math.isnan(ranking.ic_summary(np.full(9, 0.1), periods_per_year=252)["ir"])
    with pytest.raises(DataError):
        ranking.ic_summary(values, periods_per_year=252, horizon=0)


def test_overlap_widens_the_error() -> None:
    rng = np.random.default_rng(4)
    overlapping = np.convolve(rng.normal(0.1, 1, 2009), np.ones(10) / 10, mode="valid")
    plain = ranking.ic_summary(overlapping, periods_per_year=252)["t"]
    honest = ranking.ic_summary(overlapping, periods_per_year=252, horizon=10)["t"]
    assert 0 < honest < plain / 2


def test_decay_reads_each_horizon() -> None:
    rng = np.random.default_rng(2)
    score = rng.normal(size=(200, 30))
    targets = {h: score / h + rng.normal(size=score.shape) for h in (1, 2, 4)}
    table = ranking.ic_decay(score, targets, horizons=(1, 2, 4))
    assert table["horizon"].tolist() == [1, 2, 4]
    assert (np.diff(table["ic"]) < 0).all()
    assert (np.diff(table["rank_ic"]) < 0).all()
    assert table["ic"][0] == pytest.approx(ranking.ic(score, targets[1]).mean())
    called = ranking.ic_decay(score, lambda h: targets[h], horizons=(1, 2, 4))
    assert all(np.array_equal(called[name], table[name]) for name in table)
    assert (table["rank_ic_se"] > 0).all()


def test_rank_autocorrelation() -> None:
    score = np.tile(np.arange(12.0), (5, 1))
    score[3] = -score[3]
    found = ranking.rank_autocorrelation(score)
    assert math.isnan(found[0])
    assert found[1:] == pytest.approx([1, 1, -1, -1])
    assert ranking.rank_autocorrelation(score, lag=2)[2:] == pytest.approx([1, -1, 1])
    assert np.isnan(ranking.rank_autocorrelation(score, lag=9)).all()


def test_buckets_by_hand() -> None:
    score = np.arange(10.0)[None, :]
    later = np.arange(10.0)[None, :] / 100
    buckets = ranking.quantile_returns(score, later)
    assert buckets[0] == pytest.approx([0.005, 0.025, 0.045, 0.065, 0.085])
    assert ranking.spread(buckets)[0] == pytest.approx(0.08)
    assert ranking.monotonicity(buckets) == pytest.approx(1)
    assert ranking.monotonicity(-buckets) == pytest.approx(-1)


def test_tied_scores_share_a_bucket_whatever_the_order_of_columns() -> None:
    rng = np.random.default_rng(8)
    score, later = rng.integers(0, 4, (20, 23)).astype(float), rng.normal(size=(20, 23))
    score[0] = 1.0
    order = rng.permutation(23)
    buckets = ranking.quantile_returns(score, later)
    assert ranking.quantile_returns(score[:, order], later[:, order]) == pytest.approx(buckets, nan_ok=True)
    assert buckets[0, 2] == pytest.approx(later[0].mean())
    assert np.isnan(buckets[0, [0, 1, 3, 4]]).all()


def test_missing_pairs_do_not_reach_a_bucket() -> None:
    score, later = np.arange(12.0)[None, :], np.arange(12.0)[None, :]
    later[0, 11] = np.nan
    score[0, 0] = np.nan
    buckets = ranking.quantile_returns(score, later, quantiles=2)
    assert buckets[0].tolist() == [3, 8]
    assert np.isnan(ranking.quantile_returns(score, later, min_pairs=11)).all()
    assert math.isnan(ranking.monotonicity(np.full((3, 5), np.nan)))
    with pytest.raises(DataError):
        ranking.quantile_returns(score, later, quantiles=1)
