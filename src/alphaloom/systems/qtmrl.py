"""QTMRL: an actor-critic that buys, holds or sells each of some stocks, from 20 bars of 37 indicators.

Source: "QTMRL: An Agent for Quantitative Trading Decision-Making Based on Multi-Indicator Guided Reinforcement
Learning", arXiv:2508.20467. Printed there: the families of indicators and five of their periods, windows of 20 bars,
capital 10,000, costs of 5 bps a side, purchases of 20 % of the capital, sales of half a position, A2C with Adam at
1e-5, rollouts of 50, discount 0.96, entropy 0.05, 1,000,000 steps. The result rows of QTMRL itself, A2C, ARIMA and the
three nets are empty in its version 1: there is no number to reproduce. Deviations, and choices where it is silent:
1. One place codes all orders as one number of 2^N, another speaks of buying, holding and selling: here each asset has
   its own three chances, as 2^N heads cannot be learnt.
2. The reward is named in words only; it is the log return of the account after costs. An order that cannot be done
   costs nothing extra.
3. The net is not stated: an encoder shared by all assets (two convolutions over time), one attention among assets, and
   heads for actor and critic. `net` "mlp" lays the windows out flat, which stands for the plain A2C of the paper.
4. "20 % of the capital" is 20 % of the cash left after sales, the same for every buyer, cut to what there is.
5. The rate is 3e-4 and rewards and advantages are standardised: at 1e-5 with raw log returns a million steps move the
   net by almost nothing. `profile` "paper" has the printed rate and nothing standardised.
6. Ten training years are stated, which ones are not: the config takes the eleven before a test year, the last of which
   chooses among 20 states of the net by its log return. The paper shows no validation.
7. Indicators are scaled by training rows alone; prices are divided by the close of their row, and recursions are cut to
   finite windows (see the library `qtmrl`). The span of the Ichimoku cloud that lies ahead is left out.
8. The paper says 16 stocks and lists 17 (`UNIVERSES`); those listed later are traded from their first full windows on,
   nothing is filled. All were chosen in 2025 and still trade: every result on them is biased upward.
9. The paper fills at the close of the decision; the market of the study says what is done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from alphaloom.agents.a2c import ActorCritic
from alphaloom.agents.observation import Observation
from alphaloom.agents.trading import Trading
from alphaloom.errors import DataError

__all__ = ["QTMRL", "UNIVERSES"]

_LISTED: tuple[str, ...] = (
    "CCL",
    "RCL",
    "AAL",
    "UAL",
    "DAL",
    "MRO",
    "OXY",
    "WYNN",
    "LVS",
    "AAPL",
    "AXP",
    "BAC",
    "CVX",
    "GOOGL",
    "JNJ",
)
_LISTED += ("MSFT", "NVDA")
UNIVERSES: Mapping[str, tuple[str, ...]] = {
    "qtmrl17": _LISTED,
    "qtmrl16": tuple(name for name in _LISTED if name != "MRO"),
}


@dataclass(frozen=True)
class QTMRL:
    """The agent as published where the source speaks; a study takes its learner.

    `rate` None is the profile's. `buy` and `sell` are fractions of the cash and of a position, `episode` the bars of a
    training episode; `market` adds the market's risk to what is seen. Raises: DataError for settings out of range.
    """

    profile: Literal["safe", "paper"] = "safe"
    net: Literal["attention", "mlp"] = "attention"
    features: str = "qtmrl"
    market: bool = False
    window: int = 20
    rate: float | None = None
    steps: int = 1_000_000
    copies: int = 16
    laps: int = 20
    validation: int = 252
    episode: int = 252
    buy: float = 0.2
    sell: float = 0.5
    cash: float = 10_000.0
    seed: int = 0
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.profile not in ("safe", "paper"):
            raise DataError("a profile is safe or paper", found=self.profile, where="QTMRL.profile")
        # The learner checks its settings when it is made: a fault shows here, not after an hour of training.
        _ = self.learner

    @property
    def learner(self) -> ActorCritic:
        """The actor-critic with the settings of the profile."""
        paper = self.profile == "paper"
        return ActorCritic(
            Observation(self.features, market=self.market, window=self.window),
            Trading(
                mode="discrete", cash=self.cash, buy=self.buy, sell=self.sell, episode="random", length=self.episode
            ),
            net=self.net,
            rate=self.rate if self.rate is not None else (1e-5 if paper else 3e-4),
            steps=self.steps,
            copies=self.copies,
            validation=self.validation,
            standardise=not paper,
            laps=self.laps,
            seed=self.seed,
            threads=self.threads,
            device=self.device,
        )

    @property
    def allocator(self) -> None:
        """An agent makes its own weights."""
        return None

    @property
    def ablations(self) -> Mapping[str, QTMRL]:
        """One choice changed at a time."""
        found = {
            "printed rate and scale": replace(self, profile="paper", rate=None),
            "flat net": replace(self, net="mlp"),
            "all in, all out": replace(self, buy=1.0, sell=1.0),
            "ratios instead of indicators": replace(self, features="ratio"),
            "with the market's risk": replace(self, market=True),
            "today alone": replace(self, window=1),
        }
        return {name: system for name, system in found.items() if system != self}
