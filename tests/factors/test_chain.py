"""The bias-correction chain: its steps by hand and by oracle, its law of time, and what each step is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from alphaloom.data import EmbeddedMarket, MarketFiles, Store, import_market, simulate
from alphaloom.errors import AxisError, DataError
from alphaloom.factors import Factor, FactorSet, evaluate, parse
from alphaloom.factors.chain import (
    AvailabilityLag,
    Chain,
    FillMissing,
    Neutralise,
    Orient,
    Redundancy,
    Standardise,
    Weight,
    Winsorize,
    ablate,
    ledoit_wolf,
    mask_ablation,
    mask_first,
    masked_share,
    post_hoc,
    tradable,
)
from alphaloom.factors.options import Options
from alphaloom.market import Market
from alphaloom.signal import Features, Target, forward_returns
from alphaloom.testing import find_leak

FORMULAS = {
    "reversal": "-(close / delay(close, 5) - 1)",
    "calm": "-ts_std(returns, 10)",
    "range": "ts_mean((high - low) / close, 5)",
    "double": "-(close / delay(close, 5) - 1) * 2 + 0.0001 * volume / ts_mean(volume, 5)",
    "busy": "-ts_corr(rank(close), rank(volume), 10)",
}


def factor_set(formulas=FORMULAS):
    return FactorSet("short", tuple(Factor(name, parse(text)) for name, text in formulas.items()))


@pytest.fixture(scope="module")
def market():
    return simulate(EmbeddedMarket(days=320, assets=50, seed=5, price_limit=0.05, headlines=0.0))


@pytest.fixture(scope="module")
def inputs(market):
    return evaluate(factor_set(), market), forward_returns(market, Market(), horizon=2)


def features_of(panel, values, names=None):
    cube = values if values.ndim == 3 else values[:, :, None]
    return Features(panel.times, panel.assets, names or tuple(f"f{k}" for k in range(cube.shape[2])), cube)


def blank(panel, horizon=1):
    return Target(panel.times, panel.assets, np.full(panel.shape, np.nan), horizon, "next_open")


def one_row(make_panel, row, **changes):
    panel = make_panel(T=2, N=len(row))
    return features_of(panel, np.array([row, row], dtype=float)), panel.replace(**changes) if changes else panel


# Tradability


def test_a_cell_is_tradable_by_hand(make_panel):
    panel = make_panel(T=6, N=4)
    close = np.full(panel.shape, 10.0)
    close[2, 0] = np.nan  # no close
    close[3, 1] = 11.0  # beyond 9.8 %, and back again
    close[4, 2] = 10.5
    volume = np.ones(panel.shape)
    volume[1, 3] = 0.0
    fields = {**panel.fields, "close": close, "volume": volume}
    panel = panel.replace(fields=fields)
    mask = tradable(panel, limit_pct=[0.098, 0.06, 0.098, 0.098])
    expected = np.ones(panel.shape, bool)
    expected[2, 0] = expected[3, 1] = expected[4, 1] = expected[1, 3] = False
    np.testing.assert_array_equal(mask, expected)
    # Exact limits rule where they are known; the percentage is not asked there.
    up, down = np.full(panel.shape, np.nan), np.full(panel.shape, np.nan)
    up[4, 2], down[4, 2] = 10.5, 9.5
    up[3, 1], down[3, 1] = 12.0, 8.0
    limited = panel.replace(fields={**fields, "limit_up": up, "limit_down": down})
    expected[3, 1], expected[4, 2] = True, False
    np.testing.assert_array_equal(tradable(limited, limit_pct=0.06), expected)


def test_a_return_spans_a_halt_and_new_listings_season(make_panel):
    panel = make_panel(T=8, N=2)
    close = np.full(panel.shape, 10.0)
    close[2:4, 0], close[4:, 0] = np.nan, 12.0
    listed = np.ones(panel.shape, bool)
    listed[:3, 1], close[:3, 1] = False, np.nan
    panel = panel.replace(fields={**panel.fields, "close": close}, listed=listed, member=listed)
    mask = tradable(panel, limit_pct=0.1, seasoning=2)
    np.testing.assert_array_equal(mask[:, 0], [True, True, False, False, False, True, True, True])
    np.testing.assert_array_equal(mask[:, 1], [False] * 5 + [True] * 3)
    with pytest.raises(AxisError, match="a limit is one fraction"):
        tradable(panel, limit_pct=np.ones(3))


def test_masked_cells_change_nothing_under_mask_first(market):
    mask = tradable(market, seasoning=3)
    assert 0.0 < masked_share(market, mask) < 0.2
    poisoned = {name: np.where(mask, values, np.float32(1e9)) for name, values in market.fields.items()}
    wild = market.replace(fields=poisoned)
    clean = evaluate(factor_set(), mask_first(market, mask=mask))
    told = evaluate(factor_set(), mask_first(wild, mask=mask))
    np.testing.assert_array_equal(told.values, clean.values)
    late = post_hoc(evaluate(factor_set(), wild), mask)
    seen = np.isfinite(late.values) & np.isfinite(clean.values)
    assert (late.values != clean.values)[seen].any(), "masked afterwards, the poison has gone through ranks"


def test_the_mask_keeps_the_law_of_time(market):
    small = market[:60]
    rows = [20, 40, 55]
    assert find_leak(lambda p: tradable(p, seasoning=2).astype(float), small, rows=rows) is None
    assert find_leak(lambda p: tradable(p, limit_pct=0.03).astype(float), small, rows=rows) is None
    assert find_leak(lambda p: mask_first(p, seasoning=2)["close"], small, rows=rows) is None


# Steps that treat each date by itself


def test_winsorize_by_hand(make_panel):
    features, panel = one_row(make_panel, [1.0, 2.0, 3.0, 4.0, 100.0, np.nan])
    held = Winsorize(k=2).transform(features, panel).values[0, :, 0]
    np.testing.assert_allclose(held, [1, 2, 3, 4, 3 + 2 * 1.4826, np.nan])
    held = Winsorize("sigma", k=1).transform(features, panel).values[0, :, 0]
    np.testing.assert_allclose(held, [1, 2, 3, 4, 22 + np.std([1, 2, 3, 4, 100]), np.nan])
    held = Winsorize("quantile", k=0.25).transform(features, panel).values[0, :, 0]
    np.testing.assert_allclose(held, [2, 2, 3, 4, 4, np.nan])
    features, panel = one_row(make_panel, [0.0, 0.0, 0.0, 0.0, 10.0])
    held = Winsorize(k=1).transform(features, panel).values[0, :, 0]
    np.testing.assert_allclose(held, [0, 0, 0, 0, 1.2533 * 2])


def test_fill_missing_by_hand(make_panel):
    # Sectors of the fixture are 0 1 2 0 1 2 ...
    features, panel = one_row(make_panel, [1.0, 2.0, 3.0, 5.0, np.nan, np.nan, 9.0])
    filled = FillMissing().transform(features, panel).values[0, :, 0]
    np.testing.assert_allclose(filled, [1, 2, 3, 5, 2, 3, 9])
    features, panel = one_row(make_panel, [1.0, np.nan, 3.0, 5.0, np.nan, np.nan, 9.0])
    filled = FillMissing().transform(features, panel).values[0, :, 0]
    np.testing.assert_allclose(filled, [1, 4, 3, 5, 4, 3, 9], err_msg="a group that knows none takes the median of all")
    thin = FillMissing(coverage=0.6).transform(features, panel).values
    assert np.isnan(thin).all()
    close = panel["close"].copy()
    close[:, 1] = np.nan
    filled = FillMissing().transform(features, panel.replace(fields={**panel.fields, "close": close})).values[0, :, 0]
    assert np.isnan(filled[1]), "an asset without a price has no view"
    with pytest.raises(DataError, match="label of the panel"):
        FillMissing("country").transform(features, panel)


def test_standardise_by_hand(make_panel):
    features, panel = one_row(make_panel, [1.0, 3.0, 5.0, np.nan])
    scaled = Standardise().transform(features, panel).values[0, :, 0]
    np.testing.assert_allclose(scaled, [-np.sqrt(1.5), 0.0, np.sqrt(1.5), np.nan])
    features, panel = one_row(make_panel, [7.0, -1.0, 7.0, 9.0, np.nan])
    scaled = Standardise("rank").transform(features, panel).values[0, :, 0]
    np.testing.assert_allclose(scaled, [*stats.norm.ppf((np.array([2.5, 1, 2.5, 4]) - 0.5) / 4), np.nan])
    features, panel = one_row(make_panel, [0.1, 0.1, 0.1])
    np.testing.assert_array_equal(Standardise().transform(features, panel).values, 0.0)


@given(st.integers(0, 10_000), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=20, deadline=None)
def test_rank_and_zscore_equal_the_slow_way(seed, dtype):
    rng = np.random.default_rng(seed)
    T, N, F = 4, 23, 19
    values = np.round(rng.normal(size=(T, N, F)) * 3, int(rng.integers(0, 4))).astype(dtype)
    values[rng.random(values.shape) < 0.1] = np.nan
    values[0, :, 0], values[1, :, 1] = np.nan, -0.0
    values[2, 3, 2] = np.inf
    member = rng.random((T, N)) < 0.9
    panel = _panel(T, N, member)
    features = features_of(panel, values)
    ranked = Standardise("rank").transform(features, panel).values
    scaled = Standardise().transform(features, panel).values
    for t in range(T):
        for k in range(F):
            ok = member[t] & np.isfinite(values[t, :, k])
            x = values[t, ok, k].astype(float)
            assert np.isnan(ranked[t, ~ok, k]).all()
            if len(x):
                share = (stats.rankdata(x) - 0.5) / len(x)
                np.testing.assert_allclose(ranked[t, ok, k], stats.norm.ppf(share), atol=1e-6)
                spread = x.std() if np.ptp(x) else 1.0
                np.testing.assert_allclose(scaled[t, ok, k], (x - x.mean()) / spread, atol=1e-5)


def _panel(T, N, member):
    from alphaloom.panel import Panel

    times = np.arange(T).astype("datetime64[D]").astype("datetime64[ns]")
    prices = {"open": np.ones((T, N)), "close": np.ones((T, N))}
    return Panel(times, tuple(f"A{j}" for j in range(N)), prices, member=member)


def test_the_lag_shows_only_late_factors_late(market, inputs):
    features, target = inputs
    fitted = AvailabilityLag(3, only=("calm",)).fit(features, target, market)
    late = fitted.transform(features, market).values
    np.testing.assert_array_equal(late[3:, :, 1], features.values[:-3, :, 1])
    assert np.isnan(late[:3, :, 1]).all()
    np.testing.assert_array_equal(late[:, :, [0, 2, 3, 4]], features.values[:, :, [0, 2, 3, 4]])
    with pytest.raises(DataError, match="only factors"):
        AvailabilityLag(1, only=("unknown",)).fit(features, target, market)


def test_the_order_of_assets_changes_nothing(market, inputs):
    features, _ = inputs
    order = np.random.default_rng(4).permutation(len(market.assets))
    assets = tuple(market.assets[j] for j in order)
    turned = market.replace(
        assets=assets,
        fields={name: values[:, order] for name, values in market.fields.items()},
        labels={name: values[:, order] for name, values in market.labels.items()},
        **{name: getattr(market, name)[:, order] for name in ("member", "listed", "buyable", "sellable")},
    )
    shuffled = Features(features.times, assets, features.names, features.values[:, order])
    for step in (Winsorize(), FillMissing(), Standardise(), Standardise("rank"), Neutralise(exposures=("size",))):
        one = step.transform(features, market).values[:, order]
        other = step.transform(shuffled, turned).values
        np.testing.assert_allclose(one, other, atol=2e-5, err_msg=str(step))


# Steps that learn


def planted(make_panel, T=120, N=40, horizon=1):
    """A target, a good factor, its noisy twin turned round, a weaker one, and noise."""
    panel = make_panel(T=T, N=N)
    rng = np.random.default_rng(8)
    later = rng.normal(size=(T, N))
    good = later + 2.0 * rng.normal(size=(T, N))
    weak = later + 6.0 * rng.normal(size=(T, N))
    twin = -(good + 0.05 * rng.normal(size=(T, N)))
    values = np.stack([good, twin, weak, rng.normal(size=(T, N))], axis=2)
    target = Target(panel.times, panel.assets, later, horizon, "next_open")
    return features_of(panel, values, ("good", "twin", "weak", "noise")), target, panel


def test_evidence_equals_the_slow_way(make_panel):
    from alphaloom.factors.chain_blocks import gather

    features, target, panel = planted(make_panel)
    values = features.values.copy()
    values[np.random.default_rng(1).random(values.shape) < 0.1] = np.nan
    features = features_of(panel, values, features.names)
    found = gather((), features, target, panel)
    for t in (0, 50, 117):
        for k in range(4):
            ok = np.isfinite(values[t, :, k])
            slow = stats.spearmanr(values[t, ok, k], target.values[t, ok])[0]
            np.testing.assert_allclose(found.ics[t, k], slow, atol=1e-12)
    assert np.isnan(found.ics[-2:]).all(), "outcomes that training did not know yet"
    assert np.isfinite(found.ics[:-2]).all()
    np.testing.assert_allclose(np.diag(found.correlation), 1.0)
    assert found.correlation[0, 1] < -0.95
    assert abs(found.correlation[0, 3]) < 0.1


def test_orient_turns_and_redundancy_keeps_the_better_twin(make_panel):
    features, target, panel = planted(make_panel)
    signs = Orient().fit(features, target, panel)
    assert signs.signs[:3] == (1, -1, 1)
    turned = signs.transform(features, panel)
    np.testing.assert_array_equal(turned.values[:, :, 1], -features.values[:, :, 1])
    choice = Redundancy().fit(features, target, panel)
    kept = choice.names(features.names)
    assert len(kept) == 3
    assert len({"good", "twin"} & set(kept)) == 1
    assert choice.leaders[0] == choice.leaders[1]
    assert Redundancy(limit=0.9999).fit(features, target, panel).names(features.names) == features.names


def test_weights_by_hand(make_panel):
    from alphaloom.factors.chain_learned import weigh

    ics = np.array([[0.1, 0.0], [0.3, 0.1], [0.2, -0.4], [np.nan, 0.0]])
    np.testing.assert_allclose(weigh(ics, "equal"), [0.5, 0.5])
    np.testing.assert_allclose(weigh(ics, "ic"), np.array([0.2, -0.075]) / 0.275)
    ratio = np.array([0.2 / 0.1, -0.075 / np.std([0, 0.1, -0.4, 0], ddof=1)])
    np.testing.assert_allclose(weigh(ics, "icir"), ratio / np.abs(ratio).sum())
    full = np.random.default_rng(0).normal(0.02, 0.1, (300, 3))
    covariance, _ = ledoit_wolf(full)
    raw = np.linalg.solve(covariance, full.mean(axis=0))
    np.testing.assert_allclose(weigh(full, "shrunk"), raw / np.abs(raw).sum(), rtol=1e-6)
    np.testing.assert_allclose(weigh(np.full((4, 2), np.nan), "icir"), [0.5, 0.5])


def test_ledoit_wolf_equals_the_library():
    from sklearn.covariance import ledoit_wolf as library

    x = np.random.default_rng(3).normal(size=(60, 12)) @ np.diag(np.linspace(0.5, 3, 12))
    ours, intensity = ledoit_wolf(x)
    theirs, shrinkage = library(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert intensity == pytest.approx(shrinkage, rel=1e-9)
    assert 0.0 < intensity < 1.0


def test_the_chain_finds_what_is_planted(make_panel):
    features, target, panel = planted(make_panel, T=260)
    chain = Chain((Standardise(), Orient(), Redundancy(), Weight("icir")))
    fitted = chain.fit(features[:200], target[:200], panel[:200])
    score = fitted.score(features, panel)
    found = [stats.spearmanr(score.values[t], target.values[t])[0] for t in range(200, 260)]
    assert np.mean(found) > 0.42
    weights = np.array(fitted.steps[-1].weights)
    assert np.abs(weights).argmax() == 0
    assert np.abs(weights[-1]) < 0.1
    bare = Chain(()).fit(features, target, panel).score(features, panel)
    np.testing.assert_allclose(bare.values, features.values.mean(axis=2), atol=1e-12)


def test_a_score_needs_half_of_the_weight(make_panel):
    features, target, panel = planted(make_panel)
    values = features.values.copy()
    values[5, 0, :2], values[5, 1, :3] = np.nan, np.nan
    holed = features_of(panel, values, features.names)
    score = Weight("equal").fit(features, target, panel).transform(holed, panel).values[5, :, 0]
    assert score[0] == pytest.approx(values[5, 0, 2:].mean())
    assert np.isnan(score[1])


# The law of time


def standard(**changes):
    return Chain.standard(exposures=("size", "beta"), lag=1, **changes)


@pytest.mark.parametrize(
    "step",
    [
        AvailabilityLag(2),
        Winsorize(),
        Winsorize("quantile", 0.05),
        FillMissing(),
        Standardise(),
        Standardise("rank"),
        Neutralise(exposures=("size",)),
        Orient(),
        Redundancy(),
        Weight("shrunk", window=30),
        Weight("icir", window=30, rolling=True),
    ],
    ids=str,
)
def test_no_step_reads_the_future(step, market):
    small, stop = market[:110], 80

    def run(panel):
        features = evaluate(factor_set(), panel)
        target = forward_returns(panel[:stop], Market(), horizon=2)
        return step.fit(features[:stop], target, panel[:stop]).transform(features, panel).values

    assert find_leak(run, small, rows=[stop - 1, 95]) is None


def test_the_whole_chain_reads_no_future(market):
    stop = 290

    def run(panel):
        masked = mask_first(panel, seasoning=2)
        features = evaluate(factor_set(), masked)
        target = forward_returns(panel[:stop], Market(), horizon=2)
        chain = standard(weigh=Weight("shrunk", window=60, rolling=True))
        return chain.fit(features[:stop], target, masked[:stop]).score(features, masked).values

    assert find_leak(run, market, rows=[stop - 1, 305]) is None


def test_labels_that_training_could_not_know_are_not_used(market, inputs):
    features, target = inputs
    stop = 24
    told = target[:stop]  # cut from a longer target: its last rows hold outcomes of later bars
    assert np.isfinite(told.values[-1]).any()
    chain = Chain((Standardise(), Orient(), Weight("ic")))
    one = chain.fit(features[:stop], told, market[:stop])
    against = -one.steps[1].signs[0] * features.values[:stop, :, 0].astype(float)
    late = np.arange(stop)[:, None] >= stop - 3
    assert chain.fit(features[:stop], replace(told, values=np.where(late, against, told.values)), market[:stop]) == one
    turned = replace(told, values=np.where(late | (late.cumsum() == 0)[:, None], against, told.values))
    assert chain.fit(features[:stop], turned, market[:stop]) != one


def test_rolling_weights_follow_the_past_with_a_lag(make_panel):
    features, target, panel = planted(make_panel, T=120)
    rolling = Weight("ic", window=20, rolling=True).fit(features[:60], target[:60], panel[:60])
    assert rolling.lookback == 22
    later = forward_returns(panel, Market(), horizon=1).values
    from alphaloom.factors.chain_learned import weigh

    ics = np.array([[stats.spearmanr(features.values[t, :, k], later[t])[0] for k in range(4)] for t in range(90)])
    t = 85
    weights = weigh(ics[t - 1 - 20 : t - 1], "ic")  # row t - 2 is the last whose outcome row t knows
    score = rolling.transform(features, panel).values[t, :, 0]
    np.testing.assert_allclose(score, features.values[t] @ weights, rtol=1e-9)


def test_blocks_give_the_same_bits(monkeypatch, market, inputs):
    features, target = inputs
    chain = standard(weigh=Weight("icir", window=40, rolling=True))
    whole = chain.fit(features, target, market)
    score = whole.score(features, market).values
    monkeypatch.setattr("alphaloom.factors.chain_blocks._BLOCK_BYTES", 7 * features.values[:1].nbytes)
    parts = chain.fit(features, target, market)
    assert parts == whole
    np.testing.assert_array_equal(parts.score(features, market).values, score)


def test_the_features_given_are_not_touched_and_memory_can_be_mapped(tmp_path, market, inputs):
    features, target = inputs
    before = features.values.copy()
    fitted = Chain((Winsorize(), FillMissing(), Standardise(), Orient())).fit(features, target, market)
    mapped = np.memmap(tmp_path / "out.dat", dtype=np.float32, mode="w+", shape=features.values.shape)
    result = fitted.transform(features, market, out=mapped)
    assert result.values is mapped
    np.testing.assert_array_equal(features.values, before)
    np.testing.assert_array_equal(mapped, fitted.transform(features, market).values)
    with pytest.raises(AxisError, match="same times and assets"):
        fitted.transform(features[:-1], market)


@pytest.mark.parametrize("kind", ["noise", "constant", "unknown", "infinite"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 17), (30, 12, 3)], ids=str)
def test_thin_and_odd_inputs_give_unknown_scores_and_no_faults(shape, kind):
    rng = np.random.default_rng(1)
    T, N, _ = shape
    member = rng.random((T, N)) < 0.7
    panel = _panel(T, N, member)
    panel = panel.replace(labels={"sector": rng.integers(-1, 2, (T, N)).astype(np.int16)})
    values = rng.normal(size=shape).astype(np.float32)
    odd = {"noise": values, "constant": np.ones_like(values), "unknown": values * np.nan}
    odd["infinite"] = np.where(rng.random(shape) < 0.5, np.float32(np.inf), values)
    features, target = features_of(panel, odd[kind]), Target(panel.times, panel.assets, values[:, :, 0], 1, "next_open")
    for weigh in (Weight("shrunk", window=5, rolling=True), Weight("equal")):
        chain = Chain.standard(exposures=("close",), lag=1, weigh=weigh)
        score = chain.fit(features, target, panel).score(features, panel).values
        assert not np.isinf(score).any()
        assert np.isnan(score[~member]).all()
        if kind in ("constant", "unknown"):
            assert np.isnan(score).all(), "nothing is left of a factor that says nothing"
    plain = Chain(()).fit(features, target, panel).score(features, panel).values
    assert np.isnan(plain[~member]).all()


# What each step is worth


def test_ablation_reports_every_variant(make_panel):
    features, target, panel = planted(make_panel, T=200)
    chain = Chain((Winsorize(), Standardise(), Orient(), Redundancy(), Weight("icir")))
    table = ablate(chain, features, target, panel, split=120)
    assert list(table["variant"]) == [
        "whole chain",
        "without Winsorize",
        "without Standardise",
        "without Orient",
        "without Redundancy",
        "without Weight",
        "no step",
    ]
    assert table["trials"] == [7]
    worth = dict(zip(table["variant"], table["rank_ic"], strict=True))
    assert worth["whole chain"] > worth["without Weight"] > worth["no step"]
    assert (table["coverage"] == 1.0).all()
    assert (table["dates"] == 80).all()
    assert table["t"][0] > 5
    with pytest.raises(DataError, match="rows each"):
        ablate(chain, features, target, panel, split=0)


SHORT = {
    "mean": "-close / ts_mean(close, 10)",
    "wild": "ts_std(returns, 10)",
    "rank_corr": "-ts_corr(rank(close), rank(volume), 10)",
}


def test_masking_afterwards_looks_better_than_what_could_be_traded():
    panel = simulate(EmbeddedMarket(days=1000, assets=120, seed=1, price_limit=0.05, headlines=0.0))
    mask, target = tradable(panel), forward_returns(panel, Market())
    table = mask_ablation(factor_set(SHORT), panel, target, mask=mask)
    late, early = (
        dict(zip(table["factor"], table[f"rank_ic.{how}"], strict=True)) for how in ("post_hoc", "mask_first")
    )
    assert 0.02 < table["masked"][0] < 0.06
    # A tenth of the cells' windows and more hold a close at which nobody could deal.
    assert (table["spoiled"] > 0.1).all()
    assert late["mean"] > 1.05 * early["mean"] > 0.02, "windows with limit moves flatter the planted reversal"
    # On the cells that both know a plain window has the same value; where ranks feed a window it has not.
    agreement = dict(zip(table["factor"], table["agreement"], strict=True))
    assert agreement["rank_corr"] < 0.95
    assert agreement["mean"] > 0.999
    np.testing.assert_allclose(table["rank_ic_common.post_hoc"][:2], table["rank_ic_common.mask_first"][:2], atol=1e-6)
    # Windows that may skip masked days keep the cells, and their values differ.
    loose = FactorSet("short", factor_set(SHORT).factors, Options(min_periods=5))
    table = mask_ablation(loose, panel, target, mask=mask)
    assert (table["spoiled"] < 0.05).all()
    agreement = dict(zip(table["factor"], table["agreement"], strict=True))
    assert agreement["wild"] < 0.95


def test_masking_first_on_real_shares_with_price_limits(shared_data, tmp_path):
    china = shared_data / "china_a_daily"
    source, extras = china / "csi300_2020_2024.parquet", MarketFiles(sectors=china / "industry.csv")
    import_market(source, tmp_path / "cn", extras=extras, calendar="XSHG")
    panel = Store(tmp_path / "cn").panel()
    wide = np.array([name.startswith(("sh.688", "sz.300", "sz.301")) for name in panel.assets])
    limit = np.broadcast_to(np.where(wide, 0.198, 0.098), panel.shape).copy()
    growth = np.array([name.startswith("sz.30") for name in panel.assets])
    limit[np.ix_(panel.times < np.datetime64("2020-08-24"), growth)] = 0.098
    mask = tradable(panel, limit_pct=limit, seasoning=5)
    table = mask_ablation(factor_set(SHORT), panel, forward_returns(panel, Market()), mask=mask)
    assert 0.005 < table["masked"][0] < 0.03
    assert ((table["spoiled"] > 0.04) & (table["spoiled"] < 0.2)).all()
    agreement = dict(zip(table["factor"], table["agreement"], strict=True))
    assert agreement["rank_corr"] < 0.99 < agreement["mean"]
    hidden = mask_first(panel, mask=mask)
    assert np.isnan(hidden["close"][~mask]).all()
    np.testing.assert_array_equal(hidden["close"][mask], panel["close"][mask])
