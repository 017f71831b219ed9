"""The plain rivals of a cross-sectional agent: hold what rose over the last bars, or what fell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel

__all__ = ["RecentReturn", "Side"]

Side = Literal["momentum", "reversion"]


@dataclass(frozen=True)
class RecentReturn:
    """Holds, in equal parts, every member whose mean return over `window` bars is positive, or negative.

    "momentum" holds what rose, "reversion" what fell; without any, all is cash. A part `cash` is kept for costs.
    Time: row t uses the closes t - window..t; every close is a decision.
    Missing: an asset without all these closes is not held.
    Raises: DataError for a setting out of range.
    Source: the baselines of arXiv:2402.15994.
    """

    window: int = 5
    side: Side = "momentum"
    cash: float = 0.01

    def __post_init__(self) -> None:
        if self.side not in get_args(Side):
            raise DataError("a side is momentum or reversion", found=self.side, where="RecentReturn.side")
        if self.window < 1:
            raise DataError("a count is at least 1", found=self.window, where="RecentReturn.window")
        if not 0.0 <= self.cash < 1.0:
            raise DataError("a reserve is a fraction below 1", found=self.cash, where="RecentReturn.cash")

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return self.window

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """The last row of `weights`.   Shape: (N,)."""
        row: NDArray[np.float64] = self.weights(view[max(0, len(view) - 1 - self.window) :])[-1]
        return row

    def weights(self, panel: Panel) -> NDArray[np.float64]:
        """The weights of every bar.   Shape: (T, N)."""
        close = np.asarray(panel["close"], dtype=np.float64)
        moves = np.full(panel.shape, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            moves[1:] = close[1:] / close[:-1] - 1.0
        mean = np.full(panel.shape, np.nan)
        if len(panel) > self.window:
            mean[self.window :] = np.lib.stride_tricks.sliding_window_view(moves[1:], self.window, axis=0).mean(axis=-1)
        able = panel.member & panel.listed & np.isfinite(mean)
        held = able & (mean > 0.0 if self.side == "momentum" else mean < 0.0)
        return np.asarray((1.0 - self.cash) * held / np.maximum(held.sum(axis=1, keepdims=True), 1))
