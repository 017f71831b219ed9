"""What a training slice says about drift, volatility and how assets move together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.panel import Panel

__all__ = ["Past", "fit_past", "shrunk_correlation"]

_STATES = 3
_STATE_WINDOW = 21
_FEWEST = 20


@dataclass(frozen=True, eq=False)
class Past:
    """The bars of a slice on which something returned, and the moments of what did.

    Shape: `rows` (D,) bars of the slice; `residuals` (D, N) standardised log returns, 0 where not `known`; `mu`,
    `sigma` (N,) a bar, mu being the arithmetic drift; `state` (D,) volatility states, `mu_by_state` and
    `sigma_by_state` (S, N).
    """

    rows: NDArray[np.intp]
    residuals: NDArray[np.float64]
    known: NDArray[np.bool_]
    mu: NDArray[np.float64]
    sigma: NDArray[np.float64]
    state: NDArray[np.intp]
    mu_by_state: NDArray[np.float64]
    sigma_by_state: NDArray[np.float64]

    @property
    def days(self) -> int:
        """D."""
        return len(self.rows)

    def known_days(self, day: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
        """The same day for every asset, or a random day of its own for one that did not return then.

        Shape: (T,) -> (T, N).   Missing: an asset that never returned keeps the common day.
        """
        counts = self.known.sum(axis=0)
        # Each asset's known days first: the k-th of them is found by place.
        places = np.argsort(~self.known, axis=0, kind="stable")
        draw = (rng.random((len(day), len(counts))) * np.maximum(counts, 1)).astype(np.intp)
        own = np.take_along_axis(places, draw, axis=0)
        common = np.broadcast_to(day[:, None], own.shape)
        return np.where(self.known[day] | (counts == 0), common, own)


def fit_past(train: Panel) -> Past:
    """Fit drift and volatility of every asset on the bars whose close and the one before are known."""
    close = np.asarray(train["close"], dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        returns = np.log(close[1:] / close[:-1])
    known = np.isfinite(returns)
    rows = np.flatnonzero(known.any(axis=1)) + 1
    returns, known = returns[rows - 1], known[rows - 1]
    mean, sigma, count = _moments(returns, known)
    enough = (count >= _FEWEST) & (sigma > 0.0)
    typical = float(np.median(sigma[enough])) if enough.any() else 0.0
    mean, sigma = np.where(count > 0, mean, 0.0), np.where(sigma > 0.0, sigma, typical)
    residuals = np.where(known, (returns - mean) / np.where(sigma > 0.0, sigma, 1.0), 0.0)
    state = _states(returns, known)
    drifts, vols = np.empty((_STATES, len(mean))), np.empty((_STATES, len(mean)))
    for k in range(_STATES):
        within = known & (state == k)[:, None]
        own_mean, own_sigma, own_count = _moments(returns, within)
        use = (own_count >= _FEWEST) & (own_sigma > 0.0)
        vols[k] = np.where(use, own_sigma, sigma)
        drifts[k] = np.where(use, own_mean, mean) + 0.5 * vols[k] ** 2
    return Past(rows, residuals, known, mean + 0.5 * sigma**2, sigma, state, drifts, vols)


def shrunk_correlation(residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """The correlation of the columns, shrunk towards none.   Shape: (D, N) -> (N, N), positive definite.

    Source: Ledoit and Wolf (2004), Journal of Multivariate Analysis 88, with the identity as target.
    """
    D, N = residuals.shape
    size = np.sqrt((residuals**2).mean(axis=0)) if D else np.zeros(N)
    x = residuals / np.where(size > 0.0, size, 1.0)
    sample: NDArray[Any] = x.T @ x / max(D, 1)
    sample[np.diag_indices(N)] = 1.0
    away = float(((sample - np.eye(N)) ** 2).sum())
    chance = float((((x**2).sum(axis=1) ** 2).mean() - (sample**2).sum()) / max(D, 1)) if D else 0.0
    # Never quite unshrunk: with more assets than bars the sample has no inverse.
    share = 1.0 if away <= 0.0 else min(1.0, max(1e-6, chance / away))
    return np.asarray((1.0 - share) * sample + share * np.eye(N))


def _moments(
    values: NDArray[np.float64], known: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Mean, standard deviation and count of the known values of each column."""
    count = known.sum(axis=0)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
    away = np.where(known, values - mean, 0.0)
    sigma = np.sqrt((away**2).sum(axis=0) / np.maximum(count - 1, 1))
    return mean, np.where(sigma > 1e-12, sigma, 0.0), count


def _states(returns: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Calm, middle or wild: thirds of the trailing volatility of the mean return.   Shape: (D, N) -> (D,)."""
    mean = np.where(known, returns, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    total = np.concatenate([[0.0], np.cumsum(mean**2)])
    stop = np.arange(1, len(mean) + 1)
    start = np.maximum(0, stop - _STATE_WINDOW)
    volatility = (total[stop] - total[start]) / (stop - start)
    cuts = np.quantile(volatility, np.arange(1, _STATES) / _STATES) if len(mean) else np.zeros(_STATES - 1)
    return np.asarray(np.searchsorted(cuts, volatility), dtype=np.intp)
