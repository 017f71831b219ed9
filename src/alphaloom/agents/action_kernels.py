"""From actions to orders to weights, compiled: the one place where it is decided what an action means."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from alphaloom.backtest.books import Rules, afford

__all__ = [
    "BINARY",
    "DISCRETE",
    "JOINT",
    "SHARES",
    "WEIGHTS",
    "Desk",
    "Purse",
    "Terms",
    "aim",
    "new_desk",
    "outside",
    "wanted_shares",
]

# The places of the modes in trading.MODES.
WEIGHTS, SHARES, DISCRETE, JOINT, BINARY = 0, 1, 2, 3, 4
# The post-cost value is a fixed point; it contracts by the cost rate a round, so a few rounds are usual.
ROUNDS, CLOSE_ENOUGH = 50, 1e-12
# How far the parts of a point of the simplex may be off: they come from single-precision softmaxes.
SIMPLEX = 1e-4

Floats = NDArray[np.float64]


class Terms(NamedTuple):
    """A trading configuration as plain numbers; `mode` and `reward` are places in trading.MODES and REWARDS."""

    mode: int
    hmax: float
    buy: float
    sell: float
    greedy: bool
    reward: int
    scale: float
    eta: float
    risk_aversion: float
    turnover_price: float
    penalty: float


class Purse(NamedTuple):
    """One account at a close, and what may be traded there.

    Shape: shares, mark, usable, leaving (N,); `lot` and `impact` (N,) or (0,); `rank` (N,) or (0,) is written to.
    `leaving` names the assets that left the universe: what is held of them is sold, whatever the action.
    """

    equity: float
    cash: float
    shares: Floats
    mark: Floats
    usable: NDArray[np.bool_]
    leaving: NDArray[np.bool_]
    lot: Floats
    impact: Floats
    rank: NDArray[np.int64]


class Desk(NamedTuple):
    """Room to write on for one account at a time.   Shape: (N,) each; `free` is all zero: nothing is refused."""

    orders: Floats
    done: Floats
    status: NDArray[np.int8]
    free: NDArray[np.int8]


_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def outside(mode: int, actions: Floats, N: int) -> int:
    """The first of B actions that is not in the space; -1 if all are.   Shape: actions (B, A)."""
    for b in range(actions.shape[0]):
        total = 0.0
        for k in range(actions.shape[1]):
            value = actions[b, k]
            if mode == WEIGHTS:
                good = -SIMPLEX <= value <= 1.0 + SIMPLEX
                total += value
            elif mode == SHARES:
                good = -1.0 <= value <= 1.0
            else:
                most = 2.0 if mode == DISCRETE else (1.0 if mode == BINARY else 2.0**N - 1.0)
                good = 0.0 <= value <= most and value == np.floor(value)
            if not good:
                return b
        if mode == WEIGHTS and not abs(total - 1.0) <= SIMPLEX:
            return b
    return -1


@_compiled
def _toll(purse: Purse, asset: int, value: float) -> float:
    """The market impact of trading a value, in money."""
    if purse.impact.size == 0:
        return 0.0
    return min(purse.impact[asset] * value * np.sqrt(value), value)  # type: ignore[no-any-return]


@_compiled
def _whole(purse: Purse, asset: int, order: float) -> float:
    """An order cut to whole lots; a hair of tolerance as in the ledger."""
    if purse.lot.size == 0:
        return order
    lot = purse.lot[asset]
    size = np.floor(abs(order) / lot + 1e-9) * lot
    return size if order > 0.0 else -size  # type: ignore[no-any-return]


@_compiled
def _toward_weights(rules: Rules, purse: Purse, action: Floats, orders: Floats) -> None:
    """Orders that reach the weights exactly after costs: V' = V - sum of c * |w V' - h|.

    Shape: action (N + 1,), cash first.
    """
    shares, mark, equity = purse.shares, purse.mark, purse.equity
    total = 0.0
    for part in action:
        total += max(part, 0.0)
    buying = rules.commission + rules.slippage
    selling = buying + rules.sell_tax
    after = equity
    for _ in range(ROUNDS):
        cost = 0.0
        for asset in range(len(shares)):
            if purse.usable[asset]:
                change = max(action[asset + 1], 0.0) / total * after - shares[asset] * mark[asset]
            elif purse.leaving[asset]:
                change = -shares[asset] * mark[asset]
            else:
                continue
            cost += (buying * change if change > 0.0 else -selling * change) + _toll(purse, asset, abs(change))
        before, after = after, max(equity - cost, 0.0)
        if abs(after - before) <= CLOSE_ENOUGH * equity:
            break
    for asset in range(len(shares)):
        if purse.usable[asset]:
            weight = max(action[asset + 1], 0.0) / total
            orders[asset] = (weight * after - shares[asset] * mark[asset]) / mark[asset]
            if weight == 0.0:
                orders[asset] = -shares[asset]


@_compiled
def _by_fractions(terms: Terms, rules: Rules, purse: Purse, action: Floats, orders: Floats) -> None:
    """Sell a fraction of positions, then spend a fraction of the cash of after the sales on every purchase."""
    shares, mark = purse.shares, purse.mark
    earning = 1.0 - rules.commission - rules.slippage - rules.sell_tax
    cash, buyers = purse.cash, 0
    for asset in range(len(shares)):
        if purse.leaving[asset]:
            value = shares[asset] * mark[asset]
        elif not purse.usable[asset]:
            continue
        elif action[asset] == 0.0:
            orders[asset] = -terms.sell * shares[asset]
            value = -orders[asset] * mark[asset]
        else:
            buyers += action[asset] == 2.0
            continue
        if value > 0.0:
            cash += value * earning - _toll(purse, asset, value)
    if buyers == 0 or cash <= 0.0:
        return
    # Every buyer sees the same cash; together they spend no more than there is.
    spend = min(terms.buy, 1.0 / buyers) * cash
    for asset in range(len(shares)):
        if action[asset] == 2.0 and purse.usable[asset]:
            orders[asset] = spend / (mark[asset] * (1.0 + rules.commission + rules.slippage))


@_compiled
def _serve_largest_first(purse: Purse, action: Floats) -> None:
    """Write the order in which purchases are served: larger actions first, of equal ones the last asset."""
    N, first = len(purse.rank), len(action) - len(purse.rank)
    # A stable ascending sort read from its end.
    ascending = np.argsort(action[first:], kind="mergesort")
    for place in range(N):
        purse.rank[place] = ascending[N - 1 - place]


@_compiled
def wanted_shares(terms: Terms, rules: Rules, purse: Purse, action: Floats, orders: Floats) -> int:
    """What an action asks for; returns how many of its wishes cannot be orders at all.

    A wish is no order for an asset that may not be traded, and for a sale of nothing.
    Shape: action (N + 1,) for weights, else (N,); `orders` (N,) is written to, whole lots where the market has lots.
    Unit: shares, negative to sell, measured with the close; what cash can pay of them is another question.
    """
    shares, first = purse.shares, len(action) - len(purse.shares)
    orders[:] = 0.0
    if terms.greedy:
        _serve_largest_first(purse, action)
    if terms.mode == WEIGHTS or terms.mode == BINARY:
        _toward_weights(rules, purse, action, orders)
    elif terms.mode == SHARES:
        for asset in range(len(shares)):
            orders[asset] = np.trunc(action[asset] * terms.hmax)
    else:
        _by_fractions(terms, rules, purse, action, orders)
    invalid = 0
    for asset in range(len(shares)):
        wish = action[asset + first]
        if terms.mode == SHARES:
            wish = orders[asset]
        elif first == 0:
            wish -= 1.0
        if purse.leaving[asset]:
            orders[asset] = -shares[asset]
            continue
        if not purse.usable[asset]:
            invalid += wish != 0.0 and not (first == 1 and shares[asset] > 0.0)
            orders[asset] = 0.0
            continue
        invalid += wish < 0.0 and shares[asset] == 0.0
        order = max(orders[asset], -shares[asset])
        # What is sold as a whole is sold to the last odd share.
        orders[asset] = order if order == -shares[asset] else _whole(purse, asset, order)
    return invalid


@_compiled
def aim(terms: Terms, rules: Rules, purse: Purse, action: Floats, switched: bool, desk: Desk, weights: Floats) -> int:
    """The weights that an action means, all of which the cash can pay at the close; returns the impossible wishes.

    Where the risk switch is on, everything that may be traded is sold and nothing is bought.
    Shape: weights (N,) is written to.
    """
    shares, mark, N = purse.shares, purse.mark, len(purse.shares)
    orders, done = desk.orders, desk.done
    invalid = 0
    if switched:
        for asset in range(N):
            orders[asset] = -shares[asset] if purse.usable[asset] or purse.leaving[asset] else 0.0
    else:
        invalid = wanted_shares(terms, rules, purse, action, orders)
    lot, impact = purse.lot, purse.impact
    afford(
        rules, purse.cash, orders, shares, purse.rank, mark, desk.free, desk.free, lot, impact, done, desk.status
    )  # fmt: skip
    for asset in range(N):
        # The same expression as the ledger's, so that what is held is worth no order.
        weights[asset] = shares[asset] * mark[asset] / purse.equity if shares[asset] != 0.0 else 0.0
        if orders[asset] != 0.0:
            # Odd lots that together are nothing must not be left as a rounding error.
            left = shares[asset] + done[asset]
            weights[asset] = left * mark[asset] / purse.equity if left != 0.0 else 0.0
            invalid += orders[asset] > 0.0 and done[asset] == 0.0
    return invalid


def new_desk(N: int) -> Desk:
    """An empty desk for N assets."""
    return Desk(np.empty(N), np.empty(N), np.empty(N, np.int8), np.zeros(N, np.int8))
