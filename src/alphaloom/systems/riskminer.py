"""RiskMiner: formulas by tree search with dense rewards and a risk-seeking policy, the best assets in equal parts.

Source: "RiskMiner: Discovering Formulaic Alphas via Risk Seeking Monte Carlo Tree Search", arXiv:2402.07080. The miner
stands in `mining.riskminer`, its deviations in `RiskMiner`; those of the whole system are:
1. `profile` "safe" is the default: units in the grammar, 20 tokens, 20 formulas under a lasso, labels from the next
   open. "paper" takes 30 tokens, no units, 100 formulas under plain squared error; labels from the close are the
   market's setting (`fill = "same_close"`).
2. The paper gives no number of iterations. A search ends after `evaluations` distinct formulas.
3. The paper's weights come from gradient descent of unstated rate and length; ours minimise the same loss exactly.
4. The last part of each training slice chooses among the pool as it was at several times of the search and how many of
   its formulas are kept; the paper fixes the pool's size and uses the validation year for the portfolio's.
5. The paper trades the 40 best of the list, every five days, without saying what trading costs; here the market's
   costs are charged, and what cannot be bought or sold stays as it is.
6. The net is PyTorch's GRU on a processor; the paper prints sizes and a learning rate, not the optimiser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from alphaloom.errors import DataError
from alphaloom.factors.grammar import Grammar
from alphaloom.mining import Mined, Settings
from alphaloom.mining.riskminer import RiskMiner
from alphaloom.portfolio import TopK

__all__ = ["RiskMinerSystem"]


@dataclass(frozen=True)
class RiskMinerSystem:
    """A search and an allocator that belong together; a study takes both.

    What is None is as the profile says: the grammar, the pool's `capacity` and penalty `l1`, the `horizon` of labels.
    `sizes` are tried on the last fraction `valid` of each training slice. `search`: "both", "policy" or "tree".
    Raises: DataError for settings out of range.
    """

    profile: Literal["safe", "paper"] = "safe"
    search: Literal["both", "policy", "tree"] = "both"
    grammar: Grammar | None = None
    horizon: int | None = None
    capacity: int | None = None
    l1: float | None = None
    sizes: tuple[int, ...] = (10, 20, 100)
    valid: float = 0.2
    snapshots: int = 4
    evaluations: int = 20_000
    simulations: int | None = None
    risk: float = 0.85
    settings: Settings | None = None
    k: int = 40
    every: int = 5
    cash: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))
        if self.profile not in ("safe", "paper"):
            raise DataError("a profile is safe or paper", found=self.profile, where="RiskMinerSystem.profile")
        # Both parts check their settings when they are made: a fault shows here, not after an hour of searching.
        _ = self.learner, self.allocator

    @property
    def miner(self) -> RiskMiner:
        """The search alone."""
        return RiskMiner(self.profile, search=self.search, simulations=self.simulations, risk=self.risk)

    @property
    def learner(self) -> Mined:
        """The search, and what its last rows choose."""
        paper = self.profile == "paper"
        settings = Settings(clip=0.0) if paper else Settings()
        return Mined(
            self.miner,
            self.grammar or Grammar.riskminer(paper=paper),
            capacity=self.capacity or (100 if paper else 20),
            l1=self.l1 if self.l1 is not None else (0.0 if paper else 5e-3),
            horizon=self.horizon or (5 if paper else 10),
            valid=self.valid,
            evaluations=self.evaluations,
            combiner="mse" if paper else "lasso",
            sizes=self.sizes,
            snapshots=self.snapshots,
            settings=self.settings or settings,
            seed=self.seed,
        )

    @property
    def allocator(self) -> TopK:
        """The k best in equal parts, looked at every few bars."""
        return TopK(self.k, every=self.every, cash=self.cash)

    @property
    def ablations(self) -> Mapping[str, RiskMinerSystem]:
        """The paper's own ablations, and a policy that seeks the middle instead of the best."""
        found = {
            "policy only": replace(self, search="policy"),
            "tree only": replace(self, search="tree"),
            "no risk seeking": replace(self, risk=0.5),
            "one pool size": replace(self, sizes=(max(self.sizes),), snapshots=1),
        }
        return {name: system for name, system in found.items() if system != self}
