"""Follow a ternary signal with equal positions that end by profit, by loss or by age."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.exits_grid import Cell, Plan, calibrate, cells_of
from alphaloom.portfolio.rows import check_count, held_still, hold, signal_row, tradable_now
from alphaloom.portfolio.threshold import Sides
from alphaloom.signal import Signal

__all__ = ["ExitGrid", "ExitPolicy", "FixedExits"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FixedExits:
    """Opens an equal position on every view and closes it at a profit, at a loss or after some days.

    The sign of the signal is the side, 0 waits; with more views than free places the largest go first. A position is
    worth `gross / positions` of equity when it is opened and then drifts. It is closed at the open after the close on
    which its return since the entry reached `take_profit` or fell to `-stop_loss`, or on which it is `days` bars old;
    the view of that day does not matter. When an order is due and drift has lifted the exposure above `gross`, all
    positions are cut back to it in proportion.
    Time: profit and loss are read at closes, from the open of the entry bar, so fills at the open are assumed; levels
    that are touched within a bar are not seen.
    Missing: an asset that left the universe is closed, one that does not trade today is kept.
    Raises: DataError for a setting out of range.
    """

    take_profit: float = 0.05
    stop_loss: float = 0.05
    days: int = 5
    positions: int = 50
    gross: float = 0.98
    sides: Sides = "both"

    def __post_init__(self) -> None:
        _check_cell((self.take_profit, self.stop_loss, self.days), "FixedExits")
        _check_size(self.positions, self.gross, self.sides, where="FixedExits")

    @property
    def longest(self) -> int:
        """The most bars that a position is held."""
        return self.days

    @property
    def trials(self) -> int:
        """How many rules were tried on data: this one."""
        return 1

    def policy(self, signal: Signal) -> ExitPolicy:
        """The policy that follows this signal."""
        return ExitPolicy(self, signal)


@dataclass(frozen=True)
class ExitGrid:
    """`FixedExits` whose rule is chosen each quarter from what would have worked over the last six.

    Every combination of `take_profit`, `stop_loss` and `days` is replayed on the signal's own views of the last
    `window` bars, at the next opens and net of `cost` a side, `sell_tax` and yearly `borrow` on shorts; the one whose
    trades earned most steadily (mean over standard error) rules for the next `every` bars. It is chosen for each group
    of the label `group`, and for an asset of its own only where it had `least_signals` views in the window. Until the
    signal is `window` bars old, or where fewer than `least_trades` trades were made, `default` rules.
    Time: a choice reads views and prices before the first bar of its quarter, counted on the signal's own rows; a
    signal that was made out of sample makes the choice out of sample.
    Raises: DataError for a setting out of range.
    Source: arXiv:2509.16707 as others report it: scenario parameters, six quarters, the next one out of sample.
    """

    take_profit: tuple[float, ...] = (0.03, 0.06, 0.12)
    stop_loss: tuple[float, ...] = (0.03, 0.06, 0.12)
    days: tuple[int, ...] = (3, 5, 10)
    default: Cell = (0.06, 0.06, 5)
    window: int = 378
    every: int = 63
    group: str = "sector"
    least_signals: int = 100
    least_trades: int = 30
    cost: float = 0.001
    sell_tax: float = 0.0
    borrow: float = 0.0
    positions: int = 50
    gross: float = 0.98
    sides: Sides = "both"

    def __post_init__(self) -> None:
        for name in ("take_profit", "stop_loss", "days", "default"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if not getattr(self, name):
                raise DataError("a grid has at least one value on every side", found=(), where=f"ExitGrid.{name}")
        if len(self.default) != 3:
            raise DataError("a rule is profit, loss and days", found=self.default, where="ExitGrid.default")
        for cell in (*cells_of(self), self.default):
            _check_cell(cell, "ExitGrid")
        _check_size(self.positions, self.gross, self.sides, where="ExitGrid")
        for name, least in (("window", self.longest + 3), ("every", 1), ("least_signals", 1), ("least_trades", 2)):
            check_count(getattr(self, name), f"ExitGrid.{name}", least=least)
        for name in ("cost", "sell_tax", "borrow"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise DataError("a cost is a fraction", found=getattr(self, name), where=f"ExitGrid.{name}")

    @property
    def longest(self) -> int:
        """The most bars that a position is held."""
        return int(max(*self.days, self.default[2]))

    @property
    def trials(self) -> int:
        """How many rules are tried on data; the deflated Sharpe ratio pays for each."""
        return len(cells_of(self))

    def policy(self, signal: Signal) -> ExitPolicy:
        """The policy that follows this signal."""
        return ExitPolicy(self, signal)


@dataclass(frozen=True, eq=False)
class ExitPolicy:
    """`ExitGrid` or `FixedExits` applied to one signal; entries and ages are read from the book and the panel.

    Raises: DataError for probabilities, whose sign is no side.
    """

    allocator: ExitGrid | FixedExits
    signal: Signal
    _plans: dict[tuple[str, str, str], Plan] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.signal.kind == "probability":
            raise DataError(
                "the sign of a view is its side, and a probability has none",
                found=self.signal.kind,
                where="signal.kind",
                fix="give the chance of a rise less one half as a score",
            )

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads: the calibration's, or the oldest entry's."""
        rule = self.allocator
        return rule.window + rule.every if isinstance(rule, ExitGrid) else rule.longest + 1

    @property
    def counts(self) -> Mapping[str, int]:
        """How often exits were calibrated, and what came of it, so far."""
        plans = self._plans.values()
        if isinstance(self.allocator, FixedExits):
            return {}
        return {
            "calibrations": sum(plan.defaults == 0 for plan in plans),
            "default_quarters": sum(plan.defaults > 0 for plan in plans),
            "cells_of_single_assets": sum(plan.single for plan in plans),
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """Which cells ruled, so far."""
        rule, plans = self.allocator, [self._plans[key] for key in sorted(self._plans, key=lambda key: key[2])]
        if isinstance(rule, FixedExits):
            return (f"exits: {_worded((rule.take_profit, rule.stop_loss, rule.days))}, not calibrated",)
        told = [plan for plan in plans if plan.groups]
        spread = Counter(cell for plan in told for name, cell in plan.groups.items() if name != "all")
        spread = spread or Counter(plan.groups["all"] for plan in told)
        often = "; ".join(f"{_worded(cell)} {count} times" for cell, count in sorted(spread.items(), key=_by_count)[:5])
        last = "; ".join(f"{name} {_worded(cell)}" for name, cell in told[-1].groups.items()) if told else ""
        first = (
            f"exits: a grid of {rule.trials} cells, each counted as a trial, chosen anew every {rule.every} bars "
            f"on the {rule.window} before; {len(told)} quarters calibrated, {len(plans) - len(told)} with the default "
            f"{_worded(rule.default)}"
        )
        return (first, *((f"exits chosen most often: {often}", f"exits of the last quarter: {last}") if told else ()))

    def decide(self, view: Panel, book: Book) -> Floats:
        """Present weights of what stays, one part for what is new, zero for what leaves.   Shape: (N,)."""
        rule = self.allocator
        row = signal_row(self.signal, view)
        if row < 0:
            return hold(len(view.assets))
        score, able = self.signal.values[row], tradable_now(view)
        done = self._done(view, book, self._rules(view, row))
        kept = ((book.shares != 0.0) & able & ~done) | held_still(view, book.shares)
        fresh = self._fresh(score, able & (book.shares == 0.0), view, rule.positions - int(kept.sum()))
        if not len(fresh) and not (~kept & (book.shares != 0.0)).any():
            return hold(len(view.assets))
        weights = np.where(kept, book.weights, 0.0)
        exposed = float(np.abs(weights).sum())
        if exposed > rule.gross:
            weights *= rule.gross / exposed
        free = max(rule.gross - exposed, 0.0)
        weights[fresh] = np.sign(score[fresh]) * min(rule.gross / rule.positions, free / max(len(fresh), 1))
        return weights

    def _done(self, view: Panel, book: Book, rules: Floats) -> NDArray[np.bool_]:
        """Positions whose profit, loss or age asks for the exit.   Shape: (N,)."""
        reach = min(self.allocator.longest + 1, len(book.history.times), len(view))
        held = np.sign(book.history.shares[-reach:])
        side = np.sign(book.shares)
        # Bars since the entry, its own included: the run of closes with the present sign that ends today.
        same = (held == side)[::-1]
        age = np.where(same.all(axis=0), reach, np.argmin(same, axis=0))
        entry = np.maximum(len(view) - age, 0)
        columns = np.arange(len(side))
        paid = np.asarray(view["open"][entry, columns], dtype=np.float64)
        gain = side * (np.asarray(view["close"][-1], dtype=np.float64) / paid - 1.0)
        over = (gain >= rules[:, 0]) | (gain <= -rules[:, 1]) | (age >= rules[:, 2])
        return np.asarray((side != 0.0) & over)

    def _fresh(self, score: Floats, able: NDArray[np.bool_], view: Panel, places: int) -> NDArray[np.intp]:
        """Columns to open, largest views first."""
        asks = able & view.buyable[-1] & (score > 0.0)
        if self.allocator.sides == "both":
            asks |= able & view.sellable[-1] & (score < 0.0)
        columns = np.flatnonzero(asks)
        chosen: NDArray[np.intp] = columns[np.argsort(-np.abs(score[columns]), kind="stable")[: max(places, 0)]]
        return chosen

    def _rules(self, view: Panel, row: int) -> Floats:
        """The exits in force.   Shape: (N, 3)."""
        rule, N = self.allocator, len(view.assets)
        if isinstance(rule, FixedExits):
            return np.tile(np.array([rule.take_profit, rule.stop_loss, rule.days]), (N, 1))
        stop = row - row % rule.every
        # Slices of one panel share the root of their source: what was computed for one holds for the others.
        key = (view.source.split("[", 1)[0], str(view.times[0]), str(self.signal.times[stop]))
        if key not in self._plans:
            self._plans[key] = self._plan(rule, view, stop)
        return self._plans[key].rules

    def _plan(self, rule: ExitGrid, view: Panel, stop: int) -> Plan:
        default = Plan(np.tile(np.array(rule.default, dtype=np.float64), (len(view.assets), 1)), {}, 0, 1)
        start = stop - rule.window
        if start < 0:
            return default
        first, last = (int(view.times.searchsorted(self.signal.times[at])) for at in (start, stop))
        past = view[first:last]
        if len(past) != stop - start:
            return default  # the view does not hold the bars of the window
        side = np.sign(np.nan_to_num(self.signal.values[start:stop]))
        if rule.sides == "long":
            side = np.maximum(side, 0.0)
        # The order of a view meets the market on the next bar: one that could not be filled there is no trade.
        fillable = np.where(side[:-1] > 0.0, past.buyable[1:], past.sellable[1:])
        side[:-1] = np.where(past.member[:-1] & fillable, side[:-1], 0.0)
        return calibrate(rule, past, side)


def _worded(cell: Cell) -> str:
    return f"+{100 * cell[0]:g} % / -{100 * cell[1]:g} % / {int(cell[2])} bars"


def _by_count(item: tuple[Cell, int]) -> tuple[int, Cell]:
    return -item[1], item[0]


def _check_cell(cell: Cell, where: str) -> None:
    for value, name in zip(cell[:2], ("take_profit", "stop_loss"), strict=True):
        if not value > 0.0:
            raise DataError("an exit level is a positive fraction", found=value, where=f"{where}.{name}")
    check_count(cell[2], f"{where}.days")


def _check_size(positions: int, gross: float, sides: str, *, where: str) -> None:
    check_count(positions, f"{where}.positions")
    if not 0.0 < gross < np.inf:
        raise DataError("gross exposure is positive", found=gross, where=f"{where}.gross")
    if sides not in ("long", "both"):
        raise DataError("positions are long or on both sides", found=sides, where=f"{where}.sides")
