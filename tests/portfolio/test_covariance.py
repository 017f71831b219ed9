from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import AxisError, DataError
from alphaloom.portfolio.covariance import Risk, bar_returns, estimate, rows_needed, shrinkage
from alphaloom.testing import find_leak


def returns_of(panel, window):
    close = np.asarray(panel["close"][-(window + 1) :])
    return close[1:] / close[:-1] - 1.0


@pytest.mark.parametrize(("T", "N"), [(40, 9), (12, 30)])
def test_the_sample_is_what_numpy_says_with_more_and_with_fewer_assets_than_bars(make_panel, T, N):
    panel = make_panel(90, N)
    risk = estimate("sample", panel, T)
    expected = np.cov(returns_of(panel, T).T, bias=True)
    np.testing.assert_allclose(risk.dense(), expected, rtol=1e-9, atol=1e-15)
    assert risk.exposures.shape == (N, min(T, N))
    weights = np.random.default_rng(0).normal(size=N)
    assert risk.variance(weights) == pytest.approx(weights @ expected @ weights)
    np.testing.assert_allclose(risk.times(weights), expected @ weights, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(risk.deviations() ** 2, np.diag(expected), rtol=1e-9)


@pytest.mark.parametrize(("T", "N"), [(60, 9), (25, 40)])
def test_ledoit_wolf_agrees_with_scikit_learn(make_panel, T, N):
    from sklearn.covariance import ledoit_wolf

    panel = make_panel(90, N)
    expected, intensity = ledoit_wolf(returns_of(panel, T))
    np.testing.assert_allclose(estimate("ledoit_wolf", panel, T).dense(), expected, rtol=1e-9, atol=1e-14)
    moves = returns_of(panel, T) - returns_of(panel, T).mean(axis=0)
    assert shrinkage(moves)[0] == pytest.approx(intensity)


@pytest.mark.parametrize(("T", "N"), [(60, 7), (20, 25)])
def test_constant_correlation_agrees_with_the_formulas_written_out(make_panel, T, N):
    panel = make_panel(90, N, seed=3)
    shared = np.cumsum(np.random.default_rng(1).normal(0, 0.03, 90))  # some follow it, some go against it
    close = np.asarray(panel["close"]) * np.exp(np.outer(shared, np.linspace(-0.5, 1.5, N)))
    panel = panel.replace(fields={**panel.fields, "close": close})
    x = returns_of(panel, T)
    x = x - x.mean(axis=0)
    S = x.T @ x / T
    d = np.sqrt(np.diag(S))
    R = S / np.outer(d, d)
    mean = (R.sum() - N) / (N * (N - 1))
    F = mean * np.outer(d, d)
    np.fill_diagonal(F, d**2)
    pi = rho = 0.0
    for i in range(N):
        for j in range(N):
            noise = ((x[:, i] * x[:, j] - S[i, j]) ** 2).mean()
            pi += noise
            if i == j:
                rho += noise
                continue
            shared = [((x[:, k] ** 2 - S[k, k]) * (x[:, i] * x[:, j] - S[i, j])).mean() for k in (i, j)]
            rho += mean / 2 * (d[j] / d[i] * shared[0] + d[i] / d[j] * shared[1])
    intensity = min(1, max(0, (pi - rho) / ((F - S) ** 2).sum() / T))
    assert 0.01 < intensity < 0.99
    assert shrinkage(x, "constant_correlation") == pytest.approx((intensity, mean))
    expected = intensity * F + (1 - intensity) * S
    np.testing.assert_allclose(estimate("constant_correlation", panel, T).dense(), expected, rtol=1e-9)


def test_weights_of_the_ewma_halve(make_panel):
    panel = make_panel(90, 5)
    x = returns_of(panel, 50)
    weights = 0.5 ** (np.arange(50)[::-1] / 7.0)
    expected = np.cov(x.T, aweights=weights, bias=True)
    np.testing.assert_allclose(estimate("ewma", panel, 50, half_life=7.0).dense(), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("T", "N"), [(60, 20), (20, 60)])
def test_principal_factors_keep_the_variances_and_the_leading_correlations(make_panel, T, N):
    panel = make_panel(90, N)
    S = np.cov(returns_of(panel, T).T, bias=True)
    d = np.sqrt(np.diag(S))
    values, vectors = np.linalg.eigh(S / np.outer(d, d))
    shared = (vectors[:, -3:] * values[-3:]) @ vectors[:, -3:].T
    np.fill_diagonal(shared, 1.0)
    risk = estimate("factor", panel, T, factors=3)
    np.testing.assert_allclose(risk.dense(), shared * np.outer(d, d), rtol=1e-7, atol=1e-12)
    assert risk.exposures.shape == (N, 3)


def test_the_style_model_is_the_room_below_and_needs_market_values(make_panel):
    from alphaloom.factors.risk import RiskModel
    from alphaloom.units import SHARE

    panel = make_panel(160, 12)
    with pytest.raises(DataError, match="market value"):
        estimate("style", panel, 60)
    panel = panel.with_field("shares_out", np.full(panel.shape, 1e6) * np.arange(1, 13), SHARE)
    expected = RiskModel(window=60).fit(panel).at(-1).covariance()
    np.testing.assert_allclose(estimate("style", panel, 60).dense(), expected, rtol=1e-8, atol=1e-14)


def test_a_halt_puts_the_whole_move_into_the_bar_that_ends_it(make_panel):
    panel = make_panel(5, 2)
    close = np.array([[10.0, 10], [11, 11], [np.nan, 12], [np.nan, 13], [22, 14]])
    panel = panel.replace(fields={"close": close}, units={}, member=None, listed=None, buyable=None, sellable=None)
    np.testing.assert_allclose(bar_returns(panel, 4)[:, 0], [0.1, np.nan, np.nan, 1.0])
    # Two known returns of four: their variance is that of 0.1 and 1.0, and the pair shares two bars.
    x, y = np.array([0.1, 1.0]), close[1:, 1] / close[:-1, 1] - 1
    dense = estimate("sample", panel, 4).dense()
    assert dense[0, 0] == pytest.approx(x.var())
    assert dense[1, 1] == pytest.approx(y.var())
    moved = (x - x.mean()) @ (y - y.mean())[[0, 3]]
    assert dense[0, 1] == pytest.approx(moved / np.sqrt(2 * 4))


def test_assets_without_an_estimate_are_named_by_nan(make_panel):
    panel = make_panel(60, 6)
    close = panel["close"].copy()
    close[:35, 1] = np.nan  # listed lately: 24 of 40 returns
    close[:45, 2] = np.nan  # 14 of 40
    close[-1, 3] = np.nan  # halted today
    close[:, 4] = 20.0  # never moves
    panel = panel.replace(fields={**panel.fields, "close": close})
    for kind in ("sample", "ledoit_wolf", "constant_correlation", "ewma", "factor"):
        risk = estimate(kind, panel, 40, half_life=40.0)
        assert risk.known.tolist() == [True, True, False, True, False, True]
        part = risk.part(risk.known).dense()
        assert np.isfinite(part).all()
        assert np.linalg.eigvalsh(part).min() > 0


@pytest.mark.parametrize("kind", ["ledoit_wolf", "constant_correlation", "factor"])
def test_strangers_to_the_universe_change_nothing(make_panel, kind):
    panel = make_panel(80, 10)
    member = panel.member.copy()
    member[-1, [2, 7]] = False
    close = panel["close"].copy()
    close[:, [2, 7]] *= np.exp(np.random.default_rng(0).normal(0, 0.3, (80, 2)))
    first, second = (panel.replace(fields={**panel.fields, "close": c}, member=member) for c in (panel["close"], close))
    risk = estimate(kind, first, 60, factors=3)
    assert np.flatnonzero(~risk.known).tolist() == [2, 7]
    np.testing.assert_array_equal(risk.dense(), estimate(kind, second, 60, factors=3).dense())


@pytest.mark.parametrize("kind", ["sample", "ledoit_wolf", "constant_correlation", "ewma", "factor"])
def test_order_and_scale_of_the_assets_do_not_matter(make_panel, kind):
    panel = make_panel(80, 10, holes=0.1)
    first = estimate(kind, panel, 60).dense()
    order = np.random.default_rng(2).permutation(10)
    close = panel["close"]
    other = panel.replace(
        fields={"close": close[:, order] * 7.0},
        units={},
        labels={},
        member=None,
        listed=None,
        buyable=None,
        sellable=None,
    )
    np.testing.assert_allclose(estimate(kind, other, 60).dense(), first[np.ix_(order, order)], rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize("kind", ["sample", "ledoit_wolf", "constant_correlation", "ewma", "factor"])
def test_no_estimate_knows_the_future_nor_more_than_it_declares(make_panel, kind):
    panel = make_panel(70, 6, holes=0.05)

    def table(seen):
        rows = [estimate(kind, seen[: t + 1], 30).dense().ravel() for t in range(len(seen))]
        return np.array(rows)

    assert find_leak(table, panel, rows=[40, 55]) is None
    part = panel[70 - 1 - rows_needed(kind, 30) :]
    np.testing.assert_array_equal(estimate(kind, part, 30).dense(), estimate(kind, panel, 30).dense())


def test_the_style_model_reads_no_more_than_it_declares(make_panel):
    from alphaloom.units import SHARE

    panel = make_panel(720, 30)
    panel = panel.with_field("shares_out", np.full(panel.shape, 1e6) * np.arange(1, 31), SHARE)
    part = panel[len(panel) - 1 - rows_needed("style", 60) :]
    np.testing.assert_allclose(estimate("style", part, 60).dense(), estimate("style", panel, 60).dense(), rtol=1e-12)
    before = estimate("style", panel[:700], 60).dense()
    close = panel["close"].copy()
    close[700:] *= 3.0
    later = panel.replace(fields={**panel.fields, "close": close})
    np.testing.assert_array_equal(estimate("style", later[:700], 60).dense(), before)


def test_scale_in_time(make_panel):
    risk = estimate("ledoit_wolf", make_panel(60, 5), 40)
    np.testing.assert_allclose(risk.scaled(21).dense(), 21 * risk.dense(), rtol=1e-12)


def test_a_root_that_is_not_diagonal():
    rng = np.random.default_rng(0)
    B, root, s = rng.normal(size=(6, 3)), rng.normal(size=(3, 3)), rng.uniform(0.1, 1, 6)
    risk = Risk(B, root, s)
    expected = B @ root @ root.T @ B.T + np.diag(s**2)
    np.testing.assert_allclose(risk.dense(), expected)
    weights = np.array([0.5, 0, 0, 0.2, -0.3, 0])
    assert risk.variance(weights) == pytest.approx(weights @ expected @ weights)
    with pytest.raises(AxisError, match="factor"):
        Risk(B, root[:2], s)


def test_faults_are_named(make_panel):
    with pytest.raises(DataError, match=r"estimate\.risk"):
        estimate("gut feeling", make_panel(30, 3), 20)
    with pytest.raises(DataError, match=r"estimate\.window"):
        estimate("sample", make_panel(30, 3), 1)
