"""Enter when the score is high enough, leave when it is no longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.rows import check_cash, check_count, held_still, hold, signal_row, tradable_now
from alphaloom.signal import Signal

__all__ = ["Sides", "Threshold", "ThresholdPolicy"]

Sides = Literal["long", "both"]


@dataclass(frozen=True)
class Threshold:
    """Opens a position when the score reaches `enter` and closes it when the score falls below `leave`.

    With `sides="both"` shorts mirror longs around `centre`: opened at or below `2 * centre - enter`, closed above
    `2 * centre - leave` (the market must allow shorts). A position is worth `(1 - cash) / slots` of equity when it is
    opened and then drifts; when more assets ask than there are slots, the strongest scores get them. When an order is
    due and drift has lifted gross exposure above equity, all positions are cut back to it in proportion.
    Time: looked at every `every` bars, counted on the signal's own rows.
    Missing: a holding without a score is kept, as it has not fallen below `leave`; one that left the universe is
    closed; one that does not trade today is kept.
    Raises: DataError unless enter >= leave >= centre.
    """

    enter: float
    leave: float
    slots: int = 20
    sides: Sides = "long"
    centre: float = 0.0
    every: int = 1
    cash: float = 0.01

    def __post_init__(self) -> None:
        check_count(self.slots, "Threshold.slots")
        check_count(self.every, "Threshold.every")
        check_cash(self.cash, "Threshold.cash")
        if self.sides not in get_args(Sides):
            raise DataError("positions are long or on both sides", found=self.sides, where="Threshold.sides")
        mirrored = self.sides == "both"
        if not self.enter >= self.leave or (mirrored and not self.leave >= self.centre):
            raise DataError(
                "a position is left at or below the score that opened it, and not beyond the centre",
                found=f"enter {self.enter}, leave {self.leave}, centre {self.centre}",
                where="Threshold",
                fix="enter >= leave, and leave >= centre when there are shorts",
            )

    def policy(self, signal: Signal) -> ThresholdPolicy:
        """The policy that follows this signal."""
        return ThresholdPolicy(self, signal)


@dataclass(frozen=True, eq=False)
class ThresholdPolicy:
    """`Threshold` applied to one signal; open positions are read from the book."""

    allocator: Threshold
    signal: Signal

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads: none."""
        return 0

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """Present weights of what stays, one slot for what is new, zero for what leaves.   Shape: (N,)."""
        rule = self.allocator
        row = signal_row(self.signal, view)
        if row < 0 or row % rule.every:
            return hold(len(view.assets))
        score = self.signal.values[row] - rule.centre
        able = tradable_now(view)
        kept = self._kept(score, able, view, book)
        fresh, side = self._fresh(score, able & (book.shares == 0.0), view, rule.slots - int(kept.sum()))
        if not len(fresh) and not (~kept & (book.shares != 0.0)).any():
            return hold(len(view.assets))
        weights = np.where(kept, book.weights, 0.0)
        gross = float(np.abs(weights).sum())
        if gross > 1.0:
            # Losses of a short or costs can lift what is held above equity; an order may not carry that on.
            weights /= gross
        free = max(1.0 - rule.cash - gross, 0.0)
        weights[fresh] = side * min((1.0 - rule.cash) / rule.slots, free / max(len(fresh), 1))
        return weights

    def _kept(self, score: NDArray[np.float64], able: NDArray[np.bool_], view: Panel, book: Book) -> NDArray[np.bool_]:
        leave = self.allocator.leave - self.allocator.centre
        stays = (book.shares > 0.0) & ~(score < leave)
        if self.allocator.sides == "both":
            stays |= (book.shares < 0.0) & ~(score > -leave)
        return np.asarray((stays & able) | held_still(view, book.shares))

    def _fresh(
        self, score: NDArray[np.float64], able: NDArray[np.bool_], view: Panel, places: int
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Columns to open, strongest first, and the sign of each."""
        enter = self.allocator.enter - self.allocator.centre
        asks = able & view.buyable[-1] & (score >= enter)
        if self.allocator.sides == "both":
            asks |= able & view.sellable[-1] & (score <= -enter)
        columns = np.flatnonzero(asks)
        strongest = np.argsort(-np.abs(score[columns]), kind="stable")[: max(places, 0)]
        chosen = columns[strongest]
        sign = np.sign(score[chosen]) if self.allocator.sides == "both" else np.ones(len(chosen))
        return chosen, np.where(sign == 0.0, 1.0, sign)
