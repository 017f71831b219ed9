"""A day as columns and counts: the book it was decided on, its orders, and what was odd about its data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.production.day_verdict import Ruling

__all__ = ["book_columns", "counts_of", "facts_text", "order_columns"]


def book_columns(view: Panel, book: Book, weights: NDArray[np.float64]) -> dict[str, Any]:
    """Each asset of the panel: what is held, today's close, the last known one, and the weight that was decided.

    Missing: a close that is not known today is NaN; weights of NaN hold what is held.
    """
    return {
        "asset": np.array(view.assets, dtype=object),
        "shares": np.array(book.shares),
        "close": np.asarray(view["close"][-1], dtype=np.float64),
        "mark": np.array(book.prices),
        "weight": np.asarray(weights, dtype=np.float64),
    }


def order_columns(view: Panel, book: Book, ruling: Ruling) -> dict[str, Any]:
    """Each order, sent or refused.

    Unit: `shares` and `price` are the panel's adjusted ones; `raw_shares` and `raw_price` those of the exchange, where
    the panel knows its adjustment; `value` is money and `weight` a fraction of equity, at the price of the decision.
    """
    place = {name: at for at, name in enumerate(view.assets)}
    refused = {one.order.client_id: f"{one.guard}: {one.reason}" for one in ruling.refused}
    orders = sorted((*ruling.allowed, *(one.order for one in ruling.refused)), key=lambda one: place[one.asset])
    at = np.array([place[one.asset] for one in orders], dtype=np.intp)
    shares, price = np.array([one.shares for one in orders], dtype=np.float64), book.prices[at]
    factor = _factors(view)[at]
    return {
        "client_id": np.array([one.client_id for one in orders], dtype=object),
        "asset": np.array([one.asset for one in orders], dtype=object),
        "shares": shares,
        "price": price,
        "raw_shares": shares * factor,
        "raw_price": price / factor,
        "value": shares * price,
        "weight": shares * price / float(book.history.equity[-1]),
        "refused": np.array([refused.get(one.client_id, "") for one in orders], dtype=object),
    }


def _factors(view: Panel) -> NDArray[np.float64]:
    """Adjusted price over raw price, the last one known; 1 where the panel does not say.   Shape: (N,)."""
    factor = np.full(view.shape[1], np.nan)
    if "adj_factor" in view.fields:
        grid = view["adj_factor"]
        for row in range(len(view) - 1, -1, -1):
            missing = np.isnan(factor)
            if not missing.any():
                break
            factor[missing] = np.asarray(grid[row], dtype=np.float64)[missing]
    return np.where(np.isnan(factor), 1.0, factor)


def counts_of(view: Panel, book: Book) -> dict[str, int]:
    """What a person should know about the day's data before believing in its orders."""
    priced = np.isfinite(view["close"][-1])
    held = book.shares != 0.0
    before = book.history.shares[-2] != 0.0 if len(book.history.times) > 1 else np.zeros_like(held)
    days = view.times[-2:].astype("datetime64[D]")
    gap = int(np.busday_count(days[0], days[1])) - 1 if len(view) > 1 and view.periods_per_year <= 262 else 0
    return {
        "assets": len(view.assets),
        "members": int(view.member[-1].sum()),
        "members_without_price": int((view.member[-1] & ~priced).sum()),
        "held": int(held.sum()),
        "held_without_price": int((held & ~priced).sum()),
        "delisted_holdings": int((before & ~view.listed[-1]).sum()),
        "weekdays_skipped": max(gap, 0),
    }


def facts_text(facts: Mapping[str, Any]) -> bytes:
    """The file of a day: the same facts give the same bytes."""
    return (json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
