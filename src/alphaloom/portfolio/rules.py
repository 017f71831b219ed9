"""Policies that need no model: the benchmarks that a model has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.rows import check_cash, check_count, hold, tradable, tradable_now

__all__ = ["BuyAndHold", "EqualWeight", "MovingAverageCross"]


@dataclass(frozen=True)
class BuyAndHold:
    """Buys every member in equal parts when it holds nothing, then never trades again.

    `cash` is the fraction of equity kept free for costs and for the move up to the fill.
    Time: the first decision is the first bar on which nothing is held, wherever a back-test starts. What could not be
    bought then, and what a delisting pays out, stays in cash.
    """

    cash: float = 0.01

    def __post_init__(self) -> None:
        check_cash(self.cash, "BuyAndHold.cash")

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads: none."""
        return 0

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """Equal weights for an empty book, otherwise hold.   Shape: (N,)."""
        return hold(len(view.assets)) if book.shares.any() else _equal(view, 1.0 - self.cash)


@dataclass(frozen=True)
class EqualWeight:
    """Holds every member in equal parts and restores the parts every `every` bars.

    Time: bars are counted on the book's history, so the first decision invests wherever a back-test starts, and a
    restarted run goes on with the same days.
    Missing: members without a close today get no part.
    """

    every: int = 21
    cash: float = 0.01

    def __post_init__(self) -> None:
        check_count(self.every, "EqualWeight.every")
        check_cash(self.cash, "EqualWeight.cash")

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads: none."""
        return 0

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """Equal weights on the first of every `every` closes, otherwise hold.   Shape: (N,)."""
        due = (len(book.history.times) - 1) % self.every == 0
        return _equal(view, 1.0 - self.cash) if due else hold(len(view.assets))


@dataclass(frozen=True)
class MovingAverageCross:
    """Holds the members whose average close of `fast` bars is above that of `slow` bars; long only.

    Every member with a close today has an equal part of equity, used while its fast average is the higher one and
    kept in cash otherwise.
    Time: rows t-slow+1..t. `every` is counted on the rows of the panel that is given.
    Missing: an average is taken over the known closes of its window; an asset with fewer than half of them gets no
    weight. The first slow - 1 rows hold.
    Source: Brock, Lakonishok and LeBaron (1992), Journal of Finance 47(5); deviation: many assets in equal parts.
    """

    fast: int = 20
    slow: int = 100
    every: int = 1
    cash: float = 0.01

    def __post_init__(self) -> None:
        check_count(self.fast, "MovingAverageCross.fast")
        check_count(self.every, "MovingAverageCross.every")
        check_cash(self.cash, "MovingAverageCross.cash")
        if self.slow <= self.fast:
            raise DataError(
                "the slow average is longer than the fast one",
                found=f"fast {self.fast}, slow {self.slow}",
                where="MovingAverageCross.slow",
            )

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return self.slow - 1

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """The last row of `weights`.   Shape: (N,)."""
        if len(view) < self.slow or (len(view) - 1) % self.every:
            return hold(len(view.assets))
        row: NDArray[np.float64] = self._weights(view[len(view) - self.slow :])[0]
        return row

    def weights(self, panel: Panel) -> NDArray[np.float64]:
        """The weights of every bar; NaN rows hold.   Shape: (T, N)."""
        weights = np.full(panel.shape, np.nan)
        if len(panel) >= self.slow:
            weights[self.slow - 1 :] = self._weights(panel)
            weights[np.arange(len(panel)) % self.every != 0] = np.nan
        return weights

    def _weights(self, panel: Panel) -> NDArray[np.float64]:
        """Shape: (T, N) -> (T - slow + 1, N)."""
        close = np.asarray(panel["close"], dtype=np.float64)
        fast, slow = _average(close, self.fast), _average(close, self.slow)
        able = tradable(panel)[self.slow - 1 :]
        count = np.maximum(able.sum(axis=1, keepdims=True), 1)
        rising = able & (fast[self.slow - self.fast :] > slow)
        return np.where(rising, (1.0 - self.cash) / count, 0.0)


def _equal(view: Panel, invested: float) -> NDArray[np.float64]:
    able = tradable_now(view) & view.buyable[-1]
    count = int(able.sum())
    return np.where(able, invested / count, 0.0) if count else hold(len(view.assets))


def _average(close: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Means of the known closes of each window.   Shape: (T, N) -> (T - window + 1, N).

    Added up row by row in a fixed order: a running sum would make the last digits depend on where a slice starts.
    """
    rows = len(close) - window + 1
    known = np.isfinite(close)
    filled = np.where(known, close, 0.0)
    total, count = np.zeros((rows, close.shape[1])), np.zeros((rows, close.shape[1]), dtype=np.int32)
    for k in range(window):
        total += filled[k : k + rows]
        count += known[k : k + rows]
    return np.where(2 * count >= window, total / np.maximum(count, 1), np.nan)
