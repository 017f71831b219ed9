"""Buy the best fraction of the universe and sell the worst, with equal money on both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.rows import check_count, schedule, tradable
from alphaloom.signal import Signal

__all__ = ["LongShort", "LongShortPolicy"]


@dataclass(frozen=True)
class LongShort:
    """Long the best `quantile` of the members and short the worst, equal weights, dollar neutral.

    Each side is worth `gross / 2` of equity, so the net is zero. The market must allow it: `short=True` and
    `leverage >= gross`.
    Time: rebalanced every `every` bars, counted on the signal's own rows; in between the positions drift.
    Missing: an asset without a score or a close today gets no weight; with too few assets to fill a quantile nothing
    is traded.
    Raises: DataError for a quantile outside (0, 0.5] or a gross exposure that is not positive.
    """

    quantile: float = 0.2
    gross: float = 1.0
    every: int = 1

    def __post_init__(self) -> None:
        check_count(self.every, "LongShort.every")
        if not 0.0 < self.quantile <= 0.5:
            raise DataError(
                "a quantile is above 0 and at most one half, so that the two sides do not meet",
                found=self.quantile,
                where="LongShort.quantile",
            )
        if not 0.0 < self.gross < np.inf:
            raise DataError("gross exposure is positive", found=self.gross, where="LongShort.gross")

    def policy(self, signal: Signal) -> LongShortPolicy:
        """The policy that follows this signal."""
        return LongShortPolicy(self, signal)


@dataclass(frozen=True, eq=False)
class LongShortPolicy:
    """`LongShort` applied to one signal; it never looks at the book, so all weights are known beforehand."""

    allocator: LongShort
    signal: Signal

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads: none."""
        return 0

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """The last row of `weights`.   Shape: (N,)."""
        row: NDArray[np.float64] = self.weights(view[len(view) - 1 :])[0]
        return row

    def weights(self, panel: Panel) -> NDArray[np.float64]:
        """The weights of every bar; NaN rows hold.   Shape: (T, N)."""
        rows = schedule(self.signal, panel, every=self.allocator.every)
        weights = np.full(panel.shape, np.nan)
        due = np.flatnonzero(rows >= 0)
        score = self.signal.values[rows[due]]
        able = tradable(panel)[due] & np.isfinite(score)
        count = np.floor(able.sum(axis=1) * self.allocator.quantile + 1e-9)
        enough = count >= 1
        weights[due[enough]] = self._sides(score[enough], able[enough], count[enough, None])
        return weights

    def _sides(
        self, score: NDArray[np.float64], able: NDArray[np.bool_], count: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        order = np.argsort(np.where(able, score, np.nan), axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), axis=1)
        side = self.allocator.gross / 2.0 / count
        long = able & (rank >= able.sum(axis=1, keepdims=True) - count)
        short = able & (rank < count)
        return np.where(long, side, 0.0) - np.where(short, side, 0.0)
