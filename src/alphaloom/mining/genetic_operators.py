"""Crossover and mutations of formulas that leave every child a formula of the grammar.

A formula is held as the tokens that spell it: a part of it is a run of tokens, and to change a part is to put another
run in its place. What comes of it is spelt once more token by token; the grammar alone says whether it is legal. A
part only gives way to one of its own units, so that most children are.

Source: Koza's operators as gplearn has them (crossover, subtree, hoist and point mutation), which AlphaGen,
arXiv:2306.12964, compares itself with. Ours: types and units; that an operator which finds no legal child says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alphaloom.factors import Expr
from alphaloom.factors.grammar import Grammar
from alphaloom.mining.random_search import random_formula

__all__ = ["Genome", "crossover", "genome", "hoist", "point", "random_genome", "spelt", "subtree"]

# How often an operator tries another place before it gives up.
_TRIES = 8
# Koza: nine of ten places are operators, else most of what is exchanged are bare fields.
_INNER = 0.9


class Genome(NamedTuple):
    """A formula of a grammar, spelt.

    Each part ends at the token that makes it; `starts` says where it begins and `units` which exponents of price and
    share it has: None for constants and windows.   Shape: tokens, starts, units (L,).
    """

    expr: Expr
    tokens: tuple[int, ...]
    starts: tuple[int, ...]
    units: tuple[tuple[float, float] | None, ...]

    def part(self, end: int) -> tuple[int, ...]:
        """The tokens of the part that ends at a place."""
        return self.tokens[self.starts[end] : end + 1]

    def replaced(self, end: int, part: Sequence[int]) -> tuple[int, ...]:
        """The tokens with others for the part that ends at a place."""
        return (*self.tokens[: self.starts[end]], *part, *self.tokens[end + 1 :])


def genome(grammar: Grammar, expr: Expr) -> Genome | None:
    """A formula as a genome; None where the grammar cannot spell it.   Raises: GrammarError for a part it lacks."""
    return spelt(grammar, grammar.encode(expr))


def spelt(grammar: Grammar, tokens: Sequence[int]) -> Genome | None:
    """The genome that tokens spell, without the end; None where one is illegal or no formula comes of them."""
    state = grammar.start()
    begun: list[int] = []
    starts: list[int] = []
    units: list[tuple[float, float] | None] = []
    for place, number in enumerate(tokens):
        if not state.legal()[number]:
            return None
        state, arity = state.push(number), grammar.tokens[number].arity
        start = begun[-arity] if arity else place
        begun[len(begun) - arity :] = [start]
        starts.append(start)
        units.append(state.unit)
    made = state.complete
    return None if made is None else Genome(made, tuple(tokens), tuple(starts), tuple(units))


def random_genome(grammar: Grammar, random: np.random.Generator) -> Genome:
    """A random formula of the grammar."""
    made = genome(grammar, random_formula(grammar, random))
    assert made is not None
    return made


def crossover(grammar: Grammar, parent: Genome, donor: Genome, random: np.random.Generator) -> Genome | None:
    """The parent with one part replaced by a part of the donor that has the same units."""
    for _ in range(_TRIES):
        end = _place(parent, random)
        room = grammar.max_tokens - 1 - (len(parent.tokens) - len(parent.part(end)))
        fits = [k for k in _values(donor) if donor.units[k] == parent.units[end] and k + 1 - donor.starts[k] <= room]
        if fits:
            part = donor.part(fits[int(random.integers(len(fits)))])
            child = spelt(grammar, parent.replaced(end, part)) if part != parent.part(end) else None
            if child is not None:
                return child
    return None


def subtree(grammar: Grammar, parent: Genome, random: np.random.Generator) -> Genome | None:
    """The parent with one part replaced by a part of a new random formula."""
    for _ in range(_TRIES):
        child = crossover(grammar, parent, random_genome(grammar, random), random)
        if child is not None:
            return child
    return None


def hoist(grammar: Grammar, parent: Genome, random: np.random.Generator) -> Genome | None:
    """The parent with one part replaced by a smaller part of that part: the child is shorter."""
    for _ in range(_TRIES):
        end = _place(parent, random)
        inner = [k for k in _values(parent) if parent.starts[end] <= k < end and parent.units[k] == parent.units[end]]
        if inner:
            child = spelt(grammar, parent.replaced(end, parent.part(inner[int(random.integers(len(inner)))])))
            if child is not None:
                return child
    return None


def point(grammar: Grammar, parent: Genome, rate: float, random: np.random.Generator) -> Genome | None:
    """The parent with each token replaced, with chance `rate`, by another of its kind; the shape stays.

    From left to right each token is one that is legal after those before it; where the old one is not any more, it is
    replaced too. None where this leads nowhere, or nothing was replaced.
    """
    kinds = {number: grammar.tokens[number].kind for number in parent.tokens}
    for _ in range(_TRIES):
        chosen = random.random(len(parent.tokens)) < rate
        if not chosen.any():
            chosen[random.integers(len(chosen))] = True
        state, tokens = grammar.start(), []
        for old, change in zip(parent.tokens, chosen, strict=True):
            legal = state.legal()
            if change or not legal[old]:
                others = [k for k in np.flatnonzero(legal) if grammar.tokens[k].kind == kinds[old] and k != old]
                if others:
                    old = int(others[int(random.integers(len(others)))])
                elif not legal[old]:
                    break
            tokens.append(old)
            state = state.push(old)
        if len(tokens) == len(parent.tokens) and tuple(tokens) != parent.tokens and state.complete is not None:
            return spelt(grammar, tokens)
    return None


def _values(of: Genome) -> list[int]:
    return [k for k, unit in enumerate(of.units) if unit is not None]


def _place(of: Genome, random: np.random.Generator) -> int:
    """The end of a part that is a value: an operator's nine times of ten."""
    places = _values(of)
    inner = [k for k in places if of.starts[k] < k]
    if inner and random.random() < _INNER:
        places = inner
    return places[int(random.integers(len(places)))]
