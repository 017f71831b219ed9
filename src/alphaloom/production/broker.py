"""The paper broker: an account that trades with the ledger's own arithmetic and whose whole state is its journal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alphaloom.market import Book, Market
from alphaloom.panel import Panel
from alphaloom.production.orders import Action, Order, Report, Statement

__all__ = ["PaperBroker"]


class PaperBroker:
    """An account at a broker that exists on paper.

    Make it with `open`. The first `trade` starts the account at the last bar of its panel, all cash, as row 0 of a
    back-test does; every later one plays the bars that it has not seen.
    """

    @classmethod
    def open(
        cls,
        path: Path,
        market: Market,
        *,
        cash: float = 1e6,
        participation: float = np.inf,
        periods_per_year: float | None = None,
    ) -> PaperBroker:
        """Begin an account, or go on with the one whose journal stands at `path`.

        `participation` caps each fill at that fraction of the bar's volume (infinity: never). `periods_per_year` turns
        yearly rates into rates per bar; the first panel's when it is not given, and then kept.
        Raises: DataError when the journal belongs to another market, cash or cap, is broken, or is held by a writer.
        """
        raise NotImplementedError

    @property
    def now(self) -> np.datetime64 | None:
        """The last bar that was played; None before the first."""
        raise NotImplementedError

    def submit(self, orders: Sequence[Order]) -> tuple[Report, ...]:
        """Take orders for the next fill; one that was taken before is not taken again, its report is returned."""
        raise NotImplementedError

    def cancel(self, client_ids: Sequence[str]) -> tuple[Report, ...]:
        """Take waiting orders back."""
        raise NotImplementedError

    def statement(self, since: np.datetime64 | None = None) -> Statement:
        """The account at the last bar, with the orders and actions from `since` on."""
        raise NotImplementedError

    def trade(self, panel: Panel) -> tuple[Report | Action, ...]:
        """Play every bar of the panel after the last one seen; what ended in them, in order."""
        raise NotImplementedError

    def book(self, panel: Panel) -> Book:
        """The book with its history, as the back-test's policy would see it at this bar; columns are the panel's."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the journal."""
        raise NotImplementedError
