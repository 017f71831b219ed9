"""Steps from one formula to another: always formulas of the grammar, of every kind, near the one they start from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.factors import parse
from alphaloom.factors.grammar import ALPHA2, RISKMINER, Grammar
from alphaloom.mining.genetic_operators import random_genome
from alphaloom.mining.variations import Variations

GRAMMAR = Grammar(constants=(-1.0, 2.0), windows=(5, 20), max_tokens=14, max_lookback=60)


def steps(text, count=600, grammar=GRAMMAR):
    variations, random = Variations(grammar), np.random.default_rng(0)
    made = [variations.step(grammar.encode(parse(text)), random) for _ in range(count)]
    return [one for one in made if one is not None]


@given(
    seed=st.integers(0, 10_000),
    units=st.sampled_from(["safe", "paper", "off"]),
    operators=st.sampled_from([RISKMINER, ALPHA2, ("div", "sub", "ts_mean")]),
    tokens=st.integers(5, 16),
)
@settings(max_examples=25, deadline=None)
def test_no_step_leaves_the_grammar(seed, units, operators, tokens):
    grammar = Grammar(operators, windows=(1, 3, 5), max_tokens=tokens, max_lookback=20, units=units)
    variations, random = Variations(grammar), np.random.default_rng(seed)
    formula = random_genome(grammar, random)
    for _ in range(10):
        made = variations.step(formula.tokens, random)
        if made is None:
            continue
        assert made.tokens != formula.tokens
        assert len(made.tokens) < tokens
        # Every token of the whole episode, the end included, is legal where it stands.
        assert grammar.decode((*made.tokens, len(grammar.tokens) - 1)) is made.expr
        formula = made


@pytest.mark.parametrize(
    "wanted",
    [
        "ts_mean(close, 20) / close",  # a token changed
        "ts_median(close, 5) / close",
        "ts_mean(close, 5) / high",  # a field changed
        "ts_mean(close, 5) / ts_std(high, 20)",  # a fresh operator set in
        "ts_mean(delay(close, 5), 5) / close",  # one put around a part
        "rank(ts_mean(close, 5) / close)",
        "ts_rank(ts_mean(close, 5), 20)",  # an operator exchanged for another around the same
        "(ts_mean(close, 5) - close) / ts_std(high, 20)",  # relative to another scale
        "(ts_mean(close, 5) - close) / open",
    ],
)
def test_every_kind_of_step_is_taken(wanted):
    assert wanted in {str(one.expr) for one in steps("ts_mean(close, 5) / close", 20_000)}


def test_an_operator_is_left_out():
    assert "open / close" in {str(one.expr) for one in steps("ts_mean(open, 5) / close", 2000)}


def test_a_step_is_short():
    lengths = [len(one.tokens) for one in steps("ts_mean(close, 5) / close")]
    assert min(lengths) >= 2  # an operator with one operand in the place of one with two
    assert max(lengths) <= 5 + 2 + 5  # spelt as a difference over its scale, and one operator more
    assert len(set(lengths)) > 3


def test_a_formula_of_another_grammar_leads_nowhere():
    small = Grammar(("div",), features=("close", "open"), constants=(), windows=(), max_tokens=4)
    assert steps("close / open", 20, small)  # open / close
    assert not [one for one in steps("close / open", 20, small) if str(one.expr) != "open / close"]
    assert Variations(small).step((0,), np.random.default_rng(0)) is None


def test_a_seed_repeats_itself():
    assert [one.tokens for one in steps("close / open", 50)] == [one.tokens for one in steps("close / open", 50)]
