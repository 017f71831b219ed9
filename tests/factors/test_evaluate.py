"""The evaluator and the libraries: order, sharing, storage, names."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from alphaloom.errors import ConfigError, FormulaError
from alphaloom.factors import Factor, FactorSet, evaluate, evaluate_one, load_library, parse, split_safe, unit_of
from alphaloom.units import MONEY, ONE

STATEMENTS = dict.fromkeys(("book_equity", "net_income", "revenue", "total_assets"), MONEY)


def factor_set(*formulas: str) -> FactorSet:
    return FactorSet("test", tuple(Factor(f"f{k}", parse(text)) for k, text in enumerate(formulas)))


def test_values_stand_in_the_sets_order(make_panel):
    panel = make_panel(T=40, N=5)
    factors = factor_set("volume", "close", "close / open", "close", "2")
    features = evaluate(factors, panel, dtype=np.float64)
    assert features.names == ("f0", "f1", "f2", "f3", "f4")
    assert features.values.shape == (40, 5, 5)
    np.testing.assert_array_equal(features.values[:, :, 1], panel["close"])
    np.testing.assert_array_equal(features.values[:, :, 3], panel["close"])
    np.testing.assert_array_equal(features.values[:, :, 0], panel["volume"])
    assert (features.values[:, :, 4] == 2.0).all()


def test_float32_is_the_float64_result_within_its_rounding(make_panel):
    panel = make_panel(T=60, N=4, holes=0.05)
    factors = factor_set("ts_std(returns, 20) / ts_mean(volume, 5)", "volume * 1e37", "volume * 1e30 * 1e30")
    wide, narrow = evaluate(factors, panel, dtype=np.float64).values, evaluate(factors, panel).values
    assert narrow.dtype == np.float32
    with np.errstate(over="ignore"):
        expected = wide.astype(np.float32)
    expected[np.isinf(expected)] = np.nan
    np.testing.assert_allclose(narrow, expected, rtol=2e-5)
    with pytest.raises(FormulaError, match="float32"):
        evaluate(factors, panel, dtype=np.int32)


def test_every_distinct_part_is_computed_once(make_panel, monkeypatch):
    from alphaloom.factors import reference

    calls: Counter[str] = Counter()
    original = reference.kernel

    def counted(path):
        calls[path] += 1
        return original(path)

    monkeypatch.setattr(reference, "kernel", counted)
    factors = factor_set("rank(ts_mean(close, 5))", "ts_mean(close, 5) / close", "rank(ts_mean(close, 5))")
    evaluate(factors, make_panel(), dtype=np.float64)
    assert calls == {"rolling.ts_mean": 1, "cross.rank": 1, "elementwise.div": 1}


def test_buffers_are_freed_at_their_last_use(make_panel, monkeypatch):
    import sys

    engine = sys.modules["alphaloom.factors.evaluate"]
    alive: list[int] = []
    original = engine._value

    def watched(expr, panel, options, buffers):
        alive.append(len(buffers))
        return original(expr, panel, options, buffers)

    monkeypatch.setattr(engine, "_value", watched)
    factors = factor_set(*(f"ts_mean(ts_max(close, {d}), {d}) / open" for d in range(2, 30)))
    evaluate(factors, make_panel(), dtype=np.float64)
    assert max(alive) <= 5


def test_series_are_given_to_every_asset(make_panel):
    panel = make_panel(T=30, N=3).replace(series={"vix": np.arange(30.0)})
    got = evaluate_one("delta(vix, 3)", panel)
    assert (got[3:] == 3.0).all()
    assert np.isnan(got[:3]).all()


def test_shorthands(make_panel):
    panel = make_panel(T=30, N=3)
    close, volume = panel["close"], panel["volume"]
    np.testing.assert_allclose(evaluate_one("returns", panel)[1:], close[1:] / close[:-1] - 1)
    np.testing.assert_allclose(evaluate_one("adv5", panel)[-1], volume[-5:].mean(axis=0))


def test_an_unknown_name_is_refused_with_the_nearest(make_panel):
    with pytest.raises(FormulaError, match="close") as caught:
        evaluate_one("rank(clos)", make_panel())
    assert caught.value.found == "clos"
    with pytest.raises(FormulaError, match="sector"):
        evaluate_one("indneutralize(close, sectr)", make_panel())


def test_a_panel_without_rows_or_with_few(make_panel):
    panel = make_panel(T=5, N=3)
    factors, _ = load_library("classic").supported_by(panel)
    assert evaluate(factors, panel[:0]).values.shape == (0, 3, len(factors))
    assert evaluate(factors, panel[:1]).values.shape == (1, 3, len(factors))


def test_classic_factors_keep_units_and_are_split_safe():
    factors = load_library("classic")
    for factor in factors.factors:
        assert unit_of(factor.expr, STATEMENTS) == ONE, factor.name
        assert split_safe(factor.expr, STATEMENTS), factor.name
        assert factor.family
        assert factor.source
        assert parse(str(factor.expr)) == factor.expr
    assert factors.lookback == 252


def test_classic_factors_on_prices_alone(make_panel):
    panel = make_panel(T=300, N=12, seed=3)
    factors, left_out = load_library("classic").supported_by(panel)
    assert len(factors) >= 40
    assert "book_to_price" in left_out
    features = evaluate(factors, panel)
    known = np.isfinite(features.values[factors.lookback :]).mean(axis=(0, 1))
    assert (known[np.array([name != "spread_roll_60" for name in factors.names])] > 0.95).all()
    spread = [np.unique(features.values[-1, :, k]).size for k in range(len(factors))]
    assert sum(size > 2 for size in spread) >= len(factors) - 2


def test_a_chunk_with_its_lookback_rows_gives_the_same_bits(make_panel):
    panel = make_panel(T=330, N=9, seed=4, holes=0.01)
    factors, _ = load_library("classic").supported_by(panel)
    whole = evaluate(factors, panel).values
    part = evaluate(factors, panel[300 - factors.lookback :]).values
    assert part[factors.lookback :].tobytes() == whole[300:].tobytes()


def test_a_later_split_changes_no_classic_factor(make_panel):
    panel = make_panel(T=300, N=6, seed=5)
    factors, _ = load_library("classic").supported_by(panel)
    fields = {name: values.copy() for name, values in panel.fields.items()}
    for name in ("open", "high", "low", "close", "vwap"):
        fields[name][:, 1] /= 4.0
    fields["volume"][:, 1] *= 3.0
    np.testing.assert_allclose(
        evaluate(factors, panel.replace(fields=fields), dtype=np.float64).values,
        evaluate(factors, panel, dtype=np.float64).values,
        rtol=1e-6,
        atol=1e-9,
    )


def test_a_library_is_any_toml_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[[factor]]\nname = "up"\nformula = "close > open"\nsign = 1\n')
    factors = load_library(path)
    assert factors.name == "mine"
    assert factors.factors == (Factor("up", parse("close > open"), "", "", 1),)


def test_every_fault_of_a_library_is_told_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(
        '[[factor]]\nname = "a"\nformula = "rank(("\n[[factor]]\nname = "b"\n'
        '[[factor]]\nname = "c"\nformula = "close"\nwindow = 3\nsign = 7\n'
        '[[factor]]\nname = "d"\nformula = "close"\n[[factor]]\nname = "d"\nformula = "open"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_library(path)
    text = str(caught.value)
    assert len(caught.value.faults) == 5
    assert all(part in text for part in ("column 7", "b.formula", "c.window", "c.sign", "unique"))


def test_a_library_that_is_not_there(tmp_path):
    with pytest.raises(FormulaError, match="classic"):
        load_library("clasic")
    with pytest.raises(FormulaError, match="readable"):
        load_library(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("[[factor")
    with pytest.raises(FormulaError, match="TOML"):
        load_library(tmp_path / "broken.toml")


def test_a_set_refuses_a_name_used_twice_and_nothing():
    with pytest.raises(FormulaError, match="distinct"):
        FactorSet("x", (Factor("a", parse("close")), Factor("a", parse("open"))))
    with pytest.raises(FormulaError, match="distinct"):
        FactorSet("x", ())
