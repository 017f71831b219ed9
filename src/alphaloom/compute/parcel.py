"""Objects on their way to another process: a small head, and the big arrays beside it, copied at most once.

The head is made by cloudpickle, so that classes and functions of a notebook or a script travel too. Arrays are taken
out of it (pickle protocol 5): a reader sees them where they lie, without a copy of its own. Nothing here is a file
format; a parcel lives as long as a map.
"""

from __future__ import annotations

import io
import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
from numpy.typing import NDArray

__all__ = ["Memory", "Parcel", "Place", "mapped", "pack", "unpack"]

_ALIGNMENT = 64


class Place(NamedTuple):
    """Where an array lies in a parcel's body."""

    offset: int
    size: int
    locked: bool


@dataclass(frozen=True, eq=False)
class Parcel:
    """A packed object: `head` names `places`, which say where its arrays lie in a body of `size` bytes."""

    head: bytes
    parts: tuple[tuple[memoryview, int], ...]
    places: tuple[Place, ...]
    size: int

    @property
    def identity(self) -> tuple[tuple[int, int], ...] | None:
        """Equal for parcels whose arrays are the same memory; None where one of them may be written to."""
        if not all(part.readonly for part, _ in self.parts):
            return None
        return tuple((_address(part), part.nbytes) for part, _ in self.parts)


def pack(value: Any) -> Parcel:
    """Take an object apart; nothing is copied but what is small."""
    stream = io.BytesIO()
    taken: list[memoryview] = []
    _Packer(stream, protocol=5, buffer_callback=lambda buffer: taken.append(buffer.raw())).dump(value)
    parts: list[tuple[memoryview, int]] = []
    places: list[Place] = []
    known: dict[tuple[int, int], int] = {}
    size = 0
    for part in taken:
        # Views of the same memory (the masks of a panel often are) travel once.
        key = (_address(part), part.nbytes)
        if key not in known:
            known[key] = size
            parts.append((part, size))
            size += -(-part.nbytes // _ALIGNMENT) * _ALIGNMENT
        places.append(Place(known[key], part.nbytes, part.readonly))
    return Parcel(stream.getvalue(), tuple(parts), tuple(places), size)


def unpack(head: bytes | memoryview, places: Sequence[Place], body: memoryview) -> Any:
    """Put an object together again; its arrays are views of the body, read-only where they were or where it is."""
    buffers = []
    for offset, size, locked in places:
        part = body[offset : offset + size]
        buffers.append(part.toreadonly() if locked else part)
    return cloudpickle.loads(head, buffers=buffers)


class Memory:
    """The arrays of a parcel in memory that other processes of this machine can map.

    It has no name: nothing stays behind in /dev/shm or on the disk however the processes end, and a small /dev/shm
    (a container's default is 64 MiB) is no limit.
    """

    def __init__(self, parcel: Parcel) -> None:
        self.identity = parcel.identity
        self.size = parcel.size
        self.file = _nameless_file()
        # An address means the same memory only as long as somebody holds on to it.
        self._held = parcel.parts
        try:
            os.ftruncate(self.file, max(parcel.size, 1))
            for part, offset in parcel.parts:
                _write(self.file, part, offset=offset)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the memory back; processes that have mapped it keep it until they let go."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
        self._held = ()


def mapped(file: int, size: int) -> memoryview:
    """A read-only view of shared memory that somebody else has filled."""
    return memoryview(mmap.mmap(file, max(size, 1), prot=mmap.PROT_READ))[:size]


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]  # the library has no types
    def reducer_override(self, value: Any) -> Any:
        if type(value) is np.ndarray or isinstance(value, np.memmap):
            place = _place_on_disk(value)
            if place is not None:
                return _from_disk, place
        return super().reducer_override(value)


def _place_on_disk(array: NDArray[Any]) -> tuple[Any, ...] | None:
    """Where a view of a file that was opened for reading lies in it; None for every other array."""
    root: Any = array
    while isinstance(root, np.ndarray) and not (isinstance(root, np.memmap) and isinstance(root.base, mmap.mmap)):
        root = root.base
    if not isinstance(root, np.memmap) or root.mode != "r" or root.filename is None:
        return None
    if not array.size or not array.flags.c_contiguous:
        return None
    start = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return str(root.filename), array.dtype, array.shape, root.offset + start


def _from_disk(path: str, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> NDArray[Any]:
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape))


def _address(part: memoryview) -> int:
    return int(np.frombuffer(part, dtype=np.uint8).__array_interface__["data"][0]) if part.nbytes else 0


def _nameless_file() -> int:
    if sys.platform == "linux":
        return os.memfd_create("alphaloom")
    with tempfile.TemporaryFile(buffering=0) as file:  # removed from its folder as soon as it is made
        return os.dup(file.fileno())


def _write(file: int, part: memoryview, *, offset: int) -> None:
    rest = part
    while rest.nbytes:
        done = os.pwrite(file, rest[: 1 << 30], offset)
        rest, offset = rest[done:], offset + done
