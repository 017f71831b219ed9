"""Genetic programming: formulas that breed, every child a legal formula of the grammar.

Source: the settings of profile "paper" are AlphaGen's for gplearn, its strawman (arXiv:2306.12964, published code): a
tournament of 600 of 1000, hardly any crossover, fitness is the training coefficient, the best 20 that are not alike
make the pool. Deviations there: the typed operators of this room, random formulas of depth 2 to 6 instead of gplearn's
half-and-half, the coefficient is that of the session's root form (a sign at the root is gone), and it runs until the
budget is gone where 40 generations were published. Everything in profile "safe" is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors import Expr, parse
from alphaloom.mining.genetic_hall import Entry, Hall
from alphaloom.mining.genetic_operators import Genome, crossover, genome, hoist, point, random_genome, subtree
from alphaloom.mining.identity import is_constant, root_form
from alphaloom.mining.pool import Alpha
from alphaloom.mining.session import Session

__all__ = ["GeneticProgramming"]

Profile = Literal["safe", "paper"]
Floats = NDArray[np.float64]
_AS_PROFILE = -1.0
# The order of tournament, crossover, subtree, hoist, point, replace, parsimony, hall, alike.
_NAMES = ("tournament", "crossover", "subtree", "hoist", "point", "replace", "parsimony", "hall", "alike")
_PROFILES: dict[str, tuple[float, ...]] = {
    "safe": (20, 0.6, 0.15, 0.05, 0.15, 0.2, 1e-4, 100, 0.7),
    "paper": (600, 0.3, 0.1, 0.01, 0.1, 0.6, 0.0, 20, 0.7),
}
_LEAST, _GENERATIONS = 20, 20
# Children are changed so often before a repetition is let through.
_TRIES = 5
# A population that has nothing new to say for so many generations has converged.
_MOST_IDLE = 20
_MOST_PARENTHESES = 20


@dataclass(frozen=True)
class GeneticProgramming:
    """Breeds formulas: tournaments choose parents; crossover, subtree, hoist and point mutation make the children.

    "safe": fitness |IC| (1 - the greatest |mutual IC| with a better member of the hall of fame), less `parsimony` a
    token in the tournament; what was judged before is changed until it is new; every new usable formula is offered to
    the pool. "paper": fitness IC, -1 beyond 20 parentheses or where a formula is unusable; after each generation the
    pool is filled anew from the hall, the best 20 with mutual IC of at most 0.7. A value of -1 takes the profile's.
    Shares of operators that do not sum to 1 leave the rest to copies; `replace` is the chance that a point mutation
    changes a token. `depth`: operators of the first formulas on top of each other, at least and at most.
    Of a budget too small for 20 generations of `population` a twentieth is the population (at least 20), and the
    tournament shrinks by the same factor (to 2 at least); where a search goes on with more, it grows again.
    `generations` of 0 runs until the budget is gone. `batch` formulas have their values in memory at a time; results do
    not depend on it.
    """

    profile: Profile = "safe"
    population: int = 1000
    generations: int = 0
    tournament: int = -1
    crossover: float = _AS_PROFILE
    subtree: float = _AS_PROFILE
    hoist: float = _AS_PROFILE
    point: float = _AS_PROFILE
    replace: float = _AS_PROFILE
    parsimony: float = _AS_PROFILE
    hall: int = -1
    alike: float = _AS_PROFILE
    depth: tuple[int, int] = (2, 6)
    batch: int = 64

    def __post_init__(self) -> None:
        if self.profile not in get_args(Profile):
            raise DataError("a profile is safe or paper", found=self.profile, where="GeneticProgramming.profile")
        for name, value in zip(_NAMES, _PROFILES[self.profile], strict=True):
            if getattr(self, name) == -1:
                object.__setattr__(self, name, int(value) if name in ("tournament", "hall") else value)
        object.__setattr__(self, "depth", tuple(self.depth))
        for name, least in (("population", 2), ("generations", 0), ("tournament", 1), ("hall", 1), ("batch", 1)):
            if getattr(self, name) < least:
                rule = f"a count is at least {least}"
                raise DataError(rule, found=getattr(self, name), where=f"GeneticProgramming.{name}")
        shares = {name: getattr(self, name) for name in ("crossover", "subtree", "hoist", "point", "replace", "alike")}
        for name, share in shares.items():
            if not 0.0 <= share <= 1.0:
                raise DataError("a share lies in [0, 1]", found=share, where=f"GeneticProgramming.{name}")
        if sum(list(shares.values())[:4]) > 1.0 + 1e-9:
            raise DataError("shares of operators sum to 1 at most", found=shares, where="GeneticProgramming.crossover")
        if self.parsimony < 0.0:
            raise DataError("a price is not negative", found=self.parsimony, where="GeneticProgramming.parsimony")
        if len(self.depth) != 2 or not 0 <= self.depth[0] <= self.depth[1]:
            raise DataError("depth is least and most", found=self.depth, where="GeneticProgramming.depth")

    def mine(self, session: Session) -> None:
        """Search until the budget is gone; goes on from the session's checkpoint, one of which each generation is."""
        run = _Run(self, session)
        while not (session.spent or run.idle >= _MOST_IDLE or 0 < self.generations <= run.generation):
            run.breed()
            session.checkpoint(run.state())
        session.note()
        session.checkpoint(run.state())


class _Run:
    """Where a search stands: the population with its fitness, and the hall."""

    def __init__(self, miner: GeneticProgramming, session: Session) -> None:
        self.miner, self.session = miner, session
        self.size = scaled(miner.population, session.budget.evaluations)
        self.hall = Hall(miner.hall, miner.alike)
        self.people: list[Genome] = []
        self.fitness = np.zeros(0)
        self.generation = self.idle = 0
        state = session.restored()
        if state:
            self._recall(state)

    def state(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "idle": self.idle,
            "people": [list(one.tokens) for one in self.people],
            "fitness": self.fitness,
            "hall": [str(entry.alpha.expr) for entry in self.hall.entries],
        }

    def _recall(self, state: dict[str, Any]) -> None:
        grammar, session = self.session.grammar, self.session
        self.generation, self.idle = state["generation"], state["idle"]
        people = [genome(grammar, grammar.decode(tokens)) for tokens in state["people"]]
        self.people = [one for one in people if one is not None]
        self.fitness = np.asarray(state["fitness"])
        self.hall.admit([self._entry(session.filled(session.known[parse(text)])) for text in state["hall"]])

    def breed(self) -> None:
        """One generation: children, their worth, the hall."""
        before = self.session.evaluations
        self.people = self._children() if self.people else self._first()
        fresh: list[Entry] = []
        parts = [self.people[k : k + self.miner.batch] for k in range(0, len(self.people), self.miner.batch)]
        self.fitness = np.concatenate([self._judged(part, fresh) for part in parts])
        changed = self.hall.admit(fresh)
        if changed and self.miner.profile == "paper":
            self._refill()
        self.generation += 1
        self.idle = 0 if self.session.evaluations > before else self.idle + 1

    def _judged(self, part: Sequence[Genome], fresh: list[Entry]) -> Floats:
        """The fitness of some formulas; what may come into the hall is added to `fresh`."""
        if self.session.spent:  # a limit in seconds can be reached within a generation
            return np.zeros(len(part))
        alphas = self.session.judge([one.expr for one in part])
        if self.miner.profile == "paper":
            # The published code does not know that other formulas have the same values.
            worths = [
                alpha.ic if alpha.fault in ("", "duplicate") and parentheses(one.expr) <= _MOST_PARENTHESES else -1.0
                for one, alpha in zip(part, alphas, strict=True)
            ]
            fresh += [
                self._entry(alpha)
                for alpha, worth in zip(alphas, worths, strict=True)
                if worth > max(self.hall.floor, -1.0) and alpha.valid and alpha.z is not None
            ]
            return np.array(worths)
        for alpha in alphas:
            if alpha.valid and alpha.z is not None:
                self.session.offer(alpha)
        found = {k: self._entry(self.session.filled(alpha)) for k, alpha in enumerate(alphas) if alpha.valid}
        out = np.zeros(len(part))
        if found:
            fresh += [entry for entry in found.values() if entry.worth > self.hall.floor]
            out[list(found)] = self.hall.novelty(list(found.values()))
        return out

    def _entry(self, alpha: Alpha) -> Entry:
        worth = alpha.ic if self.miner.profile == "paper" else abs(alpha.ic)
        return Entry(replace(alpha, z=None, b=None), worth, self.hall.sketch(alpha))

    def _refill(self) -> None:
        """The pool of the published strawman: the best that are not alike, and nothing of what it held before."""
        self.session.pool.recall([], {"weights": [], "refused": []})
        for entry in self.hall.entries:
            self.session.offer(entry.alpha)

    def _first(self) -> list[Genome]:
        people: list[Genome] = []
        seen: set[Expr] = set()
        for _ in range(self.size):
            people.append(self._new(self._random(), seen) if self.miner.profile == "safe" else self._random())
        return people

    def _children(self) -> list[Genome]:
        order = ranks(self.fitness, [len(one.tokens) for one in self.people], self.miner.parsimony)
        children: list[Genome] = []
        seen: set[Expr] = set()
        for _ in range(self.size):
            child, copied = self._child(order)
            new = self.miner.profile == "safe" and not (copied and root_form(child.expr) not in seen)
            children.append(self._new(child, seen) if new else child)
            seen.add(root_form(children[-1].expr))
        return children

    def _child(self, order: NDArray[np.int64]) -> tuple[Genome, bool]:
        """A child of winners and whether it is meant to be a copy; an operator without a legal child copies too."""
        miner, random, grammar = self.miner, self.session.rng, self.session.grammar
        size = max(2, round(miner.tournament * self.size / miner.population))
        parent, drawn = self.people[winner(order, size, random)], random.random()
        made: Genome | None
        if drawn < miner.crossover:
            made = crossover(grammar, parent, self.people[winner(order, size, random)], random)
        elif drawn < miner.crossover + miner.subtree:
            made = subtree(grammar, parent, random)
        elif drawn < miner.crossover + miner.subtree + miner.hoist:
            made = hoist(grammar, parent, random)
        elif drawn < miner.crossover + miner.subtree + miner.hoist + miner.point:
            made = point(grammar, parent, miner.replace, random)
        else:
            return parent, True
        return made or parent, False

    def _new(self, child: Genome, seen: set[Expr]) -> Genome:
        """A formula that was not judged before: the child, or a mutation of it, or a random one."""
        random, grammar = self.session.rng, self.session.grammar
        for attempt in range(2 * _TRIES):
            form = root_form(child.expr)
            if form not in self.session.known and form not in seen and not is_constant(form):
                break
            if attempt >= _TRIES:
                child = self._random()
            elif random.random() < 0.5:
                child = point(grammar, child, self.miner.replace, random) or child
            else:
                child = subtree(grammar, child, random) or child
        seen.add(root_form(child.expr))
        return child

    def _random(self) -> Genome:
        """A random formula of the asked depth, or of any where a grammar hardly has such."""
        least, most = self.miner.depth
        for _ in range(10):
            made = random_genome(self.session.grammar, self.session.rng)
            if least <= made.expr.depth - 1 <= most:
                break
        return made


def scaled(population: int, evaluations: int) -> int:
    """The population that a budget bears: a twentieth of it, at least 20, or what was asked for if that is less."""
    return min(population, max(_LEAST, evaluations // _GENERATIONS))


def ranks(fitness: Floats, sizes: Sequence[int], parsimony: float) -> NDArray[np.int64]:
    """Places by fitness less `parsimony` a token, 0 the best; of equals the shorter, then the earlier.

    Shape: (P,), (P,) -> (P,).
    """
    lengths = np.asarray(sizes)
    order = np.lexsort((lengths, -(fitness - parsimony * lengths)))
    out = np.empty(len(order), np.int64)
    out[order] = np.arange(len(order))
    return out


def winner(order: NDArray[np.int64], size: int, random: np.random.Generator) -> int:
    """The best placed of `size` that are drawn with replacement."""
    drawn = random.integers(len(order), size=size)
    return int(drawn[np.argmin(order[drawn])])


def parentheses(expr: Expr) -> int:
    """How many parentheses a formula has where every operator is written as a call."""
    return (2 if expr.args else 0) + sum(parentheses(arg) for arg in expr.args)
