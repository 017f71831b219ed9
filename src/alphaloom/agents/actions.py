"""Actions as a user hands them over, checked and put into the form that the compiled functions read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.action_kernels import BINARY, Purse, Terms, aim, new_desk, outside
from alphaloom.agents.trading import MODES, REWARDS, Trading
from alphaloom.backtest.books import latest_terms
from alphaloom.errors import DataError
from alphaloom.market import Book, Market
from alphaloom.panel import Panel

__all__ = ["checked_actions", "decided_weights", "left_universe", "switched_rows", "terms_of"]

Floats = NDArray[np.float64]

_SPACES = {
    "weights": "N + 1 numbers that are not negative and add up to 1, cash first",
    "shares": "N numbers in [-1, 1]",
    "discrete": "N times 0 (sell), 1 (hold) or 2 (buy)",
    "joint": "one whole number in [0, 2 ** N)",
    "binary": "0 (cash) or 1 (the asset)",
}


def terms_of(trading: Trading) -> Terms:
    """The configuration as the compiled functions read it."""
    return Terms(
        mode=MODES.index(trading.mode),
        hmax=float(trading.hmax),
        buy=float(trading.buy),
        sell=float(trading.sell),
        greedy=trading.cash_rule == "greedy",
        reward=REWARDS.index(trading.reward),
        scale=float(trading.reward_scale),
        eta=float(trading.eta),
        risk_aversion=float(trading.risk_aversion),
        turnover_price=float(trading.turnover_price),
        penalty=float(trading.invalid_penalty),
    )


def checked_actions(actions: object, trading: Trading, count: int, N: int) -> Floats:
    """B actions as floats, one row each; a joint action becomes N of sell and buy.

    Shape: (B, N + 1) for weights, (B, N) for shares and discrete, (B,) or (B, 1) for joint and binary -> (B, A).
    Raises: DataError for an action outside the space, with the copy and the value.
    """
    given: Any = actions
    try:
        table: Floats = np.ascontiguousarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _outside(trading, type(actions).__name__, "actions") from error
    width = {"weights": N + 1, "shares": N, "discrete": N}.get(trading.mode, 1)
    if width == 1 and table.ndim == 1:
        table = table[:, None]
    if table.shape != (count, width):
        raise _outside(trading, f"shape {table.shape}, not {(count, width)}", "actions")
    bad = outside(MODES.index(trading.mode), table, N)
    if bad >= 0:
        raise _outside(trading, np.array2string(table[bad], threshold=12, precision=6), f"actions[{bad}]")
    if trading.mode == "joint":
        table = 2.0 * (table.astype(np.int64) >> np.arange(N) & 1).astype(np.float64)
    return table


def _outside(trading: Trading, found: object, where: str) -> DataError:
    return DataError(
        "an action is in the space of its mode",
        found=found,
        where=where,
        fix=f"{trading.mode}: {_SPACES[trading.mode]}",
    )


def left_universe(panel: Panel) -> NDArray[np.bool_]:
    """Where an asset still trades but is no longer (or not yet) a member: what is held of it is sold.

    Shape: (T, N).
    """
    close = panel["close"]
    left: NDArray[np.bool_] = ~panel.member & panel.listed & (close > 0.0) & (close < np.inf)
    return left


def switched_rows(panel: Panel, trading: Trading) -> NDArray[np.bool_]:
    """The rows on which the risk switch is on.

    Shape: (T,).   Missing: where the series is not known, the switch is off.
    Raises: DataError if the panel has no such series.
    """
    if trading.risk_threshold is None:
        return np.zeros(len(panel), bool)
    if trading.risk not in panel.series:
        raise DataError(
            "the risk switch reads a series of the panel",
            found=trading.risk,
            where="trading.risk",
            fix=f"the panel has: {', '.join(panel.series) or 'none'}",
        )
    on: NDArray[np.bool_] = panel.series[trading.risk] >= trading.risk_threshold
    return on


def decided_weights(
    action: object, book: Book, trading: Trading, market: Market, usable: NDArray[np.bool_], *, view: Panel
) -> Floats:
    """See `trading.target_weights`."""
    N = len(book.shares)
    trading.check(N)
    equity = float(book.history.equity[-1])
    if not equity > 0.0:
        return np.full(N, np.nan)
    given: Any = np.asarray(action)
    row = checked_actions(given.reshape(1, -1), trading, 1, N)[0]
    terms = terms_of(trading)
    if terms.mode == BINARY:
        if N != 1:
            raise DataError(
                "a binary action speaks of one asset", found=f"{N} assets", where="action", fix='mode = "weights"'
            )
        row = np.array([1.0 - row[0], row[0]])
    rules, lot, impact = latest_terms(view, market)
    last = view[-1:]
    purse = Purse(
        equity,
        float(book.cash),
        np.array(book.shares, dtype=np.float64),
        np.array(book.prices, dtype=np.float64),
        np.array(usable, dtype=np.bool_),
        left_universe(last)[0],
        np.array(lot),
        np.array(impact),
        np.zeros(N if terms.greedy else 0, np.int64),
    )
    weights = np.empty(N)
    aim(terms, rules, purse, row, bool(switched_rows(last, trading)[0]), new_desk(N), weights)
    return weights
