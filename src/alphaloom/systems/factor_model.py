"""The cross-sectional factor model: classic factors, a line and trees blended out of sample, the best k held.

Source: Gu, Kelly and Xiu (2020), "Empirical Asset Pricing via Machine Learning", Review of Financial Studies 33(5):
penalised lines and boosted trees on ranked characteristics, refitted in rolling windows. Yang et al. (2020), "Qlib: An
AI-oriented Quantitative Investment Platform", arXiv:2009.11189: the daily variant with gradient-boosted trees on
price-volume factors and a top-k portfolio that changes slowly.

Deviations:
1. About 50 factors from the classic library instead of 94 characteristics or 158 price-volume factors; those whose
   fields a panel lacks are left out, with a note.
2. The label is the rank of the return from the next fill over `horizon` bars, not the return itself: ranks are what a
   top-k portfolio uses and they do not follow outliers.
3. Line and trees are blended by their rank IC on the last part of each training slice; the sources choose one model.
4. Slow, coarse trees (`min_rows` 500, 63 bins), for daily returns are mostly noise.
5. Instead of dropping a fixed number of holdings a day, a holding leaves when it falls below rank k + buffer, and the
   portfolio is looked at every `every` bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from alphaloom.factors import FactorSet
from alphaloom.forecast import Blend, LightGBM, Ridge
from alphaloom.portfolio import TopK

__all__ = ["FactorModel"]


@dataclass(frozen=True)
class FactorModel:
    """A learner and an allocator that belong together; a study takes both.

    `factors` is a library name or the path of a TOML file. A label reaches `horizon` bars ahead, and the portfolio of
    `k` holdings is looked at every `every` bars. Labels overlap, so every `thin`-th date is enough to learn from.
    Raises: DataError for settings out of range.
    """

    factors: FactorSet | str = "classic"
    horizon: int = 5
    alpha: float = 0.01
    trees: int = 150
    leaves: int = 31
    learning_rate: float = 0.05
    min_rows: int = 500
    holdout: float = 0.2
    k: int = 20
    buffer: int = 20
    every: int = 5
    cash: float = 0.01
    thin: int = 3
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        # Both parts check their settings when they are made: a fault shows here, not after an hour of learning.
        _ = self.learner, self.allocator

    @property
    def learner(self) -> Blend:
        """The line and the trees, weighted out of sample."""
        line = Ridge(self.factors, horizon=self.horizon, every=self.thin, alpha=self.alpha)
        trees = LightGBM(
            self.factors,
            horizon=self.horizon,
            every=self.thin,
            trees=self.trees,
            leaves=self.leaves,
            learning_rate=self.learning_rate,
            min_rows=self.min_rows,
            threads=self.threads,
            seed=self.seed,
        )
        return Blend((line, trees), holdout=self.holdout)

    @property
    def allocator(self) -> TopK:
        """The k best with a buffer, in equal parts."""
        return TopK(self.k, buffer=self.buffer, every=self.every, cash=self.cash)

    @property
    def ablations(self) -> Mapping[str, FactorModel]:
        """The same model with one step left out, by the name of the step."""
        return {
            "no buffer": replace(self, buffer=0),
            "no patience": replace(self, every=1),
            "no thinning": replace(self, thin=1),
        }
