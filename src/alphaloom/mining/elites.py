"""Where a search that goes on from what it found takes its beginnings: the best unlike formulas, as tokens.

A tree that is dropped again and again comes near a formula and then leaves it; a step from these stays near it. Unlike,
so that a formula and all that hardly differs from it are one beginning among others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import Expr, parse
from alphaloom.mining.genetic_operators import Genome
from alphaloom.mining.identity import is_constant, root_form
from alphaloom.mining.pool import Alpha
from alphaloom.mining.session import Session
from alphaloom.mining.variations import Variations

__all__ = ["Elites"]

# How much less often each next best formula is taken than the one before.
_FALL = 0.9
# After so many steps from it a formula is taken half as often, so that what leads nowhere is left.
_PATIENCE = 30
# Beyond this similarity only the better one of two is kept.
_ALIKE = 0.9
# How often another step is drawn where one leads to what was judged before.
_TRIES = 6
_CELLS = 4096
# What a token costs beside the coefficient: noise alone lets longer formulas fit a little better.
_TOKEN = 2e-4


@dataclass(eq=False)
class _Elite:
    """Shape: sketch (C,), the values at the fixed cells, of length 1. `tries`: the steps that began here."""

    form: Expr
    size: float
    tokens: tuple[int, ...]
    sketch: NDArray[np.float32]
    tries: int = 0


class Elites:
    """At most `count` judged formulas, the best first, no two of them alike; what a step from one of them leads to.

    A step leads only to what `allowed` lets through.
    """

    def __init__(self, session: Session, count: int, allowed: Callable[[Expr], bool] | None = None) -> None:
        self._session, self.count, self._allowed = session, count, allowed
        self._steps = Variations(session.grammar)
        self._held: list[_Elite] = []
        known = np.flatnonzero(np.isfinite(session.target))
        self._cells = known if len(known) <= _CELLS else np.sort(np.random.default_rng(0).choice(known, _CELLS, False))

    def note(self, alpha: Alpha, tokens: Sequence[int]) -> None:
        """A usable formula was judged and brings its values."""
        size = abs(alpha.ic) - _TOKEN * len(tokens)
        if alpha.z is None or (len(self._held) >= self.count and size <= self._held[-1].size):
            return
        self._enter(_Elite(alpha.expr, size, tuple(tokens), self._sketch(alpha)))

    def _sketch(self, alpha: Alpha) -> NDArray[np.float32]:
        taken = np.asarray(alpha.z, np.float32).reshape(-1)[self._cells]
        return np.asarray(taken / (np.sqrt(float(taken @ taken)) or 1.0), np.float32)

    def _enter(self, new: _Elite) -> None:
        alike = [abs(float(elite.sketch @ new.sketch)) > _ALIKE for elite in self._held]
        if any(like and elite.size >= new.size for like, elite in zip(alike, self._held, strict=True)):
            return
        # Much of what is around it was tried from those that it replaces.
        new.tries = max((elite.tries for like, elite in zip(alike, self._held, strict=True) if like), default=0) // 2
        kept = [elite for like, elite in zip(alike, self._held, strict=True) if not like]
        self._held = sorted([*kept, new], key=lambda elite: (-elite.size, elite.tokens))[: self.count]

    def step(self) -> Genome | None:
        """A formula one step from a good one, if possible one that was not judged; None where there is none."""
        if not self._held:
            return None
        random = self._session.rng
        made: Genome | None = None
        for _ in range(_TRIES):
            tries = np.array([elite.tries for elite in self._held])
            sums = np.cumsum(_FALL ** np.arange(len(self._held)) / (_PATIENCE + tries))
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
            self._held.append(
                _Elite(
                    alpha.expr, abs(alpha.ic) - _TOKEN * len(spelling), tuple(spelling), self._sketch(alpha), int(tries)
                )
            )
