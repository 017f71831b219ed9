"""Where a search that goes on from what it found takes its beginnings: the best unlike formulas of each size.

A tree that is dropped again and again comes near a formula and then leaves it; a step from these stays near it. Unlike,
so that a formula and all that hardly differs from it are one beginning among others; of each number of operators, so
that simple beginnings are not crowded out by long formulas that fit the noise a little better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import Expr, parse
from alphaloom.mining.genetic_operators import Genome
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
_ALIKE = 0.9
# How often another step is drawn where one leads to what was judged before.
_TRIES = 6
_CELLS = 4096
# What a token costs, in standard errors: noise alone lets longer formulas fit a little better.
_TOKEN = 0.05
# So many have the same number of operators: simple beginnings stay, however well longer formulas fit.
_OF_A_SIZE = 5


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


class Elites:
    """At most `count` judged formulas, the best first, and what a step from one of them leads to.

    Two are alike only where the longer one is better. A step leads only to what `allowed` lets through.
    """

    def __init__(self, session: Session, count: int, allowed: Callable[[Expr], bool] | None = None) -> None:
        self._session, self.count, self._allowed = session, count, allowed
        self._steps = Variations(session.grammar)
        self._held: list[_Elite] = []
        # The standard error of a coefficient, were all cells independent.
        self._error = 1.0 / np.sqrt(np.isfinite(session.target).sum())
        self._cells = fixed_cells(session.target, _CELLS)

    def note(self, alpha: Alpha, tokens: Sequence[int]) -> None:
        """A usable formula was judged and brings its values."""
        if alpha.z is None:
            return
        new = self._made(alpha, tokens)
        rivals = [elite.worth for elite in self._held if elite.operators == new.operators]
        if len(rivals) < _OF_A_SIZE or new.worth > min(rivals):
            new.sketch = self._sketch(alpha)
            self._enter(new)

    def _made(self, alpha: Alpha, tokens: Sequence[int]) -> _Elite:
        operators = sum(self._session.grammar.tokens[number].arity > 0 for number in tokens)
        worth = abs(alpha.ic) / self._error - _TOKEN * len(tokens)
        return _Elite(alpha.expr, worth, tuple(tokens), operators, np.zeros(0, np.float32))

    def _sketch(self, alpha: Alpha) -> NDArray[np.float32]:
        taken = np.asarray(alpha.z, np.float32).reshape(-1)[self._cells]
        return np.asarray(taken / (np.sqrt(float(taken @ taken)) or 1.0), np.float32)

    def _enter(self, new: _Elite) -> None:
        """Take a formula in; of those that are alike one gives way to one that is better and not longer."""
        alike = [elite for elite in self._held if abs(float(elite.sketch @ new.sketch)) > _ALIKE]
        if any(elite.worth >= new.worth and elite.operators <= new.operators for elite in alike):
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

    def step(self) -> Genome | None:
        """A formula one step from a good one, if possible one that was not judged; None where there is none."""
        if not self._held:
            return None
        random = self._session.rng
        made: Genome | None = None
        for _ in range(_TRIES):
            tries = np.array([elite.tries for elite in self._held])
            worth = np.array([elite.worth for elite in self._held])
            sums = np.cumsum(np.exp((worth - worth[0]) / _CLOSE) / (_PATIENCE + tries))
            parent = self._held[int(np.searchsorted(sums, random.random() * sums[-1], side="right"))]
            parent.tries += 1
            found = self._steps.step(parent.tokens, random)
            if found is not None and (self._allowed is None or self._allowed(found.expr)):
                made, form = found, root_form(found.expr)
                if form not in self._session.known and not is_constant(form):
                    break
        return made

    def memory(self) -> dict[str, list[Any]]:
        """The formulas as texts and numbers, in their order."""
        return {
            "elites": [str(elite.form) for elite in self._held],
            "elite_tokens": [list(elite.tokens) for elite in self._held],
            "elite_tries": [elite.tries for elite in self._held],
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Become those that were remembered, their values made again."""
        self._held = []
        rows = zip(memory["elites"], memory["elite_tokens"], memory["elite_tries"], strict=True)
        for text, spelling, tries in rows:
            alpha = self._session.filled(self._session.known[parse(text)])
            elite = self._made(alpha, spelling)
            elite.sketch, elite.tries = self._sketch(alpha), int(tries)
            self._held.append(elite)
