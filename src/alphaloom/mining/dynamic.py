"""Weights that change from day to day: formulas that have lately foretold the order of the assets, refitted each day.

Source: AlphaForge, arXiv:2406.18394, with the thresholds of its code. Deviations: both thresholds are read without
sign, since a pool keeps no sign of a formula; a window bounds how far back a day looks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError

__all__ = ["Dynamic"]

Floats = NDArray[np.float64]
_RIDGE = 1e-6


@dataclass(frozen=True)
class Dynamic:
    """On each day keep the formulas that were good over the `window` days whose outcome is known, and fit them there.

    Good means a mean rank coefficient beyond `rank_ic` and a ratio of mean to deviation beyond `rank_icir`, in either
    direction; at most the `most` formulas with the largest ratio are kept. A day on which none is good, or which has
    no full window, takes the weights that were learned once for all.
    """

    window: int = 250
    most: int = 10
    rank_ic: float = 0.02
    rank_icir: float = 0.2

    def __post_init__(self) -> None:
        for name, least in (("window", 20), ("most", 1)):
            if getattr(self, name) < least:
                raise DataError(f"a count is at least {least}", found=getattr(self, name), where=f"Dynamic.{name}")
        for name in ("rank_ic", "rank_icir"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise DataError("a threshold is not negative", found=getattr(self, name), where=f"Dynamic.{name}")

    def chosen(self, rank_ics: Floats) -> NDArray[np.intp]:
        """The formulas that a window speaks for, the best first.   Shape: (W, K) -> at most `most` numbers."""
        known = np.isfinite(rank_ics)
        count = known.sum(axis=0)
        mean = np.where(known, rank_ics, 0.0).sum(axis=0) / np.maximum(count, 1)
        apart = np.where(known, rank_ics - mean, 0.0)
        spread = np.sqrt((apart * apart).sum(axis=0) / np.maximum(count - 1, 1))
        ratio = np.abs(mean) / np.where(spread > 0.0, spread, np.inf)
        good = (2 * count >= self.window) & (np.abs(mean) > self.rank_ic) & (ratio > self.rank_icir)
        order = np.argsort(-np.where(good, ratio, -1.0), kind="stable")
        return order[: min(self.most, int(good.sum()))]

    def weights(self, rank_ics: Floats, grams: Floats, products: Floats, *, delay: int, otherwise: Floats) -> Floats:
        """The weights of each day.

        Shape: rank_ics (T, K), grams (T, K, K), products (T, K), otherwise (K,) -> (T, K).
        Time: row t reads rows t - delay - window + 1..t - delay, those whose outcome is known at t.
        """
        out = np.tile(np.asarray(otherwise, dtype=np.float64), (len(rank_ics), 1))
        for t in range(self.window + delay - 1, len(rank_ics)):
            rows = slice(t - delay - self.window + 1, t - delay + 1)
            kept = self.chosen(rank_ics[rows])
            if not len(kept):
                continue
            gram = grams[rows].sum(axis=0)[np.ix_(kept, kept)] / self.window
            b = products[rows].sum(axis=0)[kept] / self.window
            out[t] = 0.0
            out[t, kept] = np.linalg.solve(gram + _RIDGE * np.eye(len(kept)), b)
        return out
