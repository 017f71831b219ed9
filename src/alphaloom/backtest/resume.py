"""A book that goes on from where it stood: the same ledger, for those who live through the bars one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest.engine import lay_out, with_room, written_orders
from alphaloom.backtest.result import Orders
from alphaloom.backtest.tape import first_marks, read_only
from alphaloom.errors import AxisError, DataError
from alphaloom.market import Market
from alphaloom.panel import Panel

if TYPE_CHECKING:
    from alphaloom.backtest.ledger import Ledger, Position

__all__ = ["Passage", "Standing", "resume"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Standing:
    """A book at a close, and the orders that it sends to the next bar.

    Shape: `shares` and `waiting` (N,), one column for each asset of the panel.
    Unit: `cash` money, the rest shares, negative when short or for a sale; `dead` is True after a bankruptcy.
    """

    cash: float
    shares: Floats
    waiting: Floats
    dead: bool = False


@dataclass(frozen=True, eq=False)
class Passage:
    """What the bars after a standing did to it.

    Shape: K rows, the first is the close that it stood at; `cash`, `equity`, `traded` (K,); `shares` and `prices` (last
    known close) (K, N); `costs` (6, K) in the order of COSTS; `settled` how many holdings left the market and the money
    lost in them. `orders` counts rows from the first.
    """

    cash: Floats
    equity: Floats
    traded: Floats
    shares: Floats
    prices: Floats
    costs: Floats
    orders: Orders
    settled: tuple[int, float]
    dead: bool


def resume(
    standing: Standing,
    panel: Panel,
    market: Market,
    *,
    start: int,
    periods_per_year: float | None = None,
    most: Floats | None = None,
) -> Passage:
    """Live through every bar after row `start`, with no order but those that wait.

    A back-test that is cut after any bar and goes on here has the same bits.
    Shape: `most` (N,) is the largest number of shares that the first bar fills of each order, cut to whole lots.
    `periods_per_year` turns yearly rates into rates per bar; the panel's own when it is not given.
    Raises: DataError for a market that fills at the close of the decision, which no one can do afterwards.
    """
    from alphaloom.backtest.ledger import advance

    T, N = panel.shape
    if not 0 <= start < T:
        raise AxisError("a book goes on from a row of its panel", found=f"row {start} of {T}", where="start")
    if market.fill == "same_close":
        raise DataError(
            "a book that goes on fills after its decision",
            found=market.fill,
            where="market.fill",
            fix="next_open or next_close",
        )
    book = _position(standing, panel, start)
    rate = panel.periods_per_year if periods_per_year is None else periods_per_year
    ledger = lay_out(panel, market, start=start, book=book, periods_per_year=rate)
    if most is not None and start + 1 < T:
        _cut(ledger, most)
    ledger = with_room(ledger, N)
    for row in range(T - start):
        advance(ledger, row)
    journal = ledger.journal
    return Passage(
        cash=read_only(journal.cash),
        equity=read_only(journal.equity),
        traded=read_only(journal.traded),
        shares=read_only(journal.shares),
        prices=read_only(journal.prices),
        costs=read_only(journal.costs),
        orders=written_orders(journal),
        settled=(int(journal.settled[0]), float(journal.settled[1])),
        dead=bool(ledger.book.dead[0]),
    )


def _position(standing: Standing, panel: Panel, start: int) -> Position:
    from alphaloom.backtest.ledger import Position

    N = panel.shape[1]
    grids = {"shares": standing.shares, "waiting": standing.waiting}
    for name, values in grids.items():
        if np.shape(values) != (N,):
            raise AxisError(
                "a standing has one number for each asset of the panel",
                found=f"shape {np.shape(values)}, not {(N,)}",
                where=f"standing.{name}",
            )
    shares, waiting = (np.array(values, dtype=np.float64) for values in grids.values())
    cash, dead = np.array([standing.cash], dtype=np.float64), np.array([standing.dead], dtype=np.bool_)
    return Position(cash, dead, shares, waiting, first_marks(panel, start))


def _cut(ledger: Ledger, most: Floats) -> None:
    """Cap the orders that wait, in whole lots of the bar that fills them."""
    waiting = ledger.book.waiting
    over = np.abs(waiting) > most
    room = np.maximum(np.where(over, most, 0.0), 0.0)
    if ledger.tape.lot.size:
        lot = ledger.tape.lot[1]
        room = np.floor(room / lot + 1e-9) * lot
    waiting[over] = np.copysign(room, waiting)[over]
