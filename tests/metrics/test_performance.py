"""Return and risk measures against hand-made numbers and slow, obvious loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alphaloom.errors import AxisError, DataError
from alphaloom.metrics import performance, relative, tails, trading

HAND = np.array([0.10, -0.20, 0.05, 0.10])
moderate = arrays(np.float64, st.integers(5, 60), elements=st.floats(-0.5, 0.5).map(lambda x: round(x, 6)))


def slow(r: np.ndarray, P: float) -> dict[str, float]:
    """Every measure by an explicit loop over the periods that are known."""
    r = [float(x) for x in r if x == x]
    n, wealth, peak, depth = len(r), 1.0, 1.0, 0.0
    for x in r:
        wealth *= 1 + x
        peak = max(peak, wealth)
        depth = max(depth, 1 - wealth / peak)
    mean = sum(r) / n
    m2, m3, m4 = (sum((x - mean) ** k for x in r) / n for k in (2, 3, 4))
    std, short = math.sqrt(m2 * n / (n - 1)), math.sqrt(sum(min(x, 0) ** 2 for x in r) / n)
    cagr = wealth ** (P / n) - 1
    low, high = np.quantile(r, 0.05), np.quantile(r, 0.95)
    return {
        "cagr": cagr,
        "volatility": std * math.sqrt(P),
        "sharpe": mean / std * math.sqrt(P),
        "sortino": mean / short * math.sqrt(P),
        "max_drawdown": depth,
        "calmar": cagr / depth,
        "hit_rate": sum(x > 0 for x in r) / n,
        "skew": m3 / m2**1.5,
        "kurtosis": m4 / m2**2,
        "value_at_risk": -low,
        "expected_shortfall": -np.mean([x for x in r if x <= low]),
        "tail_ratio": abs(high) / abs(low),
    }


def test_hand_calculated_numbers() -> None:
    assert performance.cagr(HAND, periods_per_year=4) == pytest.approx(1.1 * 0.8 * 1.05 * 1.1 - 1)
    assert performance.cagr(HAND, periods_per_year=2) == pytest.approx((1.1 * 0.8 * 1.05 * 1.1) ** 0.5 - 1)
    variance = (0.0875**2 + 0.2125**2 + 0.0375**2 + 0.0875**2) / 3
    assert performance.volatility(HAND, periods_per_year=4) == pytest.approx(2 * math.sqrt(variance))
    assert performance.sharpe(HAND, periods_per_year=4) == pytest.approx(2 * 0.0125 / math.sqrt(variance))
    # Shortfall over all four periods: sqrt(0.04 / 4) = 0.1.
    assert performance.sortino(HAND, periods_per_year=4) == pytest.approx(2 * 0.0125 / 0.1)
    assert performance.max_drawdown(HAND) == pytest.approx(0.2)
    assert performance.hit_rate(HAND) == 0.75
    assert performance.drawdowns(HAND) == pytest.approx([0, 0.2, 0.16, 0.076])


def test_first_period_loss_counts_in_the_drawdown() -> None:
    assert performance.max_drawdown([-0.3, 0.1]) == pytest.approx(0.3)
    assert performance.drawdowns([-0.3, 0.1])[0] == pytest.approx(0.3)


def test_riskless_rate_by_number_and_by_period() -> None:
    rate = np.array([0.01, 0.02, 0.0, 0.01])
    std = HAND.std(ddof=1)
    assert performance.sharpe(HAND, periods_per_year=4, rf=0.01) == pytest.approx(2 * 0.0025 / std)
    assert performance.sharpe(HAND, periods_per_year=4, rf=rate) == pytest.approx(2 * (HAND - rate).mean() / std)
    short = math.sqrt((np.minimum(HAND - rate, 0) ** 2).mean())
    assert performance.sortino(HAND, periods_per_year=4, rf=rate) == pytest.approx(2 * (HAND - rate).mean() / short)
    with pytest.raises(AxisError):
        performance.sharpe(HAND, periods_per_year=4, rf=[0.01, 0.02])
    with pytest.raises(DataError):
        performance.sharpe(HAND, periods_per_year=4, rf=[0.01, np.nan, 0, 0])


@pytest.mark.parametrize("K", [1, 3, 65, 130])
def test_all_measures_equal_the_slow_loop(K: int) -> None:
    rng = np.random.default_rng(K)
    returns = 0.001 + 0.02 * rng.standard_t(4, (250, K)).clip(-10, 10)
    returns[rng.random(returns.shape) < 0.05] = np.nan
    found = performance.summary(returns, periods_per_year=252)
    wanted = [slow(returns[:, k], 252) for k in range(K)]
    assert set(found) == set(wanted[0])
    for name, values in found.items():
        assert values.shape == (K,)
        assert values == pytest.approx([row[name] for row in wanted], rel=1e-9), name


def test_summary_is_what_the_single_functions_say() -> None:
    returns = np.random.default_rng(5).normal(0.001, 0.01, (90, 4))
    whole = performance.summary(returns, periods_per_year=52, rf=0.0002)
    for name in ("cagr", "volatility", "calmar"):
        assert np.array_equal(whole[name], getattr(performance, name)(returns, periods_per_year=52))
    for name in ("sharpe", "sortino"):
        assert np.array_equal(whole[name], getattr(performance, name)(returns, periods_per_year=52, rf=0.0002))
    for name in ("max_drawdown", "hit_rate"):
        assert np.array_equal(whole[name], getattr(performance, name)(returns))
    for name in ("skew", "kurtosis", "value_at_risk", "expected_shortfall", "tail_ratio"):
        assert np.array_equal(whole[name], getattr(tails, name)(returns))
    one = performance.summary(returns[:, 2], periods_per_year=52, rf=0.0002)
    assert all(one[name] == values[2] for name, values in whole.items())
    assert all(isinstance(value, float) for value in one.values())


@pytest.mark.parametrize("returns", [np.empty(0), np.full(6, np.nan)])
def test_nothing_known_gives_nan(returns: np.ndarray) -> None:
    assert all(math.isnan(value) for value in performance.summary(returns, periods_per_year=252).values())


def test_one_observation() -> None:
    found = performance.summary([0.02], periods_per_year=12)
    assert found["cagr"] == pytest.approx(1.02**12 - 1)
    assert found["hit_rate"] == 1
    assert found["max_drawdown"] == 0
    assert all(math.isnan(found[name]) for name in ("volatility", "sharpe", "sortino", "calmar", "skew", "kurtosis"))
    assert performance.cagr([30.0], periods_per_year=252) == math.inf


@pytest.mark.parametrize("level", [0.0, 0.001, -0.002, 0.1, 1 / 3])
def test_returns_that_never_vary_have_no_ratio(level: float) -> None:
    found = performance.summary(np.full(777, level), periods_per_year=252)
    assert found["volatility"] == 0
    assert all(math.isnan(found[name]) for name in ("sharpe", "skew", "kurtosis"))
    assert math.isnan(found["sortino"]) == (level >= 0)


def test_total_loss_is_final() -> None:
    for last in ([-1.0, 5.0], [-1.7, 5.0]):
        returns = np.array([0.1, *last])
        assert performance.cagr(returns, periods_per_year=252) == -1
        assert performance.max_drawdown(returns) == 1
        assert performance.drawdowns(returns)[1:].tolist() == [1, 1]


def test_missing_periods_are_left_out() -> None:
    holed = np.array([0.1, np.nan, -0.2, 0.05, np.nan, 0.1])
    plain, gappy = (performance.summary(r, periods_per_year=252) for r in (HAND, holed))
    assert gappy == pytest.approx(plain)
    assert performance.drawdowns(holed)[1] == 0


def test_rolling_sharpe_is_the_sharpe_of_each_window() -> None:
    returns = np.random.default_rng(1).normal(0.001, 0.01, (40, 2))
    returns[7, 0] = np.nan
    rolled = performance.rolling_sharpe(returns, 10, periods_per_year=252, rf=0.0001)
    assert np.isnan(rolled[:9]).all()
    assert np.isnan(rolled[7:17, 0]).all()
    assert rolled[30, 1] == pytest.approx(performance.sharpe(returns[21:31, 1], periods_per_year=252, rf=0.0001))
    assert np.isnan(performance.rolling_sharpe(HAND, 9, periods_per_year=252)).all()
    with pytest.raises(DataError):
        performance.rolling_sharpe(HAND, 1, periods_per_year=252)


def test_monthly_table() -> None:
    times = np.array(["2019-12-31", "2020-01-02", "2020-01-03", "2020-03-02", "2021-01-04"], dtype="datetime64[ns]")
    years, table = performance.monthly_returns(times, [0.01, 0.10, -0.10, np.nan, 0.02])
    assert years.tolist() == [2019, 2020, 2021]
    assert table.shape == (3, 12)
    assert table[0, 11] == pytest.approx(0.01)
    assert table[1, 0] == pytest.approx(-0.01)
    assert np.isnan(table[1, 2])
    assert table[2, 0] == pytest.approx(0.02)
    assert np.isfinite(table).sum() == 3
    assert performance.monthly_returns(times[:0], [])[1].shape == (0, 12)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(AxisError, match="time on axis 0"):
        performance.sharpe(np.zeros((2, 2, 2)), periods_per_year=252)
    with pytest.raises(DataError):
        tails.value_at_risk(HAND, level=0.05)


@settings(max_examples=40, deadline=None)
@given(moderate, st.floats(0.1, 10))
def test_sharpe_does_not_depend_on_scale(returns: np.ndarray, factor: float) -> None:
    one = performance.sharpe(returns, periods_per_year=252)
    other = performance.sharpe(returns * factor, periods_per_year=252)
    assert one == pytest.approx(other, rel=1e-6, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(moderate)
def test_drawdown_stays_between_nothing_and_everything(returns: np.ndarray) -> None:
    down = performance.drawdowns(returns)
    assert down.min() >= 0
    assert down.max() <= 1
    assert performance.max_drawdown(returns) == pytest.approx(down.max(), abs=1e-12)
    assert performance.max_drawdown(np.abs(returns)) == 0


@settings(max_examples=40, deadline=None)
@given(moderate)
def test_shortfall_is_at_least_the_value_at_risk(returns: np.ndarray) -> None:
    assert tails.expected_shortfall(returns) >= tails.value_at_risk(returns) - 1e-12
    assert tails.value_at_risk(returns, level=0.9) == pytest.approx(-np.quantile(returns, 0.1), abs=1e-12)


def test_ties_at_the_quantile_count_in_the_shortfall() -> None:
    returns = np.array([-3.0, -1, -1, -1, 0, 1, 2, 3, 4, 5]) / 100
    assert tails.value_at_risk(returns, level=0.75) == pytest.approx(0.01)
    assert tails.expected_shortfall(returns, level=0.75) == pytest.approx(0.015)


def test_against_an_index() -> None:
    rng = np.random.default_rng(3)
    index = rng.normal(0.0005, 0.01, 400)
    returns = 0.0002 + 1.5 * index
    assert relative.beta(returns, index) == pytest.approx(1.5)
    assert relative.alpha(returns, index, periods_per_year=250) == pytest.approx(0.05)
    assert relative.correlation(-returns, index) == pytest.approx(-1)
    noisy = returns + rng.normal(0, 0.005, 400)
    active = noisy - index
    wanted = active.mean() / active.std(ddof=1) * math.sqrt(250)
    assert relative.information_ratio(noisy, index, periods_per_year=250) == pytest.approx(wanted)
    both = relative.beta(np.column_stack([returns, noisy]), index)
    assert both == pytest.approx([1.5, np.cov(noisy, index)[0, 1] / index.var(ddof=1)])


def test_index_measures_use_only_common_periods() -> None:
    index = np.array([0.01, np.nan, -0.02, 0.03, 0.01])
    returns = np.array([0.02, 0.5, -0.04, np.nan, 0.02])
    assert relative.beta(returns, index) == pytest.approx(2)
    assert math.isnan(relative.beta(returns, np.full(5, 0.01)))
    assert math.isnan(relative.correlation(np.full(5, 0.1), index))
    assert math.isnan(relative.information_ratio(index, index, periods_per_year=252))
    rf = np.array([0.001, 0, 0.002, 0, 0.001])
    line = rf + 0.5 * (index - rf)
    assert relative.beta(line, index, rf=rf) == pytest.approx(0.5)
    assert relative.alpha(line, index, periods_per_year=252, rf=rf) == pytest.approx(0, abs=1e-12)
    with pytest.raises(AxisError):
        relative.beta(returns, index[:3])


def test_turnover_by_hand() -> None:
    weights = np.array([[0.5, 0.5], [0.5, 0.5], [np.nan, np.nan], [1.0, 0.0]])
    moves = np.array([[0.0, 0.0], [0.2, 0.0], [0.0, 0.0], [0.0, 0.0]])
    before = trading.drift(weights, moves)
    assert before[0].tolist() == [0, 0]
    assert before[1] == pytest.approx([0.6 / 1.1, 0.5 / 1.1])
    before[3] = [0.5, 0.5]  # the held row drifts from row 1, which a caller with a hold row knows
    wanted = (0.5 + 0.5 * (0.6 / 1.1 - 0.5 + 0.5 - 0.5 / 1.1) + 0 + 0.5) / 4
    assert trading.turnover(weights, before) == pytest.approx(wanted)
    assert math.isnan(trading.turnover(np.empty((0, 2)), np.empty((0, 2))))
    with pytest.raises(AxisError):
        trading.turnover(weights, before[1:])


def test_cost_drag_is_the_growth_that_costs_took() -> None:
    drag = trading.cost_drag([0.1, 0.1], [0.05, 0.05], periods_per_year=1)
    assert drag == pytest.approx(0.05)
