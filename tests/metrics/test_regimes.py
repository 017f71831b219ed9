"""Sorting bars into regimes: by hand, without the future, and the table over them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alphaloom.errors import AxisError, DataError
from alphaloom.metrics import performance, regimes


def test_drawdown_by_hand() -> None:
    found = regimes.drawdown_regime([np.nan, 100, 95, 89, np.nan, 91, 120, 107])
    assert found.codes.tolist() == [-1, 0, 0, 1, -1, 0, 0, 1]
    assert found.buckets == ("within 10% of the peak", "more than 10% below")
    with pytest.raises(DataError):
        regimes.drawdown_regime([1.0, 2.0], depth=1.5)


def test_terciles_equal_the_quantiles_of_the_past() -> None:
    values = np.random.default_rng(0).gamma(2, 1, 200)
    values[[3, 50]] = np.nan
    codes = regimes.tercile_regime(values, minimum=20).codes
    for t in range(200):
        past = values[: t + 1][np.isfinite(values[: t + 1])]
        if not np.isfinite(values[t]) or len(past) < 20:
            assert codes[t] == -1
        else:
            low, high = np.quantile(past, [1 / 3, 2 / 3])
            assert codes[t] == int(values[t] > low) + int(values[t] > high)
    assert set(codes.tolist()) == {-1, 0, 1, 2}


@pytest.mark.parametrize("cut", [40, 90, 149])
def test_later_bars_change_no_earlier_bucket(cut: int) -> None:
    values = np.random.default_rng(1).gamma(2, 1, 150)
    poisoned = values.copy()
    poisoned[cut:] = 1e9
    for sort in (lambda x: regimes.tercile_regime(x, minimum=10), regimes.drawdown_regime):
        whole = sort(values).codes[:cut]
        assert np.array_equal(whole, sort(values[:cut]).codes)
        assert np.array_equal(whole, sort(poisoned).codes[:cut])


def test_years() -> None:
    times = np.array(["2019-12-31", "2020-01-02", "2022-05-01"], dtype="datetime64[ns]")
    found = regimes.year_regime(times)
    assert found.buckets == ("2019", "2020", "2022")
    assert found.codes.tolist() == [0, 1, 2]


def test_table_is_the_performance_of_each_buckets_bars() -> None:
    rng = np.random.default_rng(2)
    returns, skill = rng.normal(0.001, 0.01, 300), rng.normal(0.02, 0.1, 300)
    returns[7], skill[9] = np.nan, np.nan
    rf = rng.uniform(0, 0.0002, 300)
    times = np.datetime64("2020-07-01", "ns") + np.arange(300) * np.timedelta64(1, "D")
    regime = regimes.year_regime(times)
    rows = regimes.regime_table(returns, [regime], periods_per_year=365, rf=rf, rank_ic=skill)
    first = regime.codes == 0
    assert [row["bucket"] for row in rows] == ["2020", "2021"]
    assert rows[0]["regime"] == "year"
    assert rows[0]["days"] == first.sum() - 1
    assert rows[0]["sharpe"] == performance.sharpe(returns[first], periods_per_year=365, rf=rf[first])
    assert rows[0]["return"] == performance.cagr(returns[first], periods_per_year=365)
    assert rows[0]["rank_ic"] == pytest.approx(np.nanmean(skill[first]))


def test_empty_buckets_have_no_measures() -> None:
    regime = regimes.Regime("made up", ("a", "b"), np.array([0, -1, 0], np.int16))
    rows = regimes.regime_table([0.1, 0.2, 0.3], [regime], periods_per_year=1)
    assert rows[0]["days"] == 2
    assert rows[1]["days"] == 0
    assert all(math.isnan(float(rows[1][name])) for name in ("return", "sharpe", "max_drawdown", "rank_ic"))
    with pytest.raises(AxisError):
        regimes.regime_table([0.1], [regime], periods_per_year=1)
