"""How assets move together: the covariance that every optimiser of this room asks for, kept in factor form.

A window of T returns has rank T at most, so with N > T assets the returns themselves are the factors:
Sigma = X' X / T needs no table of N x N numbers, and an optimiser that knows this is faster by N / T.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import AxisError, DataError
from alphaloom.panel import Panel, last_known

__all__ = ["Risk", "RiskKind", "bar_returns", "check_risk", "estimate", "rows_needed", "shrinkage"]

Grid = NDArray[np.float64]
RiskKind = Literal["sample", "ledoit_wolf", "constant_correlation", "ewma", "factor", "style"]
Target = Literal["identity", "constant_correlation"]
_STYLE_ROWS = 525  # the longest window of the styles; see alphaloom.factors.style
_LEAST_SPECIFIC = 0.01  # of an asset's variance: no asset is explained by the market's factors entirely
_FLAT = 1e-12  # a deviation below this fraction of a price is rounding, not risk


@dataclass(frozen=True, eq=False)
class Risk:
    """Covariance of N assets at one close: Sigma = B F B' + diag(s^2), with F = root root'.

    Shape: exposures B (N, K), factor_root (K, K), specific s (N,).   Unit: fractions per bar.
    Missing: an asset without an estimate has NaN in all its numbers and must be left out (`known`, `part`).
    """

    exposures: Grid
    factor_root: Grid
    specific: Grid

    def __post_init__(self) -> None:
        N, K = self.exposures.shape
        if self.factor_root.shape != (K, K) or self.specific.shape != (N,):
            raise AxisError(
                "exposures are (N, K), the root of the factors' covariance is (K, K), specific risk is (N,)",
                found=f"{self.exposures.shape}, {self.factor_root.shape}, {self.specific.shape}",
                where="Risk",
            )

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which assets have an estimate.   Shape: (N,)."""
        return np.asarray(np.isfinite(self.specific) & np.isfinite(self.exposures).all(axis=1))

    @property
    def loadings(self) -> Grid:
        """B root: exposures to factors that are independent and have variance 1.   Shape: (N, K)."""
        root = self.factor_root
        size = np.diagonal(root)
        diagonal = np.count_nonzero(root) == np.count_nonzero(size)
        return np.asarray(self.exposures * size if diagonal else self.exposures @ root)

    def dense(self) -> Grid:
        """The whole matrix.   Shape: (N, N)."""
        loads = self.loadings
        matrix = np.asarray(loads @ loads.T)
        matrix[np.diag_indices_from(matrix)] += self.specific**2
        return matrix

    def deviations(self) -> Grid:
        """The deviation of each asset.   Shape: (N,)."""
        return np.asarray(np.sqrt((self.loadings**2).sum(axis=1) + self.specific**2))

    def times(self, weights: Grid) -> Grid:
        """Sigma w, without the matrix.   Shape: (N,) -> (N,)."""
        loads = self.loadings
        return np.asarray(loads @ (weights @ loads) + self.specific**2 * weights)

    def variance(self, weights: Grid) -> float:
        """w' Sigma w; assets that are not held need no estimate.   Shape: (N,) -> a number."""
        held = weights != 0.0
        shared = (weights[held] @ self.exposures[held]) @ self.factor_root
        own = weights[held] * self.specific[held]
        return float(shared @ shared + own @ own)

    def scaled(self, bars: float) -> Risk:
        """The same for returns over `bars` bars, as if bars were independent of each other."""
        size = float(np.sqrt(bars))
        return Risk(self.exposures, self.factor_root * size, self.specific * size)

    def part(self, columns: NDArray[np.intp] | NDArray[np.bool_]) -> Risk:
        """The same for some of the assets."""
        return Risk(self.exposures[columns], self.factor_root, self.specific[columns])


def estimate(kind: RiskKind, view: Panel, window: int, *, half_life: float = 63.0, factors: int = 15) -> Risk:
    """The covariance of the next bar's returns, from the last `window` returns of the view.

    "sample": deviations from the mean, divided by their number. "ledoit_wolf": the sample drawn to independent assets
    of equal variance; "constant_correlation": drawn to one correlation for all pairs; how far, see `shrinkage`.
    "ewma": the sample with a weight that halves every `half_life` bars. "factor": the `factors` leading principal
    components of the correlations, the rest each asset's own. "style": the fundamental model of
    `alphaloom.factors.risk`, for panels with market values.
    Shape: N assets of the view.   Unit: fractions per bar.
    Time: rows t - rows_needed(kind, window)..t.
    Missing: a return is known where the close is, and runs from the last close before it in the window, so the bar
    that ends a halt bears the whole move. An unknown return counts as the asset's mean, and the deviations are
    enlarged so that the variance is that of the known ones: the matrix stays positive, and a pair's covariance shrinks
    with the bars that the two did not share. An asset that is no member today, has fewer than half of the window's
    returns (by weight) or whose price never moved has no estimate, and no part in shrinkage and factors.
    Raises: DataError for a window that is too short or a panel that lacks what the style model needs.
    """
    check_risk(kind, window, "estimate", half_life=half_life, factors=factors)
    if kind == "style":
        return _styled(view, window)
    returns = bar_returns(view, window)
    age = np.arange(len(returns))[::-1]
    weights = 0.5 ** (age / half_life) if kind == "ewma" else np.ones(len(returns))
    weights = weights / max(float(weights.sum()), 1.0e-300)
    moves, known = _deviations(returns, weights, view.member[-1])
    N = returns.shape[1]
    if kind == "factor":
        loads, specific = _principal(moves, factors)
        return _placed(known, N, loads, np.ones(loads.shape[1]), specific)
    if kind in ("sample", "ewma"):
        loads, size = _compressed(moves, np.sqrt(weights))
        return _placed(known, N, loads, size, np.zeros(len(loads)))
    target: Target = "identity" if kind == "ledoit_wolf" else "constant_correlation"
    return _shrunk(moves, known, N, target)


def rows_needed(kind: RiskKind, window: int) -> int:
    """Rows before today that an estimate reads."""
    return window + (_STYLE_ROWS if kind == "style" else 0)


def check_risk(kind: str, window: int, where: str, *, half_life: float = 1.0, factors: int = 1) -> None:
    """The settings of `estimate`: a known kind, at least two returns, a positive half-life and number of factors.

    Raises: DataError that names `where` and the setting.
    """
    if kind not in get_args(RiskKind):
        raise DataError(
            "a covariance is of one of these kinds",
            found=kind,
            where=f"{where}.risk",
            fix=", ".join(get_args(RiskKind)),
        )
    if window < 2 or window != int(window):
        raise DataError("a window has at least two returns", found=window, where=f"{where}.window")
    if not 0.0 < half_life < np.inf:
        raise DataError("a half-life is a positive number of bars", found=half_life, where=f"{where}.half_life")
    if factors < 1 or factors != int(factors):
        raise DataError("a number of factors is whole and at least 1", found=factors, where=f"{where}.factors")


def bar_returns(view: Panel, window: int) -> Grid:
    """The last `window` returns, each from the last close before it.   Shape: (<= window, N).

    Missing: NaN where there is no close, and before the first close of the rows that are read.
    """
    close = np.asarray(view["close"][-(window + 1) :], dtype=np.float64)
    before = last_known(close)[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = close[1:] / before - 1.0
    return np.where(np.isfinite(moved), moved, np.nan)


def shrinkage(moves: Grid, target: Target = "identity") -> tuple[float, float]:
    """How far the sample covariance is drawn to its target, from 0 to 1, and the target's one parameter.

    intensity = (pi - rho) / (T gamma): pi, the summed noise of the sample's entries; rho, how far the target shares
    it; gamma, the squared distance of sample and target. Towards the identity the parameter is the mean variance and
    rho is 0; towards a constant correlation it is the mean correlation (0 if that is negative). No N x N table is made.
    Shape: moves (T, N), deviations from the mean.
    Source: Ledoit and Wolf 2004, J. Multivariate Analysis 88 (identity); Ledoit and Wolf 2004, Honey, I shrunk the
    sample covariance matrix, J. Portfolio Management 30 (constant correlation).
    """
    T, N = moves.shape
    gram = moves @ moves.T / T if T <= N else moves.T @ moves / T
    whole = float((gram**2).sum())  # |S|^2, the same for X X' and X' X
    variance = (moves**2).mean(axis=0)
    pi = float(((moves**2).sum(axis=1) ** 2).mean()) - whole
    if target == "identity":
        mean = float(variance.mean())
        gamma = whole - N * mean**2
        return _intensity(pi, gamma, T, whole), mean
    size = np.sqrt(variance)
    fourth = float((variance**2).sum())
    summed = (moves / size).sum(axis=1)
    mean = (float((summed**2).mean()) - N) / max(N * (N - 1), 1)
    along = moves @ size
    crossed = float((along**2).mean())  # d' S d
    gamma = mean**2 * (float(variance.sum()) ** 2 - fourth) - 2 * mean * (crossed - fourth) + whole - fourth
    powers = float((moves**4).mean(axis=0).sum())
    cubes = float((((moves**3) / size).sum(axis=1) * along).mean())
    rho = powers - fourth + mean * ((cubes - powers) - (crossed - fourth))
    return _intensity(pi - rho, gamma, T, whole), max(mean, 0.0)


def _intensity(noise: float, gamma: float, T: int, whole: float) -> float:
    return min(1.0, max(0.0, noise / (T * gamma))) if gamma > _FLAT * whole else 0.0


def _deviations(returns: Grid, weights: Grid, member: NDArray[np.bool_]) -> tuple[Grid, NDArray[np.intp]]:
    """Deviations of the members that have enough returns, filled and enlarged.   Shape: (T, M), (M,)."""
    seen = np.isfinite(returns)
    mass = weights @ seen
    enough = member & (mass >= 0.5) & (seen.sum(axis=0) >= 2)
    known = np.flatnonzero(enough)
    part, there, share = returns[:, known], seen[:, known], mass[known]
    mean = (weights @ np.where(there, part, 0.0)) / share
    moves = np.where(there, part - mean, 0.0) / np.sqrt(share)
    moving = np.sqrt(weights @ moves**2) > _FLAT
    return np.ascontiguousarray(moves[:, moving]), known[moving]


def _compressed(moves: Grid, size: Grid) -> tuple[Grid, Grid]:
    """Exposures and sizes of min(T, M) independent factors.   Shape: (T, M), (T,) -> (M, K), (K,)."""
    T, M = moves.shape
    if T <= M:
        return np.ascontiguousarray(moves.T), size
    triangle: Grid = np.asarray(np.linalg.qr(moves * size[:, None], mode="r"))
    return np.ascontiguousarray(triangle.T), np.ones(M)


def _shrunk(moves: Grid, known: NDArray[np.intp], N: int, target: Target) -> Risk:
    T, M = moves.shape
    if not M:
        return _placed(known, N, np.zeros((0, 0)), np.zeros(0), np.zeros(0))
    intensity, parameter = shrinkage(moves, target)
    loads, size = _compressed(moves, np.full(T, np.sqrt((1.0 - intensity) / T)))
    if target == "identity":
        return _placed(known, N, loads, size, np.full(M, np.sqrt(intensity * parameter)))
    own = np.sqrt((moves**2).mean(axis=0))
    loads = np.column_stack([loads, own])
    size = np.append(size, np.sqrt(intensity * parameter))
    return _placed(known, N, loads, size, own * np.sqrt(intensity * (1.0 - parameter)))


def _principal(moves: Grid, factors: int) -> tuple[Grid, Grid]:
    """Loadings on the leading components of the correlations, and the risk they leave.   Shape: (M, K), (M,)."""
    T, M = moves.shape
    if not M:
        return np.zeros((0, 0)), np.zeros(0)
    size = np.sqrt((moves**2).mean(axis=0))
    plain = moves / (size * np.sqrt(T))
    K = min(factors, T, M)
    if T <= M:
        loads = plain.T @ np.linalg.eigh(plain @ plain.T)[1][:, -K:]
    else:
        values, vectors = np.linalg.eigh(plain.T @ plain)
        loads = vectors[:, -K:] * np.sqrt(np.maximum(values[-K:], 0.0))
    left = np.maximum(1.0 - (loads**2).sum(axis=1), _LEAST_SPECIFIC)
    return loads * size[:, None], np.sqrt(left) * size


def _styled(view: Panel, window: int) -> Risk:
    from alphaloom.factors.risk import RiskModel

    rows = view[max(0, len(view) - 1 - rows_needed("style", window)) :]
    label = "sector" if "sector" in rows.labels else ""
    if not ({"cap"} <= set(rows.fields) or {"close", "shares_out"} <= set(rows.fields)):
        raise DataError(
            "the style model weighs assets by their market value",
            found="no field cap, nor close with shares_out",
            where="estimate(style)",
            fix='use "factor", whose factors come from the returns alone',
        )
    forecast = RiskModel(label=label, window=window).fit(rows).at(-1)
    values, vectors = np.linalg.eigh(forecast.factor_covariance)
    unseen = ~np.isfinite(view["close"][-1]) | ~view.member[-1]
    known = np.flatnonzero(np.isfinite(forecast.specific) & np.isfinite(forecast.exposures).all(axis=1) & ~unseen)
    loads = forecast.exposures[known] @ (vectors * np.sqrt(np.maximum(values, 0.0)))
    return _placed(known, len(view.assets), loads, np.ones(len(values)), forecast.specific[known])


def _placed(known: NDArray[np.intp], N: int, loads: Grid, size: Grid, specific: Grid) -> Risk:
    """Spread the known assets' numbers over all N."""
    exposures, own = np.full((N, len(size)), np.nan), np.full(N, np.nan)
    exposures[known], own[known] = loads, specific
    return Risk(exposures, np.diag(size), own)
