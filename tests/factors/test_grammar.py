"""The grammar of searches: whatever is legal can be finished, and what is finished is a sound formula."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.errors import GrammarError
from alphaloom.factors import lookback, parse, split_safe, unit_of
from alphaloom.factors.grammar import ALPHA2, Grammar

GRAMMARS = {
    "riskminer": Grammar.riskminer(),
    "riskminer as printed": Grammar.riskminer(paper=True),
    "alphagen": Grammar.alphagen(),
    "alphagen as published": Grammar.alphagen(paper=True),
    "alpha2": Grammar(ALPHA2, max_tokens=15),
    "consistent units": Grammar(units="paper", max_tokens=12),
    "two fields": Grammar(features=("close", "volume"), max_tokens=9),
    "quotients alone": Grammar(("div",), features=("close", "open"), constants=(), windows=(), max_tokens=4),
    "one field, shallow": Grammar(features=("close",), max_tokens=8, max_depth=3, max_lookback=60),
}


@pytest.mark.parametrize("name", GRAMMARS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_an_episode_of_legal_tokens_always_ends_in_a_formula(name, data):
    grammar = GRAMMARS[name]
    state = grammar.start()
    while True:
        legal = np.flatnonzero(state.legal())
        assert len(legal), f"no way out of {state}"
        number = int(data.draw(st.sampled_from(legal.tolist())))
        if grammar.tokens[number].kind == "end":
            break
        state = state.push(number)
        assert state.left >= 1
    made = state.complete
    assert made is not None
    assert lookback(made) <= grammar.max_lookback
    assert made.depth - 1 <= grammar.max_depth
    assert grammar.decode((*grammar.encode(made), number)) is made
    assert parse(str(made)) is made
    if grammar.units != "off":
        unit = unit_of(made)  # refuses what mixes units
        if grammar.units == "safe":
            assert unit.price == unit.share


def brute_force(grammar: Grammar, state) -> bool:
    """Whether some way to the end exists, by trying all."""
    if state.complete is not None and state.left >= 1:
        return True
    if state.left <= 1:
        return False
    for number in range(len(grammar.tokens) - 1):
        try:
            after = state.push(number)
        except GrammarError:
            continue
        if brute_force(grammar, after):
            return True
    return False


def test_what_is_forbidden_for_want_of_tokens_really_cannot_be_finished():
    grammar = Grammar(
        ("add", "sub", "mul", "div", "ts_mean", "sign"),
        features=("open", "close"),
        constants=(2.0,),
        windows=(5,),
        max_tokens=6,
    )
    seen = 0
    for spelling in itertools.product(range(len(grammar.tokens) - 1), repeat=2):
        state = grammar.start()
        try:
            for number in spelling:
                state = state.push(number)
        except GrammarError:
            continue
        for number in np.flatnonzero(~state.legal()[:-1]):
            try:
                after = state.push(int(number))
            except GrammarError:
                continue
            repeated = len(set(after.tokens)) < len(after.tokens)  # a field twice makes constants
            assert repeated or not brute_force(grammar, after), f"{after} could have been finished"
            seen += 1
    assert seen


def test_the_published_action_space_has_52_tokens():
    assert len(Grammar.riskminer(paper=True).tokens) == 52


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ("close open sub low div", True),
        ("close volume sub", False),  # price and shares cannot be subtracted
        ("close 2 minimum", False),  # a number fits no price
        ("close log", False),
        ("close rank", False),  # a split changes it
        ("close delay5", True),
        ("close close sub", False),  # a constant
        ("volume vwap mul", True),
    ],
)
def test_units_act_on_the_mask(text, legal):
    grammar = Grammar(max_tokens=12)
    places = {str(token): k for k, token in enumerate(grammar.tokens)}
    state = grammar.start()
    words = [word for spelt in text.split() for word in (["5", "delay"] if spelt == "delay5" else [spelt])]
    window = next(k for k, token in enumerate(grammar.tokens) if token.kind == "window")
    for word in words[:-1]:
        state = state.push(window if word == "5" else places[word])
    assert bool(state.legal()[places[words[-1]]]) is legal


def test_a_safe_root_survives_a_split():
    grammar = Grammar(max_tokens=8)
    close, end = grammar._places["feature close", 0.0], len(grammar.tokens) - 1
    bare = grammar.start().push(close)
    assert not bare.legal()[end]
    ratio = grammar.decode(grammar.encode(parse("close / open")))
    assert split_safe(ratio)


def test_what_no_formula_can_end_in_is_refused():
    with pytest.raises(GrammarError, match="able to end"):
        Grammar(("add",), features=("close",), max_tokens=6)
    with pytest.raises(GrammarError, match="series and windows"):
        Grammar(("add", "clip"))
    with pytest.raises(GrammarError, match="needs a field"):
        Grammar(features=())


def test_a_formula_outside_the_grammar_is_refused():
    grammar = Grammar.riskminer()
    for text in ("tanh(close / open)", "ts_mean(close, 7) / close", "returns * 3"):
        with pytest.raises(GrammarError, match="spelt"):
            grammar.encode(parse(text))


def test_an_illegal_spelling_is_refused():
    grammar = Grammar.riskminer()
    close = grammar._places["feature close", 0.0]
    with pytest.raises(GrammarError, match="one value"):
        grammar.decode((close,))
    with pytest.raises(GrammarError, match="legal where it stands"):
        grammar.decode((0,))


def test_the_grammar_of_a_panel_keeps_its_fields(make_panel):
    panel = make_panel(12, 3)
    kept = Grammar.riskminer().supported_by(panel)
    assert set(kept.features) <= set(panel.fields)
