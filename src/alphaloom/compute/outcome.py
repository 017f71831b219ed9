"""What became of one item: its result or its error, in a form that travels between processes."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alphaloom.errors import AlphaloomError, ConfigError, Fault

__all__ = ["Outcome", "WorkerError", "attempt", "check_counts", "failed", "lost", "untravelled"]


class WorkerError(AlphaloomError):
    """A worker could not do its work: it was killed again and again, or could not take the work in."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of an item, or the error that it ended with and the place in the worker where it did."""

    result: Any = None
    error: BaseException | None = None
    trace: str = ""

    def value(self) -> Any:
        """The result.   Raises: the error of the work, of the type that it had in the worker."""
        if self.error is None:
            return self.result
        if self.trace:
            self.error.add_note(f"in the worker:\n{self.trace}")
        raise self.error


def attempt(work: Callable[[Any], Any], item: Any) -> Outcome:
    """Do the work on one item and keep whatever comes of it."""
    try:
        return Outcome(work(item))
    except BaseException as error:  # what would end a local loop must end the caller's loop, not the worker
        return failed(error)


def failed(error: BaseException) -> Outcome:
    """The outcome of an item whose work raised; an error that could not be read at home is replaced by one that can."""
    import cloudpickle

    trace = "".join(traceback.format_exception(error)).rstrip()
    told = error.with_traceback(None)
    try:
        cloudpickle.loads(cloudpickle.dumps(told))
    except BaseException as fault:
        return Outcome(error=untravelled(f"{type(told).__name__}, {fault}"), trace=trace)
    return Outcome(error=told, trace=trace)


def untravelled(found: str) -> WorkerError:
    """The error of something that could not be sent to a worker or home from it."""
    return WorkerError(
        "work, items, results and errors must be able to travel between processes",
        found=found,
        where="map",
        fix="make them of plain values, arrays and classes that every worker can import",
    )


def lost(number: int, *, found: str, attempts: int) -> Outcome:
    """The outcome of an item whose workers ended before it was done, as often as it may be tried."""
    times = "once" if attempts == 1 else f"in each of {attempts} attempts"
    return Outcome(
        error=WorkerError(
            "a worker must live until its item is done",
            found=f"{found}, {times}",
            where=f"item {number}",
            fix="a worker that is killed most often lacked memory: use fewer workers or smaller items",
        )
    )


def check_counts(place: str, **counts: int) -> None:
    """Counts of an executor are at least one.   Raises: ConfigError naming those that are not."""
    faults = [Fault(name, "is at least 1", value) for name, value in counts.items() if value < 1]
    if faults:
        raise ConfigError(place, faults)
