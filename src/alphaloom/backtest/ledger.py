"""The ledger: the only place where money moves.

Two compiled functions are one bar of a book. `advance` lives through a bar: it pays interest and borrow for the time
since the last close, settles delistings, fills the orders that wait, and marks the book at the close. `place` takes
the weights decided at that close and turns them into orders. The engine calls both bar by bar for a policy that looks
at its book; `replay` loops over them for weights that are known beforehand. They read and write arrays only, one book
a call, so that many books are many rows of the same arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Journal", "Ledger", "Position", "Rules", "Tape", "advance", "afford", "place", "replay", "size"]

# Status of an order. The names stand in result.STATUS, in this order.
FILLED, PARTIAL, CASH, HALTED, LIMIT, UNLISTED = 0, 1, 2, 3, 4, 5
# Why weights cannot be traded.
NOT_FINITE, SHORT_SALE, NO_PRICE, TOO_MUCH = 1, 2, 3, 4
# Rows of Journal.costs.
COMMISSION, TAX, SLIPPAGE, IMPACT, BORROW, INTEREST = 0, 1, 2, 3, 4, 5
# A change of weight below this fraction of equity is rounding, not a wish to trade.
DUST = 1e-12

Floats = NDArray[np.float64]


class Tape(NamedTuple):
    """What the market offers, bar by bar; an optional array is empty where it does not apply.

    Shape: (K, N) each; `lot` and `impact` are (K, N) or (0, 0).
    Unit: `price` is the fill price; `purchase` and `sale` are the status that an order to buy or to sell meets, FILLED
    or the reason why not; `lot` shares; an order of value v pays `impact` * v ** 1.5.
    """

    price: Floats
    close: Floats
    listed: NDArray[np.bool_]
    purchase: NDArray[np.int8]
    sale: NDArray[np.int8]
    lot: Floats
    impact: Floats


class Rules(NamedTuple):
    """A market's rules as plain numbers; `borrow` and `cash_rate` are rates per bar."""

    commission: float
    sell_tax: float
    slippage: float
    borrow: float
    cash_rate: float
    leverage: float
    delist_loss: float
    short: bool
    same_close: bool


class Position(NamedTuple):
    """The state of one book.

    Shape: cash (1,), dead (1,), shares, waiting (orders in shares) and mark (last known close) (N,); `rank` (N,), the
    assets in the order in which purchases are served when cash is short, or (0,): all are cut alike.
    """

    cash: Floats
    dead: NDArray[np.bool_]
    shares: Floats
    waiting: Floats
    mark: Floats
    rank: NDArray[np.int64] = np.empty(0, np.int64)


class Journal(NamedTuple):
    """What the ledger writes down.

    Shape: cash, equity, traded (K,); shares, prices, weights (K, N); costs (6, K); `settled` (2,) counts delistings and
    the money lost in them; `written` (1,) is the number of orders, whose columns follow, each with room for more.
    """

    cash: Floats
    equity: Floats
    traded: Floats
    shares: Floats
    prices: Floats
    weights: Floats
    costs: Floats
    settled: Floats
    written: NDArray[np.int64]
    rows: NDArray[np.int32]  # (3, room): decided, filled, asset
    numbers: Floats  # (7, room): ordered, done, price, commission, tax, slippage, impact
    status: NDArray[np.int8]  # (room,)


class Ledger(NamedTuple):
    """One book in one market, with its journal: all that the compiled functions need."""

    tape: Tape
    rules: Rules
    book: Position
    journal: Journal


_compiled = njit(cache=True, nogil=True, error_model="numpy")
_inlined = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)


@_inlined
def _impact(rate: float, value: float) -> float:
    """Square-root impact in money; never more than the value itself."""
    return min(rate * value * np.sqrt(value), value)  # type: ignore[no-any-return]


@_inlined
def _whole(shares: float, lot: float) -> float:
    """Shares rounded toward zero to lots."""
    # A hair of tolerance: 300 shares computed as 299.9999999999 are three lots of a hundred.
    size = np.floor(abs(shares) / lot + 1e-9) * lot
    return size if shares > 0.0 else -size  # type: ignore[no-any-return]


@_compiled
def _cash_floor(ledger: Ledger) -> float:
    """The least cash that buying may leave: what leverage allows to borrow, as a negative number."""
    leverage = ledger.rules.leverage
    if leverage == 1.0:
        return 0.0
    return (1.0 - leverage) * max(_equity(ledger), 0.0)


@_compiled
def _equity(ledger: Ledger) -> float:
    """Cash and holdings at the marks."""
    shares, mark, equity = ledger.book.shares, ledger.book.mark, ledger.book.cash[0]
    for asset in range(len(shares)):
        if shares[asset] != 0.0:
            equity += shares[asset] * mark[asset]
    return equity  # type: ignore[no-any-return]


@_compiled
def afford(
    rules: Rules,
    cash: float,
    orders: Floats,
    shares: Floats,
    rank: NDArray[np.int64],
    price: Floats,
    purchase: NDArray[np.int8],
    sale: NDArray[np.int8],
    lot: Floats,
    impact: Floats,
    done: Floats,
    status: NDArray[np.int8],
) -> None:
    """How much of each order is done: refusals, sales and covers first, then purchases, cut to fit the cash.

    All purchases are cut by one factor, or served one after another where a rank names their order. Closing a short is
    never cut. Impact enters the need at full size, which is more than a cut order pays.
    Shape: (N,) each; `lot` and `impact` (N,) or (0,); `rank` (N,), assets in the order in which they buy, or (0,).
    Unit: `cash` is what may be spent before the sales; `done` and `status` are written where an order is not zero.
    """
    tolled, in_lots = impact.size > 0, lot.size > 0
    paying = 1.0 + rules.commission + rules.slippage
    earning = 1.0 - rules.commission - rules.slippage - rules.sell_tax
    free = cash
    need = 0.0
    for asset in range(len(orders)):
        order = orders[asset]
        if order == 0.0:
            continue
        status[asset] = purchase[asset] if order > 0.0 else sale[asset]
        done[asset] = 0.0
        if status[asset] != FILLED:
            continue
        held = shares[asset]
        done[asset] = order if order > 0.0 or rules.short else max(order, -held)
        value = abs(done[asset]) * price[asset]
        toll = _impact(impact[asset], value) if tolled else 0.0
        if order < 0.0:
            free += value * earning - toll
            continue
        closing = 0.0
        if held < 0.0:
            cover = min(-held, order) * price[asset]
            closing = cover * paying + (_impact(impact[asset], cover) if tolled else 0.0)
            free -= closing
        need += value * paying + toll - closing
    free = max(free, 0.0)
    if need <= free:
        return
    if rank.size > 0:
        _serve(rules, free, orders, shares, rank, price, lot, impact, done, status)
        return
    # The last factor leaves room for the rounding of a long sum.
    share = free / need * (1.0 - DUST)
    for asset in range(len(orders)):
        order = orders[asset]
        if order > 0.0 and status[asset] == FILLED:
            cover = min(max(-shares[asset], 0.0), order)
            rest = (order - cover) * share
            done[asset] = cover + (_whole(rest, lot[asset]) if in_lots else rest)
            if done[asset] < order:
                status[asset] = PARTIAL if done[asset] > 0.0 else CASH


@_compiled
def _serve(
    rules: Rules,
    free: float,
    orders: Floats,
    shares: Floats,
    rank: NDArray[np.int64],
    price: Floats,
    lot: Floats,
    impact: Floats,
    done: Floats,
    status: NDArray[np.int8],
) -> None:
    """Purchases one after another, each as far as the money that is left goes."""
    tolled, in_lots = impact.size > 0, lot.size > 0
    paying = 1.0 + rules.commission + rules.slippage
    for asset in rank:
        order = orders[asset]
        if not (order > 0.0 and status[asset] == FILLED):
            continue
        cover = min(max(-shares[asset], 0.0), order)
        rate, rest = impact[asset] if tolled else 0.0, order - cover
        cost = rest * price[asset] * paying + _impact(rate, rest * price[asset])
        if cost > free:
            rest *= free / cost
            # A plain floor: the tolerance of `_whole` would spend a hair that is not there.
            rest = np.floor(rest / lot[asset]) * lot[asset] if in_lots else rest * (1.0 - DUST)
            cost = rest * price[asset] * paying + _impact(rate, rest * price[asset])
        free = max(free - cost, 0.0)
        done[asset] = cover + rest
        if done[asset] < order:
            status[asset] = PARTIAL if done[asset] > 0.0 else CASH


@_compiled
def _plan(ledger: Ledger, row: int, decided: int, done: Floats, status: NDArray[np.int8]) -> None:
    """How much of each waiting order is done at this bar."""
    book, tape = ledger.book, ledger.tape
    afford(
        ledger.rules,
        book.cash[0] - _cash_floor(ledger),
        book.waiting,
        book.shares,
        book.rank,
        tape.price[row],
        tape.purchase[row],
        tape.sale[row],
        tape.lot[row] if tape.lot.size > 0 else tape.price[row, :0],
        tape.impact[decided] if tape.impact.size > 0 else tape.price[row, :0],
        done,
        status,
    )


@_compiled
def _fill(ledger: Ledger, row: int) -> None:
    """Move the shares and the money of the orders that wait, and write each of them down."""
    rules, waiting, shares = ledger.rules, ledger.book.waiting, ledger.book.shares
    price, impact, costs = ledger.tape.price, ledger.tape.impact, ledger.journal.costs
    rows, numbers, verdicts = ledger.journal.rows, ledger.journal.numbers, ledger.journal.status
    decided = row if rules.same_close else row - 1
    tolled = impact.size > 0
    done, status = np.empty(len(waiting)), np.empty(len(waiting), np.int8)
    _plan(ledger, row, decided, done, status)
    at, cash, traded = ledger.journal.written[0], ledger.book.cash[0], 0.0
    for asset in range(len(waiting)):
        if waiting[asset] == 0.0:
            continue
        paid, value = np.nan, 0.0
        if done[asset] != 0.0:
            paid = price[row, asset]
            value = abs(done[asset]) * paid
            cash -= done[asset] * paid
        commission, slippage = rules.commission * value, rules.slippage * value
        tax = rules.sell_tax * value if done[asset] < 0.0 else 0.0
        toll = _impact(impact[decided, asset], value) if tolled else 0.0
        cash -= commission + tax + slippage + toll
        shares[asset] += done[asset]
        traded += value
        costs[COMMISSION, row] += commission
        costs[TAX, row] += tax
        costs[SLIPPAGE, row] += slippage
        costs[IMPACT, row] += toll
        rows[0, at], rows[1, at], rows[2, at], verdicts[at] = decided, row, asset, status[asset]
        numbers[0, at], numbers[1, at], numbers[2, at] = waiting[asset], done[asset], paid
        numbers[3, at], numbers[4, at], numbers[5, at], numbers[6, at] = commission, tax, slippage, toll
        waiting[asset] = 0.0
        at += 1
    ledger.journal.written[0], ledger.book.cash[0] = at, cash
    ledger.journal.traded[row] += traded


@_compiled
def _pay_time(ledger: Ledger, row: int) -> None:
    """Borrow on short value and interest on free cash for the time since the last close."""
    rules, shares, mark, cash = ledger.rules, ledger.book.shares, ledger.book.mark, ledger.book.cash
    if rules.borrow == 0.0 and rules.cash_rate == 0.0:
        return
    short = 0.0
    for asset in range(len(shares)):
        if shares[asset] < 0.0:
            short -= shares[asset] * mark[asset]
    free = cash[0] - short
    interest = -rules.cash_rate * free if free > 0.0 else -(rules.cash_rate + rules.borrow) * free
    ledger.journal.costs[BORROW, row] = rules.borrow * short
    ledger.journal.costs[INTEREST, row] = interest
    cash[0] -= rules.borrow * short + interest


@_compiled
def _pay_out(ledger: Ledger, row: int) -> None:
    """Turn holdings that left the market into their last known value, less the loss."""
    listed, shares, mark = ledger.tape.listed, ledger.book.shares, ledger.book.mark
    for asset in range(len(shares)):
        if shares[asset] != 0.0 and not listed[row, asset]:
            value = shares[asset] * mark[asset]
            ledger.book.cash[0] += value * (1.0 - ledger.rules.delist_loss)
            ledger.journal.settled[0] += 1.0
            ledger.journal.settled[1] += value * ledger.rules.delist_loss
            shares[asset] = 0.0


@_compiled
def _mark(ledger: Ledger, row: int) -> None:
    """Value the book at the last known closes and write the row; a book without equity is closed for good."""
    close, mark, prices = ledger.tape.close, ledger.book.mark, ledger.journal.prices
    for asset in range(len(mark)):
        # A close of zero is a price: what is held is worth nothing.
        if 0.0 <= close[row, asset] < np.inf:
            mark[asset] = close[row, asset]
        prices[row, asset] = mark[asset]
    equity = _equity(ledger)
    if equity <= 0.0 and not ledger.book.dead[0]:
        ledger.book.dead[0] = True
        ledger.book.cash[0] = equity
        ledger.book.shares[:] = 0.0
        ledger.book.waiting[:] = 0.0
    # Loops, here and in `place`, since an assignment of a row looks first whether the two overlap.
    for asset in range(len(mark)):
        ledger.journal.shares[row, asset] = ledger.book.shares[asset]
    ledger.journal.equity[row] = equity
    ledger.journal.cash[row] = ledger.book.cash[0]


@_compiled
def advance(ledger: Ledger, row: int) -> None:
    """Live through one bar, from just after the last close to this close.

    Time: reads rows <= row. The first row is a close and nothing before it, so there nothing is paid or filled.
    """
    if row > 0 and not ledger.book.dead[0]:
        _pay_time(ledger, row)
        _pay_out(ledger, row)
        if not ledger.rules.same_close:
            _fill(ledger, row)
    _mark(ledger, row)


@_compiled
def _fault(ledger: Ledger, weights: Floats) -> tuple[int, int]:
    """Why these weights cannot be traded and for which asset; (0, 0) if they can."""
    shares, mark, rules = ledger.book.shares, ledger.book.mark, ledger.rules
    gross = 0.0
    for asset in range(len(weights)):
        weight = weights[asset]
        if not np.isfinite(weight):
            return NOT_FINITE, asset
        if weight < -DUST and not rules.short:
            return SHORT_SALE, asset
        if weight != 0.0 and not mark[asset] > 0.0:
            return NO_PRICE, asset
        gross += abs(weight)
    if gross > rules.leverage + 1e-9:
        held = 0.0
        for asset in range(len(weights)):
            if shares[asset] != 0.0:
                held += abs(shares[asset] * mark[asset])
        # Losses alone can lift a book above its leverage; to hold such a book is not a fault.
        if gross > held / _equity(ledger) + 1e-9:
            return TOO_MUCH, 0
    return 0, 0


@_compiled
def place(ledger: Ledger, row: int, weights: Floats) -> tuple[int, int]:
    """Turn the weights decided at this close into orders; a row of NaN holds.

    Time: the orders wait for the next bar, or are filled at once when the market fills at the same close. The last row
    has no bar after it: its weights are checked and written down, and nothing is ordered.
    Raises: nothing; returns (fault, asset), (0, 0) when the weights can be traded.
    """
    hold = True
    for asset in range(len(weights)):
        if not np.isnan(weights[asset]):
            hold = False
            break
    if hold or ledger.book.dead[0]:
        ledger.journal.weights[row, :] = np.nan
        return 0, 0
    fault = _fault(ledger, weights)
    for asset in range(len(weights)):
        ledger.journal.weights[row, asset] = weights[asset]
    if fault[0] == 0 and row + 1 < len(ledger.journal.equity):
        _size(ledger, row, weights)
        if ledger.rules.same_close:
            _fill(ledger, row)
            _mark(ledger, row)
    return fault


@_compiled
def _size(ledger: Ledger, row: int, weights: Floats) -> None:
    """Shares to trade for each weight: the same expression as `Book.weights`, so what is held is worth no order."""
    shares, mark, waiting, lot = ledger.book.shares, ledger.book.mark, ledger.book.waiting, ledger.tape.lot
    in_lots, short, equity = lot.size > 0, ledger.rules.short, ledger.journal.equity[row]
    for asset in range(len(weights)):
        weight, held = weights[asset], shares[asset]
        waiting[asset] = 0.0
        if weight == 0.0 or (weight < 0.0 and not short):
            # A full exit, to the last odd share, without a rounding error left behind.
            waiting[asset] = 0.0 - held
            continue
        change = weight - (held * mark[asset] / equity if held != 0.0 else 0.0)
        if abs(change) > DUST:
            order = change * equity / mark[asset]
            waiting[asset] = _whole(order, lot[row, asset]) if in_lots else order


@_compiled
def size(ledger: Ledger, row: int, weights: Floats) -> tuple[int, int]:
    """The orders of these weights, left waiting; nothing is written down, and nothing is ordered after a fault."""
    fault = _fault(ledger, weights)
    if fault[0] == 0:
        _size(ledger, row, weights)
    return fault


@_compiled
def replay(ledger: Ledger, weights: Floats) -> tuple[int, int, int]:
    """All bars of a schedule; stops at the first fault and returns (row, fault, asset)."""
    for row in range(len(weights)):
        advance(ledger, row)
        fault, asset = place(ledger, row, weights[row])
        if fault != 0:
            return row, fault, asset
    return 0, 0, 0
