"""The engine: asks a policy, lets the ledger move the money, and hands back what happened."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest.result import COSTS, BacktestResult, Orders
from alphaloom.backtest.tape import describe, draw_tape, first_marks, read_only
from alphaloom.errors import AxisError, DataError, DecisionError
from alphaloom.market import Book, History, Market
from alphaloom.panel import Panel
from alphaloom.roles import Policy, ScheduledPolicy

if TYPE_CHECKING:
    from alphaloom.backtest.ledger import Journal, Ledger, Position, Rules

__all__ = ["as_floats", "backtest", "lay_out", "refuse", "rules_of", "with_room", "written_orders"]

# (rule, way out) of each fault that the ledger can name.
_FAULTS = {
    1: ("weights are finite, or all NaN to hold", "return 0 for an asset without a view"),
    2: ("this market does not allow short sales", "clip at zero or set market.short = true"),
    3: ("only an asset with a known price can be held", "return 0 until the panel has a close for it"),
    4: ("gross exposure stays within the leverage", "scale the weights or raise market.leverage"),
}


def backtest(policy: Policy, panel: Panel, market: Market, *, start: int = 0, cash: float = 1e6) -> BacktestResult:
    """Run a policy through a market, from the close of row `start` to the end of the panel.

    Shape: K = len(panel) - start rows; row 0 holds only cash, and its close is the first decision.
    Time: the weights decided at a close are filled as `market.fill` says; the policy sees panel[:t+1] and its book. The
    last row's weights are recorded but not traded, since no bar follows. A policy that knows its whole schedule is
    asked once and runs inside the compiled loop, to the same bits.
    Raises: DecisionError for weights that cannot be traded, with the date and the asset.
    """
    _check(panel, start=start, cash=cash)
    ledger = _open_ledger(panel, market, start=start, cash=cash)
    # A protocol only looks for the name; a policy may well keep a table called `weights`.
    if isinstance(policy, ScheduledPolicy) and callable(policy.weights):
        ledger = _run_schedule(policy, panel, ledger=ledger, start=start)
    else:
        ledger = _run_bars(policy, panel, ledger=ledger, start=start)
    return _close_ledger(ledger, panel[start:], market=market, cash=cash)


def _check(panel: Panel, *, start: int, cash: float) -> None:
    if "close" not in panel.fields:
        raise DataError("a back-test needs the close of every asset", found="no field close", where="panel.fields")
    if not 0 <= start < len(panel):
        raise AxisError("a back-test starts on a row of its panel", found=f"row {start} of {len(panel)}", where="start")
    if not 0.0 < cash < np.inf:
        raise DataError("a back-test starts with money", found=cash, where="cash")


def _open_ledger(panel: Panel, market: Market, *, start: int, cash: float) -> Ledger:
    from alphaloom.backtest.ledger import Position

    N = panel.shape[1]
    book = Position(
        np.array([cash], dtype=np.float64), np.zeros(1, bool), np.zeros(N), np.zeros(N), first_marks(panel, start)
    )
    return lay_out(panel, market, start=start, book=book, periods_per_year=panel.periods_per_year)


def lay_out(panel: Panel, market: Market, *, start: int, book: Position, periods_per_year: float) -> Ledger:
    """A ledger for the rows from `start` on, with nothing written yet."""
    from alphaloom.backtest.ledger import Journal, Ledger

    T, N = panel.shape
    K = T - start
    journal = Journal(
        cash=np.empty(K),
        equity=np.empty(K),
        traded=np.zeros(K),
        shares=np.empty((K, N)),
        prices=np.empty((K, N)),
        weights=np.empty((K, N)),
        costs=np.zeros((len(COSTS), K)),
        settled=np.zeros(2),
        written=np.zeros(1, np.int64),
        rows=np.empty((3, 0), np.int32),
        numbers=np.empty((7, 0)),
        status=np.empty(0, np.int8),
    )
    return Ledger(draw_tape(panel, market, start), rules_of(market, periods_per_year), book, journal)


def rules_of(market: Market, periods_per_year: float) -> Rules:
    """A market's rules as the ledger reads them; yearly rates become rates per bar."""
    from alphaloom.backtest.ledger import Rules

    return Rules(
        commission=float(market.commission),
        sell_tax=float(market.sell_tax),
        slippage=float(market.slippage),
        borrow=market.borrow / periods_per_year,
        cash_rate=market.cash_rate / periods_per_year,
        leverage=float(market.leverage),
        delist_loss=float(market.delist_loss),
        short=bool(market.short),
        same_close=market.fill == "same_close",
    )


def with_room(ledger: Ledger, more: int) -> Ledger:
    """The same ledger with room for more orders; pages that are never written cost no memory."""
    journal = ledger.journal
    used, room = int(journal.written[0]), len(journal.status)
    if used + more <= room:
        return ledger
    room = max(used + more, 2 * room)
    rows, numbers, status = np.empty((3, room), np.int32), np.empty((7, room)), np.empty(room, np.int8)
    rows[:, :used], numbers[:, :used], status[:used] = (
        journal.rows[:, :used],
        journal.numbers[:, :used],
        journal.status[:used],
    )
    return ledger._replace(journal=journal._replace(rows=rows, numbers=numbers, status=status))


def _run_schedule(policy: ScheduledPolicy, panel: Panel, *, ledger: Ledger, start: int) -> Ledger:
    from alphaloom.backtest.ledger import replay

    weights = as_floats(policy.weights(panel), panel.shape, "policy.weights(panel)")[start:]
    # A row that holds has NaN in every column, so the first column counts the rows that may order.
    orders = int(np.count_nonzero(~np.isnan(weights[:, 0]))) * panel.shape[1] if panel.shape[1] else 0
    ledger = with_room(ledger, orders)
    row, fault, asset = replay(ledger, weights)
    if fault:
        refuse(panel, weights[row], row=start + row, fault=fault, asset=asset)
    return ledger


def _run_bars(policy: Policy, panel: Panel, *, ledger: Ledger, start: int) -> Ledger:
    from alphaloom.backtest.ledger import advance, place

    T, N = panel.shape
    journal, now = ledger.journal, panel.times[start:]
    equity, shares, prices = (read_only(getattr(journal, name)) for name in ("equity", "shares", "prices"))
    rewritten = ledger.rules.same_close
    nothing = read_only(np.full(N, np.nan))
    for row in range(T - start):
        ledger = with_room(ledger, N)
        advance(ledger, row)
        if ledger.book.dead[0]:
            place(ledger, row, nothing)
            continue
        history = History(now[: row + 1], equity[: row + 1], shares[: row + 1])
        # A fill at the same close rewrites the row after the decision; the book that was decided on stays as it was.
        held = read_only(shares[row].copy()) if rewritten else shares[row]
        book = Book(now[row], float(journal.cash[row]), held, prices[row], history)
        decided = policy.decide(panel[: start + row + 1], book)
        weights = as_floats(decided, (N,), f"policy.decide at {_day(now[row])}")
        fault, asset = place(ledger, row, weights)
        if fault:
            refuse(panel, weights, row=start + row, fault=fault, asset=asset)
    return ledger


def as_floats(weights: object, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
    """Weights as a read-only array of the shape that they must have.   Raises: DecisionError."""
    try:
        array = np.array(weights, dtype=np.float64, order="C", copy=None)
    except (TypeError, ValueError) as error:
        raise DecisionError("weights are numbers", found=type(weights).__name__, where=where) from error
    if array.shape != shape:
        raise DecisionError(
            "a policy returns one weight for each asset of the panel",
            found=f"shape {array.shape}, not {shape}",
            where=where,
            fix="a row of NaN holds what is held",
        )
    return read_only(array)


def refuse(panel: Panel, weights: NDArray[np.float64], *, row: int, fault: int, asset: int) -> None:
    """Say which rule weights break, where, and the way out.   Raises: DecisionError."""
    rule, fix = _FAULTS[fault]
    place = f"row {row}, {_day(panel.times[row])}"
    if fault == 4:
        raise DecisionError(rule, found=f"gross {np.abs(weights).sum():.12g}", where=place, fix=fix)
    raise DecisionError(rule, found=float(weights[asset]), where=f"{place}, {panel.assets[asset]}", fix=fix)


def _close_ledger(ledger: Ledger, panel: Panel, *, market: Market, cash: float) -> BacktestResult:
    journal = ledger.journal
    orders = written_orders(journal)
    gone = np.flatnonzero(journal.equity <= 0.0)
    bankrupt = panel.times[gone[0]] if len(gone) else None
    return BacktestResult(
        times=panel.times,
        assets=panel.assets,
        capital=float(cash),
        equity=read_only(journal.equity),
        cash=read_only(journal.cash),
        shares=read_only(journal.shares),
        prices=read_only(journal.prices),
        weights=read_only(journal.weights),
        costs=MappingProxyType({name: read_only(journal.costs[k]) for k, name in enumerate(COSTS)}),
        traded=read_only(journal.traded),
        orders=orders,
        market=market,
        periods_per_year=panel.periods_per_year,
        notes=describe(panel, market, orders=orders, settled=journal.settled, bankrupt=bankrupt),
        bankrupt=bankrupt,
    )


def written_orders(journal: Journal) -> Orders:
    """The orders that a ledger wrote down."""
    used = int(journal.written[0])
    keep: Callable[[NDArray[Any]], NDArray[Any]] = np.copy if 2 * used < len(journal.status) else np.asarray
    rows, numbers = ([read_only(keep(column[:used])) for column in group] for group in (journal.rows, journal.numbers))
    status = read_only(keep(journal.status[:used]))
    return Orders(*rows, *numbers, status)  # type: ignore[call-arg]  # three and seven columns; mypy cannot count them


def _day(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, unit="D"))
