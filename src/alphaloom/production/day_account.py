"""The account side of a day: the order of days, a book without an account, and the book of a day in the past."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from alphaloom.errors import DataError
from alphaloom.market import Book, History
from alphaloom.panel import Panel, last_known
from alphaloom.production.day_files import FACTS
from alphaloom.study.serving import columns_of

__all__ = ["check_order_of_days", "idle_book", "remembered"]


def check_order_of_days(now: np.datetime64 | None, view: Panel, *, known: bool) -> None:
    """An account lives through every bar: today is the bar after the last one it saw, or one that was run.

    Raises: DataError naming the bars that were left out.
    """
    time = view.times[-1]
    if now is None or known:
        return
    if time < now:
        raise DataError(
            "an account's days are run in their order",
            found=f"{_day(time)} was not run, and the account stands at {_day(now)}",
            where="date",
            fix="a day that was left out cannot be decided afterwards; begin another account for another history",
        )
    at = int(np.searchsorted(view.times, now))
    between = view.times[at + 1 : -1]
    if at < len(view) and view.times[at] == now and len(between):
        raise DataError(
            "an account's days are run one after another",
            found=f"{len(between)} bars between {_day(now)} and {_day(time)} were not run",
            where="date",
            fix=f"--from {_day(between[0])} --to {_day(time)} runs them all",
        )


def idle_book(view: Panel, cash: float) -> Book:
    """A book that holds cash and nothing else."""
    N = view.shape[1]
    close = np.asarray(view["close"], dtype=np.float64)
    prices = last_known(np.where(close > 0.0, close, np.nan))[-1]
    nothing = np.zeros((1, N))
    history = History(view.times[-1:], np.array([cash]), nothing)
    return Book(view.times[-1], cash, nothing[0], prices, history)


def remembered(book: Book, kept: Mapping[str, bytes]) -> Book:
    """The book of a day that was run before, with the shares, prices and money that it was decided on.

    Missing: a day whose files cannot be read keeps the broker's book; its comparison will name what is wrong.
    """
    try:
        facts = json.loads(kept[FACTS])["book"]
        columns = columns_of(kept["book.parquet"])[0]
        cash, equity = float(facts["cash"]), float(facts["equity"])
        held, prices = columns["shares"], columns["mark"]
    except Exception as error:  # any damage is found by the comparison that follows
        del error
        return book
    if len(held) != len(book.shares) or not np.allclose(held, book.shares, rtol=1e-5, atol=0.0):
        return book
    past = book.history
    shares = np.concatenate([past.shares[:-1], held[None, :]])
    history = History(past.times, np.append(past.equity[:-1], equity), shares)
    return Book(book.now, cash, held, prices, history)


def _day(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, unit="D"))
