"""The daily job at the command line: which days, with which data, account and guards, and what a person sees of it."""

from __future__ import annotations

import math
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaloom.app.config import StudyConfig, nearest, parse_config
from alphaloom.app.daily_panels import open_panels
from alphaloom.app.runs import study_of
from alphaloom.app.sources import StoreView
from alphaloom.errors import ConfigError, DataError, Fault
from alphaloom.production import DailyRun, Day, Desk, Guards, PaperBroker, row_of, run_day
from alphaloom.study import load_run

if TYPE_CHECKING:
    from alphaloom.market import Market

__all__ = ["Span", "Timed", "day_facts", "read_guards", "run_days"]

_ACCOUNT = "account"


@dataclass(frozen=True)
class Span:
    """The days to run: one, or all bars from `first` to `last`; the last bar there is without either."""

    first: str | None = None
    last: str | None = None

    @classmethod
    def read(cls, day: str | None, first: str | None, last: str | None) -> Span:
        """The span that the options name.   Raises: ConfigError for a day beside a span."""
        if day is not None and (first is not None or last is not None):
            raise ConfigError("the command line", [Fault("--date", "names one day; --from and --to name several", day)])
        return cls(day, day) if day is not None else cls(first, last)


@dataclass(frozen=True, eq=False)
class Timed:
    """A day and the seconds that it took."""

    day: Day
    seconds: float


def run_days(
    directory: Path,
    span: Span,
    *,
    store: Path | None,
    traded: bool,
    guards: Guards | None,
    progress: Callable[[str, int, int], None],
) -> list[Timed]:
    """Run the days of a span one after another, on one account.

    Raises: DataError, ConfigError; what was done before stays done, and the same command goes on from there.
    """
    config, provenance = _study_config(directory)
    run = DailyRun.open(directory, study_of(config))
    progress("data", 0, 1)
    panels = open_panels(config.data, provenance, store)
    calendar = panels.calendar(span.last)
    progress("data", 1, 1)
    rows = _rows(calendar, span)
    # Only the newest day of real data has a today: a replay must not ask the clock how old its bars are.
    live = isinstance(config.data, StoreView) and span == Span()
    today = np.datetime64("now", "D") if live else None
    done: list[Timed] = []
    progress("days", 0, len(rows))
    with _account(directory, run.study.market, run.study.cash, traded=traded) as account:
        for row in rows:
            begun = time.perf_counter()
            when = calendar.times[row]
            day = run_day(run, panels.at(when), when, account=account, guards=guards, past=panels.at, today=today)
            done.append(Timed(day, time.perf_counter() - begun))
            progress("days", len(done), len(rows))
    return done


def _study_config(directory: Path) -> tuple[StudyConfig, Mapping[str, Any]]:
    """The configuration that a finished run was made with, and its provenance."""
    result = load_run(directory)
    where = directory / "study.toml"
    try:
        return parse_config(tomllib.loads(where.read_text(encoding="utf-8")), str(where)), result.provenance
    except ConfigError as fault:
        if "kind" in result.config.get("data", {}):
            raise
        raise DataError(
            "the daily job reads its study from the run's configuration",
            found="a study that was put together in Python",
            where=str(where),
            fix="call alphaloom.production.run_day with that study, or run it from a TOML file",
        ) from fault


def _rows(calendar: Any, span: Span) -> range:
    last = row_of(calendar, span.last)
    if span.first is None or span.first == span.last:
        return range(last, last + 1)
    first = row_of(calendar, span.first)
    if first > last:
        raise ConfigError("the command line", [Fault("--from", "lies before --to", f"{span.first} to {span.last}")])
    return range(first, last + 1)


@contextmanager
def _account(
    directory: Path, market: Market, cash: float, *, traded: bool
) -> Iterator[tuple[PaperBroker, Desk] | None]:
    """The paper account of a run and the desk that deals with it; None without a broker."""
    if not traded:
        yield None
        return
    broker = PaperBroker.open(directory / _ACCOUNT / "broker.jsonl", market, cash=cash)
    try:
        desk = Desk.open(directory / _ACCOUNT / "desk.jsonl")
        try:
            yield broker, desk
        finally:
            desk.close()
    finally:
        broker.close()


def read_guards(settings: Sequence[str]) -> Guards | None:
    """Guards from settings such as max_order=0.1,max_turnover=0.5; None without any.

    Raises: ConfigError with every fault.
    """
    if not settings:
        return None
    legal = {item.name: item for item in fields(Guards)}
    values: dict[str, Any] = {}
    faults = []
    for setting in (part for text in settings for part in text.split(",") if part):
        name, equals, text = setting.partition("=")
        if not equals or name not in legal:
            hint = nearest(name, list(legal)) or f"one of: {', '.join(legal)}"
            faults.append(Fault("--guards", "reads NAME=VALUE with the name of a guard", setting, hint))
            continue
        try:
            values[name] = _value(text, getattr(Guards, name))
        except ValueError:
            faults.append(Fault(f"--guards {name}", f"is a {type(getattr(Guards, name)).__name__}", text))
    if not faults:
        try:
            return Guards(**values)
        except DataError as fault:
            faults.append(Fault(f"--guards {fault.where.rpartition('.')[2]}", fault.rule, fault.found, fault.fix))
    raise ConfigError("the command line", faults)


def _value(text: str, like: object) -> Any:
    if isinstance(like, bool):
        if text not in ("true", "false"):
            raise ValueError(text)
        return text == "true"
    return float(text) if isinstance(like, float) else int(text) if isinstance(like, int) else text


def day_facts(timed: Timed) -> dict[str, Any]:
    """A day for programs: what its file says, its orders, and how long it took."""
    day = timed.day
    book, place = day.book, {name: at for at, name in enumerate(_assets(day))}
    refused = {one.order.client_id: f"{one.guard}: {one.reason}" for one in day.refused}
    orders = [
        {
            "client_id": one.client_id,
            "asset": one.asset,
            "shares": one.shares,
            "price": _finite(float(book.prices[place[one.asset]])),
            "refused": refused.get(one.client_id, ""),
        }
        for one in (*day.orders, *(one.order for one in day.refused))
    ]
    told = {"repeated": day.repeated, "folder": str(day.folder), "orders": orders, "seconds": round(timed.seconds, 3)}
    agreed = {} if day.agreed is None else {"reconciled": day.agreed.agreed}
    return {**day.facts, **told, **agreed}


def _assets(day: Day) -> list[str]:
    from alphaloom.study.serving import columns_of

    return [str(name) for name in columns_of((day.folder / "book.parquet").read_bytes())[0]["asset"]]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
