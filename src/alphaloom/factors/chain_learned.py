"""The steps of the chain that learn from training dates: directions, duplicates, weights.

All of them read the same evidence, the rank correlations of the factors with later returns and with each other. A
direction or a choice changes that evidence in a known way, so several of them cost one walk over the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors.chain_blocks import LEAST_PAIRS, Cube, Evidence, Run, gather, through
from alphaloom.market import Fill, Market
from alphaloom.panel import Panel
from alphaloom.signal import Features, Target, forward_returns

__all__ = ["Choice", "Orient", "Redundancy", "Signs", "Weight", "Weighted", "ledoit_wolf", "weigh"]

Grid = NDArray[np.float64]
Method = Literal["equal", "ic", "icir", "shrunk"]


@dataclass(frozen=True)
class Orient:
    """Turn each factor so that high was good over the training dates; one without evidence stays as it is."""

    def fit(self, features: Features, target: Target, panel: Panel) -> Signs:
        """Learn the directions."""
        return self.learn(gather((), features, target, panel))

    def learn(self, evidence: Evidence) -> Signs:
        """The directions that the evidence shows."""
        mean = _means(evidence.ics)
        return Signs(tuple(-1 if value < 0 else 1 for value in mean))


@dataclass(frozen=True)
class Signs:
    """A direction for each factor."""

    signs: tuple[int, ...]

    lookback = 0

    def names(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """The factors stay what they are."""
        return given

    def carry(self, evidence: Evidence) -> Evidence:
        """What the evidence says of the turned factors."""
        sign = np.array(self.signs, dtype=np.float64)
        turned = evidence.correlation * np.outer(sign, sign)
        return replace(evidence, ics=evidence.ics * sign, correlation=turned)

    def open(self, panel: Panel) -> Run:
        """A walk over the panel's dates."""

        def run(block: Cube, rows: slice) -> Cube:
            block *= np.array(self.signs, block.dtype)
            return block

        return run

    def transform(self, features: Features, panel: Panel) -> Features:
        """The turned features."""
        return through((self,), features, panel)


@dataclass(frozen=True)
class Redundancy:
    """Keep one of each cluster of factors that order the assets alike.

    Factors are taken from the best training ICIR down; one whose mean absolute rank correlation with a factor that was
    kept exceeds `limit` belongs to that factor's cluster and is dropped.
    """

    limit: float = 0.9

    def fit(self, features: Features, target: Target, panel: Panel) -> Choice:
        """Learn which factors to keep."""
        return self.learn(gather((), features, target, panel))

    def learn(self, evidence: Evidence) -> Choice:
        """The factors that the evidence keeps, in their old order."""
        quality = np.nan_to_num(np.abs(_ratios(evidence.ics)), nan=-1.0, posinf=np.inf)
        alike = np.abs(np.nan_to_num(evidence.correlation))
        leaders: dict[int, int] = {}
        kept: list[int] = []
        for k in np.argsort(-quality, kind="stable"):
            near = [j for j in kept if alike[k, j] > self.limit]
            if near:
                leaders[int(k)] = max(near, key=lambda j: (alike[k, j], -j))
            else:
                kept.append(int(k))
                leaders[int(k)] = int(k)
        return Choice(evidence.factors, tuple(sorted(kept)), tuple(leaders[k] for k in range(len(quality))))


@dataclass(frozen=True)
class Choice:
    """The factors that are kept; `leaders[k]` is the column of the factor that stands for factor k."""

    given: tuple[str, ...]
    kept: tuple[int, ...]
    leaders: tuple[int, ...]

    lookback = 0

    def names(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """The names of what is kept."""
        return tuple(given[k] for k in self.kept)

    def carry(self, evidence: Evidence) -> Evidence:
        """What the evidence says of the kept factors."""
        kept = list(self.kept)
        names = self.names(evidence.factors)
        return replace(
            evidence, factors=names, ics=evidence.ics[:, kept], correlation=evidence.correlation[np.ix_(kept, kept)]
        )

    def open(self, panel: Panel) -> Run:
        """A walk over the panel's dates."""
        return lambda block, rows: np.ascontiguousarray(block[:, :, list(self.kept)])

    def transform(self, features: Features, panel: Panel) -> Features:
        """The features that are kept."""
        return through((self,), features, panel)


@dataclass(frozen=True)
class Weight:
    """Add the factors up to one score.

    Weights are equal, the mean IC, its ratio to its deviation (ICIR), or the mean ICs times the inverse of their
    covariance, shrunk after Ledoit and Wolf; their sizes sum to 1. They come from the last `window` dates whose outcome
    is known: those of training, or with `rolling` those before each row, as soon as the panel holds half a window.
    Time: the rank correlation of row s is known from row s + horizon + 1 on.
    Missing: a score needs half of the weight to be known, and divides by it.
    """

    method: Method = "icir"
    window: int = 252
    rolling: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Method) or self.window < 2:
            raise DataError(
                "factors are weighed equally, by ic, icir or shrunk, over a window of at least two dates",
                found=f"{self.method}, window {self.window}",
                where="Weight",
            )

    def fit(self, features: Features, target: Target, panel: Panel) -> Weighted:
        """Learn the weights."""
        return self.learn(gather((), features, target, panel))

    def learn(self, evidence: Evidence) -> Weighted:
        """The weights that the evidence gives."""
        target = evidence.target
        known = evidence.ics[: max(0, len(evidence.ics) - target.horizon - 1)]
        weights = weigh(known[-self.window :], self.method)
        return Weighted(self, tuple(weights.tolist()), target.horizon, target.fill)


@dataclass(frozen=True)
class Weighted:
    """A weight for each factor."""

    step: Weight
    weights: tuple[float, ...]
    horizon: int
    fill: Fill

    @property
    def lookback(self) -> int:
        """Rows before today that the weights read."""
        return self.step.window + self.horizon + 1 if self.step.rolling else 0

    def names(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """All factors become one."""
        return ("score",)

    def open(self, panel: Panel) -> Run:
        """A walk over the panel's dates that learns on the way where the weights roll."""
        fixed = np.array(self.weights)
        if not self.step.rolling:
            return lambda block, rows: _summed(block, np.broadcast_to(fixed, (len(block), len(fixed))))
        from alphaloom.factors.chain_kernels import rank_ics

        later = forward_returns(panel, Market(fill=self.fill), horizon=self.horizon).values
        ics = np.full((len(panel), len(fixed)), np.nan)

        def run(block: Cube, rows: slice) -> Cube:
            ics[rows] = rank_ics(block, panel.member[rows], later[rows], LEAST_PAIRS)
            return _summed(block, np.array([self._row(ics, t, fixed) for t in range(rows.start, rows.stop)]))

        return run

    def _row(self, ics: Grid, t: int, fixed: Grid) -> Grid:
        """The weights of row t, from correlations whose outcome row t knows."""
        stop = max(0, t - self.horizon)
        recent = ics[max(0, stop - self.step.window) : stop]
        told = np.isfinite(recent).any(axis=1).sum()
        return weigh(recent, self.step.method) if told >= self.step.window // 2 else fixed

    def transform(self, features: Features, panel: Panel) -> Features:
        """The score as the only feature.   Shape: (T, N, F) -> (T, N, 1)."""
        return through((self,), features, panel)


def weigh(ics: Grid, method: Method) -> Grid:
    """Weights from a window of rank correlations.   Shape: (W, F) -> (F,), sizes sum to 1."""
    F = ics.shape[1]
    mean = np.nan_to_num(_means(ics))
    if method == "equal":
        raw = np.ones(F)
    elif method == "ic":
        raw = mean
    elif method == "icir":
        raw = np.nan_to_num(_ratios(ics), posinf=0.0, neginf=0.0)
    else:
        seen = ics[np.isfinite(ics).any(axis=1)]
        covariance = ledoit_wolf(np.where(np.isfinite(seen), seen, mean))[0] if len(seen) > 1 else np.eye(F)
        scale = np.trace(covariance) / F
        raw = np.linalg.solve(covariance + 1e-8 * scale * np.eye(F), mean) if scale > 0 else mean
    size = np.abs(raw).sum()
    return raw / size if size > 0 else np.full(F, 1.0 / max(1, F))


def ledoit_wolf(x: Grid, weights: Sequence[float] | Grid | None = None) -> tuple[Grid, float]:
    """Covariance shrunk towards a multiple of the identity, and by how much.

    Shape: (n, K) -> (K, K).   `weights` (n,) give dates different weight; they default to equal ones.
    Source: Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices.
    """
    n, K = x.shape
    w = np.full(n, 1.0 / n) if weights is None else np.asarray(weights) / np.sum(weights)
    centred = x - w @ x
    sample = (centred * w[:, None]).T @ centred
    mean = np.trace(sample) / K
    distance = float(((sample - mean * np.eye(K)) ** 2).sum())
    # Sum over dates of w^2 * |x x' - S|^2, without forming the products.
    length = (centred**2).sum(axis=1)
    cross = np.einsum("ik,kl,il->i", centred, sample, centred)
    noise = float((w**2 * (length**2 - 2.0 * cross + (sample**2).sum())).sum())
    intensity = min(1.0, noise / distance) if distance > 0 else 0.0
    return (1.0 - intensity) * sample + intensity * mean * np.eye(K), intensity


def _summed(block: Cube, weights: Grid) -> Cube:
    """Weighted sum over the known factors.   Shape: (B, N, F), (B, F) -> (B, N, 1)."""
    known = np.isfinite(block)
    total = np.einsum("tnf,tf->tn", np.where(known, block, 0.0), weights)
    size = np.einsum("tnf,tf->tn", known.astype(np.float64), np.abs(weights))
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where(size >= 0.5 - 1e-9, total / size, np.nan)
    return score[:, :, None].astype(block.dtype)


def _means(ics: Grid) -> Grid:
    """Mean over known dates; NaN where there is none."""
    known = np.isfinite(ics)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, ics, 0.0).sum(axis=0) / known.sum(axis=0))


def _ratios(ics: Grid) -> Grid:
    """Mean over deviation (ddof 1)."""
    known, mean = np.isfinite(ics), _means(ics)
    square = np.where(known, (ics - mean) ** 2, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(mean / np.sqrt(square / (known.sum(axis=0) - 1)))
