"""Hold the k best assets and exchange at most n of them at a time.

Source: qlib's TopkDropout strategy (Yang et al. 2020, arXiv:2009.11189), which Alpha2 (arXiv:2406.16505) trades with
k = 50 and n = 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.rows import check_cash, check_count, held_still, hold, signal_row, tradable_now
from alphaloom.signal import Signal

__all__ = ["TopDrop", "TopDropPolicy"]


@dataclass(frozen=True)
class TopDrop:
    """Holds k assets; at each rebalancing at most `drop` of them give way to better ones; long only.

    The holdings and the best newcomers are ranked together: a holding is sold when it is among the last `drop` of
    them. Who stays keeps its weight, newcomers share what is free, so that little is traded.
    `cash` is kept free so that costs and the move from the close to the fill do not bind.
    Time: exchanges happen every `every` bars, counted on the signal's own rows.
    Missing: a holding without a score is sold; one that does not trade today stays.
    Raises: DataError for a count or a reserve out of range.
    """

    k: int = 50
    drop: int = 5
    every: int = 1
    cash: float = 0.01

    def __post_init__(self) -> None:
        check_count(self.k, "TopDrop.k")
        check_count(self.drop, "TopDrop.drop")
        check_count(self.every, "TopDrop.every")
        check_cash(self.cash, "TopDrop.cash")
        if self.drop > self.k:
            raise DataError("no more holdings can leave than there are", found=self.drop, where="TopDrop.drop")

    def policy(self, signal: Signal) -> TopDropPolicy:
        """The policy that follows this signal."""
        return TopDropPolicy(self, signal)


@dataclass(frozen=True, eq=False)
class TopDropPolicy:
    """`TopDrop` applied to one signal; what is held is read from the book."""

    allocator: TopDrop
    signal: Signal

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads: none."""
        return 0

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """Weights after the exchange.   Shape: (N,)."""
        rule, N = self.allocator, len(view.assets)
        row = signal_row(self.signal, view)
        if row < 0 or row % rule.every:
            return hold(N)
        score = self.signal.values[row]
        viewed = tradable_now(view) & np.isfinite(score)
        if not viewed.any():
            return hold(N)
        halted, held = held_still(view, book.shares), book.shares > 0.0
        places = max(rule.k - int(halted.sum()), 0)
        stays, comes = self._exchanged(score, viewed & held, viewed & ~held & view.buyable[-1], places)
        weights = np.where(halted, book.weights, 0.0)
        weights[stays] = book.weights[stays]
        # Places that nobody takes stay in cash.
        open_places = max(places - len(stays), len(comes))
        free = max(1.0 - rule.cash - float(weights.sum()), 0.0)
        if len(comes):
            weights[comes] = free / open_places
        return weights

    def _exchanged(
        self, score: NDArray[np.float64], held: NDArray[np.bool_], new: NDArray[np.bool_], places: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Who stays and who comes."""
        rule, own = self.allocator, _ranked(score, held)
        candidates = _ranked(score, new)[: rule.drop + max(places - len(own), 0)]
        together = np.concatenate([own, candidates])
        together = together[np.argsort(-score[together], kind="stable")]
        # Nobody leaves for a place that nobody takes.
        count = min(rule.drop, len(candidates))
        leaving = together[len(together) - count :]
        stays = own[~np.isin(own, leaving)][:places]
        return stays, candidates[: max(places - len(stays), 0)]


def _ranked(score: NDArray[np.float64], among: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Columns from the best score to the worst; equal scores in the order of the columns."""
    columns = np.flatnonzero(among)
    found: NDArray[np.intp] = columns[np.argsort(-score[columns], kind="stable")]
    return found
