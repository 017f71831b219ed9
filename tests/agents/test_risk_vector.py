"""The state of the market, against slow and obvious versions of its parts."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.agents.risk_vector import RISK_LOOKBACK, risk_names, risk_vector
from alphaloom.errors import DataError
from alphaloom.testing import find_leak


def column(panel, name, **options):
    return risk_vector(panel, **options)[:, risk_names(panel).index(name)]


@pytest.fixture
def market(make_panel):
    return make_panel(400, 6)


def returns_of(panel):
    close = panel["close"]
    return np.concatenate([np.full((1, close.shape[1]), np.nan), close[1:] / close[:-1] - 1.0])


def test_the_index_is_the_mean_return_of_the_universe(market):
    r = returns_of(market).mean(axis=1)
    t = 380
    found = dict(zip(risk_names(market), risk_vector(market)[t], strict=True))
    assert found["index_return_1"] == pytest.approx(r[t])
    assert found["index_return_5"] == pytest.approx(np.prod(1 + r[t - 4 : t + 1]) - 1)
    assert found["index_return_21"] == pytest.approx(np.prod(1 + r[t - 20 : t + 1]) - 1)
    assert found["index_volatility_21"] == pytest.approx(r[t - 20 : t + 1].std(ddof=1))
    assert found["index_volatility_63"] == pytest.approx(r[t - 62 : t + 1].std(ddof=1))
    level = np.cumprod(1 + np.nan_to_num(r))
    assert found["drawdown_252"] == pytest.approx(level[t] / level[t - 251 : t + 1].max() - 1)
    assert found["dispersion"] == pytest.approx(returns_of(market)[t].std())
    close = market["close"]
    assert found["breadth_50"] == pytest.approx((close[t] > close[t - 49 : t + 1].mean(axis=0)).mean())


def test_the_mean_correlation_is_that_of_all_pairs(market):
    window = returns_of(market)[300 - 62 : 301]
    pairs = np.corrcoef(window.T)[np.triu_indices(6, 1)]
    assert column(market, "correlation_63")[300] == pytest.approx(pairs.mean())
    # An asset that stands still has no correlation.
    close = market["close"].copy()
    close[:, 0] = 10.0
    still = market.replace(fields={**market.fields, "close": close})
    rest = np.corrcoef(window[:, 1:].T)[np.triu_indices(5, 1)]
    assert column(still, "correlation_63")[300] == pytest.approx(rest.mean())


@pytest.mark.parametrize("assets", [6, 300])
def test_turbulence_is_the_distance_from_the_year_before(make_panel, assets):
    panel = make_panel(256, assets)
    r, t = returns_of(panel), 255
    past = r[t - 252 : t]
    away = r[t] - past.mean(axis=0)
    inverse = np.linalg.pinv(np.cov(past.T), rcond=1e-10, hermitian=True)
    found = column(panel, "turbulence_252", since=t)[t]
    assert found == pytest.approx(away @ inverse @ away / assets, rel=1e-6)


def test_twins_do_not_count_twice(market):
    """A covariance without full rank: the pseudo-inverse of assets that are copies of each other."""
    close = np.concatenate([market["close"], 3.0 * market["close"]], axis=1)
    fields = {name: np.concatenate([market[name], market[name]], axis=1) for name in market.fields} | {"close": close}
    doubled = market.replace(fields=fields, assets=tuple(f"B{j}" for j in range(12)), labels={}, member=None,
                             listed=None, buyable=None, sellable=None)  # fmt: skip
    single = column(market, "turbulence_252")[390]
    assert column(doubled, "turbulence_252")[390] == pytest.approx(single / 2)


def test_nothing_is_said_before_a_window_is_full(market):
    found = risk_vector(market)
    known = dict(zip(risk_names(market), np.isfinite(found).argmax(axis=0), strict=True))
    assert known == {
        "index_return_1": 1,
        "index_return_5": 5,
        "index_return_21": 21,
        "index_volatility_21": 21,
        "index_volatility_63": 63,
        "drawdown_252": 251,
        "dispersion": 1,
        "breadth_50": 49,
        "correlation_63": 63,
        "turbulence_252": 253,
    }
    assert np.isfinite(found[253:]).all()


def test_the_look_back_is_enough_and_the_rows_are_the_same_bits(market):
    vix = np.linspace(10.0, 40.0, 400)
    vix[376:380] = np.nan
    level = 100.0 * np.cumprod(1.0 + np.random.default_rng(1).normal(0.0, 0.01, 400))
    level[122:126] = np.nan
    panel = market.replace(series={"vix": vix, "index": level})
    whole = risk_vector(panel, index="index")
    for row in (379, 399):
        tail = risk_vector(panel[row - RISK_LOOKBACK : row + 1], index="index", since=RISK_LOOKBACK)
        assert np.array_equal(tail[-1], whole[row], equal_nan=True)
    assert whole[379, -1] == pytest.approx(vix[375] / 100.0)
    assert np.isnan(risk_vector(panel, since=100)[:100, :-1]).all()


def test_assets_outside_the_universe_do_not_count(market):
    member = np.ones(market.shape, bool)
    member[:, 5] = False
    without = market.replace(member=member)
    few = {name: values[:, :5] for name, values in market.fields.items()}
    five = market.replace(fields=few, assets=market.assets[:5], labels={}, member=None, listed=None, buyable=None,
                          sellable=None)  # fmt: skip
    assert np.allclose(risk_vector(without), risk_vector(five), equal_nan=True)


def test_nothing_changes_with_the_future(market):
    panel = market.replace(series={"vix": np.linspace(10.0, 40.0, 400)})
    assert find_leak(risk_vector, panel, rows=[150, 300, 390]) is None


def test_an_unknown_index_is_refused(market):
    with pytest.raises(DataError, match="none, the panel has no series"):
        risk_vector(market, index="sp500")
