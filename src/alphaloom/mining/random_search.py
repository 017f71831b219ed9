"""Random formulas: the control that every search has to beat.

Source: FactorMiner, arXiv:2602.14670, whose tables show random formulas with a lasso close to published searches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphaloom.errors import DataError
from alphaloom.factors import Expr
from alphaloom.factors.grammar import Grammar
from alphaloom.mining.session import Session

__all__ = ["RandomSearch", "random_formula"]


@dataclass(frozen=True)
class RandomSearch:
    """Draws formulas token by token, each legal token as likely as the next, and offers them to the pool.

    How many tokens a formula may have is drawn first, evenly up to the grammar's most, so that short ones are not
    rare: where all tokens are alike, most formulas are as long as they may be. `batch` formulas are
    judged together. A checkpoint is written every `keep_every` evaluations, and when the session's clock asks for one.
    """

    batch: int = 32
    keep_every: int = 1000

    def __post_init__(self) -> None:
        for name in ("batch", "keep_every"):
            if getattr(self, name) < 1:
                raise DataError("a count is at least 1", found=getattr(self, name), where=f"RandomSearch.{name}")

    def mine(self, session: Session) -> None:
        """Search until the budget is gone; goes on from the session's checkpoint."""
        state = session.restored()
        kept = int(state["kept"]) if state else 0
        # A grammar of few formulas can be exhausted before the budget is: rounds without news end the search.
        idle = 0
        while not session.spent and idle < 1000:
            before = session.evaluations
            batch = [random_formula(session.grammar, session.rng) for _ in range(self.batch)]
            for alpha in session.judge(batch):
                if alpha.valid and alpha.z is not None:
                    session.offer(alpha)
            idle = 0 if session.evaluations > before else idle + 1
            whole = session.evaluations // self.keep_every
            if whole > kept or session.due:
                kept = whole
                session.checkpoint({"kept": kept})
        session.note()
        session.checkpoint({"kept": kept})


def random_formula(grammar: Grammar, random: np.random.Generator) -> Expr:
    """One formula of the grammar, of at most a length that is drawn first."""
    end, limit = len(grammar.tokens) - 1, int(random.integers(grammar.shortest, grammar.max_tokens + 1))
    state = grammar.start(limit)
    while True:
        legal = np.flatnonzero(state.legal())
        number = int(legal[random.integers(len(legal))])
        if number == end or (legal[-1] == end and state.left <= 2):
            made = state.complete
            assert made is not None
            return made
        state = state.push(number)
