"""The paper broker: an account that trades with the ledger's own arithmetic and whose whole state is its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import Standing, resume
from alphaloom.errors import DataError
from alphaloom.market import Book, History, Market
from alphaloom.panel import Panel
from alphaloom.production.account import Account
from alphaloom.production.adjusting import Marks, columns_for, marks_at, rebasing, row_of_now
from alphaloom.production.bars import bar_bodies
from alphaloom.production.journal import Journal
from alphaloom.production.orders import WAITING, Action, Order, Report, Statement, day_text
from alphaloom.production.terms import check_terms, opening_terms

__all__ = ["PaperBroker"]

Floats = NDArray[np.float64]
Entry = tuple[str, Mapping[str, Any]]


class PaperBroker:
    """An account at a broker that exists on paper.

    Make it with `open`. The first `trade` starts the account at the last bar of its panel, all cash, as row 0 of a
    back-test does; every later one plays the bars that it has not seen. Each call that changes the account writes its
    journal first, so that a broker that was killed goes on from there, as if nothing had happened.
    """

    def __init__(self, journal: Journal, account: Account, *, market: Market, participation: float) -> None:
        self._journal = journal
        self._account = account
        self._market = market
        self._participation = participation
        self._seen: tuple[Marks, dict[str, int]] | None = None  # the last bar's prices, and where each asset stands

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
        terms = opening_terms(market, cash=cash, participation=participation, periods_per_year=periods_per_year)
        journal = Journal(Path(path))
        try:
            if not len(journal):
                journal.append("open", terms)
            account = Account()
            for record in journal.iterate():
                account.apply(record.kind, record.body)
            check_terms(account.terms, terms, where=str(path))
        except BaseException:
            journal.close()
            raise
        return cls(journal, account, market=market, participation=participation)

    @property
    def now(self) -> np.datetime64 | None:
        """The last bar that was played; None before the first."""
        return self._account.now

    @property
    def head(self) -> str:
        """The hash that stands for the whole journal."""
        return self._journal.head

    def submit(self, orders: Sequence[Order]) -> tuple[Report, ...]:
        """Take orders for the next fill; one that was taken before is not taken again, its report is returned.

        Raises: DataError for an order decided on a bar that was not played yet, and for a client id that is used for
        another order.
        """
        entries: list[Entry] = []
        busy = set(self._account.waiting)
        fresh: set[str] = set()
        for order in orders:
            known = self._account.orders.get(order.client_id)
            if known is not None or order.client_id in fresh:
                _check_same(order, known.order if known else next(o for o in orders if o.client_id == order.client_id))
                continue
            fresh.add(order.client_id)
            status = self._verdict(order, busy)
            if status == WAITING:
                busy.add(order.asset)
            entries.append(("order", {**order.body(), "status": status, **self._facts(order.asset)}))
        self._write(entries)
        return tuple(self._account.orders[order.client_id] for order in orders)

    def _verdict(self, order: Order, busy: set[str]) -> str:
        """Whether an order may wait, or why not."""
        account, now = self._account, self._account.now
        if now is None or order.decided > now or self._seen is None:
            raise DataError(
                "a broker takes orders that were decided on a bar that it has played, and when it knows the prices",
                found=f"decided on {day_text(order.decided)}, played to {self._played()}",
                where=f"order for {order.asset}",
                fix="call trade(panel) first",
            )
        held = account.held[order.asset][0] if order.asset in account.held else 0.0
        # A hair of tolerance: selling all that is held may be a rounding error more than is held.
        missing = -((held or 0.0) + order.shares) > 1e-9 * abs(order.shares)
        faults = {
            "unknown": order.asset not in account.assets,
            "late": order.decided < now,
            "bankrupt": account.dead,
            "empty": order.shares == 0.0,
            "short": order.shares < 0.0 and missing and not self._market.short,
            "second": order.asset in busy,
        }
        return next((word for word, broken in faults.items() if broken), WAITING)

    def _played(self) -> str:
        return "nothing" if self._account.now is None else day_text(self._account.now)

    def _facts(self, asset: str) -> dict[str, float | None]:
        """The price and the factor of an asset at the last bar, which a later panel is compared with."""
        marks, place = self._seen or (None, {})
        price, factor = marks.facts(place[asset]) if marks is not None and asset in place else (None, None)
        return {"price": price, "factor": factor}

    def _see(self, panel: Panel, row: int) -> Marks:
        marks = marks_at(panel, row)
        self._seen = marks, {name: at for at, name in enumerate(panel.assets)}
        return marks

    def cancel(self, client_ids: Sequence[str]) -> tuple[Report, ...]:
        """Take waiting orders back; an order that has ended stays as it ended, and an unknown one is left out."""
        known = [name for name in dict.fromkeys(client_ids) if name in self._account.orders]
        waiting = [name for name in known if not self._account.orders[name].closed]
        self._write([("cancel", {"client_id": name}) for name in waiting])
        return tuple(self._account.orders[name] for name in known)

    def statement(self, since: np.datetime64 | None = None) -> Statement:
        """The account at the last bar, with the orders and actions from `since` on."""
        account = self._account
        positions = {asset: float(facts[0] or 0.0) for asset, facts in account.held.items() if facts[0]}
        reports = tuple(r for r in account.orders.values() if since is None or r.order.decided >= since)
        actions = tuple(action for action in account.actions if since is None or action.time >= since)
        known = sum(report.status != "late" for report in account.orders.values())
        earlier = known - sum(report.status != "late" for report in reports)
        cash = account.cash[-1] if account.times else account.terms["cash"]
        return Statement(account.now, cash, positions, reports, actions, earlier)

    def trade(self, panel: Panel) -> tuple[Report | Action, ...]:
        """Play every bar of the panel after the last one seen; what ended in them, in order.

        Time: orders meet the first of these bars and lapse if it does not fill them. A panel that ends at or before
        the last bar seen plays nothing.
        A panel whose prices were adjusted anew (its `adj_factor` at the last bar seen differs from the one that was
        seen) re-bases the shares of every holding, order and past close, so that shares / factor stays what it was.
        Raises: DataError when the panel lacks a bar that was played, lacks an asset that is held, or gives another
        price for it at the last bar seen without a factor that says why.
        """
        account = self._account
        seen = len(account.actions)
        if account.now is None:
            self._begin(panel)
            return ()
        row = row_of_now(account, panel)
        if row < 0:
            return ()
        body = rebasing(account, panel, row, marks=self._see(panel, row))
        if body is not None:
            self._write([("rebase", body)])
        waited = [name for name, _ in account.waiting.values()]
        if row < len(panel) - 1:
            self._play(panel, row)
        ended = (account.orders[name] for name in waited if account.orders[name].closed)
        return (*account.actions[seen:], *ended)

    def _begin(self, panel: Panel) -> None:
        """Start the account at the close of the panel's last bar."""
        account, row, N = self._account, len(panel) - 1, panel.shape[1]
        given = account.terms["periods_per_year"]
        rate = panel.periods_per_year if given is None else given
        standing = Standing(account.terms["cash"], np.zeros(N), np.zeros(N))
        passage = resume(standing, panel, self._market, start=row, periods_per_year=rate)
        self._write([("bar", body) for body in bar_bodies(account, panel, passage, start=row, rate=rate)])
        self._see(panel, row)

    def _play(self, panel: Panel, row: int) -> None:
        """Live through the bars after a row and write each of them down."""
        account, N = self._account, panel.shape[1]
        place = columns_for(account, panel)
        shares, waiting = np.zeros(N), np.zeros(N)
        for asset, facts in account.held.items():
            if facts[0]:
                shares[place[asset]] = facts[0]
        for asset, (_, wished) in account.waiting.items():
            if asset in place:
                waiting[place[asset]] = wished
        passage = resume(
            Standing(account.cash[-1], shares, waiting, account.dead),
            panel,
            self._market,
            start=row,
            periods_per_year=account.periods_per_year,
            most=self._most(panel, row + 1),
        )
        bodies = bar_bodies(account, panel, passage, start=row, rate=account.periods_per_year)
        self._write([("bar", body) for body in bodies])
        self._see(panel, len(panel) - 1)

    def _most(self, panel: Panel, row: int) -> Floats | None:
        """The largest fill of each asset on a bar, None without a cap."""
        if np.isinf(self._participation):
            return None
        volume = np.asarray(panel["volume"][row], dtype=np.float64)
        return np.where(volume > 0.0, self._participation * volume, 0.0)

    def book(self, panel: Panel) -> Book:
        """The book with its history, as the back-test's policy would see it at this bar; columns are the panel's.

        Time: the panel's last bar is any bar that was played; the history ends there.
        Raises: DataError for a panel that ends on another bar, or lacks an asset that is held.
        """
        account = self._account
        K = int(np.searchsorted(np.array(account.times, dtype="datetime64[ns]"), panel.times[-1], side="right"))
        if K == 0 or account.times[K - 1] != panel.times[-1]:
            raise DataError(
                "a book is asked for at a bar that was played",
                found=f"{day_text(panel.times[-1])}, played to {self._played()}",
                where="panel.times",
                fix="call trade(panel) first",
            )
        row_of_now(account, panel)
        shares = read_only(self._columns(panel)[:K])
        equity = read_only(np.array(account.equity[:K]))
        history = History(read_only(np.array(account.times[:K])), equity, shares)
        prices = read_only(marks_at(panel, len(panel) - 1).prices)
        return Book(panel.times[-1], account.cash[K - 1], shares[-1], prices, history)

    def _columns(self, panel: Panel) -> Floats:
        """Shares at each close in the panel's columns.   Shape: (K, N)."""
        account = self._account
        place = columns_for(account, panel)
        if list(panel.assets) == account.assets:
            return account.shares
        shares = np.zeros((len(account.times), panel.shape[1]))
        for at, asset in enumerate(account.assets):
            if asset in place:
                shares[:, place[asset]] = account.shares[:, at]
        return shares

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def __enter__(self) -> PaperBroker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, entries: Sequence[Entry]) -> None:
        """First to the disk, then to the account."""
        for record in self._journal.extend(entries):
            self._account.apply(record.kind, record.body)


def _check_same(order: Order, known: Order) -> None:
    if order != known:
        raise DataError(
            "a client id names one order",
            found=f"{order.shares:g} {order.asset}, known as {known.shares:g} {known.asset}",
            where=f"client id {order.client_id}",
            fix="a decision that is made again from the same panel and book gives the same order",
        )


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view
