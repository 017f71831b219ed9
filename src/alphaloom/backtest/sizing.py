"""From weights to shares outside a back-test: the ledger's own sizing for one book on one bar."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest.engine import as_floats, lay_out, refuse
from alphaloom.market import Book, Market
from alphaloom.panel import Panel

__all__ = ["order_shares"]


def order_shares(weights: object, book: Book, panel: Panel, market: Market) -> NDArray[np.float64]:
    """The shares that a back-test would order for these weights at the last bar of the panel, to the bit.

    Shape: (N,), zero where nothing is ordered; a row of NaN orders nothing, and neither does a book without money.
    Unit: adjusted shares of the panel, negative to sell; whole lots where the market has lots.
    Time: sized at the book's prices, which are the last known closes, and its equity at the close of the bar.
    Raises: DecisionError for weights that a back-test would refuse.
    """
    from alphaloom.backtest.ledger import Position, size

    row, N = len(panel) - 1, panel.shape[1]
    wished = as_floats(weights, (N,), f"weights decided at {np.datetime_as_string(book.now, unit='D')}")
    equity = float(book.history.equity[-1])
    if np.isnan(wished).all() or not equity > 0.0:
        return np.zeros(N)
    position = Position(np.array([book.cash]), np.zeros(1, bool), book.shares.copy(), np.zeros(N), book.prices.copy())
    ledger = lay_out(panel, market, start=row, book=position, periods_per_year=panel.periods_per_year)
    ledger.journal.equity[0] = equity
    fault, asset = size(ledger, 0, wished)
    if fault:
        refuse(panel, wished, row=row, fault=fault, asset=asset)
    return position.waiting
