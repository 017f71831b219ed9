"""Messages between this process and a worker, over one socket."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from alphaloom.compute.parcel import Parcel, Place, unpack

__all__ = ["Message", "receive", "send"]

_LENGTHS = struct.Struct("<QQQ")
_PADDING = b"\0" * 64


@dataclass(frozen=True, eq=False)
class Message:
    """A few facts, and a packed object whose arrays lie in the message or in shared memory."""

    facts: dict[str, Any]
    head: memoryview
    body: memoryview
    file: int = field(default=-1)

    def unpacked(self, body: memoryview | None = None) -> Any:
        """The object; its arrays are views of `body`, by default of the message itself."""
        places = [Place(*place) for place in self.facts["places"]]
        return unpack(self.head, places, self.body if body is None else body)


def send(line: socket.socket, facts: dict[str, Any], parcel: Parcel, *, file: int | None = None) -> None:
    """Send an object; with `file`, which holds its arrays already (-1: the other side knows it), only its head."""
    note = json.dumps({**facts, "places": parcel.places, "size": parcel.size, "shared": file is not None}).encode()
    inline = parcel.size if file is None else 0
    line.sendall(_LENGTHS.pack(len(note), len(parcel.head), inline) + note)
    line.sendall(parcel.head)
    if file is None:
        end = 0
        for part, offset in parcel.parts:
            line.sendall(_PADDING[: offset - end])
            line.sendall(part)
            end = offset + part.nbytes
        line.sendall(_PADDING[: parcel.size - end])
    elif file >= 0:
        socket.send_fds(line, [b"f"], [file])


def receive(line: socket.socket, *, known: int = 0) -> Message:
    """The next message; `known` is the number of the shared memory that this side has mapped already.

    Raises: EOFError when the other side has gone.
    """
    sizes = _LENGTHS.unpack(_exactly(line, _LENGTHS.size))
    facts = json.loads(bytes(_exactly(line, sizes[0])))
    head, body = _exactly(line, sizes[1]), _exactly(line, sizes[2])
    file = -1
    if facts["shared"] and facts["memory"] != known:
        _, files, _, _ = socket.recv_fds(line, 1, 1)
        if not files:
            raise EOFError
        file = files[0]
    return Message(facts, head, body, file)


def _exactly(line: socket.socket, size: int) -> memoryview:
    whole = memoryview(bytearray(size))
    rest = whole
    while rest.nbytes:
        got = line.recv_into(rest)
        if not got:
            raise EOFError
        rest = rest[got:]
    return whole
