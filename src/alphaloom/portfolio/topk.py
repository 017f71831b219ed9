"""Hold the k best assets, with a buffer that lets a holding slip a little before it is sold."""

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

__all__ = ["TopK", "TopKPolicy", "Weighting"]

Weighting = Literal["equal", "rank"]


@dataclass(frozen=True)
class TopK:
    """Holds the k assets with the highest scores; long only.

    An asset is bought when it is among the k best and sold when it falls below rank `k + buffer`; in between a
    holding keeps its place. Each place is worth `(1 - cash) / k` of equity ("equal") or falls linearly from the best
    to the worst holding ("rank"); with fewer than k candidates the rest stays in cash. `cash` is kept free so that
    costs and the move from the close to the fill do not bind.
    Time: places are dealt anew every `every` bars, counted on the signal's own rows; in between nothing is traded.
    Missing: an asset without a score has no rank and is sold; a holding that does not trade today keeps its weight
    and its place; a bar without any score trades nothing.
    Raises: DataError for a count or a reserve out of range.
    """

    k: int = 50
    buffer: int = 0
    every: int = 1
    weighting: Weighting = "equal"
    cash: float = 0.01

    def __post_init__(self) -> None:
        check_count(self.k, "TopK.k")
        check_count(self.buffer, "TopK.buffer", least=0)
        check_count(self.every, "TopK.every")
        check_cash(self.cash, "TopK.cash")
        if self.weighting not in get_args(Weighting):
            raise DataError("a weighting is equal or by rank", found=self.weighting, where="TopK.weighting")

    def policy(self, signal: Signal) -> TopKPolicy:
        """The policy that follows this signal."""
        return TopKPolicy(self, signal)


@dataclass(frozen=True, eq=False)
class TopKPolicy:
    """`TopK` applied to one signal; who is an incumbent is read from the book."""

    allocator: TopK
    signal: Signal

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads: none."""
        return 0

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """Weights of the k best.   Shape: (N,)."""
        rule = self.allocator
        row = signal_row(self.signal, view)
        if row < 0 or row % rule.every:
            return hold(len(view.assets))
        score = self.signal.values[row]
        viewed = tradable_now(view) & np.isfinite(score)
        if not viewed.any():
            return hold(len(view.assets))
        halted = held_still(view, book.shares)
        weights = np.where(halted, book.weights, 0.0) if halted.any() else np.zeros(len(score))
        held = book.shares > 0.0
        candidates = np.flatnonzero(viewed & (held | view.buyable[-1]))
        chosen = self._places(score[candidates], held[candidates], max(rule.k - int(halted.sum()), 0))
        free = max(1.0 - rule.cash - float(np.abs(weights).sum()), 0.0)
        weights[candidates[chosen]] = _sized(len(chosen), rule, free)
        return weights

    def _places(self, score: NDArray[np.float64], held: NDArray[np.bool_], places: int) -> NDArray[np.intp]:
        """Which candidates to hold, best first: incumbents within the buffer, then the best newcomers."""
        rule = self.allocator
        # A stable sort, so that equal scores are taken in the order of the columns on every machine.
        order = np.argsort(-score, kind="stable")[: rule.k + rule.buffer]
        incumbent = held[order]
        kept = np.flatnonzero(incumbent)[:places]
        fresh = np.flatnonzero(~incumbent)[: places - len(kept)]
        chosen: NDArray[np.intp] = order[np.sort(np.concatenate([kept, fresh]))]
        return chosen


def _sized(count: int, rule: TopK, free: float) -> NDArray[np.float64]:
    """Weights of `count` places, best first, together at most `free`."""
    if count == 0:
        return np.zeros(0)
    place = min((1.0 - rule.cash) / rule.k, free / count)
    if rule.weighting == "equal":
        return np.full(count, place)
    return np.arange(count, 0, -1, dtype=np.float64) * (2.0 * place / (count + 1))
