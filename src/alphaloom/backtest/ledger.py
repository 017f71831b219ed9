"""The ledger: the only place where money moves.

Two compiled functions are one bar of a book. `advance` lives through a bar: it pays interest and borrow for the time
since the last close, settles delistings, fills the orders that wait, and marks the book at the close. `place` takes
the weights decided at that close and turns them into orders. The engine calls both bar by bar for a policy that looks
at its book; `replay` loops over them for weights that are known beforehand. They read and write arrays only, one book
a call, so that many books are many rows of the same arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Journal", "Ledger", "Position", "Rules", "Tape", "advance", "place", "replay"]

# Status of an order. The names stand in result.STATUS, in this order.
FILLED, PARTIAL, CASH, HALTED, LIMIT, UNLISTED = 0, 1, 2, 3, 4, 5
# Why weights cannot be traded.
NOT_FINITE, SHORT_SALE, NO_PRICE, TOO_MUCH = 1, 2, 3, 4
# Rows of Journal.costs.
COMMISSION, TAX, SLIPPAGE, IMPACT, BORROW, INTEREST = 0, 1, 2, 3, 4, 5
# A change of weight below this fraction of equity is rounding, not a wish to trade.
DUST = 1e-12
# Prices this close to a limit stand at it: far below a tick, far above the rounding of adjusted prices.
AT_LIMIT = 1e-6

Floats = NDArray[np.float64]


class Tape(NamedTuple):
    """What the market offers, bar by bar; optional arrays are empty where they do not apply.

    Shape: (K, N) each; `limit_up`, `limit_down`, `lot` and `impact` are (K, N) or (0, 0).
    Unit: `price` is the fill price; `lot` shares; an order of value v pays `impact` * v ** 1.5.
    """

    price: Floats
    close: Floats
    listed: NDArray[np.bool_]
    buyable: NDArray[np.bool_]
    sellable: NDArray[np.bool_]
    limit_up: Floats
    limit_down: Floats
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

    Shape: cash (1,), dead (1,), shares, waiting (orders in shares) and mark (last known close) (N,).
    """

    cash: Floats
    dead: NDArray[np.bool_]
    shares: Floats
    waiting: Floats
    mark: Floats


class Journal(NamedTuple):
    """What the ledger writes down.

    Shape: cash, equity, traded (K,); shares, prices, weights (K, N); costs (6, K); `settled` (2,) counts delistings and
    the money lost in them; `count` (1,) is the number of orders, whose columns follow, each with room for more.
    """

    cash: Floats
    equity: Floats
    traded: Floats
    shares: Floats
    prices: Floats
    weights: Floats
    costs: Floats
    settled: Floats
    count: NDArray[np.int64]
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


@_inlined  # type: ignore[untyped-decorator]
def _impact(tape: Tape, row: int, asset: int, value: float) -> float:
    """Square-root impact in money; never more than the value itself."""
    if tape.impact.size == 0:
        return 0.0
    return min(tape.impact[row, asset] * value * np.sqrt(value), value)


@_inlined  # type: ignore[untyped-decorator]
def _whole_lots(tape: Tape, row: int, asset: int, shares: float) -> float:
    """Rounded toward zero to lots."""
    if tape.lot.size == 0:
        return shares
    lot = tape.lot[row, asset]
    # A hair of tolerance: 300 shares computed as 299.9999999999 are three lots of a hundred.
    size = np.floor(abs(shares) / lot + 1e-9) * lot
    return size if shares > 0.0 else -size


@_inlined  # type: ignore[untyped-decorator]
def _refusal(tape: Tape, row: int, asset: int, buying: bool) -> int:
    """FILLED if the market takes an order at this bar's fill price, else the reason why not."""
    price = tape.price[row, asset]
    buyable, sellable = tape.buyable[row, asset], tape.sellable[row, asset]
    if not tape.listed[row, asset]:
        return UNLISTED
    if not 0.0 < price < np.inf or not (buyable or sellable):
        return HALTED
    if tape.limit_up.size == 0:
        return FILLED if (buyable if buying else sellable) else LIMIT
    # The flags speak about the open; at the close the close itself tells whether it stands at a limit. A limit that is
    # not known compares false.
    if buying:
        return LIMIT if price >= tape.limit_up[row, asset] * (1.0 - AT_LIMIT) else FILLED
    return LIMIT if price <= tape.limit_down[row, asset] * (1.0 + AT_LIMIT) else FILLED


@_inlined  # type: ignore[untyped-decorator]
def _settle(ledger: Ledger, row: int, asset: int, done: float, status: int) -> None:
    """Move the shares and the money of the order that waits for an asset, and write it down."""
    tape, rules, book, journal = ledger
    decided = row if rules.same_close else row - 1
    at = journal.count[0]
    journal.count[0] = at + 1
    journal.rows[0, at], journal.rows[1, at], journal.rows[2, at] = decided, row, asset
    journal.status[at] = status
    price, commission, tax, slippage, impact = np.nan, 0.0, 0.0, 0.0, 0.0
    if done != 0.0:
        price = tape.price[row, asset]
        value = abs(done) * price
        commission, slippage = rules.commission * value, rules.slippage * value
        tax = rules.sell_tax * value if done < 0.0 else 0.0
        impact = _impact(tape, decided, asset, value)
        book.cash[0] -= done * price + (commission + tax + slippage + impact)
        book.shares[asset] += done
        journal.traded[row] += value
        journal.costs[COMMISSION, row] += commission
        journal.costs[TAX, row] += tax
        journal.costs[SLIPPAGE, row] += slippage
        journal.costs[IMPACT, row] += impact
    numbers = journal.numbers
    numbers[0, at], numbers[1, at], numbers[2, at] = book.waiting[asset], done, price
    numbers[3, at], numbers[4, at], numbers[5, at], numbers[6, at] = commission, tax, slippage, impact
    book.waiting[asset] = 0.0


@_inlined  # type: ignore[untyped-decorator]
def _cash_floor(ledger: Ledger) -> float:
    """The least cash that buying may leave: what leverage allows to borrow, as a negative number."""
    if ledger.rules.leverage == 1.0:
        return 0.0
    equity = ledger.book.cash[0]
    for asset in range(len(ledger.book.shares)):
        if ledger.book.shares[asset] != 0.0:
            equity += ledger.book.shares[asset] * ledger.book.mark[asset]
    return (1.0 - ledger.rules.leverage) * max(equity, 0.0)


@_compiled  # type: ignore[untyped-decorator]
def _fill(ledger: Ledger, row: int) -> None:
    """Fill the waiting orders: refusals, sales and covers first, then purchases, cut by one factor to fit the cash.

    Closing a short is never cut. Impact enters the need at full size, which is more than a cut order will pay.
    """
    tape, rules, book, _ = ledger
    decided = row if rules.same_close else row - 1
    floor = _cash_floor(ledger)
    fixed, need = 0.0, 0.0
    charge = 1.0 + rules.commission + rules.slippage
    for asset in range(len(book.waiting)):
        order = book.waiting[asset]
        if order == 0.0:
            continue
        held = book.shares[asset]
        reason = _refusal(tape, row, asset, order > 0.0)
        if reason != FILLED:
            _settle(ledger, row, asset, 0.0, reason)
        elif order < 0.0:
            _settle(ledger, row, asset, order if rules.short else max(order, -held), FILLED)
        elif order <= -held:
            _settle(ledger, row, asset, order, FILLED)
        else:
            cover = max(-held, 0.0)
            price = tape.price[row, asset]
            closing = _impact(tape, decided, asset, cover * price)
            fixed += cover * price * charge + closing
            need += (order - cover) * price * charge + _impact(tape, decided, asset, order * price) - closing
    if need == 0.0:
        return
    free = max(book.cash[0] - fixed - floor, 0.0)
    # The last factor leaves room for the rounding of a long sum.
    share = 1.0 if need <= free else free / need * (1.0 - DUST)
    for asset in range(len(book.waiting)):
        order = book.waiting[asset]
        if order == 0.0:
            continue
        done = order
        if share < 1.0:
            cover = max(-book.shares[asset], 0.0)
            done = cover + _whole_lots(tape, row, asset, (order - cover) * share)
        _settle(ledger, row, asset, done, FILLED if done == order else (PARTIAL if done > 0.0 else CASH))


@_inlined  # type: ignore[untyped-decorator]
def _pay_time(ledger: Ledger, row: int) -> None:
    """Borrow on short value and interest on free cash for the time since the last close."""
    _, rules, book, journal = ledger
    if rules.borrow == 0.0 and rules.cash_rate == 0.0:
        return
    short = 0.0
    for asset in range(len(book.shares)):
        if book.shares[asset] < 0.0:
            short -= book.shares[asset] * book.mark[asset]
    free = book.cash[0] - short
    interest = -rules.cash_rate * free if free > 0.0 else -(rules.cash_rate + rules.borrow) * free
    journal.costs[BORROW, row] = rules.borrow * short
    journal.costs[INTEREST, row] = interest
    book.cash[0] -= rules.borrow * short + interest


@_inlined  # type: ignore[untyped-decorator]
def _pay_out(ledger: Ledger, row: int) -> None:
    """Turn holdings that left the market into their last known value, less the loss."""
    tape, rules, book, journal = ledger
    for asset in range(len(book.shares)):
        if book.shares[asset] != 0.0 and not tape.listed[row, asset]:
            value = book.shares[asset] * book.mark[asset]
            book.cash[0] += value * (1.0 - rules.delist_loss)
            book.shares[asset] = 0.0
            journal.settled[0] += 1.0
            journal.settled[1] += value * rules.delist_loss


@_inlined  # type: ignore[untyped-decorator]
def _mark(ledger: Ledger, row: int) -> None:
    """Value the book at the last known closes and write the row."""
    tape, _, book, journal = ledger
    equity = book.cash[0]
    for asset in range(len(book.shares)):
        close = tape.close[row, asset]
        if 0.0 < close < np.inf:
            book.mark[asset] = close
        if book.shares[asset] != 0.0:
            equity += book.shares[asset] * book.mark[asset]
        journal.shares[row, asset] = book.shares[asset]
        journal.prices[row, asset] = book.mark[asset]
    if equity <= 0.0 and not book.dead[0]:
        book.dead[0] = True
        book.cash[0] = equity
        book.shares[:] = 0.0
        book.waiting[:] = 0.0
        journal.shares[row, :] = 0.0
    journal.equity[row] = equity
    journal.cash[row] = book.cash[0]


@_compiled  # type: ignore[untyped-decorator]
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


@_inlined  # type: ignore[untyped-decorator]
def _fault(ledger: Ledger, weights: Floats) -> tuple[int, int]:
    """Why these weights cannot be traded and for which asset; (0, 0) if they can."""
    book, rules = ledger.book, ledger.rules
    gross = 0.0
    for asset in range(len(weights)):
        weight = weights[asset]
        if not np.isfinite(weight):
            return NOT_FINITE, asset
        if weight < -DUST and not rules.short:
            return SHORT_SALE, asset
        if weight != 0.0 and np.isnan(book.mark[asset]):
            return NO_PRICE, asset
        gross += abs(weight)
    if gross > rules.leverage + 1e-9:
        held, equity = 0.0, book.cash[0]
        for asset in range(len(weights)):
            if book.shares[asset] != 0.0:
                held += abs(book.shares[asset] * book.mark[asset])
                equity += book.shares[asset] * book.mark[asset]
        # Losses alone can lift a book above its leverage; to hold such a book is not a fault.
        if gross > held / equity + 1e-9:
            return TOO_MUCH, 0
    return 0, 0


@_inlined  # type: ignore[untyped-decorator]
def _order(ledger: Ledger, row: int, asset: int, weight: float) -> float:
    """Shares to trade for a weight: the same expression as `Book.weights`, so what is held is worth no order."""
    book = ledger.book
    held = book.shares[asset]
    if weight == 0.0 or (weight < 0.0 and not ledger.rules.short):
        return -held  # a full exit leaves neither an odd lot nor a rounding error behind
    mark, equity = book.mark[asset], ledger.journal.equity[row]
    change = weight - (held * mark / equity if held != 0.0 else 0.0)
    if abs(change) <= DUST:
        return 0.0
    return _whole_lots(ledger.tape, row, asset, change * equity / mark)


@_compiled  # type: ignore[untyped-decorator]
def place(ledger: Ledger, row: int, weights: Floats) -> tuple[int, int]:
    """Turn the weights decided at this close into orders; a row of NaN holds.

    Time: the orders wait for the next bar, or are filled at once when the market fills at the same close. The last row
    has no bar after it: its weights are checked and written down, and nothing is ordered.
    Raises: nothing; returns (fault, asset), (0, 0) when the weights can be traded.
    """
    book, journal = ledger.book, ledger.journal
    empty = True
    for asset in range(len(weights)):
        if not np.isnan(weights[asset]):
            empty = False
            break
    if empty or book.dead[0]:
        journal.weights[row, :] = np.nan
        return 0, 0
    fault = _fault(ledger, weights)
    journal.weights[row, :] = weights
    if fault[0] != 0 or row + 1 == len(journal.equity):
        return fault
    for asset in range(len(weights)):
        book.waiting[asset] = _order(ledger, row, asset, weights[asset])
    if ledger.rules.same_close:
        _fill(ledger, row)
        _mark(ledger, row)
    return fault


@_compiled  # type: ignore[untyped-decorator]
def replay(ledger: Ledger, weights: Floats) -> tuple[int, int, int]:
    """All bars of a schedule; stops at the first fault and returns (row, fault, asset)."""
    for row in range(len(weights)):
        advance(ledger, row)
        fault, asset = place(ledger, row, weights[row])
        if fault != 0:
            return row, fault, asset
    return 0, 0, 0
