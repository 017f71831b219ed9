"""Operators of genetic programming: every child is a formula that the grammar spells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.errors import GrammarError
from alphaloom.factors import lookback, parse, unit_of
from alphaloom.factors.grammar import Grammar
from alphaloom.mining.genetic_operators import crossover, genome, hoist, point, random_genome, spelt, subtree

SAFE = Grammar.riskminer()
GRAMMARS = {
    "safe": SAFE,
    "shallow": Grammar(max_tokens=12, max_depth=3, max_lookback=60),
    "alphagen as published": Grammar.alphagen(paper=True),
    "consistent units": Grammar(units="paper", max_tokens=15),
}


def spelled(text, grammar=SAFE):
    made = genome(grammar, parse(text))
    assert made is not None
    return made


@pytest.mark.parametrize("name", GRAMMARS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_every_child_is_legal(name, seed):
    grammar, random = GRAMMARS[name], np.random.default_rng(seed)
    parent, donor = random_genome(grammar, random), random_genome(grammar, random)
    children = {
        "crossover": crossover(grammar, parent, donor, random),
        "subtree": subtree(grammar, parent, random),
        "hoist": hoist(grammar, parent, random),
        "point": point(grammar, parent, 0.3, random),
    }
    for child in (child for child in children.values() if child is not None):
        assert grammar.decode(grammar.encode(child.expr)) is child.expr
        assert child == spelt(grammar, child.tokens)
        assert len(child.tokens) < grammar.max_tokens
        assert child.expr.depth - 1 <= grammar.max_depth
        assert lookback(child.expr) <= grammar.max_lookback
        assert child.expr is not parent.expr
        if grammar.units != "off":
            unit = unit_of(child.expr)
            assert grammar.units != "safe" or unit.price == unit.share
    if children["hoist"] is not None:
        assert len(children["hoist"].tokens) < len(parent.tokens)
    if children["point"] is not None:
        kinds = [[grammar.tokens[k].kind for k in one.tokens] for one in (parent, children["point"])]
        assert kinds[0] == kinds[1]


def test_a_formula_is_known_by_its_parts():
    found = spelled("ts_mean(close, 5) / open")
    words = [str(SAFE.tokens[k]) for k in found.tokens]
    assert words == ["close", "5", "ts_mean", "open", "div"]
    assert found.starts == (0, 1, 0, 3, 0)
    assert found.units == ((1.0, 0.0), None, (1.0, 0.0), (1.0, 0.0), (0.0, 0.0))
    assert found.part(2) == found.tokens[:3]
    assert spelt(SAFE, found.replaced(2, found.tokens[:1])).expr is parse("close / open")


def test_crossover_exchanges_what_has_the_same_units():
    # The parent's only parts: a price, a price, their ratio. The donor gives prices, volumes and ratios.
    parent, donor = spelled("close / open"), spelled("ts_corr(high, volume, 10)")
    found = {str(crossover(SAFE, parent, donor, np.random.default_rng(seed)).expr) for seed in range(40)}
    assert found == {"ts_corr(high, volume, 10)", "high / open", "close / high"}


def test_hoist_lifts_a_part_of_a_part():
    parent = spelled("ts_mean(ts_max(close, 5), 10) / open")
    found = {str(hoist(SAFE, parent, np.random.default_rng(seed)).expr) for seed in range(60)}
    assert found == {"ts_max(close, 5) / open", "close / open", "ts_mean(close, 10) / open"}


def test_points_change_and_the_shape_stays():
    parent = spelled("ts_mean(close, 5) / open")
    found = {str(point(SAFE, parent, 0.3, np.random.default_rng(seed)).expr) for seed in range(60)}
    assert "ts_mean(close, 10) / open" in found
    assert any(text.startswith("ts_max(") for text in found)
    assert "ts_mean(close, 5) / volume" not in found  # the mask holds for mutations too


def test_subtrees_come_from_new_formulas():
    parent = spelled("close / open")
    found = [subtree(SAFE, parent, np.random.default_rng(seed)) for seed in range(20)]
    assert len({child.expr for child in found if child}) > 10


def test_an_operator_without_a_legal_child_says_so():
    few = Grammar(("div",), features=("close", "open"), constants=(), windows=(), max_tokens=4)
    parent, random = spelled("close / open", few), np.random.default_rng(0)
    assert hoist(few, parent, random) is None
    assert crossover(few, parent, parent, random) is None  # close / close is a constant, itself no news
    assert point(few, parent, 1.0, random).expr is parse("open / close")


def test_what_the_grammar_lacks_is_an_error_and_what_it_forbids_is_none():
    with pytest.raises(GrammarError, match="tokens"):
        genome(SAFE, parse("close / amount"))
    assert genome(SAFE, parse("close / volume")) is None
    assert spelt(SAFE, ()) is None
