"""Workers on this machine and the order in which they get their items."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from alphaloom.compute.outcome import Outcome, WorkerError, lost
from alphaloom.compute.parcel import Memory, Parcel, pack
from alphaloom.compute.wire import receive, send

__all__ = ["Crew"]

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from alphaloom.compute.worker import serve; serve(int(sys.argv[1]))"
)
_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
_PULSE = 1.0  # seconds between looks at workers whose socket somebody else may hold open
_FAREWELL = 5.0  # seconds that an idle worker has to end by itself


def _refused(rule: str, error: OSError) -> WorkerError:
    fix = "use fewer workers, or a work that carries less"
    return WorkerError(rule, found=error.strerror or str(error), where="processes", fix=fix)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """A process that is started inside inherits a held-back Ctrl-C and decides itself how to meet it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """One process, its socket, the work that it knows and the item that it is busy with."""

    def __init__(self, threads: int) -> None:
        self.line, theirs = socket.socketpair()
        self.item: int | None = None
        self.work = 0
        self.memory = 0
        command = [sys.executable, *(f"-W{option}" for option in sys.warnoptions)]
        paths = [entry or os.getcwd() for entry in sys.path]  # noqa: PTH109
        # A fresh interpreter: nothing is forked, so no lock or thread pool is copied in the middle of something, and
        # the script that started all this is not run a second time.
        try:
            with theirs, _interrupts_held_back():
                self.process = subprocess.Popen(
                    [*command, "-c", _START, str(theirs.fileno()), json.dumps(paths)],
                    stdin=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, **dict.fromkeys(_THREAD_COUNTS, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"},
                )
        except OSError as error:
            self.line.close()
            raise _refused("the system must be able to start a worker", error) from error

    def end(self, *, at_once: bool) -> str:
        """Take leave of the process and say how it ended."""
        self.line.close()
        if at_once:
            self.process.kill()
        try:
            code = self.process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        if code < 0:
            with suppress(ValueError):
                return f"killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


class Crew:
    """Up to `size` workers, started when there is something to do and kept until `close`.

    One map at a time. Arrays are put into shared memory once a map, and not again when the next map works on the same
    read-only ones.
    """

    def __init__(self, size: int, *, threads: int, attempts: int, ahead: int) -> None:
        self.busy = False
        self._size, self._threads, self._attempts, self._ahead = size, threads, attempts, ahead
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._work: Parcel | None = None
        self._work_number = 0
        self._memory: Memory | None = None
        self._memory_number = 0

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """The results in the order of the items; at most `ahead` items are begun before the oldest is done."""
        self.busy = True
        try:
            self._share(work)
            queue = _Queue(items, attempts=self._attempts)
            while True:
                self._assign(queue, limit=queue.given + self._ahead)
                while queue.next_is_done:
                    outcome = queue.take()
                    self._assign(queue, limit=queue.given + self._ahead)
                    yield outcome.value()
                if queue.empty:
                    return
                self._collect(queue)
        finally:
            self.busy = False
            for worker in [one for one in self._workers if one.item is not None]:
                self._dismiss(worker)

    def close(self) -> None:
        """End all workers and give the shared memory back."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.line.close()  # all of them hear it before the first is waited for
        for worker in workers:
            worker.end(at_once=worker.item is not None)
        self._selector.close()
        if self._memory is not None:
            self._memory.close()

    def _share(self, work: Callable[[Any], Any]) -> None:
        parcel = pack(work)
        identity = parcel.identity
        same = self._memory is not None and identity is not None and identity == self._memory.identity
        if not same:
            old, self._memory = self._memory, None
            if old is not None:
                old.close()
            try:
                self._memory = Memory(parcel)
            except OSError as error:
                raise _refused(f"the arrays of the work, {parcel.size:,} bytes, must fit into memory", error) from error
            self._memory_number += 1
        if not (same and self._work is not None and self._work.head == parcel.head):
            self._work_number += 1
        self._work = parcel

    def _assign(self, queue: _Queue, *, limit: int) -> None:
        """Give every idle worker an item, and start workers for those that have none."""
        tasks = []
        idle = [worker for worker in self._workers if worker.item is None]
        while idle or len(self._workers) < self._size:
            number = queue.draw(limit)
            if number is None:
                break
            worker = idle.pop() if idle else self._hire()
            worker.item = number
            tasks.append(worker)
        for worker in tasks:
            try:
                self._brief(worker)
                send(worker.line, {"kind": "item"}, queue.parcel(worker.item))
            except OSError:
                self._lose(worker, queue)

    def _brief(self, worker: _Worker) -> None:
        if worker.work == self._work_number:
            return
        assert self._work is not None
        assert self._memory is not None
        news = worker.memory != self._memory_number
        facts = {"kind": "work", "memory": self._memory_number}
        send(worker.line, facts, self._work, file=self._memory.file if news else -1)
        worker.work, worker.memory = self._work_number, self._memory_number

    def _collect(self, queue: _Queue) -> None:
        """Wait for a worker to finish an item, or to die over it."""
        for key, _ in self._selector.select(_PULSE):
            worker: _Worker = key.data
            if worker.item is None:
                self._dismiss(worker)  # nothing is expected of it, so this is its end
                continue
            try:
                message = receive(worker.line)
            except (EOFError, OSError):
                self._lose(worker, queue)
                continue
            queue.put(worker.item, message.unpacked())
            worker.item = None
        for worker in list(self._workers):
            if worker.process.poll() is not None:
                self._lose(worker, queue)

    def _hire(self) -> _Worker:
        worker = _Worker(self._threads)
        self._workers.append(worker)
        self._selector.register(worker.line, selectors.EVENT_READ, worker)
        return worker

    def _dismiss(self, worker: _Worker) -> str:
        self._workers.remove(worker)
        self._selector.unregister(worker.line)
        return worker.end(at_once=True)

    def _lose(self, worker: _Worker, queue: _Queue) -> None:
        if worker not in self._workers:
            return
        how = self._dismiss(worker)
        if worker.item is not None:
            queue.put_back(worker.item, found=how)


class _Queue:
    """The items of one map: drawn in order, tried again when their worker is lost, given back in order."""

    def __init__(self, items: Iterable[Any], *, attempts: int) -> None:
        self._source: Iterator[Any] | None = iter(items)
        self._attempts = attempts
        self._again: deque[int] = deque()
        self._tries: dict[int, int] = {}
        self._open: dict[int, Parcel] = {}
        self._done: dict[int, Outcome] = {}
        self._drawn = 0
        self.given = 0

    @property
    def next_is_done(self) -> bool:
        """True when the next result in the order of the items is there."""
        return self.given in self._done

    @property
    def empty(self) -> bool:
        """True when every item has been given back."""
        return self._source is None and self.given == self._drawn

    def draw(self, limit: int) -> int | None:
        """The number of an item to begin; None when there is none below `limit`."""
        if self._again:
            return self._again.popleft()
        if self._source is None or self._drawn >= limit:
            return None
        number = self._drawn
        try:
            parcel = pack(next(self._source))
        except StopIteration:
            self._source = None
            return None
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            # As in a loop: the results before a faulty item are given first.
            self._source, self._drawn = None, number + 1
            self._done[number] = Outcome(error=error)
            return None
        self._open[number], self._drawn = parcel, number + 1
        return number

    def parcel(self, number: int | None) -> Parcel:
        """An item that was drawn and is not done."""
        assert number is not None
        return self._open[number]

    def put(self, number: int, outcome: Outcome) -> None:
        """Note what became of an item."""
        del self._open[number]
        self._tries.pop(number, None)
        self._done[number] = outcome

    def put_back(self, number: int, *, found: str) -> None:
        """Have an item tried again, unless it has been tried often enough."""
        self._tries[number] = self._tries.get(number, 0) + 1
        if self._tries[number] < self._attempts:
            self._again.append(number)
        else:
            self.put(number, lost(number, found=found, attempts=self._attempts))

    def take(self) -> Outcome:
        """The next result in the order of the items."""
        self.given += 1
        return self._done.pop(self.given - 1)
