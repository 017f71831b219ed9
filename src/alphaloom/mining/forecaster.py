"""A mined pool that speaks: its formulas on a panel, standardised over members, as one score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import FactorSet
from alphaloom.market import Market
from alphaloom.mining.combiners import tree_scores
from alphaloom.mining.mined_files import MinedPool, read_pool
from alphaloom.mining.scaling import daily_products, member_values, standard_target, standardised
from alphaloom.panel import Panel
from alphaloom.signal import Signal, forward_returns

__all__ = ["MinedForecaster"]


@dataclass(frozen=True)
class MinedForecaster:
    """Scores of a pool: the weighted sum of its standardised formulas, or what its trees say of them.

    Values are held and standardised as in the search, over the members of the date: which of them will have a target
    is not known. A pool whose weights change day by day reads, on row t, the returns that were complete at t.
    `threads` evaluate the formulas; the scores do not depend on them.
    """

    pool: MinedPool
    threads: int = 1

    @property
    def factors(self) -> FactorSet:
        """The formulas that are read."""
        return self.pool.factors

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noted when the pool was mined."""
        return self.pool.notes

    @property
    def lookback(self) -> int:
        """Rows before today that a prediction reads."""
        reach = int(self.pool.factors.lookback)
        rule = self.pool.dynamic
        return reach if rule is None else reach + rule.window + self.pool.horizon + self.pool.lag - 1

    @property
    def importance(self) -> Mapping[str, float]:
        """The share of each formula in the sum of absolute weights."""
        size = np.abs(self.pool.weights)
        return dict(zip(self.pool.formulas, (size / (size.sum() or 1.0)).tolist(), strict=True))

    def predict(self, panel: Panel) -> Signal:
        """Scores of the members.

        Shape: (T, N).   Missing: NaN for an asset of which no formula that counts is known; another unknown formula
        counts as the date's middle. A date with fewer than `min_pairs` members has no view.
        """
        pool = self.pool
        z, known = member_values(pool.factors, panel, clip=pool.clip, least=pool.min_pairs, threads=self.threads)
        return Signal(panel.times, panel.assets, self.scores(panel, z, known), "score", pool.horizon, "mined")

    def scores(self, panel: Panel, z: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The score of standardised formulas.   Shape: z (K, T, N), known (K, T, N) -> (T, N)."""
        pool = self.pool
        if pool.combiner == "gbdt":
            said = tree_scores(pool.trees, z, panel.member, threads=self.threads)
            return np.where(known.any(axis=0), said, np.nan)
        weights = self._weights(panel, z, known)
        total, seen = np.zeros(panel.shape), np.zeros(panel.shape, dtype=np.bool_)
        for k, column in enumerate(weights.T):
            total += column[:, None] * z[k]
            seen |= known[k] & (column != 0.0)[:, None]
        return np.where(seen, total, np.nan)

    def _weights(self, panel: Panel, z: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Each day's weights.   Shape: (T, K)."""
        from alphaloom.metrics.ranking import rank_ic

        pool, fixed = self.pool, np.array(self.pool.weights)
        if pool.dynamic is None:
            return np.broadcast_to(fixed, (len(panel), len(fixed)))
        returns = forward_returns(panel, Market(fill=pool.fill), horizon=pool.horizon).values
        target = standard_target(returns, panel.member, least=pool.min_pairs)
        K, T = len(z), len(panel)
        values, products, ranked = np.empty_like(z), np.empty((T, K)), np.empty((T, K))
        for k in range(K):
            # Standardised once more, over the cells whose outcome is known: what a search would have seen.
            seen = np.where(known[k], z[k], np.nan)
            made = standardised(seen, target, clip=0.0, least=pool.min_pairs)
            values[k], products[:, k] = made.z, made.b
            ranked[:, k] = rank_ic(seen, target, min_pairs=pool.min_pairs)
        delay = pool.horizon + pool.lag
        grams = daily_products(values)
        return pool.dynamic.weights(ranked, grams, products, delay=delay, otherwise=fixed)

    def state(self) -> dict[str, Any]:
        """The stored form: the pool's own file, and the threads."""
        return {"pool": self.pool.text, "threads": self.threads}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MinedForecaster:
        """The forecaster that `state` described.   Raises: DataError where its parts do not fit."""
        return cls(read_pool(str(state["pool"]), where="pool"), int(state["threads"]))
