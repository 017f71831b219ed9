"""Quarterly accounts of the embedded market's firms, and the rows on which they became known."""

from __future__ import annotations

import numpy as np

from alphaloom.data.simulate_draws import Draws, Grid
from alphaloom.data.simulate_path import Clock, Path

__all__ = ["accounts", "make_clock", "membership"]


def make_clock(days: Grid, ends: Grid, *, draws: Draws) -> Clock:
    """Place quarter ends and filings on the rows of the calendar.

    Shape: days (T,), ends (Q,) dates.
    """
    T, N = len(days), len(draws.first)
    ended = np.searchsorted(days, ends, side="right") - 1
    filed = np.searchsorted(days, ends[:, None] + draws.lag.astype("timedelta64[D]"), side="left")
    known = np.full((T, N), -1, dtype=np.int32)
    columns = np.arange(N)
    for q in range(len(ends)):
        # A firm that came to the exchange later has its first filing as a listed firm after its listing.
        use = (filed[q] < T) & (filed[q] >= draws.first) & ((ended[q] >= draws.first) | (draws.first == 0))
        known[filed[q][use], columns[use]] = q
    return Clock(ended, filed, np.maximum.accumulate(known, axis=0))


def accounts(path: Path, clock: Clock, *, draws: Draws) -> dict[str, Grid]:
    """Book equity, trailing net income and revenue, and total assets, as known at each close.

    Shape: (T, N) each.   Missing: NaN before the first filing and where the asset is not listed.
    """
    walk = np.cumsum(draws.ratios * np.array([0.012, 0.03, 0.02])[:, None], axis=0)
    profit = 0.11 + 0.04 * draws.ratios[0, 0] + walk[:, 0] + 0.01 * draws.ratios[:, 0]
    sales = np.exp(0.3 + 0.5 * draws.ratios[0, 1] + walk[:, 1])
    leverage = 1.3 + np.exp(0.6 * draws.ratios[0, 2] + walk[:, 2])
    quarterly = {
        "book_equity": path.book,
        "net_income": path.book * profit,
        "revenue": path.book * sales,
        "total_assets": path.book * leverage,
    }
    seen = path.listed & (clock.known >= 0)
    quarter = np.maximum(clock.known, 0)
    return {
        name: np.where(seen, np.take_along_axis(values, quarter, axis=0), np.nan) for name, values in quarterly.items()
    }


def membership(cap: Grid, listed: Grid, *, days: Grid, size: int) -> Grid:
    """The `size` largest listed assets, chosen at the first bar of each quarter by the values of the bar before.

    Shape: cap, listed (T, N), days (T,) -> (T, N) bool.
    Time: row t reads rows < t (the very first row has only itself).   Missing: an asset without a value is not chosen.
    """
    T, N = cap.shape
    member = np.zeros((T, N), dtype=bool)
    quarter = days.astype("datetime64[M]").astype(int) // 3
    chosen = np.zeros(N, dtype=bool)
    last = np.zeros(N)
    for t in range(T):
        if t == 0 or quarter[t] != quarter[t - 1]:
            at = max(t - 1, 0)
            weight = np.where(listed[at], cap[at] if t == 0 else last, 0.0)
            chosen = np.zeros(N, dtype=bool)
            chosen[np.argsort(-weight, kind="stable")[:size]] = True
            chosen &= weight > 0.0
        chosen = chosen & listed[t]
        member[t] = chosen
        last = np.where(np.isfinite(cap[t]), cap[t], last)
    return member
