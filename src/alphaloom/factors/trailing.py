"""The kernel of a line that trails the price: a recursion, replayed over each window on its own."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from alphaloom.factors.options import MinPeriods, needed

__all__ = ["supertrend"]

Grid = NDArray[np.float64]


def supertrend(c: Grid, upper: Grid, lower: Grid, d: int, *, min_periods: MinPeriods = "full") -> Grid:
    """The band that a price trails: the lower one below a rise, the upper one above a fall.

    The upper band falls only, unless the last price stood above it; the lower one rises only, unless the last price
    stood below it. A rise ends when the price falls below its band, a fall when it rises above.
    Shape: (T, N).   Time: the last d rows are replayed from the oldest, which is a rise where c is in the upper half.
    Missing: NaN unless all rows are known, or as many as `min_periods` says; unknown ones are passed over.
    """
    # Assets first: a replay walks along one asset's rows.
    price, up, down = (np.ascontiguousarray(x.T, dtype=np.float64) for x in (c, upper, lower))
    return np.ascontiguousarray(_replayed(price, up, down, d, needed(min_periods, d)).T)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _replayed(c: Grid, upper: Grid, lower: Grid, d: int, least: int) -> Grid:
    N, T = c.shape
    out = np.full((N, T), np.nan)
    for j in range(N):
        for t in range(min(least, d) - 1, T):
            known, rising = 0, False
            high = low = last = 0.0
            for s in range(max(0, t - d + 1), t + 1):
                price, up, down = c[j, s], upper[j, s], lower[j, s]
                if np.isnan(price + up + down):
                    continue
                if known == 0:
                    high, low, rising = up, down, price - down >= up - price
                else:
                    high = up if up < high or last > high else high
                    low = down if down > low or last < low else low
                    rising = price >= low if rising else price > high
                last = price
                known += 1
            if known >= least:
                out[j, t] = low if rising else high
    return out
