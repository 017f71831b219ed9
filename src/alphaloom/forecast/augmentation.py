"""More histories than the one that happened: panels drawn from geometric Brownian motion fitted on a training slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.forecast.augmentation_fit import Past, fit_past, shrunk_correlation
from alphaloom.forecast.augmentation_shape import rebuilt
from alphaloom.panel import Panel

__all__ = ["Augmentation", "AugmentationMode"]

AugmentationMode = Literal["iid", "correlated", "block", "regime"]


@dataclass(frozen=True)
class Augmentation:
    """Synthetic panels beside the training slice: the same assets and dates, other prices.

    Each asset follows dS = mu S dt + sigma S dW; a bar's log return is mu - sigma^2 / 2 + sigma z. What z is says
    `mode`: "iid" draws every asset and bar alone (the reference, which loses both what moves assets together and the
    clustering of volatility); "correlated" draws one vector a bar with the shrunk correlation of the past; "block"
    takes runs of `block` bars of the past's standardised residuals, all assets together; "regime" walks between calm,
    middle and wild bars as the past did, each with its own mu and sigma, with correlated z.
    A synthetic bar has the shape (opening gap, high, low, volume, vwap) of a bar of the past; masks, labels and gaps
    are the slice's own. `paths` panels are made; their rows weigh `weight` of the real ones in total.
    Pure GBM has no cross-sectional predictability: it regularises and teaches nothing, so compare with a fit without.
    Time: reads the training slice alone.
    Source: the "block-bootstrap GBM" of arXiv:2507.07107; deviation: blocks are resampled, its code draws them i.i.d.
    """

    mode: AugmentationMode = "block"
    paths: int = 1
    block: int = 21
    weight: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in get_args(AugmentationMode):
            raise DataError(
                "augmentation is iid, correlated, block or regime", found=self.mode, where="Augmentation.mode"
            )
        for name, least in (("paths", 1), ("block", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise DataError(f"a count is at least {least}", found=getattr(self, name), where=f"Augmentation.{name}")
        if not 0.0 < self.weight <= 0.5:
            raise DataError(
                "synthetic rows weigh something and at most half of the real ones",
                found=self.weight,
                where="Augmentation.weight",
            )

    def paths_of(self, train: Panel) -> tuple[Panel, ...]:
        """The synthetic panels of a training slice; equal slices give equal panels.

        Raises: SolveError where the slice is too short to be fitted.
        """
        past = fit_past(train)
        if past.days < max(2, self.block if self.mode == "block" else 2):
            raise SolveError(
                "augmentation needs bars with returns to resample",
                found=f"{past.days} bars, mode {self.mode}, block {self.block}",
                where="Augmentation.block",
                fix="train on more bars, or shorten the block",
            )
        root = _root(past) if self.mode in ("correlated", "regime") else None
        return tuple(self._path(train, past, root, path) for path in range(self.paths))

    def _path(self, train: Panel, past: Past, root: NDArray[np.float64] | None, path: int) -> Panel:
        rng = np.random.default_rng([self.seed, path])
        day = past.known_days(_days(self, len(train), past.days, rng), rng)
        steps = _steps(self, past, day, root, rng)
        note = f"synthetic prices: {self.mode} GBM of {len(train)} bars, path {path}, seed {self.seed}"
        return rebuilt(train, steps, past.rows[day], note)


def _days(recipe: Augmentation, T: int, days: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Which bar of the past stands behind each synthetic bar.   Shape: (T,)."""
    if recipe.mode != "block":
        return rng.integers(0, days, T)
    count = -(-T // recipe.block)
    starts = rng.integers(0, days - recipe.block + 1, count)
    whole: NDArray[np.intp] = (starts[:, None] + np.arange(recipe.block)).ravel()
    return whole[:T]


def _steps(
    recipe: Augmentation,
    past: Past,
    day: NDArray[np.intp],
    root: NDArray[np.float64] | None,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Log returns.   Shape: day (T, N) -> (T, N)."""
    T, N = day.shape
    mu, sigma = np.broadcast_to(past.mu, (T, N)), np.broadcast_to(past.sigma, (T, N))
    if recipe.mode == "block":
        z = past.residuals[day, np.arange(N)]
    else:
        z = rng.standard_normal((T, N))
        if root is not None:
            z = z @ root.T
    if recipe.mode == "regime":
        state = _walk(past.state, T, rng)
        mu, sigma = past.mu_by_state[state], past.sigma_by_state[state]
    return mu - 0.5 * sigma**2 + sigma * z


def _walk(seen: NDArray[np.intp], T: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """A chain of states that follow each other as often as they did.   Shape: (T,)."""
    states = int(seen.max()) + 1
    counts = np.full((states, states), 1e-9)
    np.add.at(counts, (seen[:-1], seen[1:]), 1.0)
    chances = np.cumsum(counts / counts.sum(axis=1, keepdims=True), axis=1)
    draws = rng.random(T)
    out = np.empty(T, dtype=np.intp)
    now = int(seen[rng.integers(0, len(seen))])
    for t in range(T):
        now = min(int(np.searchsorted(chances[now], draws[t])), states - 1)
        out[t] = now
    return out


def _root(past: Past) -> NDArray[np.float64]:
    """A matrix whose product with its transpose is the shrunk correlation.   Shape: (N, N)."""
    matrix: NDArray[Any] = np.linalg.cholesky(shrunk_correlation(past.residuals))
    return matrix
