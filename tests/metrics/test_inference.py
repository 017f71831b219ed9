"""Standard errors, resampling and the judged Sharpe ratio against hand-made numbers, oracles and known coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alphaloom.errors import AxisError, DataError
from alphaloom.metrics import inference, performance


def ar1(T: int, rho: float, rng: np.random.Generator, K: int = 1) -> np.ndarray:
    noise = rng.normal(size=(T + 100, K))
    out = np.zeros_like(noise)
    for t in range(1, len(out)):
        out[t] = rho * out[t - 1] + noise[t]
    return out[100:]


def test_newey_west_by_hand() -> None:
    # Deviations -1, 0, 1, 0: squares sum to 2, first products to 0, second to -1 (weight 1 - 2/3).
    test = inference.newey_west([1.0, 2.0, np.nan, 3.0, 2.0], lag=2)
    assert test.mean == 2
    assert test.periods == 4
    assert test.error == pytest.approx(math.sqrt((2 + 2 * (1 / 3) * -1) / (4 * 3)))
    assert test.t == pytest.approx(2 / test.error)


def test_newey_west_without_lag_is_the_ordinary_t() -> None:
    x = np.random.default_rng(0).normal(0.1, 1, 50)
    assert inference.newey_west(x).t == pytest.approx(x.mean() / (x.std(ddof=1) / math.sqrt(50)))


@pytest.mark.parametrize("values", [[], [1.0], [0.3] * 20])
def test_newey_west_without_spread_has_no_t(values: list[float]) -> None:
    assert math.isnan(inference.newey_west(values, lag=3).t)
    with pytest.raises(DataError):
        inference.newey_west(values, lag=-1)


def test_newey_west_covers_an_overlapping_mean() -> None:
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(400):
        x = np.convolve(rng.normal(size=604), np.ones(5) / 5, mode="valid")
        test = inference.newey_west(x, lag=8)
        inside += abs(test.mean) < 1.96 * test.error
    assert 0.89 < inside / 400 < 0.98


def test_resampled_rows_form_blocks_of_the_given_mean_length() -> None:
    rows = inference.stationary_bootstrap(500, 400, block=8.0, seed=1)
    assert rows.shape == (500, 400)
    assert rows.min() >= 0
    assert rows.max() < 500
    follows = (rows[1:] - rows[:-1]) % 500 == 1
    assert follows.mean() == pytest.approx(1 - 1 / 8 + 1 / 8 / 500, abs=0.003)
    assert np.bincount(rows.ravel(), minlength=500) == pytest.approx(np.full(500, 400), abs=250)
    assert np.array_equal(rows, inference.stationary_bootstrap(500, 400, block=8.0, seed=1))
    assert not np.array_equal(rows, inference.stationary_bootstrap(500, 400, block=8.0, seed=2))


def test_block_length_grows_with_memory() -> None:
    rng = np.random.default_rng(2)
    lengths = [np.mean([inference.block_length(ar1(1500, rho, rng)[:, 0]) for _ in range(10)]) for rho in (0, 0.5, 0.9)]
    assert lengths[0] < 6
    assert lengths[0] < lengths[1] < lengths[2]
    assert inference.block_length(np.ones(100)) == 1
    assert inference.block_length(np.arange(5.0)) == 1


def test_block_length_is_near_the_optimum_of_a_known_process() -> None:
    # For AR(1), G = 2 rho / (1 - rho)^2 / (1 - rho^2) and g(0) = 1 / (1 - rho)^2 in units of the noise variance, so the
    # optimum is (2 G^2 / (2 g(0)^2))^(1/3) n^(1/3) = (2 rho / (1 - rho^2))^(2/3) n^(1/3).
    rho, n = 0.6, 4000
    wanted = (2 * rho / (1 - rho**2)) ** (2 / 3) * n ** (1 / 3)
    rng = np.random.default_rng(5)
    found = np.median([inference.block_length(ar1(n, rho, rng)[:, 0]) for _ in range(30)])
    assert found == pytest.approx(wanted, rel=0.25)


def test_bootstrap_covers_the_mean_of_a_series_with_memory() -> None:
    rng = np.random.default_rng(3)
    samples = ar1(400, 0.5, rng, K=200)
    kept, naive = 0, 0
    for k in range(200):
        found = inference.bootstrap_interval(lambda x: x.mean(axis=0), samples[:, k], seed=k, draws=300)
        kept += found.low <= 0 <= found.high
        loose = inference.bootstrap_interval(lambda x: x.mean(axis=0), samples[:, k], seed=k, draws=300, block=1.0)
        naive += loose.low <= 0 <= loose.high
    assert 0.86 <= kept / 200 <= 0.98
    assert naive < kept - 20


def test_bootstrap_of_a_difference_resamples_both_together() -> None:
    rng = np.random.default_rng(6)
    market = rng.normal(0, 0.02, 800)
    better, worse = market + 0.002, market

    def gap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return performance.sharpe(a, periods_per_year=252) - performance.sharpe(b, periods_per_year=252)

    found = inference.bootstrap_interval(gap, (better, worse), seed=0, draws=500, block=5.0)
    assert 0 < found.low < found.value < found.high
    apart = inference.bootstrap_interval(gap, (better, rng.permutation(worse)), seed=0, draws=500, block=5.0)
    assert found.high - found.low < (apart.high - apart.low) / 4
    assert found == inference.bootstrap_interval(gap, (better, worse), seed=0, draws=500, block=5.0)


def test_bootstrap_leaves_out_missing_rows_and_refuses_nonsense() -> None:
    x = np.random.default_rng(1).normal(size=60)
    holed = np.insert(x, 10, np.nan)
    mean = lambda r: r.mean(axis=0)  # noqa: E731
    assert inference.bootstrap_interval(mean, holed, seed=4) == inference.bootstrap_interval(mean, x, seed=4)
    assert math.isnan(inference.bootstrap_interval(mean, [1.0], seed=4).low)
    assert math.isnan(inference.bootstrap_interval(mean, [], seed=4).value)
    flat = inference.bootstrap_interval(lambda r: performance.sharpe(r, periods_per_year=252), np.ones(50), seed=0)
    assert math.isnan(flat.value)
    assert math.isnan(flat.low)
    with pytest.raises(DataError):
        inference.bootstrap_interval(mean, x, seed=4, block=0.5)
    with pytest.raises(AxisError):
        inference.bootstrap_interval(mean, (x, x[:5]), seed=4)


def test_deflated_sharpe_of_the_published_example() -> None:
    luck = inference.expected_max_sharpe(100, 0.5 / 250)
    assert luck == pytest.approx(0.11317, abs=5e-6)
    found = inference.deflated_sharpe(
        2.5 / math.sqrt(250), count=1250, trials=100, variance=0.5 / 250, skew=-3, kurtosis=10
    )
    assert found == pytest.approx(0.90040, abs=5e-6)


def test_expected_maximum_is_that_of_simulated_trials() -> None:
    best = np.random.default_rng(0).normal(0, 0.3, (20000, 50)).max(axis=1).mean()
    assert inference.expected_max_sharpe(50, 0.09) == pytest.approx(best, rel=0.02)
    assert inference.expected_max_sharpe(1, 0.09) == 0
    assert inference.expected_max_sharpe(1.1, 0.09) == 0
    with pytest.raises(DataError):
        inference.expected_max_sharpe(0, 0.1)


def test_probabilistic_sharpe_of_a_normal_sample() -> None:
    # (0.1 - 0) * sqrt(400) / sqrt(1 + 0.005) = 1.99501..., whose normal probability is 0.97698.
    assert inference.probabilistic_sharpe(0.1, count=401) == pytest.approx(0.976979, abs=1e-6)
    assert inference.probabilistic_sharpe(0.1, count=401, benchmark=0.1) == 0.5
    assert math.isnan(inference.probabilistic_sharpe(0.1, count=1))
    assert math.isnan(inference.probabilistic_sharpe(math.nan, count=100))


def test_minimum_track_record_gives_just_the_confidence() -> None:
    need = inference.min_track_record(0.1, skew=-0.5, kurtosis=6, benchmark=0.02, confidence=0.9)
    at = inference.probabilistic_sharpe(0.1, count=need, skew=-0.5, kurtosis=6, benchmark=0.02)
    assert at == pytest.approx(0.9)
    assert inference.min_track_record(0.0) == math.inf
    assert math.isnan(inference.min_track_record(math.nan))


def test_wilson_interval_by_hand() -> None:
    rate, low, high = inference.wilson_interval(8, 10)
    assert rate == 0.8
    assert (low, high) == (pytest.approx(0.4901625, abs=1e-6), pytest.approx(0.9433178, abs=1e-6))
    assert inference.wilson_interval(0, 5).low == 0
    assert inference.wilson_interval(5, 5).high == 1
    assert math.isnan(inference.wilson_interval(0, 0).low)
    with pytest.raises(DataError):
        inference.wilson_interval(6, 5)


def test_binomial_p_by_hand() -> None:
    assert inference.binomial_p(8, 10) == pytest.approx(2 * (45 + 10 + 1) / 1024)
    assert inference.binomial_p(5, 10) == 1
    # One of four at chance 0.1: outcomes at most as likely as 1 are 1, 2, 3, 4.
    assert inference.binomial_p(1, 4, chance=0.1) == pytest.approx(1 - 0.9**4)
    assert inference.binomial_p(500_900, 1_000_000) == pytest.approx(math.erfc(900 / 500 / math.sqrt(2)), rel=1e-2)
    assert math.isnan(inference.binomial_p(0, 0))
    with pytest.raises(DataError):
        inference.binomial_p(1, 2, chance=1)
