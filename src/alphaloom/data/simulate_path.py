"""What the embedded market's walk reads and leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphaloom.data.simulate_draws import Grid

__all__ = ["Clock", "Path", "empty_path"]


@dataclass(frozen=True, eq=False)
class Clock:
    """Which row each quarter ends on (-1: before the first) and which rows each asset's accounts arrive on.

    Shape: ended (Q,), filed (Q, N), known (T, N) the last quarter that is filed, -1 before the first.
    """

    ended: Grid
    filed: Grid
    known: Grid


@dataclass(eq=False)
class Path:
    """Everything that the walk leaves behind.

    Shape: (T, N) unless said otherwise; `growth` turns raw into total-return prices, `split` is the running product
    of split ratios, both counted from the first bar.
    """

    open: Grid
    close: Grid
    vol: Grid
    turnover: Grid
    listed: Grid
    halted: Grid
    growth: Grid
    split: Grid
    dividend: Grid
    shares: Grid
    tone: Grid
    mood: Grid
    planted: Grid
    book: Grid  # (Q, N)
    vix: Grid  # (T,)
    rate: Grid  # (T,)
    stress: Grid  # (T,)


def empty_path(T: int, N: int, Q: int) -> Path:
    """A path of T bars, N assets and Q quarters to be filled row by row."""
    grids = {name: np.zeros((T, N)) for name in ("open", "close", "vol", "turnover", "growth", "split", "dividend")}
    more = {name: np.zeros((T, N)) for name in ("shares", "tone", "mood", "planted")}
    masks = {name: np.zeros((T, N), bool) for name in ("listed", "halted")}
    rows = {name: np.zeros(T) for name in ("vix", "rate", "stress")}
    return Path(**grids, **more, **masks, **rows, book=np.full((Q, N), np.nan))
