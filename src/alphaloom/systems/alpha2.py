"""Alpha2: formulas as programs, found by guided tree search; boosted trees on the best; fifty stocks, five exchanged.

Source: "Alpha2: Discovering Logical Formulaic Alphas using Deep Reinforcement Learning", arXiv:2406.16505, and the
configuration that its author published (no runnable code exists). The miner stands in `mining.alpha2`, its deviations
in `Alpha2`; those of the whole system are:
1. `profile` "safe" is the default: coefficients without sign, units that no split changes, labels from the next open.
2. Simulations, network and games fit a processor: 40 to 400 simulations a move with widening, where the published
   settings take 25,000 to 200,000. A search ends after `evaluations` distinct formulas; the paper states no budget.
3. Trees are LightGBM's with the settings chosen here (200 trees, depth 3, rate 0.05, stopped on later rows), for the
   paper's XGBoost settings are not stated.
4. Besides trees on the 20 best formulas a lasso on them is tried, and the last part of each training slice chooses.
   `combiner = "gbdt"` leaves trees alone, as in the paper.
5. The 50 best are held and at most five exchanged a day, as published; the market's costs are charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from alphaloom.errors import DataError
from alphaloom.factors.grammar import ALPHA2, Grammar
from alphaloom.mining import Mined, Settings
from alphaloom.mining.alpha2 import Alpha2
from alphaloom.mining.combiners import Boosting, Terms
from alphaloom.portfolio import TopDrop

__all__ = ["Alpha2System"]

_CONSTANTS, _WINDOWS = (0.01, 0.5, 1.0, 2.0), (5, 10, 20, 30, 40)


@dataclass(frozen=True)
class Alpha2System:
    """A search and an allocator that belong together; a study takes both.

    `best` formulas of the archive go into `combiner`: "gbdt", "lasso", or "both" tried on the last fraction `valid` of
    each training slice. `beta` weighs mean against largest returns in the tree.
    Raises: DataError for settings out of range.
    """

    profile: Literal["safe", "paper"] = "safe"
    grammar: Grammar | None = None
    horizon: int = 20
    best: int = 20
    combiner: Literal["gbdt", "lasso", "both"] = "both"
    l1: float = 5e-3
    valid: float = 0.2
    evaluations: int = 20_000
    simulations: int | None = None
    beta: float = 0.5
    trees: int = 200
    min_rows: int = 100
    settings: Settings | None = None
    k: int = 50
    drop: int = 5
    every: int = 1
    cash: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("profile", ("safe", "paper")), ("combiner", ("gbdt", "lasso", "both"))):
            if getattr(self, name) not in known:
                rule = f"a {name} is one of {', '.join(known)}"
                raise DataError(rule, found=getattr(self, name), where=f"Alpha2System.{name}")
        # Both parts check their settings when they are made: a fault shows here, not after an hour of searching.
        _ = self.learner, self.allocator

    @property
    def miner(self) -> Alpha2:
        """The search alone."""
        return Alpha2(self.profile, simulations=self.simulations, beta=self.beta)

    @property
    def learner(self) -> Mined:
        """The search, and the combiner that its last rows choose."""
        units: Literal["safe", "paper"] = self.profile
        grammar = self.grammar or Grammar(ALPHA2, constants=_CONSTANTS, windows=_WINDOWS, units=units)
        boosting = Boosting(top=self.best, trees=self.trees, min_rows=self.min_rows)
        return Mined(
            self.miner,
            grammar,
            capacity=self.best,
            l1=self.l1,
            horizon=self.horizon,
            valid=self.valid,
            evaluations=self.evaluations,
            combiner=("gbdt", "lasso") if self.combiner == "both" else self.combiner,
            sizes=(self.best,),
            snapshots=1,
            settings=self.settings or (Settings(clip=0.0) if self.profile == "paper" else Settings()),
            terms=Terms(l1=self.l1, boosting=boosting),
            seed=self.seed,
        )

    @property
    def allocator(self) -> TopDrop:
        """The best k, of which a few are exchanged at a time."""
        return TopDrop(self.k, self.drop, every=self.every, cash=self.cash)

    @property
    def ablations(self) -> Mapping[str, Alpha2System]:
        """One combiner alone, and the two ends of the backup between mean and maximum."""
        found = {
            "trees only": replace(self, combiner="gbdt"),
            "lasso only": replace(self, combiner="lasso"),
            "mean backup": replace(self, beta=1.0),
            "maximum backup": replace(self, beta=0.0),
        }
        return {name: system for name, system in found.items() if system != self}
