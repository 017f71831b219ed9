"""The hall of fame: the best formulas that are not alike, and how alike others are to those that are better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.mining.pool import Alpha

__all__ = ["Entry", "Hall"]

Floats = NDArray[np.float64]
# Cells of the dates that similarity is taken from: with a hundred dates of 300 assets it is known to about 0.01.
_CELLS = 32_768


class Entry(NamedTuple):
    """A formula that may stay: what it is ranked by, and its values on the dates that are compared."""

    alpha: Alpha
    worth: float
    sketch: NDArray[np.float32]


class Hall:
    """At most `size` formulas, best first, no two more alike than `alike` without regard to sign.

    Similarity is the mean inner product of standardised values on evenly spread dates, so that a thousand candidates
    are compared with a hundred members at next to no cost.
    """

    def __init__(self, size: int, alike: float) -> None:
        self.size, self.alike = size, alike
        self.entries: list[Entry] = []
        self._table = np.zeros((0, 0), np.float32)

    def sketch(self, alpha: Alpha) -> NDArray[np.float32]:
        """A formula's values on the dates that are compared, of length 1.   Shape: (S, N) -> (C,)."""
        assert alpha.z is not None
        S, N = alpha.z.shape
        dates = np.linspace(0, S - 1, max(1, min(S, _CELLS // N))).astype(np.int64)
        taken = alpha.z[dates].ravel()
        length = float(np.sqrt(np.einsum("c,c->", taken, taken, dtype=np.float64)))
        return taken / np.float32(length) if length > 0.0 else taken

    def novelty(self, entries: Sequence[Entry]) -> Floats:
        """Each formula's worth times 1 less its greatest |similarity| to a member that is worth more.   Shape: (B,).

        A formula that outdoes a member is no copy of it: counting such members would punish every improvement.
        """
        worths = np.array([entry.worth for entry in entries])
        if not self.entries:
            return worths
        # Not a matrix product: its last digits depend on threads and on how many formulas are compared at once.
        like = np.abs(np.einsum("bc,kc->bk", np.stack([entry.sketch for entry in entries]), self._table))
        rivals = np.array([entry.worth for entry in self.entries])[None] > worths[:, None]
        return np.asarray(worths * (1.0 - np.where(rivals, like, 0.0).max(axis=1)))

    @property
    def floor(self) -> float:
        """What a formula must be worth more than to come in; minus infinity while there is room."""
        return self.entries[-1].worth if len(self.entries) == self.size else -np.inf

    def admit(self, fresh: Sequence[Entry]) -> bool:
        """Take in those that are better than what they are like; True where the hall is another one afterwards."""
        found = sorted([*self.entries, *fresh], key=lambda entry: (-entry.worth, str(entry.alpha.expr)))
        kept: list[Entry] = []
        table = np.zeros((self.size, len(found[0].sketch) if found else 0), np.float32)
        for entry in found:
            if len(kept) == self.size:
                break
            if not kept or np.abs(np.einsum("kc,c->k", table[: len(kept)], entry.sketch)).max() <= self.alike:
                table[len(kept)] = entry.sketch
                kept.append(entry)
        before = [entry.alpha.expr for entry in self.entries]
        self.entries, self._table = kept, table[: len(kept)].copy()
        return [entry.alpha.expr for entry in kept] != before
