"""Published formulas without a search: the control that asks what was known before anybody mined.

Source: Kakushadze (2015), "101 Formulaic Alphas", arXiv:1601.00991; RiskMiner, arXiv:2402.07080, whose table 1 combines
them linearly. Deviation: the pool chooses and weighs them as it does a miner's formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

from alphaloom.errors import DataError
from alphaloom.factors import load_library
from alphaloom.mining.session import Session

__all__ = ["LinearAlphas"]


@dataclass(frozen=True)
class LinearAlphas:
    """Offers the formulas of a library, those that the panel has all fields and groups for, to the pool in their order.

    They cost evaluations as a miner's do and are refused for the same faults, a longer look-back than the grammar's
    among them; they need not be written in the grammar. The session's conventions hold, so that a window's
    correlation with a constant is unknown where the library calls it 0. All are offered `rounds` times, since what
    the pool refuses at first may help it later.
    """

    library: str = "alpha101"
    rounds: int = 3

    def __post_init__(self) -> None:
        load_library(self.library)
        if self.rounds < 1:
            raise DataError("formulas are offered at least once", found=self.rounds, where="LinearAlphas.rounds")

    def mine(self, session: Session) -> None:
        """Offer them all; goes on from the session's checkpoint."""
        state = session.restored()
        first = int(state["round"]) if state else 0
        factors, _ = load_library(self.library).supported_by(session.panel)
        exprs = [factor.expr for factor in factors.factors]
        for number in range(first, self.rounds):
            for expr in exprs:
                alpha = session.judge([expr])[0]
                if alpha.valid:
                    session.offer(alpha)
            session.note()
            session.checkpoint({"round": number + 1})
