"""The factor risk model against least squares, planted risk, and the law of time."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError
from alphaloom.factors.risk import RiskModel, factor_covariance, specific_risk
from alphaloom.factors.style import market_value
from alphaloom.testing import find_leak

STYLES = ("size", "beta", "book_to_price")


@pytest.fixture(scope="module")
def market():
    return simulate(EmbeddedMarket(days=420, assets=60, seed=4, headlines=0.0, dtype="float64"))


@pytest.fixture(scope="module")
def fitted(market):
    return RiskModel(styles=STYLES).fit(market)


def moves(panel):
    close = panel["close"]
    return close[1:] / close[:-1] - 1.0


def test_factor_returns_solve_the_constrained_regression(market, fitted):
    cap = market_value(market)
    for t in (300, 418):
        B = fitted.exposures(t - 1)
        r = moves(market)[t - 1]
        ok = np.isfinite(B).all(axis=1) & np.isfinite(r)
        sectors = np.arange(1, 9)
        seen = [k for k in sectors if B[ok, k].sum() > 1]
        ok &= B[:, seen].sum(axis=1) == 1
        # Weighted least squares with one row that says: the sectors' effects cancel out by market value.
        root = np.sqrt(np.sqrt(cap[t - 1, ok]))
        columns = [0, *seen, 9, 10, 11]
        table = B[np.ix_(ok, columns)] * root[:, None]
        level = np.zeros(len(columns))
        level[1 : 1 + len(seen)] = [cap[t - 1, ok] @ B[ok, k] for k in seen]
        table = np.vstack([table, 1e3 * level / level.max()])
        found = np.linalg.lstsq(table, np.append(r[ok] * root, 0.0), rcond=None)[0]
        np.testing.assert_allclose(fitted.factor_returns[t, columns], found, atol=1e-8)
        told = np.nan_to_num(fitted.factor_returns[t])
        np.testing.assert_allclose(fitted.specific_returns[t, ok], r[ok] - B[ok] @ told, atol=1e-12)


def test_the_forecast_adds_up(fitted):
    risk = fitted.at(-1)
    assert risk.factors[0] == "market"
    assert risk.factors[-3:] == STYLES
    known = np.isfinite(risk.specific)
    B, F, s = risk.exposures[known], risk.factor_covariance, risk.specific[known]
    sigma = risk.covariance()[np.ix_(known, known)]
    np.testing.assert_allclose(sigma, B @ F @ B.T + np.diag(s**2))
    assert np.linalg.eigvalsh(sigma).min() > 0
    weights = np.zeros(len(risk.assets))
    weights[np.flatnonzero(known)[:10]] = 0.1
    held = weights[known]
    assert risk.volatility(weights) == pytest.approx(np.sqrt(held @ sigma @ held))


def test_predicted_risk_is_about_the_risk_that_came(market, fitted):
    """Over many dates the return of an equal-weight book, in predicted deviations, has a deviation near 1."""
    ratios = []
    for t in range(340, 419, 3):
        risk, r = fitted.at(t), moves(market)[t]
        ok = np.isfinite(risk.specific) & np.isfinite(r)
        rng = np.random.default_rng(t)
        for _ in range(8):
            weights = np.where(ok, rng.normal(size=len(ok)), 0.0)
            ratios.append(weights @ np.nan_to_num(r) / risk.volatility(weights))
    assert 0.75 < np.std(ratios) < 1.35


def test_planted_factor_risk_is_found():
    rng = np.random.default_rng(5)
    truth = np.array([[4.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 1.0]]) * 1e-4
    returns = rng.multivariate_normal(np.zeros(3), truth, size=1200)
    for how in ("none", "ledoit_wolf"):
        model = RiskModel(shrinkage=how, volatility_half_life=500, correlation_half_life=500, lags=0)
        np.testing.assert_allclose(factor_covariance(returns, model), truth, atol=6e-5)
    one = factor_covariance(
        returns, RiskModel(shrinkage="none", volatility_half_life=1e9, correlation_half_life=1e9, lags=0)
    )
    np.testing.assert_allclose(one, np.cov(returns.T, ddof=0), rtol=1e-5)


def test_newey_west_sees_what_neighbouring_days_share():
    rng = np.random.default_rng(6)
    shocks = rng.normal(0, 0.01, 3001)
    smooth = (shocks[1:] + shocks[:-1])[:, None]  # variance 2, first autocovariance 1
    model = RiskModel(volatility_half_life=1e9, correlation_half_life=1e9, window=10_000)
    plain = factor_covariance(smooth, RiskModel(volatility_half_life=1e9, correlation_half_life=1e9, lags=0))[0, 0]
    corrected = factor_covariance(smooth, model)[0, 0]
    assert corrected / plain == pytest.approx(1 + 2 * (2 / 3) * 0.5, abs=0.1)


@pytest.mark.parametrize("how", ["none", "ledoit_wolf", "eigen"])
def test_shrinking_keeps_volatilities_and_helps_the_smallest_eigenvalue(how):
    returns = np.random.default_rng(7).normal(0, 0.01, (80, 30))
    rough = factor_covariance(returns, RiskModel(shrinkage="none"))
    smooth = factor_covariance(returns, RiskModel(shrinkage=how))
    np.testing.assert_allclose(np.diag(smooth), np.diag(rough))
    values = np.linalg.eigvalsh(smooth)
    assert values.min() > -1e-12
    if how != "none":
        assert values.min() > 2 * max(np.linalg.eigvalsh(rough).min(), 1e-9)


def test_specific_risk_is_drawn_to_its_size_decile_by_hand():
    left = np.full((200, 4), 0.01)
    left[:, 3] = 0.05
    left[1::2] *= -1.0
    left[:195, 2] = np.nan
    cap = np.ones(4)
    model = RiskModel(pull=0.1)
    # Four assets make four deciles of one: an asset is its own decile, a young one takes the mean of all.
    told = specific_risk(left, cap, model)
    np.testing.assert_allclose(told, [0.01, 0.01, (0.01 + 0.01 + 0.05) / 3, 0.05])
    # Twenty in ten deciles of two.
    left, cap = np.tile([0.01, 0.03], (200, 10)), np.arange(1.0, 21.0)
    told = specific_risk(left, cap, RiskModel(pull=0.1))
    share = np.array([19.0, 20.0]) / 39.0
    mean = share @ [0.01, 0.03]
    usual = np.sqrt(share @ (np.array([0.01, 0.03]) - mean) ** 2)
    away = 0.1 * np.abs(np.array([0.01, 0.03]) - mean)
    draw = away / (usual + away)
    np.testing.assert_allclose(told[-2:], draw * mean + (1 - draw) * np.array([0.01, 0.03]))
    np.testing.assert_allclose(specific_risk(left, cap, RiskModel(pull=0.0)), left[-1])
    assert np.isnan(specific_risk(left, np.where(cap > 3, cap, np.nan), model)[:3]).all()


def test_a_sector_of_one_and_a_style_that_is_not_known_yet(market):
    codes = market.labels["sector"].copy()
    codes[:, 0] = 8
    lone = market.replace(labels={"sector": codes}, label_names={"sector": tuple("abcdefghi")})
    fitted = RiskModel(styles=("size", "beta")).fit(lone)
    assert np.isnan(fitted.factor_returns[:, 9]).all()
    assert np.isnan(fitted.factor_returns[50, 11]), "beta needs half a year"
    assert np.isfinite(fitted.factor_returns[50, 10])
    own = np.isfinite(fitted.specific_returns[:, 0])
    assert own.any(), "the lone one keeps what market and styles leave"
    assert np.isfinite(fitted.at(-1).factor_covariance).all()


def test_without_sectors_and_without_market_values(make_panel):
    panel = make_panel(T=80, N=15)
    fitted = RiskModel(label="").fit(panel)
    assert fitted.factors == ("market", "all", "beta", "momentum", "residual_volatility")
    assert len(fitted.notes) == 7
    assert np.allclose(fitted.factor_returns[1:, 1], 0.0, atol=1e-12)
    equal = np.nanmean(moves(panel), axis=1)
    np.testing.assert_allclose(fitted.factor_returns[1:, 0], equal, atol=1e-12)
    assert np.isfinite(fitted.at(-1).covariance()).all()


def test_risk_reads_no_future(market):
    def run(panel):
        fitted = RiskModel(styles=STYLES).fit(panel)
        rows = np.full((len(panel), 12 + len(panel.assets)), np.nan)
        for t in range(300, len(panel), 15):
            told = fitted.at(t)
            rows[t] = np.concatenate([np.diag(told.factor_covariance), told.specific])
        return np.hstack([rows, fitted.factor_returns, fitted.specific_returns])

    assert find_leak(run, market, rows=[330, 400]) is None


def test_the_window_is_all_that_is_read(market):
    model = RiskModel(styles=("size",), window=100)
    whole, part = model.fit(market), model.fit(market[400 - 101 : 401])
    one, other = whole.at(400), part.at(-1)
    np.testing.assert_allclose(one.factor_covariance, other.factor_covariance, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(one.specific, other.specific, rtol=1e-9)


def test_faulty_models_are_refused(market):
    with pytest.raises(DataError, match="half-lives are positive"):
        RiskModel(volatility_half_life=0)
    with pytest.raises(DataError, match="shrunk by one of these"):
        RiskModel(shrinkage="magic")
    with pytest.raises(DataError, match="label of the panel"):
        RiskModel(label="country").fit(market)
    with pytest.raises(DataError, match="two explained bars"):
        RiskModel(styles=("size",)).fit(market[:5]).at(1)
