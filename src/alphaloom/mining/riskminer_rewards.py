"""What a token of RiskMiner is worth: the dense rewards of an episode.

Source: RiskMiner, arXiv:2402.07080 (the reward-dense decision process). Deviations, each an option: rewards are the
differences of formulas' worth, so that padding a formula brings nothing; sizes instead of signed coefficients, since
the pool's weights carry the sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import Expr
from alphaloom.mining.identity import root_sign
from alphaloom.mining.pool import Alpha
from alphaloom.mining.riskminer_plan import Plan
from alphaloom.mining.session import Session

__all__ = ["Judged", "Rewards"]

# Beyond this many forms what was worked out is dropped: a memory of speed alone.
_MOST_KEPT = 200_000


class Judged(NamedTuple):
    """A judged formula; `worth` is None where nothing is known of it since the budget is gone."""

    alpha: Alpha
    worth: float | None


class Rewards:
    """Pays formulas as a plan says, against the session's pool as it stands."""

    def __init__(self, plan: Plan, session: Session) -> None:
        self._plan, self._session = plan, session
        self._version = 0
        self._alike: dict[Expr, tuple[int, float]] = {}
        self._offered: dict[Expr, int] = {}

    def begin(self) -> None:
        """A new iteration: what was offered may be offered again."""
        self._offered.clear()

    def judge(self, exprs: Sequence[Expr]) -> list[Judged]:
        """The formulas' worth: coefficient less `diversity` times the mean similarity to the pool's members.

        A formula that cannot be used is worth 0. Duplicates have the worth of what they repeat.
        """
        alphas = self._session.judge(exprs)
        usable = [alpha for alpha in alphas if alpha.fault in ("", "duplicate")]
        self._compare(list({alpha.expr: alpha for alpha in reversed(usable)}.values()))
        return [
            Judged(alpha, None if alpha.fault == "budget" else self._worth(expr, alpha))
            for expr, alpha in zip(exprs, alphas, strict=True)
        ]

    def step(self, seen: set[Expr], before: float, judged: Judged) -> tuple[float, float, Expr | None]:
        """What completing a formula brings, the worth from then on, and the form where one was paid.

        `seen` are the forms that this episode was paid for, `before` the worth of the last one.
        """
        form = judged.alpha.expr
        if judged.worth is None or (self._plan.only_new and form in seen):
            return 0.0, before, None
        if self._plan.shaping == "difference":
            return judged.worth - before, judged.worth, form
        if self._plan.only_new and judged.alpha.fault:
            return 0.0, before, None
        return judged.worth, judged.worth, form

    def end(self, alpha: Alpha) -> float:
        """Offer the finished formula to the pool; what that brings."""
        pool = self._session.pool
        before = after = pool.ic
        known = self._offered.get(alpha.expr)
        if alpha.valid and known != self._version:
            done = self._session.offer(alpha)
            before, after = done.before, done.after
            self._version += int(done.accepted)
            self._offered[alpha.expr] = self._version
        return after if self._plan.end_mode == "level" else after - before

    def _worth(self, expr: Expr, alpha: Alpha) -> float:
        if alpha.fault not in ("", "duplicate"):
            return 0.0
        alike = self._alike[alpha.expr][1]
        if self._plan.unsigned:
            return abs(alpha.ic) - self._plan.diversity * alike
        return root_sign(expr) * (alpha.ic - self._plan.diversity * alike)

    def _compare(self, alphas: Sequence[Alpha]) -> None:
        """Work out the mean similarity to the pool of those for which it is not known."""
        if len(self._alike) > _MOST_KEPT:
            self._alike.clear()
        new = [alpha for alpha in alphas if self._alike.get(alpha.expr, (-1,))[0] != self._version]
        if len(new) < 2 or self._session.settings.threads == 1 or not len(self._session.pool):
            found = [self._similarity(alpha) for alpha in new]
        else:
            with ThreadPoolExecutor(self._session.settings.threads) as workers:
                found = list(workers.map(self._similarity, new))
        for alpha, alike in zip(new, found, strict=True):
            self._alike[alpha.expr] = (self._version, _mean(alike, unsigned=self._plan.unsigned))

    def _similarity(self, alpha: Alpha) -> NDArray[np.float64]:
        if not len(self._session.pool):
            return np.zeros(0)
        return self._session.similarity(alpha if alpha.valid else replace(alpha, fault=""))


def _mean(alike: NDArray[np.float64], *, unsigned: bool) -> float:
    if not len(alike):
        return 0.0
    return float(np.abs(alike).mean() if unsigned else alike.mean())
