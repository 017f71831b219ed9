"""Reconciliation: what the desk intended and heard against what the broker says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from alphaloom.errors import DataError
from alphaloom.panel import Panel
from alphaloom.production.broker import PaperBroker
from alphaloom.production.desk_record import DeskRecord, action_body
from alphaloom.production.journal import Journal
from alphaloom.production.orders import Action, Broker, Order, Report, Statement, time_text

__all__ = ["Desk", "Reconciliation", "catch_up"]

_SAME = 1e-9  # of the larger position; far below a share, far above the rounding of a long sum
Entry = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Reconciliation:
    """What one pass found; client ids, and for positions a sentence each.

    `resent` were intended and unknown to the broker; `adopted` ended without our hearing of it; `retracted` we had
    heard of and the broker takes back; `lapsed` came too late to be sent again; `ahead` belong to bars that the broker,
    restored from an older copy, has still to play again; `foreign` are orders and `positions` holdings that this desk
    never ordered; `silent` says why the broker gave no answer. `agreed`: both sides now say the same about every order
    and every position up to the bar where the broker stands.
    """

    agreed: bool
    resent: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    retracted: tuple[str, ...] = ()
    lapsed: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    silent: str = ""


@dataclass(eq=False)
class _Findings:
    """What a pass has found so far, and what it will write down."""

    entries: list[Entry] = field(default_factory=list)
    resend: list[Order] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    retracted: list[str] = field(default_factory=list)
    lapsed: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    ahead: list[str] = field(default_factory=list)

    def after(self, first: _Findings) -> _Findings:
        """These findings and what a narrower comparison adopted or gave up before them."""
        for name in ("adopted", "retracted", "lapsed"):
            getattr(self, name)[:0] = getattr(first, name)
        return self


class Desk:
    """What we intended and what we heard, in a journal of our own; intentions are written before they are sent.

    An order is known by its client id alone. Numbers that a broker gives out may start again after it was restored
    from an older copy, so nothing here depends on them.
    """

    def __init__(self, journal: Journal, record: DeskRecord) -> None:
        self._journal = journal
        self._record = record

    @classmethod
    def open(cls, path: Path) -> Desk:
        """Begin a desk, or go on with the one whose journal stands at `path`."""
        journal, record = Journal(Path(path)), DeskRecord()
        for line in journal.iterate():
            record.apply(line.kind, line.body)
        return cls(journal, record)

    @property
    def head(self) -> str:
        """The hash that stands for the whole journal."""
        return self._journal.head

    @property
    def orders(self) -> tuple[Order, ...]:
        """Every order that was intended, in the order of intending."""
        return tuple(self._record.orders.values())

    @property
    def begun(self) -> np.datetime64 | None:
        """The first bar at which desk and broker said the same."""
        return self._record.begun

    def intend(self, orders: Sequence[Order]) -> None:
        """Write down orders that are about to be sent; those already written are left alone.

        Raises: DataError when a client id is known for another order.
        """
        known = self._record.orders
        for order in orders:
            if known.get(order.client_id, order) != order:
                raise DataError(
                    "a client id names one order",
                    found=f"{order.shares!r} {order.asset}, intended as {known[order.client_id].shares!r}",
                    where=f"client id {order.client_id}",
                    fix="a decision that is made again from the same panel and book gives the same order",
                )
        fresh = {order.client_id: order for order in orders if order.client_id not in known}
        self._write([("intend", order.body()) for order in fresh.values()])

    def refuse(self, orders: Sequence[Order], reasons: Sequence[str]) -> None:
        """Write down orders that a guard stopped, with the reason of each."""
        fresh = [(o, why) for o, why in zip(orders, reasons, strict=True) if o.client_id not in self._record.refused]
        self._write([("refuse", {**order.body(), "reason": reason}) for order, reason in fresh])

    def send(self, broker: Broker) -> tuple[Report, ...]:
        """Submit every intended order that has not been answered; a broker that is silent is left to reconcile()."""
        answered = self._record.heard
        return self._submit(broker, [order for name, order in self._record.orders.items() if name not in answered])[0]

    def _submit(self, broker: Broker, orders: Sequence[Order]) -> tuple[tuple[Report, ...], str]:
        if not orders:
            return (), ""
        try:
            answers = tuple(broker.submit(orders))
        except (TimeoutError, ConnectionError) as error:
            return (), f"{type(error).__name__}: {error}"
        self.hear(answers)
        return answers, ""

    def hear(self, messages: Iterable[Report | Action]) -> None:
        """Take in what the broker says, in any order and any number of times.

        A message that is known, or older than what is known, changes nothing; one about an order that nobody here
        intended is left to reconcile(), which flags it.
        """
        entries: dict[str, Entry] = {}
        for message in messages:
            if isinstance(message, Action):
                if message not in self._record.actions:
                    entries[repr(message)] = ("act", action_body(message))
                continue
            name = message.order.client_id
            known = self._record.heard.get(name)
            said = entries[name][1]["outcome"]["status"] if name in entries else None
            news = known is None or (not known.closed and message.closed)
            if self._record.orders.get(name) == message.order and news and (said is None or message.closed):
                entries[name] = _heard(message)
        self._write(list(entries.values()))

    def report(self, client_id: str) -> Report | None:
        """The last that was heard about an order; None for one that nobody intended or answered."""
        return self._record.heard.get(client_id)

    def positions(self) -> dict[str, float]:
        """Shares of each asset by what was heard."""
        return self._record.positions()

    def reconcile(self, broker: Broker, *, resend: bool = True) -> Reconciliation:
        """One pass: ask for a statement, adopt what we did not hear, resend what the broker does not know.

        Without `resend` such orders are only told: the two sides do not agree until they are sent.
        """
        try:
            statement, found = self._compare(broker, self._record.agreed)
        except (TimeoutError, ConnectionError) as error:
            return Reconciliation(False, silent=f"{type(error).__name__}: {error}")
        positions = _differences(self._record.positions(), statement.positions)
        self._flag(positions, found.foreign)
        answers, silent = self._submit(broker, found.resend if resend else ())
        answered = {report.order.client_id for report in answers}
        settled = not (found.foreign or positions or silent)
        agreed = settled and all(order.client_id in answered for order in found.resend)
        if agreed and statement.now is not None and self._record.agreed != statement.now:
            self._write([("agree", {"time": time_text(statement.now)})])
        return Reconciliation(
            agreed,
            resent=tuple(order.client_id for order in found.resend),
            adopted=tuple(found.adopted),
            retracted=tuple(found.retracted),
            lapsed=tuple(found.lapsed),
            ahead=tuple(found.ahead),
            foreign=tuple(found.foreign),
            positions=positions,
            silent=silent,
        )

    def accept(self, broker: Broker, reason: str) -> None:
        """Take the broker's account as it is, orders and holdings that nobody here ordered included, for a reason."""
        statement = broker.statement()
        strange = [report for report in statement.reports if report.order.client_id not in self._record.orders]
        self._write([("intend", report.order.body()) for report in strange])
        self._write([_heard(report) for report in strange])
        ours, time = self._record.positions(), statement.now
        for asset in sorted({*ours, *statement.positions}):
            gap = statement.positions.get(asset, 0.0) - ours.get(asset, 0.0)
            if time is not None and not _near(gap, 0.0, of=ours.get(asset, 0.0)):
                body = {"time": time_text(time), "asset": asset, "shares": gap, "reason": reason}
                self._write([("accept", body)])

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def __enter__(self) -> Desk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _compare(self, broker: Broker, since: np.datetime64 | None) -> tuple[Statement, _Findings]:
        """Take the broker's word, from the last bar that both sides agreed on.

        A broker that went back before that bar, forgot an order of an earlier one or holds something else by now is
        asked for everything.
        """
        statement = broker.statement(since)
        behind = statement.now is None or (since is not None and statement.now < since)
        if since is not None and (behind or statement.earlier != self._earlier(since)):
            return self._compare(broker, None)
        found = _Findings()
        self._compare_reports(statement, found)
        self._compare_missing(statement, since, found)
        self._compare_actions(statement, since, found)
        self._write(found.entries)
        if since is not None and _differences(self._record.positions(), statement.positions):
            whole, rest = self._compare(broker, None)
            return whole, rest.after(found)
        return statement, found

    def _earlier(self, since: np.datetime64) -> int:
        heard = self._record.heard.values()
        return sum(bool(report.order.decided < since) for report in heard if report.status != "late")

    def _compare_reports(self, statement: Statement, found: _Findings) -> None:
        """Take the broker's word on every order that it knows."""
        for report in statement.reports:
            name, known = report.order.client_id, self._record.heard.get(report.order.client_id)
            if self._record.orders.get(name) != report.order:
                found.foreign.append(name)
            elif known != report:
                found.entries.append(_heard(report))
                if report.closed:
                    found.adopted.append(name)
                if known is not None and known.closed:
                    found.retracted.append(name)

    def _compare_missing(self, statement: Statement, since: np.datetime64 | None, found: _Findings) -> None:
        """Resend what the broker does not know and can still take; let the rest lapse."""
        theirs = {report.order.client_id for report in statement.reports}
        for name, order in self._record.orders.items():
            if name in theirs or (since is not None and order.decided < since):
                continue
            known = self._record.heard.get(name)
            if known == Report(order, "late"):
                continue
            if known is not None:
                found.entries.append(("forget", {"client_id": name}))
                found.retracted.append(name)
            if statement.now is None or order.decided > statement.now:
                found.ahead.append(name)
            elif order.decided == statement.now:
                found.resend.append(order)
            else:
                found.entries.append(_heard(Report(order, "late")))
                found.lapsed.append(name)

    def _compare_actions(self, statement: Statement, since: np.datetime64 | None, found: _Findings) -> None:
        """Take the broker's word on what happened to holdings."""
        ours = {action for action in self._record.actions if since is None or action.time >= since}
        theirs = set(statement.actions)
        found.entries.extend(("undo", action_body(action)) for action in sorted(ours - theirs, key=_place))
        found.entries.extend(("act", action_body(action)) for action in sorted(theirs - ours, key=_place))

    def _flag(self, positions: Sequence[str], foreign: Sequence[str]) -> None:
        """Write down what nobody here ordered, once."""
        texts = [*positions, *(f"order {name} was not given by this desk" for name in foreign)]
        self._write([("flag", {"text": text}) for text in texts if text not in self._record.flags])

    def _write(self, entries: Sequence[Entry]) -> None:
        """First to the disk, then to the record."""
        for line in self._journal.extend(entries):
            self._record.apply(line.kind, line.body)


def catch_up(desk: Desk, broker: PaperBroker, panel: Panel) -> tuple[Reconciliation, ...]:
    """Bring a paper broker to the last bar of a panel, bar by bar, and reconcile after each of them.

    A broker that was restored from an older copy, however old, is told its orders again before each bar that it plays
    again, so it ends where it was.
    """
    now = desk.begun if broker.now is None else broker.now
    first = len(panel) - 1 if now is None else int(np.searchsorted(panel.times, now))
    passes = []
    for row in range(min(first, len(panel) - 1), len(panel)):
        desk.hear(broker.trade(panel[: row + 1]))
        passes.append(desk.reconcile(broker))
        if not passes[-1].agreed:
            passes.append(desk.reconcile(broker))
    return tuple(passes)


def _place(action: Action) -> tuple[np.datetime64, str, float]:
    return action.time, action.asset, action.factor


def _heard(report: Report) -> Entry:
    return "hear", {"client_id": report.order.client_id, "outcome": report.outcome()}


def _near(one: float, other: float, *, of: float = 0.0) -> bool:
    return abs(one - other) <= _SAME * max(abs(one), abs(other), abs(of), 1.0)


def _differences(ours: Mapping[str, float], theirs: Mapping[str, float]) -> tuple[str, ...]:
    """A sentence for each asset on which the two sides differ."""
    names = sorted({*ours, *theirs})
    pairs = ((name, ours.get(name, 0.0), theirs.get(name, 0.0)) for name in names)
    return tuple(
        f"{name}: the broker holds {held:.10g}, the orders come to {due:.10g}"
        for name, due, held in pairs
        if not _near(due, held)
    )
