"""Where a search that goes on from what it found takes its beginnings: the best unlike formulas of each size.

A tree that is dropped again and again comes near a formula and then leaves it; a step from these stays near it. Unlike,
so that a formula and all that hardly differs from it are one beginning among others; of each number of operators, so
that simple beginnings are not crowded out by long formulas that fit the noise a little better. A climb that gets no
higher is left, and another one begins from random formulas, away from where the earlier ones ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import Expr, parse
from alphaloom.mining.genetic_operators import Genome, crossover, random_genome, spelt
from alphaloom.mining.identity import fixed_cells, is_constant, root_form
from alphaloom.mining.pool import Alpha
from alphaloom.mining.session import Session
from alphaloom.mining.variations import Variations

__all__ = ["Elites"]

# A formula that is worse than the best by so many standard errors is taken e times less often: what noise alone may
# have set apart is about as good.
_CLOSE = 2.0
# After so many steps from it a formula is taken half as often, so that what leads nowhere is left.
_PATIENCE = 30
# Beyond this similarity only the better one of two is kept.
_ALIKE = 0.8
# How often a step puts a part of another held formula in the place of one of its own.
_CROSSED = 0.4
# How often another step is drawn where one leads to what was judged before.
_TRIES = 6
_CELLS = 4096
# What a token costs, in standard errors: noise alone lets longer formulas fit a little better.
_TOKEN = 0.05
# So many have the same number of operators: simple beginnings stay, however well longer formulas fit.
_OF_A_SIZE = 5
# A climb is left after so many steps in which its best did not become better by so many standard errors.
_PATIENT, _PROGRESS = 1000, 0.5
# Nearer than this to where an earlier climb ended only what is better is held.
_ENDED = 0.9


@dataclass(eq=False)
class _Elite:
    """Shape: sketch (C,), the values at the fixed cells, of length 1.

    `worth`: the coefficient's size less what its tokens cost, in standard errors; `tries`: the steps that began here.
    """

    form: Expr
    worth: float
    tokens: tuple[int, ...]
    operators: int
    sketch: NDArray[np.float32]
    tries: int = 0

    def like(self, other: _Elite, bound: float) -> bool:
        """True where the two say nearly the same, up to the sign."""
        return abs(float(self.sketch @ other.sketch)) > bound


class Elites:
    """At most `count` judged formulas, the best first, and what a step from one of them leads to.

    Two are alike only where the longer one is better. A step leads only to what `allowed` lets through. A climb begins
    once so many usable formulas were noted as `ground` says.
    """

    def __init__(
        self, session: Session, count: int, allowed: Callable[[Expr], bool] | None = None, ground: int = 100
    ) -> None:
        self._session, self.count, self._allowed, self._ground = session, count, allowed, ground
        self._steps = Variations(session.grammar)
        self._held: list[_Elite] = []
        self._ended: list[_Elite] = []
        self._peak, self._idle, self._noted = -np.inf, 0, 0
        # The standard error of a coefficient, were all cells independent.
        self._error = 1.0 / np.sqrt(np.isfinite(session.target).sum())
        self._cells = fixed_cells(session.target, _CELLS)

    def note(self, alpha: Alpha, tokens: Sequence[int]) -> None:
        """A usable formula was judged and brings its values."""
        if alpha.z is None:
            return
        self._noted += 1
        new = self._made(alpha, tokens)
        if self._good(new):
            new.sketch = self._sketch(alpha)
            self._enter(new)

    def _good(self, new: _Elite) -> bool:
        """True for what is among the best of its size."""
        rivals = [elite.worth for elite in self._held if elite.operators == new.operators]
        return len(rivals) < _OF_A_SIZE or new.worth > min(rivals)

    def _made(self, alpha: Alpha, tokens: Sequence[int]) -> _Elite:
        operators = sum(self._session.grammar.tokens[number].arity > 0 for number in tokens)
        worth = abs(alpha.ic) / self._error - _TOKEN * len(tokens)
        return _Elite(alpha.expr, worth, tuple(tokens), operators, np.zeros(0, np.float32))

    def _sketch(self, alpha: Alpha) -> NDArray[np.float32]:
        taken = np.asarray(alpha.z, np.float32).reshape(-1)[self._cells]
        return np.asarray(taken / (np.sqrt(float(taken @ taken)) or 1.0), np.float32)

    def _enter(self, new: _Elite) -> None:
        """Take a formula in; of those that are alike one gives way to one that is better and not longer."""
        alike = [elite for elite in self._held if elite.like(new, _ALIKE)]
        if any(elite.worth >= new.worth and elite.operators <= new.operators for elite in alike):
            return
        if any(old.worth >= new.worth and old.like(new, _ENDED) for old in self._ended):
            return
        gone = [elite for elite in alike if elite.worth <= new.worth and elite.operators >= new.operators]
        # Much of what is around it was tried from those that it replaces.
        new.tries = max((elite.tries for elite in gone), default=0) // 2
        kept = [new, *(elite for elite in self._held if elite not in gone)]
        counts: Counter[int] = Counter()
        self._held = []
        for elite in sorted(kept, key=lambda elite: (-elite.worth, elite.tokens)):
            counts[elite.operators] += 1
            if counts[elite.operators] <= _OF_A_SIZE and len(self._held) < self.count:
                self._held.append(elite)
        if self._held[0].worth > self._peak + _PROGRESS:
            self._peak, self._idle = self._held[0].worth, 0

    def best(self, count: int) -> list[Expr]:
        """The forms of the best that steps begin from, at most so many."""
        return [elite.form for elite in self._held[:count]]

    def step(self) -> Genome | None:
        """A formula one step from a good one, if possible one that was not judged; None where there is none.

        Where a climb was left, random formulas come first, for what the search itself finds is often where it was.
        """
        climbing = bool(self._held) and self._noted >= self._ground
        if not climbing and not self._ended:
            return None
        self._idle += climbing
        if self._idle > _PATIENT:
            self._ended.append(self._held[0])
            self._held, self._peak, self._idle, self._noted, climbing = [], -np.inf, 0, 0, False
        made: Genome | None = None
        for _ in range(_TRIES):
            found = self._drawn() if climbing else random_genome(self._session.grammar, self._session.rng)
            if found is not None and (self._allowed is None or self._allowed(found.expr)):
                made, form = found, root_form(found.expr)
                if form not in self._session.known and not is_constant(form):
                    break
                if self._ended:
                    self._again(found, form)
        return made

    def _drawn(self) -> Genome | None:
        """One step from one of those held."""
        random = self._session.rng
        tries = np.array([elite.tries for elite in self._held])
        worth = np.array([elite.worth for elite in self._held])
        sums = np.cumsum(np.exp((worth - worth[0]) / _CLOSE) / (_PATIENCE + tries))
        parent = self._held[int(np.searchsorted(sums, random.random() * sums[-1], side="right"))]
        parent.tries += 1
        if random.random() >= _CROSSED:
            return self._steps.step(parent.tokens, random)
        grammar, donor = self._session.grammar, self._held[int(random.integers(len(self._held)))]
        one, other = spelt(grammar, parent.tokens), spelt(grammar, donor.tokens)
        return crossover(grammar, one, other, random) if one and other else None

    def _again(self, made: Genome, form: Expr) -> None:
        """What an earlier climb judged is a stone to step on for this one, at no cost."""
        alpha = self._session.known.get(form)
        if alpha is None or not alpha.valid or any(elite.form is form for elite in self._held):
            return
        if self._good(self._made(alpha, made.tokens)):
            self.note(self._session.filled(alpha), made.tokens)

    def memory(self) -> dict[str, Any]:
        """The formulas as texts and numbers, in their order, and how far the climb has come."""
        every = [*self._ended, *self._held]
        return {
            "elites": [str(elite.form) for elite in every],
            "elite_tokens": [list(elite.tokens) for elite in every],
            "elite_tries": [elite.tries for elite in every],
            "climbs_ended": len(self._ended),
            "climb": [self._peak if np.isfinite(self._peak) else None, self._idle, self._noted],
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Become those that were remembered, their values made again."""
        every = []
        rows = zip(memory["elites"], memory["elite_tokens"], memory["elite_tries"], strict=True)
        for text, spelling, tries in rows:
            alpha = self._session.filled(self._session.known[parse(text)])
            elite = self._made(alpha, spelling)
            elite.sketch, elite.tries = self._sketch(alpha), int(tries)
            every.append(elite)
        count = int(memory["climbs_ended"])
        self._ended, self._held = every[:count], every[count:]
        peak, idle, noted = memory["climb"]
        self._peak, self._idle, self._noted = -np.inf if peak is None else float(peak), int(idle), int(noted)
