"""What anyone could have held instead: equal weights, buy-and-hold, portfolios drawn by lot with the same habits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import BacktestResult, backtest
from alphaloom.compute import local
from alphaloom.errors import DataError
from alphaloom.market import Book, Market
from alphaloom.panel import Panel
from alphaloom.portfolio import BuyAndHold, EqualWeight
from alphaloom.roles import Executor, Policy
from alphaloom.study.curves import turnover
from alphaloom.study.result import StudyResult

__all__ = [
    "EQUAL",
    "Ground",
    "Habits",
    "RandomPortfolio",
    "draw_seed",
    "habits_of",
    "matched",
    "plain_controls",
    "random_band",
]

EQUAL, HELD = "equal_weight", "buy_and_hold"
CALENDAR = 21  # bars between two restorations of equal weights
_SPARE = 0.01  # fraction of equity that a drawn portfolio keeps for costs

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ground:
    """Where everybody trades: the panel, the market, the first row, the money at the start."""

    panel: Panel
    market: Market
    start: int = 0
    cash: float = 1e6

    def trade(self, policy: Policy) -> BacktestResult:
        """The policy's life on this ground."""
        return backtest(policy, self.panel, self.market, start=self.start, cash=self.cash)


@dataclass(frozen=True)
class Habits:
    """How a study trades, whatever it believes: what a drawn portfolio has to copy.

    Unit: `holdings` counts assets, `every` bars between two rebalancings, `exchanged` is the part of the book that is
    replaced at each of them, `long` and `short` are fractions of equity.
    Raises: DataError for values out of range.
    """

    holdings: int
    every: int
    exchanged: float
    long: float
    short: float = 0.0

    def __post_init__(self) -> None:
        if self.holdings < 1 or self.every < 1:
            raise DataError("habits count at least one holding and one bar", found=(self.holdings, self.every))
        if not 0.0 <= self.exchanged <= 1.0 or self.long < 0.0 or self.short < 0.0:
            raise DataError("a part of a book lies between 0 and 1, a side is not negative", found=str(self))

    @property
    def longs(self) -> int:
        """How many of the holdings are bought; the others are sold short."""
        gross = self.long + self.short
        return self.holdings if gross <= 0.0 else round(self.holdings * self.long / gross)


def habits_of(results: Sequence[StudyResult]) -> Habits | None:
    """The median habits of a study's runs, read from their daily tables.   Missing: None where nothing was held."""
    rows = [_habits(result.daily) for result in results]
    known = np.array([row for row in rows if row is not None])
    if not len(known):
        return None
    holdings, every, exchanged, long, short = np.median(known, axis=0)
    part = float(min(max(exchanged, 0.0), 1.0))
    long, short = (0.0 if side < 1e-6 else float(side) for side in (long, short))
    if short == 0.0:  # a long book without debt keeps a little cash for costs, as every policy here does
        long = min(long, 1.0 - _SPARE) if long <= 1.0 else long
    return Habits(max(1, round(holdings)), max(1, round(every)), part, long, short)


def _habits(daily: Mapping[str, NDArray[Any]]) -> tuple[float, ...] | None:
    held = daily["holdings"] > 0
    if not held.any():
        return None
    first = int(np.argmax(held))
    gross, net = (float(np.median(daily[name][held])) for name in ("gross", "net"))
    # The first purchase fills an empty book; it says nothing about how often the book is turned over.
    later = daily["turnover"][first + 1 :]
    trading = later > 1e-9
    count = int(trading.sum())
    every = (len(later) + 1) / (count + 1) if count else float(len(daily["turnover"]))
    part = float(later[trading].mean()) / gross if count and gross > 0 else 0.0
    return float(np.median(daily["holdings"][held])), every, part, (gross + net) / 2.0, (gross - net) / 2.0


@dataclass(frozen=True)
class RandomPortfolio:
    """Holds assets drawn by lot, with the habits of a study; a scheduled policy.

    At each rebalancing every holding leaves with the chance `exchanged` (and always when it is no member or has no
    price any more); free places go to other members by lot; all longs have equal weight, and all shorts.
    Time: row t draws from the members of row t with a known close. Bars before `start` hold. Equal seeds give equal
    portfolios, and later rows do not change earlier ones.
    """

    habits: Habits
    start: int
    seed: int

    @property
    def lookback(self) -> int:
        """All rows since the start: which assets are held depends on every draw so far."""
        return 1_000_000

    def decide(self, view: Panel, book: Book) -> Floats:
        """The last row of `weights`."""
        row: Floats = self.weights(view)[-1]
        return row

    def weights(self, panel: Panel) -> Floats:
        """Equal parts on rebalancing rows, NaN elsewhere.   Shape: (T, N)."""
        rows = np.full(panel.shape, np.nan)
        able = panel.member & panel.buyable & np.isfinite(panel["close"])
        random = np.random.default_rng(self.seed)
        side = np.zeros(panel.shape[1])
        for row in range(self.start, len(panel), self.habits.every):
            side = _drawn(side, able[row], random.random(panel.shape[1]), habits=self.habits)
            rows[row] = self._sized(side)
        return rows

    def _sized(self, side: Floats) -> Floats:
        habits = self.habits
        longs, shorts = max(habits.longs, 1), max(habits.holdings - habits.longs, 1)
        return np.where(side > 0, habits.long / longs, np.where(side < 0, -habits.short / shorts, 0.0))


def _drawn(side: Floats, able: NDArray[np.bool_], lots: Floats, *, habits: Habits) -> Floats:
    """The next book: 1 long, -1 short, 0 nothing.   Shape: (N,) each.

    One lot an asset decides both: a holding stays when its lot is at least `exchanged`, and of the others the lowest
    lots take the free places. Who has just left comes back only where nobody else is left.
    """
    staying = np.where((side != 0.0) & able & (lots >= habits.exchanged), side, 0.0)
    new, left = (np.flatnonzero(able & part) for part in (side == 0.0, (side != 0.0) & (staying == 0.0)))
    order = np.concatenate([part[np.argsort(lots[part], kind="stable")] for part in (new, left)])
    short_places = habits.holdings - habits.longs - int((staying < 0).sum())
    long_places = habits.longs - int((staying > 0).sum())
    staying[order[:long_places]] = 1.0
    staying[order[long_places : long_places + short_places]] = -1.0
    return staying


def matched(habits: Habits, ground: Ground, *, seed: int) -> Habits:
    """Habits whose drawn portfolios turn over about as much as the study did.

    Restoring equal weights trades by itself; that part is measured on one drawn portfolio that exchanges nothing, and
    taken away from what is exchanged.
    """
    still = ground.trade(RandomPortfolio(replace(habits, exchanged=0.0), ground.start, seed))
    gross = habits.long + habits.short
    if gross <= 0.0:
        return habits
    later = turnover(still)[2:]
    trading = later > 1e-9
    own = float(later[trading].mean()) / gross if trading.any() else 0.0
    return replace(habits, exchanged=float(min(max(habits.exchanged - own, 0.0), 1.0)))


@dataclass(frozen=True, eq=False)
class _Draw:
    """Trades one drawn portfolio; an executor maps it over seeds."""

    habits: Habits
    ground: Ground

    def __call__(self, seed: int) -> tuple[Floats, float]:
        book = self.ground.trade(RandomPortfolio(self.habits, self.ground.start, seed))
        return book.returns, float(turnover(book).mean())


def random_band(
    habits: Habits, ground: Ground, *, draws: int, seed: int, executor: Executor | None = None
) -> tuple[Floats, Floats]:
    """Portfolios by lot, each through the ledger with the same fills and costs as everybody.

    Shape: returns (K, draws) and mean turnover a bar (draws,).   Raises: DataError for fewer than two draws.
    """
    if draws < 2:
        raise DataError("a band needs at least two drawn portfolios", found=draws, where="arena.random")
    seeds = [draw_seed(seed, number) for number in range(draws)]
    found = list((executor or local()).map(_Draw(habits, ground), seeds))
    return np.column_stack([returns for returns, _ in found]), np.array([part for _, part in found])


def draw_seed(seed: int, number: int) -> int:
    """A seed of its own for each draw."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:6], "big")


def plain_controls(ground: Ground) -> dict[str, BacktestResult]:
    """Equal weights restored every 21 bars, and buy-and-hold, with the same money and costs.

    Lots are left aside: a small account could not buy a lot of every member, and a control that has to sit in cash
    would be too easy to beat.
    """
    whole = replace(ground, market=replace(ground.market, lot=0.0))
    policies: dict[str, Policy] = {EQUAL: EqualWeight(CALENDAR), HELD: BuyAndHold()}
    return {name: whole.trade(policy) for name, policy in policies.items()}
