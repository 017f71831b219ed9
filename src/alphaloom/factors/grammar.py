"""Which token may come next: formulas as episodes in reverse Polish notation that can never end invalid.

A formula is spelt token by token: fields, constants and windows go onto a stack, operators take their arguments from
it. A token is legal when types, units, windows, depth and look-back allow it and when the tokens that are left can
still finish the formula. Every reader of the operator table that writes formulas asks here.

Source: RiskMiner, arXiv:2402.07080 (tokens and stack types); Alpha2, arXiv:2406.16505 (units); AlphaGen,
arXiv:2306.12964. Deviation: closability, since without it nine of ten random episodes die at the length limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import GrammarError, UnitError
from alphaloom.factors.dimension import Dimension
from alphaloom.factors.expr import Expr, nearest
from alphaloom.factors.grammar_closing import Closing
from alphaloom.factors.grammar_items import (
    ARITY,
    CONSTANT,
    LEAST_WINDOW,
    MOST_EXPONENT,
    NO_TWINS,
    Slot,
    Stack,
    Token,
    kind_of,
    typed,
)
from alphaloom.factors.ops import BY_NAME
from alphaloom.panel import Panel
from alphaloom.units import Unit, standard_unit

__all__ = ["ALPHA2", "ALPHAGEN", "RISKMINER", "Exponents", "Grammar", "State", "Token", "Units"]

Units = Literal["safe", "paper", "off"]
Exponents = tuple[float, float]

_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
_MEANS = ("ts_mean", "ts_sum", "ts_median", "ts_std", "ts_var", "ts_max", "ts_min")
RISKMINER: tuple[str, ...] = (
    *(*_BINARY, "abs", "sign", "log", "rank", "delay", *_MEANS),
    *("ts_skew", "ts_kurt", "ts_rank", "decay_linear", "ema_cut", "ts_cov", "ts_corr"),
)
ALPHA2: tuple[str, ...] = (
    *(*_BINARY, "neg", "abs", "sign", "log", "delay", "delta", *_MEANS),
    *("decay_linear", "ema_cut", "ts_cov", "ts_corr"),
)
ALPHAGEN: tuple[str, ...] = (
    *(*_BINARY, "abs", "log", "delay", "delta", *_MEANS),
    *("ts_mad", "decay_linear", "ema_cut", "ts_cov", "ts_corr"),
)
_FEATURES = ("open", "high", "low", "close", "volume", "vwap")
_CONSTANTS = (-30.0, -10.0, -5.0, -2.0, -1.0, -0.5, -0.01, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# What is remembered of stacks is dropped beyond this many, so that a search of days does not fill the memory.
_MOST_KEPT = 400_000


@dataclass(frozen=True)
class Grammar:
    """The formulas that a search may write.

    `units`: "safe" lets only formulas through whose values no later split would change, at the root and before every
    comparison of assets (price and share exponents are equal); "paper" asks for consistent units alone; "off" for
    nothing. An episode has at most `max_tokens` tokens, the end included; a formula is at most `max_depth` operators
    deep and reads at most `max_lookback` rows before today.
    Raises: GrammarError for operators that are unknown or take no such arguments, and where no formula can end.
    """

    operators: tuple[str, ...] = RISKMINER
    features: tuple[str, ...] = _FEATURES
    constants: tuple[float, ...] = _CONSTANTS
    windows: tuple[int, ...] = (5, 10, 20, 30, 40, 50)
    max_tokens: int = 20
    max_depth: int = 6
    max_lookback: int = 250
    units: Units = "safe"

    @staticmethod
    def riskminer(*, paper: bool = False) -> Grammar:
        """RiskMiner's 25 operators; as printed: windows from 1, 30 tokens, no units."""
        if not paper:
            return Grammar()
        return Grammar(windows=(1, 5, 10, 20, 30, 40, 50), max_tokens=30, max_depth=30, units="off")

    @staticmethod
    def alphagen(*, paper: bool = False) -> Grammar:
        """AlphaGen's configuration: 22 operators, 14 constants; as published: 15 tokens, no units."""
        constants = tuple(sorted((*_CONSTANTS, 0.01)))
        if not paper:
            return Grammar(ALPHAGEN, constants=constants, windows=(5, 10, 20, 40))
        return Grammar(ALPHAGEN, constants=constants, windows=(1, 5, 10, 20, 40), max_tokens=15, units="off")

    @staticmethod
    def alpha2(*, paper: bool = False) -> Grammar:
        """Alpha2's operators with few constants; as printed, units need only agree."""
        units: Units = "paper" if paper else "safe"
        windows, constants = (5, 10, 20, 30, 40), (0.01, 0.5, 1.0, 2.0)
        return Grammar(ALPHA2, constants=constants, windows=windows, max_tokens=40, max_depth=8, units=units)

    def __post_init__(self) -> None:
        for name in ("operators", "features", "constants", "windows"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.units not in get_args(Units):
            raise GrammarError("units are safe, paper or off", found=self.units, where="Grammar.units")
        for name in self.operators:
            if name not in BY_NAME or not kind_of(BY_NAME[name]):
                able = tuple(one for one, operator in BY_NAME.items() if kind_of(operator))
                raise GrammarError(
                    "a grammar's operators are of the factor language and take series and windows",
                    found=name,
                    where="Grammar.operators",
                    fix=nearest(name, able, "operator"),
                )
        if not self.features:
            raise GrammarError("a grammar needs a field to start from", found="none", where="Grammar.features")
        if any(window < 1 for window in self.windows):
            raise GrammarError("a window counts at least one bar", found=min(self.windows), where="Grammar.windows")
        if self.shortest > self.max_tokens:
            raise GrammarError(
                "some formula must be able to end",
                found=f"units {self.units}, {len(self.operators)} operators, {self.max_tokens} tokens",
                where="Grammar",
                fix="allow sign, ts_rank or div, more tokens, or units='off'",
            )

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        """All actions; a token's place is its number, the end is the last."""
        found = [Token(kind, name) for name in self.operators if (kind := kind_of(BY_NAME[name]))]
        found += [Token("feature", name) for name in self.features]
        found += [Token("window", str(window), float(window)) for window in self.windows]
        found += [Token("constant", f"{value:g}", float(value)) for value in self.constants]
        return (*found, Token("end", "END"))

    @cached_property
    def _memo(self) -> dict[object, NDArray[np.bool_]]:
        return {}

    @cached_property
    def _closing(self) -> Closing:
        return Closing(self)

    @cached_property
    def _rules(self) -> dict[tuple[object, ...], tuple[float, float] | None]:
        return {}

    def start(self, limit: int | None = None) -> State:
        """The empty episode, of at most `limit` tokens where that is less than the grammar's."""
        most = self.max_tokens if limit is None else min(limit, self.max_tokens)
        return State(self, (), (), (), most)

    @cached_property
    def shortest(self) -> int:
        """The tokens, the end included, that the shortest formula takes."""
        return 1 + min(self._closing.need((self._leaf(name),)) for name in self.features)

    def supported_by(self, panel: Panel) -> Grammar:
        """The same grammar over those of its fields that the panel has.   Raises: GrammarError where none is left."""
        return replace(self, features=tuple(name for name in self.features if name in panel.fields))

    def decode(self, numbers: Iterable[int]) -> Expr:
        """The formula that token numbers spell.   Raises: GrammarError where one is illegal or the end is missing."""
        state = self.start()
        for number in numbers:
            if self.tokens[number].kind == "end":
                break
            # Miners never write two constants side by side; `2 - 1 / x` is spelt so and is a formula all the same.
            paired = self.tokens[number].kind == "constant" and state._stack[-1:] == (CONSTANT,)
            if not paired and not state.legal()[number]:
                raise GrammarError("a token must be legal where it stands", found=self.tokens[number], where=str(state))
            state = state._paired(number) if paired else state.push(number)
        made = state.complete
        if made is None:
            raise GrammarError("a spelling ends with one value", found=str(state), where="Grammar.decode")
        return made

    def encode(self, expr: Expr) -> tuple[int, ...]:
        """The token numbers that spell a formula, without the end.   Raises: GrammarError for a part it lacks."""
        numbers: list[int] = []

        def spell(node: Expr, kind: str) -> None:
            if node.op in BY_NAME:
                for arg, argument in zip(node.args, BY_NAME[node.op].arguments, strict=True):
                    spell(arg, argument.kind)
            numbers.append(self._number(node, kind))

        spell(expr, "series")
        return tuple(numbers)

    def field_unit(self, name: str) -> Exponents:
        """The exponents of price and share of a field, as the rules of this grammar count them."""
        return self._leaf(name)[1:3]

    def unit_after(self, name: str, args: Sequence[Exponents | None]) -> Exponents | None:
        """The exponents of an operator's result over values (a constant is None); None where units forbid it."""
        slots: list[Slot] = [CONSTANT if arg is None else ("V", *arg, 0, 0, 0) for arg in args]
        windows = sum(argument.kind == "window" for argument in BY_NAME[name].arguments)
        return self._unit(name, (*slots, *(("D", 0.0, 0.0, 0, 5, 0),) * windows))

    def may_be_root(self, unit: Exponents) -> bool:
        """True where a formula of these exponents may be a result."""
        return self._ends((("V", *unit, 0, 0, 0),))

    def windows_of(self, name: str) -> tuple[int, ...]:
        """The windows that an operator may have."""
        return tuple(window for window in self.windows if window >= LEAST_WINDOW.get(name, 2))

    @cached_property
    def _places(self) -> dict[tuple[str, float], int]:
        same = {"unary": "op", "binary": "op", "rolling": "op", "pair": "op"}
        return {
            (f"{same.get(token.kind, token.kind)} {token.name if not token.value else ''}", token.value): k
            for k, token in enumerate(self.tokens)
        }

    def _number(self, node: Expr, kind: str) -> int:
        if node.op == "number":
            word = "window" if kind == "window" else "constant"
            key = (f"{word} ", float(node.value or 0.0))
        else:
            key = (f"feature {node.value}", 0.0) if node.op == "name" else (f"op {node.op}", 0.0)
        if key not in self._places:
            raise GrammarError("a formula is spelt with the grammar's tokens", found=str(node), where=str(kind))
        return self._places[key]

    def _leaf(self, name: str) -> Slot:
        unit = standard_unit(name) if self.units != "off" else Unit()
        return ("V", unit.price, unit.share, 0, 0, 1 + self.features.index(name))

    def _ends(self, stack: Stack) -> bool:
        if len(stack) != 1 or stack[0][0] != "V":
            return False
        return self.units != "safe" or stack[0][1] == stack[0][2]

    def _unit(self, name: str, args: Sequence[Slot]) -> tuple[float, float] | None:
        """The exponents of an operator's result; None where the units forbid it."""
        if self.units == "off":
            return (0.0, 0.0)
        key = (name, *((slot[0], slot[1], slot[2]) for slot in args))
        if key not in self._rules:
            self._rules[key] = self._ruled(name, args)
        return self._rules[key]

    def _ruled(self, name: str, args: Sequence[Slot]) -> tuple[float, float] | None:
        series = [slot for slot in args if slot[0] == "V"]
        if name == "log" and (series[0][1] or series[0][2]):
            return None
        across = BY_NAME[name].family == "cross"
        if across and self.units == "safe" and any(slot[1] != slot[2] for slot in series):
            return None
        # A literal of 2 stands for all: no operator of a grammar treats two constants differently but for 0.
        dims = [
            Dimension(Unit(slot[1], slot[2])) if slot[0] == "V" else Dimension(literal=2.0 if slot[0] == "C" else 5.0)
            for slot in args
        ]
        try:
            unit = BY_NAME[name].unit_rule(dims).unit
        except UnitError:
            return None
        small = max(abs(unit.price), abs(unit.share)) <= MOST_EXPONENT
        return (float(unit.price), float(unit.share)) if small else None

    def _after(self, stack: Stack, token: Token, twins: bool = False) -> Stack | None:
        """The stack after a token; None where the token cannot stand, whatever is left."""
        kind, top = token.kind, stack[-1] if stack else None
        if kind == "end":
            return None
        if kind in ("feature", "constant"):
            if top is not None and (top[0] == "D" or (kind == "constant" and top[0] == "C")):
                return None
            return (*stack, self._leaf(token.name) if kind == "feature" else CONSTANT)
        if kind == "window":
            return (*stack, ("D", 0.0, 0.0, 0, int(token.value), 0)) if top is not None and top[0] == "V" else None
        count = ARITY[kind]
        args = stack[-count:]
        if len(args) < count or not typed(kind, args) or (twins and token.name in NO_TWINS):
            return None
        reach = max(slot[4] for slot in args if slot[0] != "D")
        if args[-1][0] == "D":
            window = args[-1][4]
            reach += window if token.name in ("delay", "delta") else window - 1
            if window < LEAST_WINDOW.get(token.name, 2):
                return None
        depth = 1 + max(slot[3] for slot in args)
        unit = self._unit(token.name, args)
        if unit is None or depth > self.max_depth or reach > self.max_lookback:
            return None
        return (*stack[:-count], ("V", *unit, depth, reach, 0))


class State:
    """One episode: the tokens so far and what they left on the stack; `push` gives the next one."""

    __slots__ = ("_exprs", "_stack", "grammar", "limit", "tokens")

    def __init__(
        self, grammar: Grammar, tokens: tuple[int, ...], stack: Stack, exprs: tuple[Expr, ...], limit: int
    ) -> None:
        self.grammar, self.tokens, self._stack, self._exprs, self.limit = grammar, tokens, stack, exprs, limit

    @property
    def left(self) -> int:
        """How many tokens may still come, the end included."""
        return self.limit - len(self.tokens)

    @property
    def complete(self) -> Expr | None:
        """The formula, where the stack holds one value and nothing else.

        In "safe" units a value that a split would change is not complete.
        """
        return self._exprs[0] if self.grammar._ends(self._stack) else None

    @property
    def unit(self) -> tuple[float, float] | None:
        """Exponents of price and share of the value on top; None where a constant, a window or nothing is there."""
        top = self._stack[-1] if self._stack else None
        return (top[1], top[2]) if top is not None and top[0] == "V" else None

    def legal(self) -> NDArray[np.bool_]:
        """Which tokens may come next; read-only.   Shape: (A,)."""
        grammar = self.grammar
        if len(grammar._memo) > _MOST_KEPT or grammar._closing.trim():
            grammar._memo.clear()
        widest = max(grammar.windows, default=0)
        # Look-back matters where the widest window could pass the limit; elsewhere all are one.
        near = tuple((*s[:4], s[4] if s[0] == "D" or s[4] > grammar.max_lookback - widest else 0) for s in self._stack)
        key = (near, self._stack[-1][5] if self._stack else 0, self._twins(), self.left)
        found = grammar._memo.get(key)
        if found is None:
            found = grammar._memo[key] = self._allowed()
        return found

    def _twins(self) -> tuple[bool, bool]:
        e = self._exprs
        return len(e) > 1 and e[-1] is e[-2], len(e) > 2 and e[-2] is e[-3]

    def _allowed(self) -> NDArray[np.bool_]:
        grammar, (pair, below) = self.grammar, self._twins()
        mask, most = np.zeros(len(grammar.tokens), dtype=np.bool_), self.left - 1
        for token, numbers in grammar._closing.groups(self._stack[-1] if self._stack else None):
            after = grammar._after(self._stack, token, below if token.kind == "pair" else pair)
            if after is not None and grammar._closing.closes(after, most):
                mask[numbers] = True
        mask[-1] = grammar._ends(self._stack) and self.left >= 1
        mask.flags.writeable = False
        return mask

    def push(self, number: int) -> State:
        """The episode with one more token.   Raises: GrammarError for a token that cannot stand here."""
        grammar, token = self.grammar, self.grammar.tokens[number]
        stack = grammar._after(self._stack, token, self._twins()[token.kind == "pair"])
        if stack is None:
            raise GrammarError("a token must be legal where it stands", found=str(token), where=str(self))
        if token.kind == "feature":
            exprs = (*self._exprs, Expr.name(token.name))
        elif token.kind in ("constant", "window"):
            exprs = (*self._exprs, Expr.number(token.value))
        else:
            count = ARITY[token.kind]
            exprs = (*self._exprs[:-count], Expr.call(token.name, *self._exprs[-count:]))
        return State(grammar, (*self.tokens, number), stack, exprs, self.limit)

    def _paired(self, number: int) -> State:
        """The episode with a constant after a constant."""
        exprs = (*self._exprs, Expr.number(self.grammar.tokens[number].value))
        return State(self.grammar, (*self.tokens, number), (*self._stack, CONSTANT), exprs, self.limit)

    def __str__(self) -> str:
        return " ".join(str(self.grammar.tokens[number]) for number in self.tokens) or "BEG"
