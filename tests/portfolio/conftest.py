"""A book to decide with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from alphaloom.market import Book, History
from alphaloom.panel import Panel


@pytest.fixture
def book_of() -> Callable[..., Book]:
    """A book that holds the given fractions of one million at the closes of the panel's last bar."""

    def make(panel: Panel, weights: np.ndarray | None = None, *, bars: int = 1) -> Book:
        close = np.asarray(panel["close"], dtype=np.float64)
        known = np.where(np.isfinite(close), np.arange(len(close))[:, None], 0).max(axis=0)
        prices = close[known, np.arange(close.shape[1])]
        held = np.zeros(len(prices)) if weights is None else np.asarray(weights, dtype=np.float64)
        shares = np.where(held != 0, held * 1e6 / prices, 0.0)
        history = History(panel.times[-bars:], np.full(bars, 1e6), np.tile(shares, (bars, 1)))
        return Book(panel.times[-1], 1e6 * (1 - held.sum()), shares, prices, history)

    return make
