"""Work spread over processes of this machine that share big arrays."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from alphaloom.compute.outcome import WorkerError, check_counts

if TYPE_CHECKING:
    from alphaloom.compute.crew import Crew

__all__ = ["Processes", "processes"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Processes:
    """Maps in worker processes; make it with `processes`.

    Inside `with processes(4) as executor:` the workers, and the arrays that they share, are kept from map to map;
    outside, every map starts workers of its own and ends them.
    """

    def __init__(self, count: int, *, threads: int, attempts: int, ahead: int) -> None:
        self.count = count
        self.threads = threads
        self.attempts = attempts
        self.ahead = ahead
        self._crew: Crew | None = None

    def __repr__(self) -> str:
        return f"processes({self.count}, threads={self.threads}, attempts={self.attempts}, ahead={self.ahead})"

    def __enter__(self) -> Processes:
        if self._crew is None:
            self._crew = self._hired()
        return self

    def __exit__(self, *fault: object) -> None:
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.close()

    def map(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """The results in the order of the items, whoever is done first.

        `work` goes to each worker once; its arrays lie in memory that all share, read-only. Items and results are
        copied. What `work` raises on an item is raised when that item's turn comes. Ctrl-C, an error and an iterator
        that is dropped halfway end the workers that are busy.
        Raises: WorkerError when the workers of one item were killed as often as it may be tried.
        """
        if self._crew is not None and not self._crew.busy:
            yield from self._crew.map(work, items)
            return
        crew = self._hired()
        try:
            yield from crew.map(work, items)
        finally:
            crew.close()

    def _hired(self) -> Crew:
        from alphaloom.compute.crew import Crew

        return Crew(self.count, threads=self.threads, attempts=self.attempts, ahead=self.ahead)


def processes(count: int | None = None, *, threads: int = 1, attempts: int = 3, ahead: int | None = None) -> Processes:
    """An executor of `count` worker processes, by default one for each core that this process may use.

    Each worker uses at most `threads` threads. An item whose worker is killed is begun up to `attempts` times. At most
    `ahead` items, by default four for each worker, are begun before the oldest of them is done, which bounds the memory
    that finished results wait in.
    Workers are fresh interpreters, never forks; results do not depend on their number.
    Raises: ConfigError for counts below 1; WorkerError on a system without the sockets that carry shared memory.
    """
    if sys.platform == "win32":
        raise WorkerError(
            "local worker processes need a POSIX system",
            found=sys.platform,
            where="processes",
            fix="use local() or ray_cluster()",
        )
    if count is None:
        count = _usable_cores()
    ahead = 4 * count if ahead is None else ahead
    check_counts("processes", count=count, threads=threads, attempts=attempts, ahead=ahead)
    return Processes(count, threads=threads, attempts=attempts, ahead=ahead)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
