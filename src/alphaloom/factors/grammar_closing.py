"""Whether the tokens that are left can finish a formula: what keeps every episode of a grammar from ending invalid."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors.grammar_items import LEAST_WINDOW, MOST_EXPONENT, NO_TWINS, Slot, Stack, Token, may_be_twins
from alphaloom.factors.ops import BY_NAME

if TYPE_CHECKING:
    from alphaloom.factors.grammar import Grammar

__all__ = ["Closing"]

# A token, and the numbers of all that are as legal as it is wherever it stands.
Group = tuple[Token, NDArray[np.int64]]
NEVER = 1_000_000
# What is remembered of stacks is dropped beyond this many, so that a search of days does not fill the memory.
_MOST_KEPT = 400_000


class Closing:
    """The ways to finish that one grammar has, and what was found out about them."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._needs: dict[tuple[object, ...], int] = {}
        self._grouped: dict[tuple[str, int], tuple[Group, ...]] = {}
        self._has = tuple(name in grammar.operators for name in ("mul", "div", "sign"))

    def trim(self) -> bool:
        """Forget what was found out where it has become much; True where that was done."""
        if len(self._needs) <= _MOST_KEPT:
            return False
        self._needs.clear()
        return True

    def closes(self, stack: Stack, most: int) -> bool:
        """Whether so many tokens, the end included, can finish from here."""
        if len(stack) - (stack[-1][0] == "D") > most or self._too_deep(stack):
            return False
        return self._folded(stack) <= most or self.need(stack) <= most

    def _too_deep(self, stack: Stack) -> bool:
        """True where folding the stack is certain to go beyond the depth."""
        windowed, most = stack[-1][0] == "D", self._grammar.max_depth
        last = len(stack) - 1 - windowed
        # A window is taken by an operator of its own but where two values stand before it.
        own = windowed and (last == 0 or stack[last - 1][0] != "V")
        if stack[last][3] + last + own > most:
            return True
        # An item is folded into all that stand before it, and into what stands behind it.
        for k in range(last):
            if stack[k][3] + k >= most:
                return True
        single = last == 0 and len(stack) == 1
        return single and stack[0][3] == most and not self._grammar._ends(stack)

    def _folded(self, stack: Stack) -> int:
        """The tokens of one way to finish that is found at once, products and quotients from the top; or very many."""
        kind, p, s, depth, _, number = stack[-1]
        if kind == "D":
            for token, _ in self._alike[1]:
                after = self._grammar._after(stack, token)
                if after:
                    return 1 + self._folded(after)
            return NEVER
        for k in range(len(stack) - 2, -1, -1):
            other, q, t, deep, _, named = stack[k]
            depth = 1 + (depth if depth > deep else deep)
            if depth > self._grammar.max_depth or (kind == "C" and other == "C"):
                return NEVER
            times, over = abs(p + q) + abs(s + t), abs(q - p) + abs(t - s)
            twins = kind == other and p == q and s == t and number == named
            if (over < times and not twins and self._has[1]) or not self._has[0]:
                if twins or not self._has[1]:
                    return NEVER
                p, s = q - p, t - s
            else:
                p, s = p + q, s + t
            if abs(p) > MOST_EXPONENT or abs(s) > MOST_EXPONENT:
                return NEVER
            kind, number = "V", 0
        if kind != "V":
            return NEVER
        if self._grammar.units != "safe" or p == s:
            return len(stack)
        return len(stack) + 1 if self._has[2] and depth < self._grammar.max_depth else NEVER

    def need(self, stack: Stack) -> int:
        """How many tokens, the end included, some way to finish from here takes; a very large number where none is.

        The ways that are looked at never use an operand twice where that is forbidden, so each can really be gone.
        """
        # Look-back matters to windows alone, and a way to finish opens no new one.
        differ = len(stack) > 1 and not may_be_twins(stack[-1], stack[-2])
        key = (differ, *((*slot[:4], slot[4] if stack[-1][0] == "D" else 0) for slot in stack))
        if key not in self._needs:
            self._needs[key] = NEVER  # while it is being found: a way never comes back to where it began
            self._needs[key] = self._sought(stack)
        return self._needs[key]

    def _sought(self, stack: Stack) -> int:
        if self._grammar._ends(stack):
            return 1
        least, top = NEVER, stack[-1]
        if self._too_deep(stack):
            return NEVER
        if top[0] == "D" or len(stack) > 1:
            twins = top[0] != "D" and may_be_twins(top, stack[-2])
            for token, _ in self._alike[top[0] == "D"]:
                if token.name != "ts_corr" and not (twins and token.name in NO_TWINS):
                    after = self._grammar._after(stack, token)
                    least = min(least, 1 + self.need(after)) if after else least
            return least
        for token, _ in self._alike[2]:
            after = self._grammar._after(stack, token)
            least = min(least, 1 + self.need(after)) if after and after[-1][1:3] != top[1:3] else least
        for after in self._joined(stack):
            least = min(least, 2 + self.need(after))
        return least

    def _joined(self, stack: Stack) -> Iterable[Stack]:
        """What one more field and a product or quotient, or a percentile over time, make of a single item."""
        seen: set[tuple[object, ...]] = set()
        for name in self._grammar.features:
            leaf = self._grammar._leaf(name)
            kind = (leaf[1:3], may_be_twins(stack[0], leaf))
            if kind in seen:
                continue
            seen.add(kind)
            for token, _ in self._alike[0]:
                if not (kind[1] and token.name in NO_TWINS):
                    after = self._grammar._after((*stack, leaf), token)
                    if after and (stack[0][0] == "C" or after[-1][1:3] != stack[0][1:3]):
                        yield after

    @cached_property
    def _alike(self) -> tuple[tuple[Group, ...], ...]:
        """Operators of which one stands for all: binary ones, those over a window, unary ones."""
        found: tuple[dict[tuple[object, ...], list[int]], ...] = ({}, {}, {})
        places = {"binary": 0, "rolling": 1, "pair": 1, "unary": 2}
        for number, token in enumerate(self._grammar.tokens):
            if token.kind in places:
                operator = BY_NAME[token.name]
                facts = (operator.unit_rule, operator.family == "cross", LEAST_WINDOW.get(token.name, 2))
                special = token.name if token.name in ("log", "ts_corr", "delay", "delta") else ""
                key = (token.kind, *facts, token.name in NO_TWINS, special)
                found[places[token.kind]].setdefault(key, []).append(number)
        return tuple(tuple((self._grammar.tokens[k[0]], np.array(k)) for k in groups.values()) for groups in found)

    def groups(self, top: Slot | None) -> tuple[Group, ...]:
        """What may come after a stack with this top, alike tokens together."""
        key = (top[0], top[5]) if top else ("", 0)
        if key not in self._grouped:
            binary, windowed, unary = self._alike
            leaves: dict[tuple[object, ...], list[int]] = {}
            for number, token in enumerate(self._grammar.tokens):
                if token.kind == "feature":
                    leaf = self._grammar._leaf(token.name)
                    leaves.setdefault((leaf[1:3], leaf[5] == key[1]), []).append(number)
                elif token.kind in ("constant", "window"):
                    leaves.setdefault((token.kind, token.value if token.kind == "window" else 0), []).append(number)
            items = tuple((self._grammar.tokens[k[0]], np.array(k)) for k in leaves.values())
            known = {"": items, "C": items + binary, "D": windowed, "V": items + unary + binary}
            self._grouped[key] = known[key[0]]
        return self._grouped[key]
