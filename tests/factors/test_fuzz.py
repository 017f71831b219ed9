"""The parser under fire: whatever text it is given, it reads a formula or raises a typed error that says where."""

from __future__ import annotations

import random

import pytest

from alphaloom.errors import AlphaloomError, GrammarError, LookaheadError
from alphaloom.factors import OPERATORS, load_library, parse

PIECES = [
    *(row.name for row in OPERATORS),
    *("sma", "ts_med", "close", "volume", "returns", "adv20", "sector", "true", "false", "let", "in", "if", "lambda"),
    *("(", ")", "((", "))", ",", "+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!=", "=", "&", "|", "!", "^", ";"),
    *("0", "1", "-1", "2.5", "20", "1e5", "1e400", "-0.0", ".5", "1.", "10001", "1000000", "nan", "inf", "0x10"),
    *("k=", "method=", "sigma", "alpha=", "unknown=", "market", "mode=step", "d=", "x="),
    *(" ", "\t", "\n", "\0", "é", "①", "\u2212", "'", '"', "[", "]", "{", "}", ".", "..", "_", "__class__", "%", "\\"),
]
FORMULAS = [str(factor.expr) for name in ("alpha101", "micro", "classic") for factor in load_library(name).factors]


def soup(dice: random.Random) -> str:
    return "".join(dice.choices(PIECES, k=dice.randint(0, 20)))


def damaged(dice: random.Random) -> str:
    """A real formula with some pieces taken out, put in, doubled or moved."""
    text = dice.choice(FORMULAS)
    for _ in range(dice.randint(1, 4)):
        a, b = sorted(dice.choices(range(len(text) + 1), k=2))
        part = text[a : min(b, a + 12)]
        text = dice.choice(
            (
                text[:a] + text[a + len(part) :],
                text[:a] + dice.choice(PIECES) + text[a:],
                text[:b] + part + text[b:],
                text[:a] + dice.choice(PIECES) + text[a + 1 :],
            )
        )
    return text[:400]


def nested(dice: random.Random) -> str:
    """Deep and lopsided nests, long chains."""
    depth = dice.choice((3, 50, 199, 201, 1_001, 3_000))
    opening = dice.choice(("(", "rank(", "-", "!", "abs(-", "1 + (", "maximum(close, ", "ts_mean("))
    closing = dice.choice((")", ", 5)", "", ",", ") + 1"))
    return opening * depth + dice.choice(("close", "1", "", ")")) + closing * dice.choice((0, depth, depth + 1))


def bytes_of_any_kind(dice: random.Random) -> str:
    return "".join(chr(dice.choice((dice.randrange(128), dice.randrange(0x3000), 0xD800))) for _ in range(12))


def fault_of(text: str) -> AlphaloomError | None:
    try:
        expr = parse(text)
    except (GrammarError, LookaheadError) as fault:
        return fault
    assert parse(str(expr)) is expr
    return None


def checked(text: str) -> bool:
    """True where the text was read; a typed error with its column, the text found and a rule is the other way."""
    fault = fault_of(text)
    if fault is None:
        return True
    assert fault.where.startswith("column"), (text, fault)
    column = int(fault.where.removeprefix("column ").split(",")[0])
    assert 1 <= column <= len(text) + 1, (text, fault)
    assert fault.rule
    assert fault.found not in (None, ""), (text, fault)
    return False


def fire(cases: int, seed: int) -> None:
    dice, read = random.Random(seed), 0
    makers = [soup] * 9 + [damaged] * 9 + [bytes_of_any_kind] * 2
    for k in range(cases):
        make = nested if k % 250 == 0 else dice.choice(makers)
        read += checked(make(dice))
    # Both ways out are taken often, or the cases would prove nothing.
    assert cases * 0.01 < read < cases * 0.5


def test_five_thousand_texts_meet_typed_errors_only():
    fire(5_000, seed=1)


@pytest.mark.slow
def test_a_hundred_thousand_texts_meet_typed_errors_only():
    fire(100_000, seed=2)
