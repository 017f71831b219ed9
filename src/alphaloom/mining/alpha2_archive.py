"""What Alpha2 has found so far, and what a new formula is worth beside it: (1 - MaxCorr) * IC.

The similarity that rewards use is measured on a few thousand fixed cells, which costs a fraction of a millisecond
against a hundred members; whether a formula is taken in is decided on all cells.

Source: Alpha2, arXiv:2406.16505. Deviation: coefficients without sign unless `signed`, since a small negative IC would
otherwise pay for similarity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import Expr, parse
from alphaloom.mining.identity import fixed_cells
from alphaloom.mining.pool import Alpha
from alphaloom.mining.session import Session

__all__ = ["Archive"]

# The standard error of a similarity near 0 is 1 / sqrt of this: 0.016.
CELLS = 4096
# Beyond the limit by this much, the sampled similarity alone refuses a formula.
_SLACK = 0.05


class Archive:
    """At most `size` unlike formulas, each with |IC| of `least_ic` and no similarity above `most_alike` to another.

    Without signs a newcomer takes the place of those that it is like and better than each of.

    Beyond `size` the formulas are taken greedily, each by its worth beside those before it.
    """

    def __init__(
        self,
        session: Session,
        *,
        size: int = 100,
        least_ic: float = 0.01,
        most_alike: float = 0.7,
        signed: bool = False,
        heard: Callable[[Expr, Alpha], None] | None = None,
    ) -> None:
        self.session, self.size, self.least_ic, self.most_alike = session, size, least_ic, most_alike
        self.signed, self._heard = signed, heard
        self._members: list[Alpha] = []
        self._gram = np.zeros((0, 0))
        self._sketches: dict[Expr, NDArray[np.float16]] = {}
        self._worth: dict[Expr, float] = {}
        self._cells = fixed_cells(session.target, CELLS)
        self._table = np.zeros((size + 1, 1, len(self._cells)), np.float32)
        self.exhausted = False

    def __len__(self) -> int:
        return len(self._members)

    @property
    def alphas(self) -> tuple[Alpha, ...]:
        """The members, oldest first, with their values."""
        return tuple(self._members)

    @property
    def correlations(self) -> NDArray[np.float64]:
        """Mean inner products of the members with each other.   Shape: (K, K)."""
        return self._gram.copy()

    def top(self, count: int = 20) -> list[Alpha]:
        """The members of the highest |IC|, best first."""
        return sorted(self._members, key=lambda alpha: -abs(alpha.ic))[:count]

    def judge(self, exprs: Sequence[Expr]) -> list[Expr]:
        """Judge a batch and give back the forms by which `worth` knows them.

        What the budget does not allow any more is worth 0, and sets `exhausted`.
        """
        found = self.session.judge(exprs)
        for expr, alpha in zip(exprs, found, strict=True):
            if alpha.valid and alpha.z is not None and self._heard is not None:
                self._heard(expr, alpha)
            if alpha.fault == "budget":
                self.exhausted = True
            elif alpha.valid and alpha.expr not in self._sketches:
                self._sketch(self.session.filled(alpha))
        return [alpha.expr for alpha in found]

    def worth(self, form: Expr) -> float:
        """(1 - MaxCorr) * IC beside the present members; 0 for what is faulty, a duplicate or not judged."""
        found = self._worth.get(form)
        if found is None:
            found = self._worth[form] = self._measured(form)
        return found

    def useless(self, form: Expr) -> bool:
        """True for a formula of equal values, or with the values of another one."""
        known = self.session.known.get(form)
        return known is not None and known.fault in ("constant", "duplicate")

    def _measured(self, form: Expr) -> float:
        alpha = self.session.known.get(form)
        if alpha is None or not alpha.valid:
            return 0.0
        if form not in self._sketches:
            self._sketch(self.session.filled(alpha))
        most = self._most(self._near(self._sketches[form])[self._rivals(alpha)])
        return float((1.0 - most) * (alpha.ic if self.signed else abs(alpha.ic)))

    def _rivals(self, alpha: Alpha) -> NDArray[np.bool_]:
        """Whom likeness to takes from a formula's worth: all, or without signs those that are not worse.

        Else a better version of what is there would be worth nothing, and a search could not climb.   Shape: (K,).
        """
        ics = np.array([abs(member.ic) for member in self._members])
        return np.full(len(ics), True) if self.signed else ics >= abs(alpha.ic)

    def _most(self, similarities: NDArray[np.float64]) -> float:
        if not len(similarities):
            return 0.0
        return float(similarities.max() if self.signed else np.abs(similarities).max())

    def _near(self, sketch: NDArray[np.float16]) -> NDArray[np.float64]:
        """Similarity to each member on the fixed cells.   Shape: (K,)."""
        from alphaloom.mining.judge_kernels import gram

        out = np.empty((len(self._members), 1), np.float32)
        gram(self._table, len(self._members), sketch.astype(np.float32)[None], 0, 1, out)
        return out[:, 0].astype(np.float64)

    def _sketch(self, alpha: Alpha) -> None:
        taken = np.asarray(alpha.z).reshape(-1)[self._cells].astype(np.float64)
        length = float(np.sqrt((taken * taken).sum()))
        self._sketches[alpha.expr] = (taken / (length or 1.0)).astype(np.float16)

    def admit(self, forms: Iterable[Expr], most: int) -> list[Alpha]:
        """Take in up to `most` of the forms, the best beside those already there first."""
        taken: list[Alpha] = []
        left = [form for form in dict.fromkeys(forms) if self._good(form)]
        while left and len(taken) < most:
            # Values are made again for those alone that the sampled cells do not rule out.
            left = [form for form in left if self._free(form)]
            if not left:
                break
            best = min(left, key=lambda form: (-abs(self.worth(form)), str(form)))
            left.remove(best)
            alpha = self._tried(best)
            if alpha is not None:
                taken.append(alpha)
        return taken

    def _free(self, form: Expr) -> bool:
        """False where the sampled cells rule a formula out."""
        near = self._near(self._sketches[form])[self._rivals(self.session.known[form])]
        return self._most(near) <= self.most_alike + _SLACK

    def _good(self, form: Expr) -> bool:
        alpha = self.session.known.get(form)
        if alpha is None or not alpha.valid or abs(alpha.ic) < self.least_ic:
            return False
        self.worth(form)  # so that its cells are there
        return all(form is not member.expr for member in self._members)

    def _tried(self, form: Expr) -> Alpha | None:
        alpha = self.session.filled(self.session.known[form])
        alike = self._exact(alpha)
        if self._most(alike[self._rivals(alpha)]) > self.most_alike:
            return None
        worse = np.abs(alike) > self.most_alike
        if worse.any() and not self.signed:
            # Each of them is a worse version of the newcomer.
            self._keep(np.flatnonzero(~worse).tolist())
            alike = alike[~worse]
        self._enter(alpha, alike)
        if len(self._members) > self.size:
            self._keep(self.greedy()[: self.size])
        return alpha if any(member is alpha for member in self._members) else None

    def _exact(self, alpha: Alpha) -> NDArray[np.float64]:
        from alphaloom.mining.judge_kernels import gram

        z, out = np.asarray(alpha.z), np.empty((1, len(np.asarray(alpha.z))), np.float32)
        found = np.empty(len(self._members))
        for k, member in enumerate(self._members):
            gram(np.asarray(member.z)[None], 1, z, 0, len(z), out)
            found[k] = out.mean(dtype=np.float64)
        return found

    def _enter(self, alpha: Alpha, alike: NDArray[np.float64]) -> None:
        K = len(self._members)
        if alpha.expr not in self._sketches:
            self._sketch(alpha)
        grown = np.eye(K + 1)
        grown[:K, :K], grown[K, :K], grown[:K, K] = self._gram, alike, alike
        self._gram = grown
        self._table[K, 0] = self._sketches[alpha.expr]
        self._members.append(alpha)
        self._worth.clear()

    def greedy(self) -> list[int]:
        """The members' places, each the best beside those before it."""
        ics = np.array([alpha.ic if self.signed else abs(alpha.ic) for alpha in self._members])
        alike = self._gram if self.signed else np.abs(self._gram)
        order: list[int] = []
        most = np.zeros(len(ics))
        left = np.ones(len(ics), np.bool_)
        while left.any():
            best = int(np.argmax(np.where(left, (1.0 - most) * ics, -np.inf)))
            most = np.maximum(most, alike[best]) if order else alike[best].copy()
            order.append(best)
            left[best] = False
        return order

    def _keep(self, places: Sequence[int]) -> None:
        keep = np.sort(np.asarray(places, np.int64))
        self._members = [self._members[k] for k in keep]
        self._gram = self._gram[np.ix_(keep, keep)]
        self._table[: len(keep)] = self._table[keep]

    def memory(self) -> list[str]:
        """What a later part of the search must know: the members' formulas."""
        return [str(alpha.expr) for alpha in self._members]

    def recall(self, formulas: Sequence[str]) -> None:
        """Become the archive that held these formulas, their values made again."""
        known: Mapping[Expr, Any] = self.session.known
        for text in formulas:
            alpha = self.session.filled(known[parse(text)])
            self._enter(alpha, self._exact(alpha))
