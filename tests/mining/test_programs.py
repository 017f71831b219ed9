"""Programs: where results go, what may come next, and formulas there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.errors import GrammarError
from alphaloom.factors import evaluate_one, lookback, parse, split_safe, unit_of
from alphaloom.factors.canonical import canonical
from alphaloom.factors.grammar import Grammar
from alphaloom.mining.programs import Instruction, Program, Programs
from alphaloom.mining.random_search import random_formula

GRAMMARS = {
    "safe": Grammar.alpha2(),
    "consistent units": Grammar.alpha2(paper=True),
    "riskminer": Grammar.riskminer(),
    "no units": Grammar.riskminer(paper=True),
    "quotients alone": Grammar(("div",), features=("close", "open"), constants=(), windows=(), max_tokens=4),
    "shallow and short": Grammar(features=("close", "volume"), max_depth=3, max_lookback=60),
    "no sign": Grammar(("add", "sub", "div", "ts_mean", "ts_corr"), constants=(2.0,), windows=(5, 20)),
}
KNOWN = {name: Programs(grammar) for name, grammar in GRAMMARS.items()}


def run(programs: Programs, *lines: str) -> Program:
    state = programs.start()
    for line in lines:
        operator, *operands = line.split()
        state = state.push(programs.instructions.index(Instruction(operator, tuple(operands))))
    return state


def held(state: Program) -> list[str]:
    return [str(register.expr) for register in state.registers]


def played(programs: Programs, random: np.random.Generator, *, fresh: bool = True) -> Program:
    """A random game; `fresh` leaves out what repeats itself where anything else is legal."""
    state = programs.start()
    while not state.finished:
        legal = random.permutation(np.flatnonzero(state.legal()))
        after = (state.push(int(number)) for number in legal)
        state = next((new for new in after if not new.repeated), None) if fresh else next(after)
        assert state is not None
    return state


def test_a_result_goes_to_the_first_empty_register_or_to_the_one_that_was_read():
    programs = KNOWN["safe"]
    state = run(programs, "sub open close")
    assert held(state) == ["open - close"]
    state = run(programs, "sub open close", "sub high low")
    assert held(state) == ["open - close", "high - low"]
    state = run(programs, "sub open close", "sub high low", "ts_mean Reg1 5")
    assert held(state) == ["open - close", "ts_mean(high - low, 5)"]
    state = run(programs, "sub open close", "sub high low", "ts_mean Reg0 5")
    assert held(state) == ["ts_mean(open - close, 5)", "high - low"]
    state = run(programs, "sub open close", "sub high low", "div Reg1 Reg0")
    assert held(state) == ["(high - low) / (open - close)"]
    with pytest.raises(GrammarError, match="legal where it stands"):
        run(programs, "sub open close", "sub high low", "sub open low")  # no register is empty
    with pytest.raises(GrammarError, match="legal where it stands"):
        run(programs, "neg Reg0")


def test_the_end_is_legal_when_reg0_alone_holds_a_sound_value():
    programs = KNOWN["safe"]
    assert not programs.start().legal()[programs.end]
    assert not run(programs, "sub open close").legal()[programs.end]  # a price: a split would change it
    assert not run(programs, "sub open close", "div high low").legal()[programs.end]  # Reg1 is full
    assert run(programs, "div open close").legal()[programs.end]
    assert run(KNOWN["consistent units"], "sub open close").legal()[-1]
    done = run(programs, "div open close").push(programs.end)
    assert done.finished
    assert not done.legal().any()
    assert str(done) == "div open close; End"


def test_at_the_length_cap_only_the_end_is_legal_and_no_register_is_opened_that_cannot_be_merged():
    programs = Programs(Grammar.alpha2(), 4)  # Start, two instructions, End
    state = run(programs, "sub open close")
    opened = [k for k in np.flatnonzero(state.legal()) if len(state.push(int(k)).registers) == 2]
    assert not opened
    last = run(programs, "div open close", "neg Reg0")
    assert np.flatnonzero(last.legal()).tolist() == [programs.end]


@pytest.mark.parametrize(
    ("before", "line", "legal"),
    [
        ((), "sub close volume", False),
        ((), "add close 0.01", False),
        ((), "log close", False),
        ((), "mul vwap volume", True),
        (("sub open close",), "div Reg0 volume", True),
        (("sub open close",), "add Reg0 high", True),
        (("sub open close",), "add Reg0 volume", False),
    ],
)
def test_units_act_on_the_mask(before, line, legal):
    programs = KNOWN["safe"]
    operator, *operands = line.split()
    for words in (operands, operands[::-1]):  # the table holds one order of a symmetric operator
        if (line := Instruction(operator, tuple(words))) in programs.instructions:
            state = run(programs, *before)
            assert bool(state.legal()[programs.instructions.index(line)]) is legal
            return
    assert not legal  # never written at all: no unit allows it


def test_the_table_holds_one_of_what_means_the_same():
    programs = KNOWN["safe"]
    lines = set(programs.instructions)
    assert 1000 < len(programs) < 2500
    assert len(lines) == len(programs)
    for line in programs.instructions[:-2]:
        left, right = [*line.operands, "", ""][:2]
        symmetric = line.operator in ("add", "mul", "maximum", "minimum", "ts_corr", "ts_cov")
        if symmetric and left != right:
            assert Instruction(line.operator, (right, left, *line.operands[2:])) not in lines
        if left == right:
            assert line.operator in ("add", "mul")
    assert Instruction("mul", ("close", "1")) not in lines
    assert programs.codes.shape == (len(programs), 4)
    assert len({tuple(row) for row in programs.codes.tolist()}) == len(programs)


def test_both_registers_never_hold_one_formula():
    programs = KNOWN["safe"]
    twin = programs.instructions.index(Instruction("sub", ("open", "close")))
    assert not run(programs, "sub open close").legal()[twin]
    smooth = programs.instructions.index(Instruction("ts_mean", ("Reg1", "5")))
    state = run(programs, "ts_mean open 5", "delay open 5", "delta Reg1 5")
    assert state.legal()[smooth]
    state = run(programs, "sub open close", "ts_mean Reg0 5", "sub open close")
    assert not state.legal()[smooth]


def test_what_was_there_before_is_marked():
    programs = KNOWN["safe"]
    assert run(programs, "div open close", "neg Reg0", "neg Reg0").repeated  # the quotient once more
    assert not run(programs, "div open close", "neg Reg0").repeated
    assert run(programs, "delay open 5", "delay Reg0 5", "delay open 10").repeated


def there_and_back(programs: Programs, count: int, *, seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(count):
        state = played(programs, random)
        made = state.result
        assert made is not None
        assert programs.decode(state.numbers) is made
        assert programs.decode(programs.encode(made)) is made
        assert parse(str(made)) is made
        assert programs.grammar.decode(programs.grammar.encode(made)) is made


def test_program_formula_and_spelling_there_and_back():
    there_and_back(KNOWN["safe"], 150, seed=0)
    there_and_back(KNOWN["consistent units"], 150, seed=1)


@pytest.mark.slow
def test_ten_thousand_formulas_there_and_back():
    there_and_back(KNOWN["safe"], 5000, seed=2)
    there_and_back(KNOWN["consistent units"], 5000, seed=3)


def test_spelt_formulas_become_programs_where_two_registers_do():
    programs, random, fits = KNOWN["safe"], np.random.default_rng(0), 0
    for _ in range(120):
        made = random_formula(Grammar.alpha2(), random)
        try:
            numbers = programs.encode(made)
        except GrammarError:
            continue
        fits += 1
        assert canonical(programs.decode(numbers)) == canonical(made)
    assert fits > 15


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("((open - close) / (high - low)) / ((open - low) / (high - close))", "two registers"),
        ("tanh(open / close)", "grammar's instructions"),
        ("ts_mean(open, 7) / close", "grammar's instructions"),
        ("open - close", "sound result"),
        ("close", "two registers"),
    ],
)
def test_what_is_no_program_is_refused(text, why):
    with pytest.raises(GrammarError, match=why):
        KNOWN["safe"].encode(parse(text))


@pytest.mark.parametrize("name", KNOWN)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_game_of_legal_instructions_always_ends_in_a_formula(name, data):
    programs = KNOWN[name]
    grammar, state = programs.grammar, programs.start()
    while not state.finished:
        assert len(state.registers) <= 2
        legal = np.flatnonzero(state.legal())
        assert len(legal), f"no way out of {state}"
        state = state.push(int(data.draw(st.sampled_from(legal.tolist()))))
        assert state.left >= 1 or state.finished
    made = state.result
    assert made is not None
    assert len(state.numbers) + 1 <= programs.max_length
    assert lookback(made) <= grammar.max_lookback
    assert made.depth - 1 <= grammar.max_depth
    if grammar.units != "off":
        unit = unit_of(made)
        assert grammar.units == "paper" or unit.price == unit.share


def test_values_answer_to_a_split_as_the_unit_says(make_panel):
    panel, programs = make_panel(120, 6, seed=5), KNOWN["consistent units"]
    a, b = 3.0, 0.2
    scale = {"volume": b, **dict.fromkeys(("open", "high", "low", "close", "vwap"), a)}
    other = panel
    for name, factor in scale.items():
        other = other.with_field(name, panel[name] * factor, panel.units[name])
    random, seen = np.random.default_rng(7), 0
    for _ in range(60):
        made = played(programs, random).result
        assert made is not None
        if "log" in str(made) or lookback(made) > 80:
            continue
        unit, before = unit_of(made), evaluate_one(made, panel)
        after = evaluate_one(made, other)
        known = np.isfinite(before) & np.isfinite(after) & (np.abs(before) > 1e-9)
        assert np.allclose(after[known], before[known] * a**unit.price * b**unit.share, rtol=1e-5, atol=1e-6)
        seen += 1
    assert seen > 20


def test_what_ends_in_safe_units_survives_a_split():
    random = np.random.default_rng(9)
    for _ in range(50):
        made = played(KNOWN["safe"], random).result
        assert made is not None
        unit = unit_of(made)
        assert split_safe(made) or unit.price == unit.share != 0


def test_a_grammar_without_any_program_is_refused():
    with pytest.raises(GrammarError, match="able to end"):
        Programs(Grammar(("sub", "ts_mean", "div"), features=("close",), windows=(5,), constants=(2.0,)), 3)
    with pytest.raises(GrammarError, match="an instruction and an end"):
        Programs(Grammar.alpha2(), 2)
