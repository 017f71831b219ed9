"""Markets in which everything happens that a broker must live through, and policies that look at their book."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphaloom.market import Book, Market
from alphaloom.panel import Panel
from alphaloom.units import ONE

ROUGH = Market(
    commission=0.0003,
    sell_tax=0.001,
    slippage=0.0005,
    impact=0.3,
    borrow=0.03,
    cash_rate=0.02,
    lot=10.0,
    short=True,
    leverage=1.6,
    delist_loss=0.3,
)
CALM = Market(commission=0.0003, sell_tax=0.001, slippage=0.0005)


def rough_panel(T: int = 300, N: int = 12, seed: int = 0) -> Panel:
    """Walks with late listings, delistings, halts, locked limits, a split in the factor and thin volume."""
    rng = np.random.default_rng(seed)
    start = np.datetime64("2018-01-01")
    times = np.array([np.busday_offset(start, k, roll="forward") for k in range(T)], dtype="datetime64[ns]")
    close = 20.0 * np.exp(np.cumsum(rng.normal(0.0002, 0.025, (T, N)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.01, (T, N)))
    volume = np.exp(rng.normal(9, 1, (T, N)))
    listed = np.ones((T, N), bool)
    listed[: T // 10, 1] = False
    for asset, gone in ((2, 0.35), (3, 0.5), (4, 0.8)):
        listed[int(T * gone) :, asset] = False
    halted = rng.random((T, N)) < 0.03
    for grid in (close, open_, volume):
        grid[~listed | halted] = np.nan
    factor = np.ones((T, N))
    factor[: T // 2, 0] = 0.5
    buyable = listed & ~halted & (rng.random((T, N)) > 0.03)
    sellable = listed & ~halted & (rng.random((T, N)) > 0.03)
    return Panel(
        times=times,
        assets=tuple(f"A{j:02d}" for j in range(N)),
        fields={"open": open_, "close": close, "volume": volume, "adj_factor": factor},
        units={"adj_factor": ONE},
        listed=listed,
        buyable=buyable,
        sellable=sellable,
        periods_per_year=252.0,
    )


@dataclass(frozen=True)
class Restless:
    """Weights that depend on the day, on what is held and on how the book has fared."""

    gross: float = 0.9
    short: bool = False
    full: bool = False
    lookback: int = 0

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        N = len(view.assets)
        rng = np.random.default_rng(len(view))
        if rng.random() < 0.15:
            return np.full(N, np.nan)
        known = np.isfinite(book.prices)
        wanted = rng.dirichlet(np.ones(N)) * (rng.random(N) < 0.6)
        if self.short:
            wanted *= np.where(rng.random(N) < 0.4, -1.0, 1.0)
        fared = book.history.equity[-1] / book.history.equity[max(0, len(book.history.equity) - 6)]
        turned = (book.history.shares[-5:] != 0.0).sum(axis=0) >= 4
        weights = 0.5 * book.weights + 0.5 * self.gross * min(1.0, fared) * wanted
        weights[turned & (rng.random(N) < 0.3)] = 0.0
        weights = np.where(known, weights, 0.0)
        total = np.abs(weights).sum()
        limit = total if self.full and total > 0.0 else max(total, self.gross)
        return weights * self.gross / limit
