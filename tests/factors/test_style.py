"""Style exposures against slow definitions, and their law of time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError
from alphaloom.factors.style import LOOKBACKS, STYLES, exposures_named, market_value, standardised, style_exposures
from alphaloom.factors.style_windows import Returns, decayed_sum, drift, later, swings
from alphaloom.testing import find_leak


@pytest.fixture(scope="module")
def market():
    return simulate(EmbeddedMarket(days=640, assets=30, seed=2, late=0.1, halts=0.002, headlines=0.0, dtype="float64"))


@pytest.fixture(scope="module")
def styles(market):
    return style_exposures(market)


@given(st.integers(1, 40), st.sampled_from([2.0, 7.5, np.inf]), st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_a_decayed_sum_equals_its_definition(window, half_life, T):
    x = np.random.default_rng(window).normal(size=(T, 3))
    slow = np.array([sum(0.5 ** (k / half_life) * x[t - k] for k in range(min(window, t + 1))) for t in range(T)])
    np.testing.assert_allclose(decayed_sum(x, window, half_life), slow, atol=1e-12)


def test_what_left_the_window_is_forgotten():
    x = np.ones((60, 1))
    wild = x.copy()
    wild[10] = 1e15
    np.testing.assert_array_equal(decayed_sum(wild, 20, 5.0)[30:], decayed_sum(x, 20, 5.0)[30:])


def test_exposures_are_standardised(market, styles):
    assert styles.names == STYLES
    assert styles.notes == ()
    cap = market_value(market)
    for name in STYLES:
        x = styles[name]
        assert np.isnan(x[~market.member]).all()
        for t in (600, 639):
            ok = np.isfinite(x[t])
            assert ok.sum() > 15, name
            assert np.std(x[t, ok]) == pytest.approx(1.0, abs=1e-9)
            told = ok & np.isfinite(cap[t])
            assert np.average(x[t, told], weights=cap[t, told]) == pytest.approx(0.0, abs=1e-9)


def test_standardising_cuts_at_three_deviations(make_panel):
    panel = make_panel(T=2, N=30)
    raw = np.tile(np.linspace(-1, 1, 30), (2, 1))
    raw[:, 0] = 50.0
    x = standardised(panel, raw)[0]
    plain = (raw[0] - raw[0].mean()) / raw[0].std()
    cut = np.clip(plain, -3, 3)
    np.testing.assert_allclose(x, (cut - cut.mean()) / cut.std())
    assert (standardised(panel, np.ones(panel.shape)) == 0.0).all()


def test_size_and_value_are_what_they_say(market, styles):
    t, ok = 630, np.isfinite(styles["size"][630])
    assert np.corrcoef(styles["size"][t, ok], np.log(market["cap"][t, ok]))[0, 1] > 0.98
    price = market["book_equity"][t] / market["cap"][t]
    ok &= np.isfinite(price)
    order = np.argsort(price[ok])
    assert (np.diff(styles["book_to_price"][t, ok][order]) >= 0).all()
    root, size, cubed = np.sqrt(market["cap"][t, ok]), styles["size"][t, ok], styles["nonlinear_size"][t, ok]
    size, cubed = size - np.average(size, weights=root), cubed - np.average(cubed, weights=root)
    assert abs(np.average(size * cubed, weights=root)) < 0.35, "cutting leaves a little of what was orthogonal"


def test_beta_equals_a_weighted_regression(market):
    returns = Returns(market)
    excess, (beta, rest) = returns.excess, returns.fit
    cap = np.where(market.member, np.nan_to_num(market_value(market)), 0.0)
    index = np.full(len(market), np.nan)
    for t in range(1, len(market)):
        ok = np.isfinite(excess[t])
        index[t] = np.average(excess[t, ok], weights=cap[t - 1, ok])
    t = 600
    for j in range(0, 30, 7):
        rows = np.arange(t - 251, t + 1)
        ok = np.isfinite(excess[rows, j])
        if ok.sum() < 126:
            assert np.isnan(beta[t, j])
            continue
        weight = 0.5 ** ((t - rows[ok]) / 63.0)
        slope, level = np.polyfit(index[rows[ok]], excess[rows[ok], j], 1, w=np.sqrt(weight))
        assert beta[t, j] == pytest.approx(slope, rel=1e-8)
        left = excess[rows[ok], j] - level - slope * index[rows[ok]]
        assert rest[t, j] == pytest.approx(np.sqrt(np.average(left**2, weights=weight)), rel=1e-7)


def test_momentum_skips_the_last_month():
    rng = np.random.default_rng(0)
    moves = rng.normal(0, 0.02, (560, 2))
    told = drift(moves)[0]
    rows = np.arange(540 - 21 - 503, 540 - 21 + 1)
    slow = (0.5 ** ((540 - 21 - rows) / 126.0)[:, None] * np.log1p(moves[rows])).sum(axis=0)
    np.testing.assert_allclose(told[540], slow)
    np.testing.assert_array_equal(drift(np.where(np.arange(560)[:, None] > 539, 9.0, moves))[0][:540], told[:540])
    changed = moves.copy()
    changed[520:541] = 0.5
    np.testing.assert_array_equal(drift(changed)[0][540], told[540])


def test_the_range_of_a_year_by_hand():
    moves = np.full((300, 1), np.expm1(0.01))
    daily, spread = swings(moves)
    assert daily[-1, 0] == pytest.approx(0.0, abs=1e-9)
    assert spread[-1, 0] == pytest.approx(0.01 * (252 - 21)), "from one month up to twelve"
    assert np.isnan(spread[100, 0])
    np.testing.assert_array_equal(later(moves, 2)[:2], np.nan)


def test_a_style_without_its_fields_is_left_out_with_a_note(make_panel):
    panel = make_panel(T=300, N=12)
    found = style_exposures(panel)
    assert found.names == ("beta", "momentum", "residual_volatility")
    assert "size is left out: the panel lacks" in found.notes[0]
    assert len(found.notes) == 7
    with pytest.raises(DataError, match="a style has one of these names"):
        style_exposures(panel, ("beta", "charm"))
    with pytest.raises(DataError, match="exposure is a style"):
        exposures_named(panel, ("size",))
    own = exposures_named(panel, ("beta", "volume"))
    np.testing.assert_array_equal(own[:, :, 1], panel["volume"])


def test_unknown_exposures_count_as_average_only_where_enough_are_known(make_panel):
    panel = make_panel(T=2, N=10)
    field = np.arange(20.0).reshape(2, 10)
    field[0, 0], field[1, :8] = np.nan, np.nan
    found = exposures_named(panel.replace(fields={**panel.fields, "score": field}), ("score",))[:, :, 0]
    assert found[0, 0] == 5.0
    assert np.isnan(found[1]).all()


def test_styles_read_no_future(market):
    assert find_leak(lambda p: style_exposures(p).values, market, rows=[560, 610]) is None


def test_the_lookback_is_enough(market, styles):
    for name in STYLES:
        start = 620 - LOOKBACKS[name]
        halted = ~np.isfinite(market["close"][start])
        part = style_exposures(market[start:], (name,))[name][620 - start]
        if not halted.any() or LOOKBACKS[name] == 0:
            np.testing.assert_allclose(part, styles[name][620], atol=1e-9, err_msg=name)
