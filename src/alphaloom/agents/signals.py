"""The plain baselines of trading agents: lots, the index, averages, an autoregression and three nets.

Each is a learner whose `fit` gives a policy; all but the index say buy (1), sell (-1) or hold (0) of each asset, and
what such a word is worth is `sizing`: "fraction" as the paper states (20 % of the cash, half of the position), "full"
as its table looks (all in, all out).
Source: arXiv:2508.20467; where it gives no numbers ours stand beside the setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.signal_nets import NetRule, NetSignals
from alphaloom.agents.signal_policy import Rule, SignalPolicy, Sizing, sized, tradable
from alphaloom.agents.signal_rules import Signs, blocks, closes, crossings, draws, forecasts, quarter_ends
from alphaloom.errors import DataError
from alphaloom.market import Book, Market
from alphaloom.panel import Panel

__all__ = [
    "ArimaSignals",
    "DowPolicy",
    "DowTracking",
    "MovingAverageSignals",
    "NetRule",
    "NetSignals",
    "RandomSignals",
    "Rule",
    "SignalPolicy",
    "Sizing",
]


@dataclass(frozen=True)
class RandomSignals:
    """Buys, sells or holds by lot.

    Each bar of each asset has its own lot, made from the seed, the asset's name and the time, so neither the start of
    the panel nor the other assets move it.   Unit: `buy` and `sell` are chances, the rest holds.
    """

    seed: int = 42
    buy: float = 0.2
    sell: float = 0.2
    sizing: Sizing = "fraction"

    def __post_init__(self) -> None:
        sized(self.sizing)
        if not (self.buy >= 0.0 and self.sell >= 0.0 and self.buy + self.sell <= 1.0):
            found = f"buy {self.buy}, sell {self.sell}"
            raise DataError("chances are not negative and sum to one at most", found=found, where="RandomSignals")

    @property
    def lookback(self) -> int:
        """Rows before today that a signal reads: none."""
        return 0

    def signals(self, panel: Panel, start: int = 0) -> Signs:
        """1 buys, -1 sells, 0 holds.   Shape: (T, N), zero before `start`."""
        lots = draws(panel, self.seed)
        said = (lots < self.buy).astype(np.int8) - ((lots >= self.buy) & (lots < self.buy + self.sell)).astype(np.int8)
        said[:start] = 0
        return said

    def fit(self, train: Panel, market: Market) -> SignalPolicy:
        """The policy; there is nothing to learn."""
        return SignalPolicy(self, sized(self.sizing), market)

    def state(self) -> dict[str, Any]:
        """The settings."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RandomSignals:
        """The rule that `state` described."""
        return cls(**state)


@dataclass(frozen=True)
class MovingAverageSignals:
    """Buys when the close crosses above its average of `window` bars, sells when it crosses below.

    Missing: an unknown close in the window, or yesterday, says hold.
    """

    window: int = 20
    sizing: Sizing = "fraction"

    def __post_init__(self) -> None:
        sized(self.sizing)
        _check_count(self.window, "MovingAverageSignals.window", least=2)

    @property
    def lookback(self) -> int:
        """Rows before today that a signal reads: yesterday's average starts one row earlier."""
        return self.window

    def signals(self, panel: Panel, start: int = 0) -> Signs:
        """1 buys, -1 sells, 0 holds.   Shape: (T, N), zero before `start`."""
        return crossings(closes(panel), self.window, start)

    def fit(self, train: Panel, market: Market) -> SignalPolicy:
        """The policy; there is nothing to learn."""
        return SignalPolicy(self, sized(self.sizing), market)

    def state(self) -> dict[str, Any]:
        """The settings."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MovingAverageSignals:
        """The rule that `state` described."""
        return cls(**state)


@dataclass(frozen=True)
class ArimaSignals:
    """Buys when an ARIMA(lags, 1, 0) of the closes expects the next one more than `band` higher, sells below -band.

    It is fitted by exact maximum likelihood (statsmodels) on the last `window` closes at the first bar of every block
    of `refit` weekdays, counted from 1970; in between new closes are appended and the coefficients stay.
    Unit: `band` is a fraction.   Missing: no word without all closes of the fit.   Needs the extra `rl`.
    Deviation: the paper states order and band; window and refit are ours.
    """

    lags: int = 5
    window: int = 250
    refit: int = 20
    band: float = 0.005
    sizing: Sizing = "fraction"

    def __post_init__(self) -> None:
        sized(self.sizing)
        _check_count(self.lags, "ArimaSignals.lags", least=1)
        _check_count(self.refit, "ArimaSignals.refit", least=1)
        _check_count(self.window, "ArimaSignals.window", least=3 * self.lags + 2)
        _check_band(self.band, "ArimaSignals.band")

    @property
    def lookback(self) -> int:
        """Rows before today that a signal reads: a block of weekdays with its weekends, and the window before it."""
        return self.window + 7 * -(-self.refit // 5)

    def signals(self, panel: Panel, start: int = 0) -> Signs:
        """1 buys, -1 sells, 0 holds.   Shape: (T, N), zero before `start`."""
        close = closes(panel)
        block = blocks(panel.times, self.refit)
        expected = forecasts(close, block, lags=self.lags, window=self.window, start=start)
        with np.errstate(invalid="ignore"):
            rise = expected / close - 1.0
            return (rise > self.band).astype(np.int8) - (rise < -self.band).astype(np.int8)

    def fit(self, train: Panel, market: Market) -> SignalPolicy:
        """The policy; its coefficients are fitted as time goes by, on the rows before."""
        return SignalPolicy(self, sized(self.sizing), market)

    def state(self) -> dict[str, Any]:
        """The settings."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ArimaSignals:
        """The rule that `state` described."""
        return cls(**state)


@dataclass(frozen=True)
class DowTracking:
    """Tracks the universe: equal parts, or parts in proportion to price, restored at the end of every quarter.

    Deviation: the paper's words are "quarterly/year-end rebalancing"; weights and days are ours.
    """

    price_weighted: bool = False

    def fit(self, train: Panel, market: Market) -> DowPolicy:
        """The policy; there is nothing to learn."""
        return DowPolicy(self.price_weighted)


@dataclass(frozen=True)
class DowPolicy:
    """Buys the universe when it holds nothing and restores the parts when a quarter ends; holds in between.

    Time: see `quarter_ends`.   Missing: an asset without a close today gets no part.
    """

    price_weighted: bool = False

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return 1

    def signals(self, panel: Panel, start: int = 0) -> Signs:
        """1 where the parts are restored, 0 elsewhere.   Shape: (T, N), zero before `start`."""
        said = quarter_ends(panel.times)[:, None] & tradable(panel)
        said[:start] = False
        return said.astype(np.int8)

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """The parts, or NaN to hold.   Shape: (N,)."""
        today = view[max(0, len(view) - 2) :]
        chosen = tradable(today)[-1]
        if not chosen.any() or (book.shares.any() and not quarter_ends(today.times)[-1]):
            return np.full(len(chosen), np.nan)
        part = np.asarray(view["close"][-1], dtype=np.float64) if self.price_weighted else np.ones(len(chosen))
        part = np.where(chosen, part, 0.0)
        return np.asarray(part / part.sum())

    def state(self) -> dict[str, Any]:
        """The settings."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> DowPolicy:
        """The policy that `state` described."""
        return cls(bool(state["price_weighted"]))


def _check_count(found: int, where: str, *, least: int) -> None:
    if found < least:
        raise DataError(f"a count of bars is at least {least} here", found=found, where=where)


def _check_band(found: float, where: str) -> None:
    if not 0.0 <= found < 1.0:
        raise DataError("a band is a fraction below one", found=found, where=where)
