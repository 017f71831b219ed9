"""What a trading agent has to beat: constant portfolios, its own average held still, itself with shuffled sight.

An agent that trades a rising market earns the market whether it has learned anything or not. These controls have the
same assets, costs and fills, and no skill by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import backtest
from alphaloom.market import Book, Market
from alphaloom.panel import Panel
from alphaloom.roles import Policy
from alphaloom.study.folds import Fold

__all__ = ["ConstantWeights", "Shuffling", "blind_twin", "random_constants", "random_signs", "seeing"]

Floats = NDArray[np.float64]
_SPARE = 0.01  # fraction of equity that a constant portfolio keeps for costs


@runtime_checkable
class Shuffling(Protocol):
    """A policy that can be asked to look at other rows than the present one."""

    def shuffled(self, seed: int) -> Policy: ...


def seeing(policy: Policy, panel: Panel) -> Policy:
    """The policy for one panel, looked at once, where it offers that (`on`): the same decisions in less time."""
    on = getattr(policy, "on", None)
    return on(panel) if callable(on) else policy


@dataclass(frozen=True, eq=False)
class ConstantWeights:
    """The same weights on every bar, restored at every close.

    Shape: `parts` (N,), fractions of equity over all assets of the panel; what belongs to an asset that is no member or
    has no price is spread over the others in their proportions, side by side.
    """

    parts: Floats

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads: none."""
        return 0

    def decide(self, view: Panel, book: Book) -> Floats:
        """The last row of `weights`.   Shape: (N,)."""
        row: Floats = self.weights(view[len(view) - 1 :])[0]
        return row

    def weights(self, panel: Panel) -> Floats:
        """The weights of every bar; a bar on which nothing can be held holds.   Shape: (T, N)."""
        able = panel.member & panel.listed & np.isfinite(panel["close"])
        found = np.zeros(panel.shape)
        for side in (np.maximum(self.parts, 0.0), np.minimum(self.parts, 0.0)):
            whole, here = side.sum(), np.where(able, side, 0.0)
            left = here.sum(axis=1, keepdims=True)
            found += np.where(left != 0.0, here * (whole / np.where(left != 0.0, left, 1.0)), 0.0)
        found[~able.any(axis=1)] = np.nan
        return found


def random_constants(count: int, assets: int, *, seed: int) -> list[ConstantWeights]:
    """Portfolios whose parts are drawn evenly from all long-only ones (Dirichlet with ones)."""
    random = np.random.default_rng([seed, 1])
    return [ConstantWeights((1.0 - _SPARE) * random.dirichlet(np.ones(assets))) for _ in range(count)]


def random_signs(count: int, assets: int, *, seed: int, short: bool) -> list[ConstantWeights]:
    """Portfolios that give each asset a side by the toss of a coin and keep it; equal parts.

    Without short sales the other side of a purchase is not to hold the asset.
    """
    random = np.random.default_rng([seed, 2])
    made = []
    for _ in range(count):
        sides = np.where(random.random(assets) < 0.5, 1.0, -1.0 if short else 0.0)
        if not sides.any():
            sides[random.integers(assets)] = 1.0
        made.append(ConstantWeights((1.0 - _SPARE) * sides / np.abs(sides).sum()))
    return made


def blind_twin(policy: Policy, panel: Panel, market: Market, *, fold: Fold, rows: int, cash: float) -> ConstantWeights:
    """The policy's average weights over the last `rows` bars of its training slice, held constant.

    Time: only rows that the policy's fold had learned from are read.
    """
    start = max(fold.train_start + min(policy.lookback, fold.train_stop - fold.train_start - 2), fold.train_stop - rows)
    held: Any = backtest(policy, panel[: fold.train_stop], market, start=start, cash=cash).holdings
    # The first close is before the first fill.
    average = np.asarray(held[1:], dtype=np.float64).mean(axis=0)
    gross = float(np.abs(average).sum())
    return ConstantWeights(average * (min(gross, 1.0 - _SPARE) / gross if gross > 0.0 else 0.0))
