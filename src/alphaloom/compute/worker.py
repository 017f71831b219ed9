"""The far side: a fresh Python process that takes a work once and then item after item."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from alphaloom.compute.outcome import Outcome, WorkerError, attempt, failed, untravelled
from alphaloom.compute.parcel import Parcel, mapped, pack
from alphaloom.compute.wire import Message, receive, send

__all__ = ["serve"]


def serve(handle: int) -> None:
    """Work for the process at the other end of the socket until it closes it or ends."""
    # A worker ends at once and without a word on Ctrl-C; until here the signal was held back.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _end_with_parent()
    line = socket.socket(fileno=handle)
    desk = _Desk()
    while True:
        try:
            message = receive(line, known=desk.memory)
        except (EOFError, OSError):
            return
        if message.facts["kind"] == "work":
            desk.take(message)
            continue
        parcel = _packed(desk.outcome(message))
        try:
            send(line, {"kind": "outcome"}, parcel)
        except OSError:
            return


class _Desk:
    """What a worker has before it: the work, and the shared memory that its arrays lie in."""

    def __init__(self) -> None:
        self.memory = 0
        self._body = memoryview(b"")
        self._work: Callable[[Any], Any] | None = None
        self._fault: BaseException | None = None

    def take(self, message: Message) -> None:
        """Put a new work on the desk; one that cannot be read is a fault of every item."""
        self._work, self._fault = None, None
        if message.file >= 0:
            self._body = mapped(message.file, message.facts["size"])
            self.memory = message.facts["memory"]
            os.close(message.file)
        try:
            self._work = message.unpacked(self._body)
        except BaseException as error:
            self._fault = _unreadable("work", error)

    def outcome(self, message: Message) -> Outcome:
        """Do the work on the item that a message brings."""
        if self._fault is not None:
            return failed(self._fault)
        try:
            item = message.unpacked()
        except BaseException as error:
            return failed(_unreadable("item", error))
        assert self._work is not None
        return attempt(self._work, item)


def _unreadable(what: str, error: BaseException) -> BaseException:
    if not isinstance(error, ImportError | AttributeError):
        return error
    return WorkerError(
        f"a worker must be able to import what the {what} is made of",
        found=str(error),
        where=f"the {what} of map",
        fix="define it in a module on the import path, or in the script or notebook itself",
    )


def _packed(outcome: Outcome) -> Parcel:
    """The outcome in a form that can be sent home."""
    try:
        return pack(outcome)
    except BaseException as fault:
        return pack(Outcome(error=untravelled(f"{type(outcome.result).__name__}, {fault}")))


def _end_with_parent() -> None:
    """Follow the parent, however it ends: its end of this process's standard input closes then."""
    lifeline = os.dup(0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  # a path has no descriptor
        os.dup2(nothing.fileno(), 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115

    def wait() -> None:
        while os.read(lifeline, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="lifeline").start()
