"""Formulas one step from another one: what a search that has come near something tries next.

A step puts an operator on fresh fields in the place of a part, puts an operator around a part, exchanges the operator
around a part for another, of other units within and the same without, changes one token to another of its kind, or
leaves one operator out. Operators are equally likely, however many operands they can have.
Before that a quotient may be spelt as (a - b) / b, which has the values of a / b less 1: what is relative to its own
scale is one step, and not two, from what is relative to any other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from alphaloom.factors.grammar import Exponents, Grammar
from alphaloom.mining.genetic_operators import Genome, spelt
from alphaloom.mining.program_tables import BY_NAME, Instruction, as_expr, written

__all__ = ["Variations"]

# How often another step is drawn where one leads to no formula of the grammar.
_TRIES = 12
_RESPELT = 0.5
# Up to where of a number in [0, 1) a token is changed, a fresh operator set in, one put around, one exchanged for
# another around the same; beyond, one left out.
_KINDS = (0.25, 0.55, 0.7, 0.9)
_HOLE = "Reg0"

Tokens = tuple[int, ...]


class _Piece(NamedTuple):
    """An operator applied once: `before` and `after` stand around what it is applied to, if it has a hole for that."""

    before: Tokens
    after: Tokens


class Variations:
    """The steps that a grammar allows; what it works out of the grammar is kept."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._lines = [line for line in written(grammar)[0] if "Reg1" not in line.operands]
        self._known: dict[tuple[Exponents, Exponents | None], list[list[_Piece]]] = {}
        self._names = {token.name: k for k, token in enumerate(grammar.tokens) if token.arity}
        self._kin = [
            [k for k, other in enumerate(grammar.tokens) if other.kind == token.kind and other is not token]
            for token in grammar.tokens
        ]

    def step(self, tokens: Tokens, random: np.random.Generator) -> Genome | None:
        """Another formula of the grammar, one step away; None where none was found or the tokens spell no formula.

        `tokens` are without the end.
        """
        parent = spelt(self.grammar, tokens)
        if parent is None:
            return None
        if random.random() < _RESPELT:
            parent = self._respelt(parent)
        for _ in range(_TRIES):
            drawn = self._drawn(parent, random)
            if drawn is not None and drawn != tokens and len(drawn) < self.grammar.max_tokens:
                found = spelt(self.grammar, drawn)
                if found is not None:
                    return found
        return None

    def _respelt(self, parent: Genome) -> Genome:
        if parent.tokens[-1] != self._names.get("div") or "sub" not in self._names:
            return parent
        divisor = parent.part(len(parent.tokens) - 2)
        longer = (*parent.tokens[:-1], self._names["sub"], *divisor, parent.tokens[-1])
        fits = len(longer) < self.grammar.max_tokens
        return (spelt(self.grammar, longer) if fits else None) or parent

    def _drawn(self, parent: Genome, random: np.random.Generator) -> Tokens | None:
        kind = int(np.searchsorted(_KINDS, random.random(), side="right"))
        if kind == 0:
            return self._changed(parent, random)
        places = [k for k, unit in enumerate(parent.units) if unit is not None and (kind < 3 or parent.starts[k] < k)]
        if not places:
            return None
        end = places[int(random.integers(len(places)))]
        if kind == 4:
            inner = [k for k in range(parent.starts[end], end) if parent.units[k] == parent.units[end]]
            return parent.replaced(end, parent.part(inner[int(random.integers(len(inner)))])) if inner else None
        held = end
        if kind == 3:
            operands = [k for k in _operands(parent, end) if parent.units[k] is not None]
            held = operands[int(random.integers(len(operands)))]
        unit = parent.units[end]
        assert unit is not None
        pieces = self._pieces(unit, None if kind == 1 else parent.units[held])
        if not pieces:
            return None
        alike = pieces[int(random.integers(len(pieces)))]
        piece = alike[int(random.integers(len(alike)))]
        own = parent.part(held) if kind > 1 else ()
        return parent.replaced(end, (*piece.before, *own, *piece.after))

    def _changed(self, parent: Genome, random: np.random.Generator) -> Tokens | None:
        place = int(random.integers(len(parent.tokens)))
        others = self._kin[parent.tokens[place]]
        if not others:
            return None
        drawn = others[int(random.integers(len(others)))]
        return (*parent.tokens[:place], drawn, *parent.tokens[place + 1 :])

    def _pieces(self, unit: Exponents, hole: Exponents | None) -> list[list[_Piece]]:
        """What gives a value of these units, of fields alone or of a value that has those of the hole, by operator."""
        if (unit, hole) not in self._known:
            found: dict[str, list[_Piece]] = {}
            for line in self._lines:
                if (_HOLE in line.operands) == (hole is not None) and self._unit(line, hole) == unit:
                    found.setdefault(line.operator, []).append(self._spelt(line))
            self._known[unit, hole] = list(found.values())
        return self._known[unit, hole]

    def _unit(self, line: Instruction, hole: Exponents | None) -> Exponents | None:
        args: list[Exponents | None] = []
        for word, argument in zip(line.operands, BY_NAME[line.operator].arguments, strict=True):
            if argument.kind != "window":
                field = word in self.grammar.features
                args.append(hole if word == _HOLE else self.grammar.field_unit(word) if field else None)
        return self.grammar.unit_after(line.operator, args)

    def _spelt(self, line: Instruction) -> _Piece:
        if _HOLE not in line.operands:
            return _Piece(self.grammar.encode(as_expr(line)), ())
        place = line.operands.index(_HOLE)
        # A field stands in for what the operator is applied to, and gives its token away.
        shown = Instruction(line.operator, tuple(self.grammar.features[0] if w == _HOLE else w for w in line.operands))
        whole = self.grammar.encode(as_expr(shown))
        return _Piece(whole[:place], whole[place + 1 :])


def _operands(of: Genome, end: int) -> list[int]:
    """Where the operands of the operator at a place end, the last first."""
    found, place = [], end - 1
    while place >= of.starts[end]:
        found.append(place)
        place = of.starts[place] - 1
    return found
