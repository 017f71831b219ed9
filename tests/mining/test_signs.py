"""What is known of signs without data agrees with data."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.factors import evaluate_one, parse
from alphaloom.factors.grammar import Grammar
from alphaloom.mining.identity import is_constant, root_form
from alphaloom.mining.random_search import random_formula
from alphaloom.mining.signs import settle_signs, sign_of


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("close", 1),
        ("-close / volume", -1),
        ("close - open", 0),
        ("close + -2", 0),
        ("ts_mean(-volume, 5)", -1),
        ("maximum(close - open, high)", 1),
        ("minimum(-1, log(close / open))", -1),
        ("delay(ts_rank(close - open, 5), 2) * -3", -1),
        ("ts_corr(close, volume, 5)", 0),
        ("returns", 0),
        ("ts_mean(1, 5)", 1),
        ("delay(-2, 3)", -1),
    ],
)
def test_the_sign_that_is_known(text, sign):
    assert sign_of(parse(text)) == sign


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        ("sign(close * volume)", "1"),
        ("abs(-close) / open", "-(-close) / open"),
        ("maximum(close / open, -2)", "close / open"),
        ("minimum(-0.5, ts_std(close, 5))", "-0.5"),
        ("sign(close - open)", "sign(close - open)"),
    ],
)
def test_what_is_decided_goes(text, settled):
    assert settle_signs(parse(text)) is parse(settled)


def test_a_sign_of_a_positive_value_is_a_constant():
    assert is_constant(root_form(parse("3 * sign(close / open) + 1")))
    assert root_form(parse("ts_mean(abs(close), 5) / open * sign(volume)")) is root_form(
        parse("ts_mean(close, 5) / open")
    )


def test_settled_formulas_have_the_same_values(make_panel):
    panel, random, changed = make_panel(60, 6), np.random.default_rng(0), 0
    grammar = Grammar(windows=(3, 5), max_tokens=14, units="off", max_lookback=40)
    for _ in range(250):
        made = random_formula(grammar, random)
        settled = settle_signs(made)
        if settled is made:
            continue
        changed += 1
        values, same = evaluate_one(made, panel)[40:], evaluate_one(settled, panel)[40:]
        same = np.broadcast_to(same, values.shape)
        both = np.isfinite(values) & np.isfinite(same)
        assert np.allclose(values[both], same[both], rtol=1e-4, atol=1e-6), made
        if sign_of(made):
            assert (values[np.isfinite(values)] * sign_of(made) >= 0).all(), made
    assert changed > 50
