"""What it pays to hold an asset for a bar, and what it pays not to: both branches of a choice, from prices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alphaloom.market import Market
from alphaloom.panel import Panel, last_known

__all__ = ["Branches", "earned", "pay_branches"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Branches:
    """The two rewards of every cell, before what an order costs.

    Shape: (T, N) each.
    Unit: returns of one bar; `entry` and `leave` are what opening and closing a position costs.
    Time: row t is earned from the fill of row t's decision to the fill of the next row's.
    Missing: where not `valid` nothing can be learned: the cell is not usable, cannot be bought, or has no later price.
    `last` marks cells after which the asset is not seen again on the next row.
    """

    hold: NDArray[np.float32]
    idle: NDArray[np.float32]
    valid: NDArray[np.bool_]
    last: NDArray[np.bool_]
    entry: float = 0.0
    leave: float = 0.0


def earned(panel: Panel, market: Market) -> Floats:
    """What one bar in each asset earns, from the fill of the row's decision to that of the next row's.

    Shape: (T, N).   Unit: a fraction, without costs.
    Time: with fills at the next open, row t is paid by the opens of t + 1 and t + 2.
    Missing: NaN where the order could not be filled, and on the last rows. An asset whose next fill has no price counts
    at its last known close; one that has left the market, at that less `delist_loss`.
    """
    close = np.asarray(panel["close"], dtype=np.float64)
    shift = 0 if market.fill == "same_close" else 1
    price = np.asarray(panel["open"], dtype=np.float64) if market.fill == "next_open" else close
    T = len(close)
    found = np.full(panel.shape, np.nan)
    rows = T - 1 - shift  # decisions whose next fill is inside the panel
    if rows < 1:
        return found
    bought = np.where(panel.buyable[shift : shift + rows], price[shift : shift + rows], np.nan)
    mark = last_known(close) * np.where(panel.listed, 1.0, 1.0 - market.delist_loss)
    later = slice(shift + 1, shift + 1 + rows)
    sold = np.where(np.isfinite(price[later]) & panel.listed[later], price[later], mark[later])
    with np.errstate(invalid="ignore", divide="ignore"):
        found[:rows] = np.where(bought > 0.0, sold / bought - 1.0, np.nan)
    return found


def pay_branches(
    panel: Panel,
    usable: NDArray[np.bool_],
    market: Market,
    *,
    cost: float,
    centred: bool = True,
    symmetric: bool = False,
) -> Branches:
    """The rewards of holding an asset, and of the average of the others.

    Holding earns the asset's return, not holding the average return of all other usable assets; `centred` subtracts
    that average from both, which changes no best action and takes most of the noise away. `cost` is paid at the entry,
    or, if `symmetric`, half there and half at the exit. Alone in its market, an asset is compared with cash.
    Shape: usable (T, N).   Unit: `cost` a fraction of the position.
    """
    returns = earned(panel, market)
    valid = usable & np.isfinite(returns)
    own = np.where(valid, returns, 0.0)
    others = valid.sum(axis=1, keepdims=True) - valid
    average = np.where(others > 0, (own.sum(axis=1, keepdims=True) - own) / np.maximum(others, 1), 0.0)
    hold = own - average if centred else own
    idle = np.zeros_like(own) if centred else average
    seen = np.zeros_like(usable)
    seen[:-1] = usable[1:]
    entry, leave = (cost / 2.0, cost / 2.0) if symmetric else (cost, 0.0)
    return Branches(
        np.where(valid, hold, 0.0).astype(np.float32),
        np.where(valid, idle, 0.0).astype(np.float32),
        valid,
        np.asarray(~seen),
        entry,
        leave,
    )
