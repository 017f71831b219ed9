"""Hold the best fraction of the assets, each until it has fallen out of a wider one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.rows import check_cash, check_count, held_still, hold, signal_row, tradable_now
from alphaloom.signal import Signal

__all__ = ["TopFraction", "TopFractionPolicy"]


@dataclass(frozen=True)
class TopFraction:
    """Buys what is among the best `enter` of the scores and sells what is no longer among the best `leave`; long only.

    All holdings weigh the same; how many there are follows from the scores. `cash` is kept free.
    Time: looked at every `every` bars, counted on the signal's own rows; in between nothing is traded.
    Missing: as `TopK`: an asset without a score is sold, one that does not trade today keeps its weight.
    Raises: DataError unless 0 < enter <= leave <= 1.
    """

    enter: float = 0.1
    leave: float = 0.2
    every: int = 1
    cash: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 < self.enter <= 1.0:
            raise DataError("a fraction is above 0 and at most 1", found=self.enter, where="TopFraction.enter")
        if not self.enter <= self.leave <= 1.0:
            raise DataError(
                "what is left is at least what is entered, and at most all", found=self.leave, where="TopFraction.leave"
            )
        check_count(self.every, "TopFraction.every")
        check_cash(self.cash, "TopFraction.cash")

    def policy(self, signal: Signal) -> TopFractionPolicy:
        """The policy that follows this signal."""
        return TopFractionPolicy(self, signal)


@dataclass(frozen=True, eq=False)
class TopFractionPolicy:
    """`TopFraction` applied to one signal; what is held is read from the book."""

    allocator: TopFraction
    signal: Signal

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads: none."""
        return 0

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """Equal weights of what entered and has not left.   Shape: (N,)."""
        rule, row = self.allocator, signal_row(self.signal, view)
        if row < 0 or row % rule.every:
            return hold(len(view.assets))
        score = self.signal.values[row]
        viewed = np.flatnonzero(tradable_now(view) & np.isfinite(score))
        if not len(viewed):
            return hold(len(view.assets))
        halted = held_still(view, book.shares)
        weights = np.where(halted, book.weights, 0.0)
        # A stable sort, so that equal scores are taken in the order of the columns on every machine.
        best = viewed[np.argsort(-score[viewed], kind="stable")]
        entering, staying = (max(1, round(part * len(best))) for part in (rule.enter, rule.leave))
        place = np.arange(len(best))
        held, able = book.shares[best] > 0.0, view.buyable[-1][best]
        chosen = best[((place < entering) & (held | able)) | ((place < staying) & held)]
        free = max(1.0 - rule.cash - float(np.abs(weights).sum()), 0.0)
        if len(chosen):
            weights[chosen] = free / len(chosen)
        return weights
