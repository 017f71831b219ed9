"""Canonical forms: one form for one meaning, and never another value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.factors import OPERATORS, Expr, evaluate_one, fields_of, load_library, lookback, parse
from alphaloom.factors.canonical import canonical
from alphaloom.factors.options import Options

HOLES = Options(min_periods=1, nan_compare="false")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("volume + close", "close + volume"),
        ("2 * close", "close * 2"),
        ("ts_corr(volume, close, 5)", "ts_corr(close, volume, 5)"),
        ("close > open", "open < close"),
        ("close >= open", "open <= close"),
        ("2 * 3 * close", "close * 6"),
        ("close + (1 < 2)", "close + 1"),
        ("log(exp(0)) + x", "x"),
        ("1 / 0 + x", "1 / 0 + x"),
        ("delay(delay(close, 2), 3)", "delay(close, 5)"),
        ("ts_max(ts_max(close, 4), 3)", "ts_max(close, 6)"),
        ("ts_min(ts_max(close, 4), 3)", "ts_min(ts_max(close, 4), 3)"),
        ("ts_backfill(ts_backfill(x, 2), 3)", "ts_backfill(x, 5)"),
        ("abs(abs(-x))", "abs(x)"),
        ("-(-x)", "x"),
        ("-(a - b)", "b - a"),
        ("sign(sign(x))", "sign(x)"),
        ("rank(rank(rank(x)))", "rank(x)"),
        ("group_rank(group_rank(x, sector), sector)", "group_rank(x, sector)"),
        ("group_rank(group_rank(x, sector), industry)", "group_rank(group_rank(x, sector), industry)"),
        ("ts_sum(x, 1)", "x"),
        ("ema(x, 1)", "x"),
        ("scale(3 * x)", "scale(x)"),
        ("scale(-3 * x)", "scale(x * -3)"),
        ("scale(x, 3)", "scale(x, 3)"),
        ("rank(x / 7)", "rank(x)"),
        ("ts_rank(0.5 * x, 9)", "ts_rank(x, 9)"),
        ("maximum(x, x)", "x"),
        ("where(0, a, b)", "b"),
        ("x * 1 + 0", "x"),
        ("x - -y", "x + y"),
        ("0 - 1 * x", "-x"),
        ("x * -1", "-x"),
        ("close / delay(close, 1) - 1", "returns"),
        ("x - delay(x, 4)", "delta(x, 4)"),
        ("ts_sum(x, 5) / 5", "ts_mean(x, 5)"),
        ("ts_sum(x, 5) / 6", "ts_sum(x, 5) / 6"),
        ("adv20", "ts_mean(volume, 20)"),
        ("rank(log(x))", "rank(log(x))"),
        ("x - x", "x - x"),
    ],
)
def test_the_form(text, form):
    assert canonical(parse(text)) == parse(form)


def test_options_that_change_the_meaning_change_the_form():
    assert canonical(parse("ts_max(ts_max(x, 4), 3)"), options=HOLES) == parse("ts_max(ts_max(x, 4), 3)")
    assert canonical(parse("ts_sum(x, 5) / 5"), options=HOLES) == parse("ts_sum(x, 5) / 5")
    money = Options(adv="money")
    assert canonical(parse("adv20"), options=money) == parse("ts_mean(volume * vwap, 20)")


def random_formulas():
    """Formulas that the rules like: few names and literals, symmetric and nested operators."""
    leaves = st.one_of(
        st.sampled_from(["close", "volume", "returns", "adv5"]).map(Expr.name),
        st.sampled_from([-1.0, 0.0, 1.0, 3.0]).map(Expr.number),
    )
    kinds = {"window": st.integers(1, 5), "group": st.just("sector")}

    def constant(argument):
        return st.sampled_from([v for v in (0.0, 0.25, 1.0) if argument.least <= v <= argument.most])

    def argument_of(argument, inner):
        if argument.kind == "window":
            return st.integers(int(argument.least), int(argument.least) + 4)
        return constant(argument) if argument.kind == "constant" else {"series": inner, **kinds}[argument.kind]

    def calls(inner):
        rows = [st.tuples(st.just(row.name), *(argument_of(a, inner) for a in row.arguments)) for row in OPERATORS]
        twice = st.sampled_from(["abs", "neg", "sign", "rank"]).flatmap(
            lambda name: inner.map(lambda x: (name, Expr.call(name, x)))
        )
        moved = st.tuples(inner, st.integers(1, 4), st.integers(1, 4), st.sampled_from(["delay", "ts_max", "ts_min"]))
        nested = moved.map(lambda m: (m[3], Expr.call(m[3], m[0], m[1]), m[2]))
        return st.one_of(*rows, twice, nested).map(lambda parts: Expr.call(*parts))

    return st.recursive(leaves, calls, max_leaves=8)


@settings(max_examples=250, deadline=None)
@given(random_formulas(), st.sampled_from([Options(), HOLES]))
def test_values_stay_the_same_and_reach_never_grows(expr, options):
    panel = PANEL
    form = canonical(expr, options=options)
    assert canonical(form, options=options) == form
    assert lookback(form) <= lookback(expr)
    assert set(fields_of(form)) <= set(fields_of(expr))
    before, after = evaluate_one(expr, panel, options=options), evaluate_one(form, panel, options=options)
    np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-12, err_msg=f"{expr} -> {form}")


def make_holed_panel():
    from alphaloom.panel import Panel

    rng = np.random.default_rng(3)
    close = np.exp(np.cumsum(rng.normal(0, 0.02, (30, 7)), axis=0))
    volume = np.exp(rng.normal(3, 0.5, (30, 7)))
    close[rng.random((30, 7)) < 0.05] = np.nan
    volume[:, 0] = np.round(volume[:, 0])
    times = np.datetime64("2020-01-01", "ns") + np.arange(30) * np.timedelta64(1, "D")
    labels = {"sector": rng.integers(-1, 2, (30, 7)).astype(np.int16)}
    return Panel(
        times=times,
        assets=tuple("ABCDEFG"),
        fields={"close": close, "volume": volume},
        labels=labels,
        member=rng.random((30, 7)) < 0.9,
    )


PANEL = make_holed_panel()


@pytest.mark.parametrize("name", ["alpha101", "alpha158", "classic"])
def test_whole_libraries_keep_their_values(name, make_panel):
    panel = make_panel(T=320, N=6, holes=0.01)
    labels = dict.fromkeys(("sector", "industry", "subindustry"), panel.labels["sector"])
    cap = panel["close"] * 1e6
    panel = panel.replace(labels=labels, label_names={}, fields={**panel.fields, "cap": cap})
    factors, _ = load_library(name).supported_by(panel)
    for factor in factors.factors[:: 1 if name == "classic" else 3]:
        form = canonical(factor.expr, options=factors.options)
        before = evaluate_one(factor.expr, panel, options=factors.options)
        after = evaluate_one(form, panel, options=factors.options)
        np.testing.assert_allclose(after, before, rtol=1e-7, atol=1e-9, err_msg=factor.name)
