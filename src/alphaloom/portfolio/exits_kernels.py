"""The exit grid's trades, replayed cell by cell in compiled loops."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["grid_trades"]

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _exit_row(
    close: NDArray[np.float64], gone: int, entry: int, paid: float, side: float, rule: NDArray[np.float64]
) -> int:
    """The row on whose close the position is given up: profit, loss, age, or the last row."""
    last = min(entry + int(rule[2]) - 1, gone)
    for row in range(entry, last + 1):
        gain = side * (close[row] / paid - 1.0)
        if gain >= rule[0] or gain <= -rule[1]:
            return row
    return last


@_compiled
def grid_trades(
    side: NDArray[np.float64],
    open_: NDArray[np.float64],
    close: NDArray[np.float64],
    rules: NDArray[np.float64],
    costs: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What every asset's trades would have earned under every rule, one position at a time.

    A view on row t is bought or sold at the open of t + 1. At each close from then on the position is given up when its
    return reached `rule[0]`, fell to `-rule[1]`, or it is `rule[2]` bars old; it is closed at the next open. While it
    is held, further views change nothing; the first close after the exit may open again. Entries that could outlive the
    window under the longest rule are left out, for all rules alike.
    Shape: side, open_, close (T, N); rules (C, 3); `costs` (3,) a side, per sale, and per bar of a short
    -> (C, N, 3): trades, sum and sum of squares of their net returns.
    Time: reads the window's rows only.
    Missing: no known open on the entry opens nothing; without one on the exit the last known close counts.
    """
    T, N = side.shape
    C = len(rules)
    out = np.zeros((C, N, 3))
    longest = 0
    for c in range(C):
        longest = max(longest, int(rules[c, 2]))
    stop = T - longest - 1  # the exit of an entry on the last usable row lies inside the window
    known = np.empty(T)
    for asset in range(N):
        value = np.nan
        for row in range(T):
            if close[row, asset] > 0.0:
                value = close[row, asset]
            known[row] = value
        for c in range(C):
            row = 0
            while row < stop:
                way = side[row, asset]
                entry = row + 1
                paid = open_[entry, asset]
                if not (way > 0.0 or way < 0.0) or not paid > 0.0 or not known[entry] > 0.0:
                    row += 1
                    continue
                sign = 1.0 if way > 0.0 else -1.0
                left = _exit_row(known, T - 2, entry, paid, sign, rules[c])
                price = open_[left + 1, asset]
                if not price > 0.0:
                    price = known[left + 1]
                net = sign * (price / paid - 1.0) - 2.0 * costs[0] - costs[1]
                if sign < 0.0:
                    net -= costs[2] * (left + 1 - entry)
                out[c, asset, 0] += 1.0
                out[c, asset, 1] += net
                out[c, asset, 2] += net * net
                row = left + 1
    return out
