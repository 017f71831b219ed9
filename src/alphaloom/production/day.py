"""One production day: what a study's model says tonight, what to order, and a folder that anyone can make again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphaloom.backtest import order_shares
from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.production.broker import PaperBroker
from alphaloom.production.day_account import check_order_of_days, idle_book, remembered
from alphaloom.production.day_files import FACTS, day_name, read_files, refuse_change, write_files
from alphaloom.production.day_models import Model, Models, Past
from alphaloom.production.day_panel import Reading, row_of
from alphaloom.production.day_signal import SIGNAL, SignalHistory
from alphaloom.production.day_tables import book_columns, counts_of, facts_text, order_columns
from alphaloom.production.day_verdict import Refused, Ruling, decide, ruled
from alphaloom.production.guards import Guards
from alphaloom.production.orders import Order, Report, order_list
from alphaloom.production.reconcile import Desk, Reconciliation
from alphaloom.roles import Learner
from alphaloom.signal import Signal
from alphaloom.study import Study, load_run
from alphaloom.study.serving import fingerprint, fold_of, parquet_bytes, signal_columns

__all__ = ["DailyRun", "Day", "run_day"]

_UNGUARDED = Guards(price_today=False)
BOOK, ORDERS = "book.parquet", "orders.parquet"


@dataclass(frozen=True, eq=False)
class Day:
    """What a day came to; everything but `repeated`, `heard` and `agreed` stands in its folder.

    `repeated` is True when the day had been run before and gave the same bytes again. `heard` are the broker's reports
    on orders that ended, `agreed` the reconciliation with it (None without a broker).
    """

    time: np.datetime64
    folder: Path
    repeated: bool
    orders: tuple[Order, ...]
    refused: tuple[Refused, ...]
    stopped: str
    book: Book
    facts: Mapping[str, Any]
    heard: tuple[Report, ...] = ()
    agreed: Reconciliation | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        """What was counted: assets, views, missing prices, delistings, orders, refusals, fallbacks of the policy."""
        counts: Mapping[str, int] = self.facts["counts"]
        return counts


class DailyRun:
    """A finished run that goes on day by day: its study, its models and its signal.

    Make it with `open`. It keeps models and signal rows at hand, so that many days are run faster in one object.
    """

    def __init__(self, path: Path, study: Study, provenance: Mapping[str, Any], *, config: bytes) -> None:
        self.path = path
        self.study = study
        self.provenance = provenance
        self.key = hashlib.sha256(f"{provenance['study_hash']}:{provenance['data_hash']}".encode()).hexdigest()
        self.config_hash = hashlib.sha256(config).hexdigest()
        self.models = Models(study, path / "models", self.key)
        last = np.datetime64(provenance["last"], "ns")
        self.signal = SignalHistory(path, study.plan.start, last)
        self.reading = Reading()

    @classmethod
    def open(cls, path: Path, study: Study) -> DailyRun:
        """Take a finished run and the study that it was made with.

        Raises: DataError for a run that is not finished or was changed, or that another study made.
        """
        result = load_run(path)
        made, given = str(result.provenance["study_hash"]), fingerprint(study)
        if made != given:
            raise DataError(
                "a run goes on with the study that made it",
                found=f"study {given[:16]}, the run was made by {made[:16]}",
                where=str(path),
                fix="the configuration, a formula file or alphaloom itself changed: run the study again",
            )
        return cls(path, study, result.provenance, config=(path / "study.toml").read_bytes())

    def folder(self, time: np.datetime64, *, traded: bool) -> Path:
        """Where a day stands: `days` for those that a broker traded, `previews` for those without one."""
        name = day_name(time, float(self.provenance["periods_per_year"]))
        return self.path / ("days" if traded else "previews") / name

    def check_past(self, panel: Panel, row: int) -> None:
        """The panel begins with the bars that the study read, and `row` is none that only served to learn.

        Raises: DataError.
        """
        if row < self.study.plan.start:
            raise DataError(
                "a run speaks from its first test bar on",
                found=str(panel.times[row])[:10],
                where="date",
                fix=f"the first test bar is of {str(panel.times[min(self.study.plan.start, len(panel) - 1)])[:10]}",
            )
        bars = int(self.provenance["bars"])
        ends = [(0, "first"), (bars - 1, "last")] if len(panel) >= bars else [(0, "first")]
        for at, word in ends:
            given = str(panel.times[at])[:19]
            if given != self.provenance[word]:
                raise DataError(
                    "a run goes on with the bars that its study read",
                    found=f"row {at} is of {given}, the study's {word} bar is of {self.provenance[word]}",
                    where="the data",
                    fix="name the store that the study read, or run the study again",
                )


def run_day(
    run: DailyRun,
    panel: Panel,
    when: str | np.datetime64 | None = None,
    *,
    account: tuple[PaperBroker, Desk] | None = None,
    guards: Guards | None = None,
    past: Past | None = None,
    today: np.datetime64 | None = None,
) -> Day:
    """Run one day: play the broker up to it, predict, decide, size, guard, store the day, and send its orders.

    `when` is a bar of the panel, the last one without it; later rows are not read. `past` gives the panel as it was
    known at an earlier bar, for a model that has to be learned; by default rows of this panel. A day that was run
    before is made again and compared to the byte, and its orders are offered to the broker again, who takes none twice.
    Without guards every order is sent, as in a back-test.
    Without an account the book is all cash and nothing is sent. `today` is what the guards hold the last bar against.
    Raises: DataError for a day that is no bar, out of order, or not what it was when it was run before.
    """
    row = row_of(panel, when)
    run.check_past(panel, row)
    view, time = panel[: row + 1], panel.times[row]
    _check_prices(view)
    folder = run.folder(time, traded=account is not None)
    kept = read_files(folder)
    if account is not None:
        check_order_of_days(account[0].now, view, known=kept is not None)
    # The account moves last: what goes wrong before that leaves it where it was.
    voice = _spoken(run, panel, row, past=past or (lambda at: panel[: row_of(panel, at) + 1]))
    heard = _played(view, account)
    book = _book(run, view, account, kept=kept)
    made = _decided(run, view, book, voice=voice)
    wishes = _sized(run, view, book, weights=made.weights)
    ruling = ruled(wishes, book, view, guards=guards or _UNGUARDED, today=today, kept=kept)
    files = _files(run, view, book, made=made, ruling=ruling, traded=account is not None)
    if kept is None:
        write_files(folder, files)
    else:
        refuse_change(folder, kept, files)
    agreed = _sent(account, ruling, view) if account is not None else None
    ended = tuple(message for message in heard if isinstance(message, Report))
    facts = json.loads(files[FACTS])
    return Day(
        time, folder, kept is not None, ruling.allowed, ruling.refused, ruling.stopped, book, facts, ended, agreed
    )


def _check_prices(view: Panel) -> None:
    if not np.isfinite(view["close"][-1]).any():
        raise DataError(
            "a day is run once its closes are known",
            found="no asset has a close",
            where=str(view.times[-1])[:10],
            fix="import the day's prices, or run the bar before it",
        )


def _played(view: Panel, account: tuple[PaperBroker, Desk] | None) -> tuple[Any, ...]:
    """Let the broker live through the bars up to today; what it says about them."""
    if account is None:
        return ()
    broker, desk = account
    if broker.now is not None and view.times[-1] < broker.now:
        return ()
    heard = broker.trade(view)
    desk.hear(heard)
    return tuple(heard)


def _book(
    run: DailyRun, view: Panel, account: tuple[PaperBroker, Desk] | None, *, kept: Mapping[str, bytes] | None
) -> Book:
    if account is None:
        return idle_book(view, run.study.cash)
    book = account[0].book(view)
    # An account that was re-based since holds the same wealth in other units: a day is made again with its own.
    return book if kept is None else remembered(book, kept)


@dataclass(frozen=True, eq=False)
class _Made:
    """Today's weights and where they come from."""

    weights: Any
    signal: bytes | None
    model: str
    data: Mapping[str, str]
    fold: int
    counts: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Voice:
    """The model of today's fold, the signal up to today where there is one, and hashes of the data behind them."""

    model: Model
    signal: Signal | None
    data: Mapping[str, str]


def _spoken(run: DailyRun, panel: Panel, row: int, *, past: Past) -> _Voice:
    model, data = run.models.at(panel, row, past), run.reading.at(panel, row)
    if run.study.allocator is None:
        return _Voice(model, None, data)
    signal = run.signal.whole(
        panel,
        row,
        model=lambda at: run.models.at(panel, at, past),
        folder=lambda time: run.folder(time, traded=True),
    )
    return _Voice(model, signal, data)


def _decided(run: DailyRun, view: Panel, book: Book, *, voice: _Voice) -> _Made:
    """Ask today's policy."""
    model, signal = voice.model, voice.signal
    decision = decide(run.study, model, view, book=book, signal=signal)
    stored = None if signal is None else parquet_bytes(signal_columns(signal[len(signal.times) - 1 :]))
    counts = {f"policy.{name}": number for name, number in decision.counts.items()}
    counts["views"] = 0 if signal is None else int(np.isfinite(signal.values[-1]).sum())
    counts["unstored_models"] = int(isinstance(run.study.learner, Learner) and not model.stored)
    fold, _ = fold_of(run.study.plan, len(view) - 1)
    notes = (*model.notes, *decision.notes)
    return _Made(decision.weights, stored, model.hash, voice.data, fold, counts, notes)


def _sized(run: DailyRun, view: Panel, book: Book, *, weights: Any) -> tuple[Order, ...]:
    shares = order_shares(weights, book, view, run.study.market)
    return order_list(run.key, view.times[-1], assets=view.assets, shares=shares)


def _files(run: DailyRun, view: Panel, book: Book, *, made: _Made, ruling: Ruling, traded: bool) -> dict[str, bytes]:
    """Every file of a day, as bytes; `day.json` seals the others with their hashes."""
    files = {BOOK: parquet_bytes(book_columns(view, book, made.weights))}
    files[ORDERS] = parquet_bytes(order_columns(view, book, ruling))
    if made.signal is not None:
        files[SIGNAL] = made.signal
    counts = {**counts_of(view, book), **made.counts} | {"orders": len(ruling.allowed), "refused": len(ruling.refused)}
    facts = {
        "time": str(view.times[-1]),
        "row": len(view) - 1,
        "fold": made.fold,
        "run": run.key,
        "config": run.config_hash,
        "model": made.model,
        "data": dict(made.data),
        "broker": "paper" if traded else "none",
        "book": {"cash": book.cash, "equity": float(book.history.equity[-1]), "bars": len(book.history.times)},
        "counts": counts,
        "notes": list(dict.fromkeys(made.notes)),
        **ruling.facts,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    }
    files[FACTS] = facts_text(facts)
    return files


def _sent(account: tuple[PaperBroker, Desk], ruling: Ruling, view: Panel) -> Reconciliation:
    """Tell the desk what is meant, send it, and ask whether the broker agrees; nothing is sent for a day in the past.

    Orders that a killed day left unsent wait for the broker's own bar: before it a broker in a new process has not
    been shown the prices that it takes orders at.
    """
    broker, desk = account
    present = broker.now == view.times[-1]
    if present:
        desk.intend(ruling.allowed)
        desk.refuse([one.order for one in ruling.refused], [f"{one.guard}: {one.reason}" for one in ruling.refused])
        desk.send(broker)
    return desk.reconcile(broker, resend=present)
