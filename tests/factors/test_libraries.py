"""The formula libraries: complete, readable, finite from their warm-up row on, and refused with every fault at once."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from alphaloom.errors import ConfigError, FormulaError
from alphaloom.factors import Factor, FactorSet, evaluate, evaluate_one, load_library, lookback, parse
from alphaloom.factors.explain import catalogue, libraries
from alphaloom.factors.forms import FORMS
from alphaloom.factors.options import Options
from alphaloom.panel import Panel

WINDOWS = (5, 10, 20, 30, 60)


def grouped_panel(T: int = 600, N: int = 64, seed: int = 0) -> Panel:
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (T, N)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.006, (T, N)))
    fields = {
        "open": open_,
        "high": np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.005, (T, N)))),
        "low": np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.005, (T, N)))),
        "close": close,
        "volume": np.exp(rng.normal(13, 0.5, (T, N))),
        "cap": close * rng.uniform(1e6, 1e8, N),
        "shares_out": np.broadcast_to(rng.uniform(1e7, 1e8, N), (T, N)),
    }
    fields["vwap"] = (fields["high"] + fields["low"] + close) / 3
    levels = {"sector": 4, "industry": 8, "subindustry": 16}
    labels = {name: np.broadcast_to((np.arange(N) % n).astype(np.int16), (T, N)) for name, n in levels.items()}
    times = np.datetime64("2015-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D")
    return Panel(times=times, assets=tuple(f"A{j:02d}" for j in range(N)), fields=fields, labels=labels)


@pytest.mark.parametrize("name", libraries())
def test_every_formula_survives_printing_and_has_a_family_and_a_source(name):
    factors = load_library(name)
    for factor in factors.factors:
        assert parse(str(factor.expr)) is factor.expr
        assert factor.family
        assert factor.source
    assert factors.name == name


def test_the_libraries_hold_what_they_say():
    sizes = {name: len(load_library(name)) for name in libraries()}
    assert sizes["alpha101"] == 101
    assert sizes["alpha158"] == 158
    assert sizes["alpha360"] == 360
    assert sizes["breadth"] == 48
    assert sizes["style"] == 10
    assert sizes["micro"] >= 200
    assert sum(sizes.values()) == len(catalogue()) >= 700


def test_names_of_the_101_and_what_they_need():
    factors = load_library("alpha101")
    assert factors.names == tuple(f"alpha{k:03d}" for k in range(1, 102))
    grouped = [factor.name for factor in factors.factors if "ndneutralize" in str(factor.expr)]
    needs = (48, 58, 59, 63, 67, 69, 70, 76, 79, 80, 82, 87, 89, 90, 91, 93, 97, 100)
    assert grouped == [f"alpha{k:03d}" for k in needs]
    assert [f.name for f in factors.factors if "cap" in FactorSet("one", (f,)).fields] == ["alpha056"]
    assert [f.name for f in factors.factors if "same close" in f.source] == [f"alpha{k:03d}" for k in (42, 48, 53, 54)]
    assert factors.options == Options(zero_variance_corr="zero")


def test_names_of_the_158_are_those_of_the_list():
    candles = [
        "KMID",
        "KLEN",
        "KMID2",
        "KUP",
        "KUP2",
        "KLOW",
        "KLOW2",
        "KSFT",
        "KSFT2",
        "OPEN0",
        "HIGH0",
        "LOW0",
        "VWAP0",
    ]
    families = [
        "ROC",
        "MA",
        "STD",
        "BETA",
        "RSQR",
        "RESI",
        "MAX",
        "MIN",
        "QTLU",
        "QTLD",
        "RANK",
        "RSV",
        "IMAX",
        "IMIN",
        "IMXD",
        "CORR",
        "CORD",
        "CNTP",
        "CNTN",
        "CNTD",
    ]
    families += ["SUMP", "SUMN", "SUMD", "VMA", "VSTD", "WVMA", "VSUMP", "VSUMN", "VSUMD"]
    expected = (*candles, *(f"{family}{d}" for family, d in product(families, WINDOWS)))
    assert load_library("alpha158").names == expected
    assert load_library("alpha158").options == Options(min_periods=1, nan_compare="false")


def test_names_and_meaning_of_the_360():
    factors = load_library("alpha360")
    fields = ("CLOSE", "OPEN", "HIGH", "LOW", "VWAP", "VOLUME")
    assert factors.names == tuple(f"{field}{k}" for field, k in product(fields, range(59, -1, -1)))
    panel = grouped_panel(T=80, N=3)
    values = dict(zip(factors.names, evaluate(factors, panel, dtype=np.float64).values[70].T, strict=True))
    np.testing.assert_allclose(values["CLOSE0"], 1.0)
    np.testing.assert_allclose(values["HIGH7"], panel["high"][63] / panel["close"][70])
    np.testing.assert_allclose(values["VOLUME59"], panel["volume"][11] / panel["volume"][70])


@pytest.mark.parametrize("file", ["alpha101", "alpha158"])
def test_formulas_equal_the_published_tables(file, shared_data):
    table = (shared_data.parent / "specs" / f"{file}.yaml").read_text()
    published = dict(re.findall(r'id: (\w+), formula: "(.*)"\}', table))
    factors = load_library(file)
    assert set(published) == set(factors.names)
    for factor in factors.factors:
        assert factor.expr == parse(published[factor.name]), factor.name


LONGEST = {48: 251, 19: 250, 39: 250, 52: 240, 63: 238, 32: 234, 71: 224}


def test_lookbacks_of_the_101():
    reaches = {factor.name: lookback(factor.expr) for factor in load_library("alpha101").factors}
    for k, reach in LONGEST.items():
        assert reaches[f"alpha{k:03d}"] == reach
    assert sorted(reaches.values())[-7:] == sorted(LONGEST.values())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_101_are_finite_from_their_warm_up_row_on(dtype):
    factors, panel = load_library("alpha101"), grouped_panel()
    values = evaluate(factors, panel, dtype=dtype).values
    for k, factor in enumerate(factors.factors):
        reach = lookback(factor.expr)
        assert np.isfinite(values[reach:, :, k]).all(), factor.name
        if factor.name not in ("alpha001", "alpha007", "alpha021"):  # a branch that is decided early is known early
            assert not np.isfinite(values[:reach, :, k]).any(), factor.name
    # The seven longest, row by row: nothing a row earlier, everything from there.
    for k, reach in LONGEST.items():
        column = values[:, :, factors.names.index(f"alpha{k:03d}")]
        assert np.isfinite(column).any(axis=1).argmax() == reach


def test_with_strict_correlations_a_formula_is_never_known():
    strict = load_library("alpha101", options=Options())
    expr = {factor.name: factor.expr for factor in strict.factors}
    panel = grouped_panel(T=400)
    assert np.isnan(evaluate_one(expr["alpha096"], panel)).mean() > 0.95
    assert np.isnan(evaluate_one(expr["alpha097"], panel)[200:]).mean() > 0.5
    loose = load_library("alpha101")
    assert np.isfinite(evaluate_one(expr["alpha096"], panel, options=loose.options)[200:]).all()


def test_all_158_are_known_from_the_second_row_on_where_one_value_is_enough():
    factors, panel = load_library("alpha158"), grouped_panel(T=70, N=8)
    values = evaluate(factors, panel, dtype=np.float64).values
    for k, factor in enumerate(factors.factors):
        # Three values give every statistic; a plain delay still waits for its own row.
        start = lookback(factor.expr) if factor.name.startswith("ROC") else 3
        assert np.isfinite(values[start:, :, k]).all(), factor.name


@pytest.mark.parametrize("name", ["micro", "breadth"])
def test_factors_of_the_own_libraries_are_known_once_warm(name):
    factors, panel = load_library(name), grouped_panel(T=640, N=12)
    values = evaluate(factors, panel, dtype=np.float64).values[factors.lookback :]
    for k, factor in enumerate(factors.factors):
        share = np.isfinite(values[:, :, k]).mean()
        assert share == 1.0 or (share > 0.5 and factor.name.startswith("rogers")), factor.name
        if name == "micro" and not factor.name.startswith("zero_return"):
            # Nothing is the same for all assets at all times, but for days without a move, which this walk has not.
            assert np.nanstd(values[:, :, k]) > 0, factor.name


def test_the_shares_of_the_market_add_up_to_the_whole():
    factors, panel = load_library("breadth"), grouped_panel(T=40, N=50)
    values = evaluate(factors, panel, dtype=np.float64).values[2:]
    for day in ("close", "open"):
        bins = [k for k, f in enumerate(factors.factors) if f.family == "histogram" and f.name.startswith(day)]
        assert len(bins) == 21
        np.testing.assert_allclose(values[:, :, bins].sum(axis=2), 1.0)
    returns = np.round(100 * (panel["close"][1:] / panel["close"][:-1] - 1))[1:]
    flat = values[:, 0, factors.names.index("close_flat")]
    np.testing.assert_allclose(flat, (returns == 0).mean(axis=1))
    down = values[:, 0, factors.names.index("close_down_2")]
    np.testing.assert_allclose(down, (returns == -2).mean(axis=1))


def test_a_spread_that_is_planted_is_found():
    """Trades bounce between bid and ask around a value that moves little: the estimators see the width."""
    rng = np.random.default_rng(2)
    T, N, spread, steps = 400, 20, 0.02, 50
    walk = np.cumsum(rng.normal(0, 0.0008, (T * steps, N)), axis=0)
    trades = np.exp(walk + spread / 2 * rng.choice([-1.0, 1.0], (T * steps, N))).reshape(T, steps, N)
    fields = {"open": trades[:, 0], "high": trades.max(1), "low": trades.min(1), "close": trades[:, -1]}
    times = np.datetime64("2015-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D")
    panel = Panel(times=times, assets=tuple(f"A{j}" for j in range(N)), fields=fields)
    micro = {factor.name: factor.expr for factor in load_library("micro").factors}
    for name in ("corwin_schultz_63", "abdi_ranaldo_63", "roll_63"):
        found = np.nanmean(evaluate_one(micro[name], panel))
        assert 0.7 * spread < found < 1.3 * spread, name


def test_estimators_of_volatility_find_the_planted_one():
    rng = np.random.default_rng(3)
    T, N, sigma, steps = 300, 10, 0.02, 400
    path = np.cumsum(rng.normal(0, sigma / np.sqrt(steps), (T * steps, N)), axis=0)
    prices = np.exp(path).reshape(T, steps, N)
    fields = {"open": prices[:, 0], "high": prices.max(1), "low": prices.min(1), "close": prices[:, -1]}
    times = np.datetime64("2015-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D")
    panel = Panel(times=times, assets=tuple(f"A{j}" for j in range(N)), fields=fields)
    micro = {factor.name: factor.expr for factor in load_library("micro").factors}
    for name in ("parkinson_126", "garman_klass_126", "rogers_satchell_126", "yang_zhang_126"):
        found = evaluate_one(micro[name], panel)[-1].mean()
        assert found == pytest.approx(sigma, rel=0.1), name
    assert np.sqrt(evaluate_one(micro["bipower_126"], panel)[-1].mean()) == pytest.approx(sigma, rel=0.15)


def test_names_templates_and_options_of_a_file(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        """
[options]
min_periods = 2
window_rounding = "round"
[let]
gain = "close / open"
double = "gain * 2"
[[factor]]
name = "plain"
formula = "ts_mean(double, 4.5)"
[[sweep]]
name = "{field}_{d}"
formula = "ts_{stat}(gain, {d}) / {field}"
family = "swept"
field = ["high", "low"]
stat = ["max"]
d = { from = 3, to = 5 }
""".replace("{field}_{d}", "{stat}_{field}_{d}")
    )
    factors = load_library(path)
    assert factors.options == Options(min_periods=2, window_rounding="round")
    assert factors.factors[0] == Factor("plain", parse("ts_mean(close / open * 2, 5)"))
    names = [f"max_{field}_{d}" for field in ("high", "low") for d in (3, 4, 5)]
    assert list(factors.names[1:]) == names
    assert factors.factors[-1] == Factor("max_low_5", parse("ts_max(close / open, 5) / low"), "swept")
    assert load_library(path, options=Options()).factors[0].expr == parse("ts_mean(close / open * 2, 4)")


def test_every_fault_of_a_file_is_told_at_once(tmp_path):
    path = tmp_path / "faulty.toml"
    path.write_text(
        """
title = "x"
[options]
adv = "dollars"
[let]
gain = "close /"
[[factor]]
name = "a"
formula = "rnk(close)"
[[sweep]]
name = "b_{d}"
formula = "ts_mean(close, {e})"
d = [5]
[[sweep]]
name = "c"
formula = "ts_mean(close, {d})"
d = [5]
[[sweep]]
name = "e_{d}"
formula = "ts_mean(close, {d})"
d = 5
[[sweep]]
name = "f_{d}"
formula = "ts_std(close, {d})"
d = [1, 5]
"""
    )
    with pytest.raises(ConfigError) as caught:
        load_library(path)
    told = str(caught.value)
    for words in ("title", "dollars", "let.gain", "rnk", "{x}", "f_1", "runs over", "e"):
        assert words in told
    assert len(caught.value.faults) == 8


def test_a_name_used_by_two_sweeps_is_refused(tmp_path):
    path = tmp_path / "twice.toml"
    sweep = '[[sweep]]\nname = "a_{d}"\nformula = "ts_mean(close, {d})"\nd = [5, 6]\n'
    path.write_text(sweep + sweep)
    with pytest.raises(ConfigError, match="unique"):
        load_library(path)


def test_an_empty_library_is_refused(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text('name = "x"\n')
    with pytest.raises(ConfigError, match="factor"):
        load_library(path)
    with pytest.raises(FormulaError, match="alpha158"):
        load_library("alpha185")


GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "formulas.md"


def test_the_guide_lists_every_library_and_every_short_form():
    text = GUIDE.read_text()
    for name in libraries():
        assert f"| `{name}` | {len(load_library(name))} |" in text
    for written in FORMS:
        assert f"| `{written}` |" in text


def test_the_example_of_the_guide_is_a_library(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(GUIDE.read_text().split("```toml\n")[1].split("```")[0])
    factors = load_library(path)
    names = [f"range_{d}_{across}" for d in (5, 21, 63) for across in ("rank", "zscore")]
    assert list(factors.names) == ["range_today", *names]
    assert factors.options == Options(min_periods=10)
