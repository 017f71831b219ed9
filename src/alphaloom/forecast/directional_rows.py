"""What a directional net reads and what it is told came true: scaled factors, their last rows, ternary labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import SolveError
from alphaloom.factors import FactorSet
from alphaloom.forecast.inputs import cross_rank
from alphaloom.forecast.sharing import factor_values
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns

__all__ = ["Scaling", "fit_scaling", "move_sizes", "outcomes", "sides"]

_OVER_TIME = ("market", "own")  # families that are measured against their past instead of across the day
_CLIP = 4.0
_DATES = 256

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scaling:
    """How the factors of a panel become numbers of one size.

    Factors of the families "market" and "own" are standardised by `mean` and `spread`, which the training slice gave,
    and cut at 4; all others are centred ranks across the members of their date, twice as wide as -0.5 to 0.5.
    Missing: an unknown factor is 0, the middle; an asset with less than the fraction `known` of its factors today has
    no view.
    """

    factors: FactorSet
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    known: float = 0.5

    @property
    def lookback(self) -> int:
        """Rows before today that the factors read."""
        return int(self.factors.lookback)

    def grid(self, panel: Panel) -> tuple[Floats, NDArray[np.bool_]]:
        """Scaled factors (T, N, F) and who may be spoken about (T, N)."""
        values = factor_values(self.factors, panel)
        T, N, F = values.shape
        out, able = np.empty((T, N, F), np.float32), np.empty((T, N), np.bool_)
        over_time = _over_time(self.factors)
        across = ~over_time
        mean, spread = (np.array(x, np.float32) for x in (self.mean, self.spread))
        for start in range(0, T, _DATES):
            rows = slice(start, min(start + _DATES, T))
            member = panel.member[rows]
            block = np.where(member[..., None], values[rows], np.float32(np.nan)).astype(np.float32)
            block[~np.isfinite(block)] = np.nan
            unknown = np.isnan(block)
            able[rows] = member & (unknown.sum(axis=2) <= (1.0 - self.known) * F + 1e-9) & ~unknown.all(axis=2)
            scaled = np.clip((block - mean) / spread, -_CLIP, _CLIP)
            ranks = cross_rank(np.ascontiguousarray(block[..., across].transpose(0, 2, 1)))
            scaled[..., across] = 2.0 * ranks.transpose(0, 2, 1)
            scaled[unknown] = 0.0
            out[rows] = scaled
        return out, able


def fit_scaling(factors: FactorSet, train: Panel, known: float) -> Scaling:
    """The scaling of the training slice.   Time: reads `train` alone."""
    values = factor_values(factors, train)
    mean, spread = np.zeros(len(factors)), np.ones(len(factors))
    for f in np.flatnonzero(_over_time(factors)):
        seen = np.asarray(values[..., f], np.float64)[train.member]
        seen = seen[np.isfinite(seen)]
        if len(seen):
            mean[f], spread[f] = seen.mean(), seen.std()
    spread = np.where(spread > 1e-9 * (1.0 + np.abs(mean)), spread, 1.0)
    return Scaling(factors, tuple(map(float, mean)), tuple(map(float, spread)), known)


def _over_time(factors: FactorSet) -> NDArray[np.bool_]:
    return np.array([factor.family in _OVER_TIME for factor in factors.factors], dtype=np.bool_)


def outcomes(panel: Panel, market: Market, horizons: int) -> NDArray[np.float32]:
    """What each member earned from the next fill over 1, 2, ... bars.

    Shape: (T, N, H).   Time: made from the rows of `panel` alone; an outcome that needs later rows is missing.
    """
    grids = [forward_returns(panel, market, horizon=h).values for h in range(1, horizons + 1)]
    found = np.stack(grids, axis=2).astype(np.float32)
    found[~panel.member] = np.nan
    return found


def move_sizes(earned: NDArray[np.float32]) -> NDArray[np.float64]:
    """The usual one-bar move of each asset: the deviation of its one-bar outcomes, the median where too few are known.

    Shape: (T, N, H) -> (N,).   Time: of the rows given, which are the training slice's.
    """
    one = earned[:, :, 0].astype(np.float64)
    count = np.isfinite(one).sum(axis=0)
    filled = np.where(np.isfinite(one), one, 0.0)
    mean = filled.sum(axis=0) / np.maximum(count, 1)
    variance = np.where(np.isfinite(one), (one - mean) ** 2, 0.0).sum(axis=0) / np.maximum(count - 1, 1)
    size = np.sqrt(variance)
    enough = (count >= 20) & (size > 0.0)
    if not enough.any():
        raise SolveError(
            "a directional label needs the usual move of an asset",
            found=f"{len(one)} bars, no asset with 20 outcomes that vary",
            where="the training slice",
            fix="train on more bars",
        )
    return np.asarray(np.where(enough, size, np.median(size[enough])))


def sides(earned: NDArray[np.float32], sizes: NDArray[np.float64], dead_zone: float) -> NDArray[np.int8]:
    """The ternary label: +1 or -1 where the outcome is larger than the dead zone, else 0.

    The dead zone of horizon h is `dead_zone` times the asset's usual move times sqrt(h).
    Shape: earned (..., H), sizes (...) -> (..., H).   Missing: 0 as well; whoever counts looks at the outcome.
    """
    steps = np.sqrt(np.arange(1, earned.shape[-1] + 1))
    zone = (dead_zone * np.asarray(sizes)[..., None] * steps).astype(np.float32)
    with np.errstate(invalid="ignore"):
        return np.asarray((earned > zone).astype(np.int8) - (earned < -zone).astype(np.int8))
