"""Directional signals: nets say up, down or wait for the next ten bars; positions end by profit, loss or age.

Source: "Increase Alpha: Performance and Risk of an AI-Driven Trading Framework", arXiv:2509.16707: feed-forward and
recurrent nets on features that experts chose (fundamental, corporate actions, price and volume), directions for days
1 to 10, a ternary signal, and per-ticker scenario parameters (take profit, stop loss, holding days) that are fitted on
six quarters and used on the next.

Deviations:
1. The paper's features are not disclosed. Ours are the 42 formulas of `factors/libraries/directional.toml`, as far as a
   panel has their fields; the choice is ours and was made without looking at results.
2. Architectures, loss, training span and ensemble are not disclosed. Ours: two feed-forward and two GRU nets (or LSTM),
   one head for each horizon and side, cross-entropy, early stopping on the quarter before the validation quarter.
3. A move counts as up or down when it exceeds a quarter of the asset's usual move over the horizon; the paper's ternary
   label is only described in words by others.
4. Probabilities are calibrated by isotonic regression on the last quarter of the training slice; the confidence and the
   number of agreeing horizons that a view needs are chosen on the same quarter.
5. The exit rule is chosen per sector, and per ticker only with 100 views in six quarters. Every cell of the grid counts
   as a trial of the deflated Sharpe ratio; the paper counts none.
6. Profit and loss are looked at on closes and closed at the next open, not within the bar. Quarters are 63 bars.
7. How often nets are learnt anew is not said; our configurations do it once or twice a year.
8. Leverage and the selection of a high-confidence subset are not copied: one portfolio of equal positions is traded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from alphaloom.factors import FactorSet
from alphaloom.forecast.directional import DirectionalNets, Memory
from alphaloom.portfolio.exits import ExitGrid, FixedExits

__all__ = ["IncreaseAlpha"]


@dataclass(frozen=True)
class IncreaseAlpha:
    """The directional ensemble and the exit grid that belong together; a study takes both.

    `cost`, `sell_tax` and `borrow` are what the exit grid reckons with and should be the market's. `calibrated_exits`
    off trades the rule `exits` (profit, loss, days) throughout. `sides` is "both" or "long".
    Raises: DataError for settings out of range.
    """

    factors: FactorSet | str = "directional"
    horizons: int = 10
    length: int = 20
    dead_zone: float = 0.25
    feed_forward: int = 2
    recurrent: int = 2
    memory: Memory = "gru"
    width: int = 32
    every: int = 5
    epochs: int = 12
    dates_per_batch: int = 4
    validation: int = 63
    calibrate: bool = True
    thresholds: bool = True
    agreement: bool = True
    centred: bool = False
    take_profit: tuple[float, ...] = (0.03, 0.06, 0.12)
    stop_loss: tuple[float, ...] = (0.03, 0.06, 0.12)
    days: tuple[int, ...] = (3, 5, 10)
    exits: tuple[float, float, int] = (0.06, 0.06, 5)
    calibrated_exits: bool = True
    window: int = 378
    positions: int = 50
    gross: float = 0.98
    sides: Literal["long", "both"] = "both"
    cost: float = 0.001
    sell_tax: float = 0.0
    borrow: float = 0.0
    device: str = "cpu"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("take_profit", "stop_loss", "days", "exits"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        # Both parts check their settings when they are made: a fault shows here, not after an hour of learning.
        _ = self.learner, self.allocator

    @property
    def learner(self) -> DirectionalNets:
        """The ensemble with its calibration and thresholds."""
        return DirectionalNets(
            self.factors,
            horizons=self.horizons,
            length=self.length,
            dead_zone=self.dead_zone,
            feed_forward=self.feed_forward,
            recurrent=self.recurrent,
            memory=self.memory,
            width=self.width,
            every=self.every,
            epochs=self.epochs,
            dates_per_batch=self.dates_per_batch,
            validation=self.validation,
            holdout=self.validation,
            calibrate=self.calibrate,
            thresholds=self.thresholds,
            agreement=self.agreement,
            centred=self.centred,
            device=self.device,
            threads=self.threads,
            seed=self.seed,
        )

    @property
    def allocator(self) -> ExitGrid | FixedExits:
        """Equal positions that the grid's choice, or the fixed rule, closes."""
        if not self.calibrated_exits:
            return FixedExits(*self.exits, positions=self.positions, gross=self.gross, sides=self.sides)
        return ExitGrid(
            self.take_profit,
            self.stop_loss,
            self.days,
            default=self.exits,
            window=self.window,
            cost=self.cost,
            sell_tax=self.sell_tax,
            borrow=self.borrow,
            positions=self.positions,
            gross=self.gross,
            sides=self.sides,
        )

    @property
    def ablations(self) -> Mapping[str, IncreaseAlpha]:
        """The same system with one part left out or exchanged."""
        nets = max(self.feed_forward, self.recurrent, 1)
        variants = {
            "feed_forward_only": replace(self, feed_forward=nets, recurrent=0),
            "recurrent_only": replace(self, feed_forward=0, recurrent=nets),
            "lstm": replace(self, recurrent=nets, memory="lstm"),
            "no_calibration": replace(self, calibrate=False),
            "no_dead_zone": replace(self, dead_zone=0.0),
            "no_agreement": replace(self, agreement=False),
            "no_thresholds": replace(self, thresholds=False),
            "centred": replace(self, centred=True),
            "fixed_exits": replace(self, calibrated_exits=False),
        }
        return MappingProxyType({name: variant for name, variant in variants.items() if variant != self})
