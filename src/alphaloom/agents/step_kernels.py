"""One step of many accounts, compiled: actions to weights, the ledger's bar, the pay, the state that is seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from alphaloom.agents.action_kernels import BINARY, Desk, Purse, Terms, aim
from alphaloom.backtest.books import Books, lend, lent, live, open_account

__all__ = ["Copies", "Log", "Outcome", "World", "gather", "holdings", "reopen", "step"]

# The places of the rewards in trading.REWARDS.
LOG, DELTA, SIMPLE, SHARPE, RISK, ALTERNATIVE, SHAPED = 0, 1, 2, 3, 4, 5, 6
# A log return below this is ruin; a reward has to be a number.
RUIN = 1e-6
# Second hand, from an unofficial re-implementation of QTMRL; a fraction of these a step and asset.
GROWTH, PROFIT, STALE, OLD, BONUS = 0.001, 0.01, 0.01, 0.1, 0.1
WRONG, STALE_BARS, OLD_BARS = 0.02, 20, 50

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class World(NamedTuple):
    """What all copies share.   Shape: usable, leaving (T, N); switched (T,); `features` (T, N * F); market (T, M)."""

    usable: Flags
    leaving: Flags
    switched: Flags
    features: NDArray[np.float32]
    market: NDArray[np.float32]
    window: int
    last: int  # the row of the last bar
    length: int  # bars of an episode; 0: to the last bar


class Copies(NamedTuple):
    """Where each copy stands.

    Shape: row, age (steps of this episode), asset (binary: which one it trades) (B,); moments (B, 2) of the
    differential Sharpe ratio; held (B, N) bars and basis (B, N) average price of what is held, for the shaped pay;
    portfolio (B, N + 1) cash share and weights.
    """

    row: NDArray[np.int64]
    age: NDArray[np.int64]
    asset: NDArray[np.int64]
    moments: Floats
    held: NDArray[np.int64]
    basis: Floats
    portfolio: NDArray[np.float32]


class Outcome(NamedTuple):
    """What a step did.   Shape: (B,) each."""

    reward: Floats
    terminated: Flags
    truncated: Flags
    equity: Floats
    cost: Floats
    turnover: Floats
    invalid: NDArray[np.int64]


class Log(NamedTuple):
    """The orders of one step, where they are kept: with no room they are not.

    Shape: used (1,); places (4, room): copy, row of the fill, asset, status; numbers (7, room): ordered, done, price,
    commission, tax, slippage, impact.
    """

    used: NDArray[np.int64]
    places: NDArray[np.int64]
    numbers: Floats


_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def holdings(books: Books, copies: Copies, b: int) -> None:
    """Write the cash share and the weights of account b at its last close."""
    equity, portfolio = books.equity[b], copies.portfolio
    if equity <= 0.0:
        portfolio[b, :] = 0.0
        portfolio[b, 0] = 1.0
        return
    portfolio[b, 0] = books.cash[b] / equity
    for asset in range(books.shares.shape[1]):
        shares = books.shares[b, asset]
        portfolio[b, asset + 1] = shares * books.mark[b, asset] / equity if shares != 0.0 else 0.0


@_compiled
def reopen(books: Books, copies: Copies, b: int, row: int, asset: int, cash: float) -> None:
    """Start a new episode of copy b at a row, all cash."""
    open_account(books, b, row, cash)
    copies.row[b], copies.age[b], copies.asset[b] = row, 0, asset
    copies.moments[b, :] = 0.0
    copies.held[b, :] = 0
    copies.basis[b, :] = 0.0
    holdings(books, copies, b)


@_compiled
def _sharpe_pay(moments: Floats, eta: float, change: float) -> float:
    """The differential Sharpe ratio of one return; the moments go on."""
    mean, square = moments[0], moments[1]
    rise, spread = change - mean, change * change - square
    variance = square - mean * mean
    pay = (square * rise - 0.5 * mean * spread) / variance**1.5 if variance > 1e-12 else 0.0
    moments[0] += eta * rise
    moments[1] += eta * spread
    return pay


@_compiled
def _alternative_pay(books: Books, world: World, b: int, row: int, asset: int, chosen: bool, had: bool) -> float:
    """The return of the asset less the cost of entering it, or the mean return of the other usable assets."""
    then, now = books.marks[row], books.marks[row + 1]
    if chosen:
        if not then[asset] > 0.0:
            return 0.0
        fee = 0.0 if had else books.rules.commission + books.rules.slippage
        return now[asset] / then[asset] - 1.0 - fee  # type: ignore[no-any-return]
    total, count = 0.0, 0
    for other in range(len(then)):
        if other != asset and world.usable[row, other]:
            total += now[other] / then[other] - 1.0
            count += 1
    return total / count if count else 0.0


@_compiled
def _shaped_pay(books: Books, copies: Copies, b: int, before: Floats, growth: float, wrong: int) -> float:
    """Growth and realised profit, a bonus for purchases, fines for impossible wishes and for holding long."""
    shares, mark, N = books.shares[b], books.mark[b], books.shares.shape[1]
    pay = GROWTH * growth - WRONG * wrong / N
    for asset in range(N):
        traded = shares[asset] - before[asset]
        basis = copies.basis[b, asset]
        if traded < 0.0 and basis > 0.0:
            pay += PROFIT * (mark[asset] / basis - 1.0) / N
        if traded > 0.0:
            pay += BONUS / N
            copies.basis[b, asset] = (before[asset] * basis + traded * mark[asset]) / shares[asset]
        copies.held[b, asset] = copies.held[b, asset] + 1 if shares[asset] > 0.0 else 0
        if copies.held[b, asset] > OLD_BARS:
            pay -= OLD / N
        elif copies.held[b, asset] > STALE_BARS:
            pay -= STALE / N
    return pay  # type: ignore[no-any-return]


@_compiled
def _pay(terms: Terms, before: float, after: float, turnover: float, moments: Floats) -> float:
    """The rewards that need equity alone, before scale and penalty."""
    change = after / before - 1.0
    if terms.reward == DELTA:
        return after - before
    if terms.reward == SIMPLE:
        return change
    if terms.reward == SHARPE:
        return _sharpe_pay(moments, terms.eta, change)
    pay = np.log(max(after / before, RUIN))
    if terms.reward == RISK:
        pay -= terms.risk_aversion * change * change + terms.turnover_price * turnover
    return pay  # type: ignore[no-any-return]


@_compiled
def _log(books: Books, log: Log, b: int, row: int) -> None:
    """Keep the orders that the ledger wrote on the page for account b."""
    page = books.page
    for order in range(page.written[0]):
        at = log.used[0]
        log.places[0, at], log.places[1, at] = b, row + page.rows[1, order]
        log.places[2, at], log.places[3, at] = page.rows[2, order], page.status[order]
        for k in range(log.numbers.shape[0]):
            log.numbers[k, at] = page.numbers[k, order]
        log.used[0] = at + 1


@_compiled
def step(
    books: Books, world: World, terms: Terms, copies: Copies, desk: Desk, actions: Floats, out: Outcome, log: Log
) -> int:
    """Every copy acts at its close and lives to the next; the first copy whose weights the ledger refuses, or -1.

    Shape: actions (B, A), in the space.
    """
    books = lend(books)
    desk = Desk(lent(desk.orders), lent(desk.done), lent(desk.status), lent(desk.free))
    # Arguments may be lent, since the caller keeps them; what is made here would be freed.
    usable, leaving, actions = lent(world.usable), lent(world.leaving), lent(actions)
    tape, (B, N) = books.tape, books.shares.shape
    weights, before, simplex = np.empty(N), np.empty(N), np.zeros(N + 1)
    for b in range(B):
        row, equity, asset = copies.row[b], books.equity[b], copies.asset[b]
        action, had = actions[b], False
        if terms.mode == BINARY:
            had = books.shares[b, asset] > 0.0
            simplex[:] = 0.0
            simplex[0], simplex[asset + 1] = 1.0 - actions[b, 0], actions[b, 0]
            action = simplex
        purse = Purse(
            equity,
            books.cash[b],
            books.shares[b],
            books.mark[b],
            usable[row],
            leaving[row],
            tape.lot[row] if tape.lot.size > 0 else tape.price[row, :0],
            tape.impact[row] if tape.impact.size > 0 else tape.price[row, :0],
            books.rank[b],
        )
        wrong = aim(terms, books.rules, purse, action, world.switched[row], desk, weights)
        for held in range(N):
            before[held] = books.shares[b, held]
        fault, cost, traded = live(books, b, row, weights)
        if fault != 0:
            return b
        if log.numbers.shape[1] > 0:
            _log(books, log, b, row)
        after, turnover = books.equity[b], traded / equity
        if terms.reward == ALTERNATIVE:
            pay = _alternative_pay(books, world, b, row, asset, actions[b, 0] == 1.0, had)
        elif terms.reward == SHAPED:
            pay = _shaped_pay(books, copies, b, before, after / equity - 1.0, wrong)
        else:
            pay = _pay(terms, equity, after, turnover, copies.moments[b])
        out.reward[b] = pay * terms.scale - terms.penalty * wrong / N
        copies.row[b] += 1
        copies.age[b] += 1
        out.terminated[b] = books.dead[b]
        over = copies.row[b] == world.last or (world.length > 0 and copies.age[b] == world.length)
        out.truncated[b] = over and not books.dead[b]
        out.equity[b], out.cost[b], out.turnover[b], out.invalid[b] = after, cost, turnover, wrong
        holdings(books, copies, b)
    return -1


@_compiled
def gather(
    world: World, row: NDArray[np.int64], asset: NDArray[np.int64], portfolio: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:  # fmt: skip
    """What the copies see, flat: cash share and weights, the market, the windows of all assets, oldest row first.

    An asset that is not usable on the row is 0 throughout its window. With one asset to a copy (`asset` not empty) it
    is what the copy holds of that asset, the market, and the windows of that asset alone.
    Shape: row (B,), portfolio (B, N + 1) -> out (B, O).
    """
    N, M, W = world.usable.shape[1], world.market.shape[1], world.window
    F = world.features.shape[1] // N
    for b in range(len(row)):
        t, line = row[b], out[b]
        if len(asset) > 0:
            i = asset[b]
            line[0] = portfolio[b, i + 1]
            line[1 : 1 + M] = world.market[t]
            for w in range(W):
                at = 1 + M + w * F
                line[at : at + F] = world.features[t - W + 1 + w, i * F : (i + 1) * F]
            continue
        line[: N + 1] = portfolio[b]
        line[N + 1 : N + 1 + M] = world.market[t]
        at = N + 1 + M
        for w in range(W):
            line[at + w * N * F : at + (w + 1) * N * F] = world.features[t - W + 1 + w]
        for i in range(N):
            if not world.usable[t, i]:
                for w in range(W):
                    line[at + (w * N + i) * F : at + (w * N + i + 1) * F] = 0.0
