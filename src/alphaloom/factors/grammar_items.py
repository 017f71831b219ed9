"""What formulas in reverse Polish notation are made of: tokens, and the items that they leave on the stack."""

from __future__ import annotations

from typing import Literal, NamedTuple

from alphaloom.factors.ops import Operator

__all__ = [
    "ARITY",
    "CONSTANT",
    "LEAST_WINDOW",
    "MOST_EXPONENT",
    "NO_TWINS",
    "Slot",
    "Stack",
    "Token",
    "TokenKind",
    "kind_of",
    "may_be_twins",
    "typed",
]

TokenKind = Literal["feature", "constant", "window", "unary", "binary", "rolling", "pair", "end"]
# V, C or D; exponents of price and share; depth; look-back or window; a bare field's number, from 1.
Slot = tuple[str, float, float, int, int, int]
Stack = tuple[Slot, ...]
LEAST_WINDOW = {"delay": 1, "delta": 1, "ts_skew": 4, "ts_kurt": 4, "ts_cov": 3, "ts_corr": 3}
# The same operand twice gives a constant or nothing new.
NO_TWINS = frozenset(("sub", "div", "maximum", "minimum", "ts_corr"))
MOST_EXPONENT = 2.0
CONSTANT: Slot = ("C", 0.0, 0.0, 0, 0, 0)
ARITY: dict[str, int] = {"unary": 1, "binary": 2, "rolling": 2, "pair": 3}


class Token(NamedTuple):
    """One action: an operator, a field, a constant, a window, or the end."""

    kind: TokenKind
    name: str
    value: float = 0.0

    def __str__(self) -> str:
        return self.name if self.kind in ("feature", "end") or self.kind in ARITY else f"{self.value:g}"

    @property
    def arity(self) -> int:
        """How many items of the stack an operator takes; 0 for all else."""
        return ARITY.get(self.kind, 0)


def kind_of(operator: Operator) -> TokenKind | Literal[""]:
    """What an operator takes from the stack; "" for one that is spelt otherwise."""
    kinds: dict[tuple[str, ...], TokenKind] = {
        ("series",): "unary",
        ("series", "series"): "binary",
        ("series", "window"): "rolling",
        ("series", "series", "window"): "pair",
    }
    return kinds.get(tuple(argument.kind for argument in operator.arguments), "")


def may_be_twins(left: Slot, right: Slot) -> bool:
    """False where two items of the stack are certainly not the same formula."""
    if left[0] != "V" or right[0] != "V":
        return False
    return left[1:4] == right[1:4] and left[5] == right[5]


def typed(kind: TokenKind, args: Stack) -> bool:
    """Whether the items are of the kinds that an operator takes."""
    letters = "".join(slot[0] for slot in args)
    if kind == "binary":
        return letters in ("VV", "VC", "CV")
    return letters == {"unary": "V", "rolling": "VD", "pair": "VVD"}[kind]
