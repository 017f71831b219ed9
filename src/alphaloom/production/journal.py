"""A journal: lines that can be added and never changed, each sealed by the hash of all before it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from alphaloom.disk import flush_folder
from alphaloom.errors import DataError

__all__ = ["Journal", "Record", "read_journal"]

_FIRST = "0" * 64
_SEAL = b'{"hash":"'
_RESTORE = "put back a copy of the file, or move it aside and start a new one from the broker's statement"


@dataclass(frozen=True)
class Record:
    """One sealed line: its number from 0, the hash of the record before it, its kind, its body and its own hash."""

    seq: int
    previous: str
    kind: str
    body: Mapping[str, Any]
    hash: str


class Journal:
    """An append-only file of sealed records with one writer at a time.

    A record that `append` has returned is on the disk. A kill in the middle of a write leaves an incomplete last line,
    which the next opening drops; it was never returned to anyone. The lock belongs to the process and dies with it.
    What a chain cannot show is that whole records were cut off its end: keep `head` elsewhere and give it to `verify`.
    Raises: DataError when the file is held by another writer, or its chain is broken, with the number of the record.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path)
        try:
            self._records, self._size = _load(self.path)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            if os.fstat(self._file).st_size > self._size:
                os.ftruncate(self._file, self._size)
                os.fsync(self._file)
            if not self._records:
                flush_folder(self.path.parent)
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def head(self) -> str:
        """The hash of the last record; it stands for the whole file."""
        return self._records[-1].hash if self._records else _FIRST

    def __len__(self) -> int:
        return len(self._records)

    def append(self, kind: str, body: Mapping[str, Any]) -> Record:
        """Add one record; it is on the disk when this returns."""
        return self.extend([(kind, body)])[0]

    def extend(self, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[Record, ...]:
        """Add several records with one write and one flush; a kill may keep the first few of them."""
        sealed: list[Record] = []
        lines: list[bytes] = []
        for kind, body in entries:
            before = sealed[-1].hash if sealed else self.head
            record, line = _sealed(len(self._records) + len(sealed), before, kind=kind, body=body)
            sealed.append(record)
            lines.append(line)
        if sealed:
            self._write(b"".join(lines))
            self._records.extend(sealed)
        return tuple(sealed)

    def _write(self, content: bytes) -> None:
        try:
            os.lseek(self._file, self._size, os.SEEK_SET)
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as error:
            # What a full disk left behind must not stand in the way of the next record.
            os.ftruncate(self._file, self._size)
            raise DataError(
                "a journal must be writable and its disk must have room",
                found=error.strerror or str(error),
                where=str(self.path),
                fix="free some space; nothing was added",
            ) from error
        self._size += len(content)

    def iterate(self) -> Iterator[Record]:
        """All records, the oldest first."""
        return iter(tuple(self._records))

    def verify(self, head: str | None = None) -> int:
        """Read the file again and check every seal; the number of records.

        Raises: DataError naming the first record that is broken; also when `head` is given and no record bears it,
        which is how a file that lost its end is found out.
        """
        records, _ = _load(self.path)
        if head not in (None, _FIRST) and all(record.hash != head for record in records):
            raise DataError(
                "a journal holds every record that it ever held",
                found=f"{len(records)} records, none with the hash {str(head)[:16]}",
                where=str(self.path),
                fix=_RESTORE,
            )
        return len(records)

    def close(self) -> None:
        """Let go of the file and of its lock."""
        if self._lock >= 0:
            os.close(self._file)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_journal(path: Path) -> tuple[Record, ...]:
    """The checked records of a journal that somebody else may be writing; an incomplete last line is left out."""
    return tuple(_load(Path(path))[0])


def _load(path: Path) -> tuple[list[Record], int]:
    """The records of a file and the number of bytes that they take."""
    content = path.read_bytes() if path.exists() else b""
    size = content.rfind(b"\n") + 1
    records: list[Record] = []
    previous = _FIRST
    for seq, line in enumerate(content[:size].splitlines(keepends=True)):
        record = _opened(line, seq=seq, previous=previous, path=path)
        records.append(record)
        previous = record.hash
    return records, size


def _opened(line: bytes, *, seq: int, previous: str, path: Path) -> Record:
    def broken(found: str) -> DataError:
        rule = "each record of a journal is sealed by the hash of all before it"
        return DataError(rule, found=found, where=f"{path}, record {seq} (line {seq + 1})", fix=_RESTORE)

    seal, text = line[len(_SEAL) : len(_SEAL) + 64], b"{" + line[len(_SEAL) + 66 : -1]
    if not line.startswith(_SEAL) or line[len(_SEAL) + 64 : len(_SEAL) + 66] != b'",':
        raise broken("a line that is not a record")
    if hashlib.sha256(text).hexdigest().encode() != seal:
        raise broken("content that is not what was sealed")
    try:
        facts = json.loads(text)
        number, link, kind, body = facts["seq"], facts["previous"], facts["kind"], facts["body"]
    except (ValueError, TypeError, KeyError) as error:
        raise broken("a line that is not a record") from error
    if (number, link) != (seq, previous):
        raise broken(f"number {number}, which follows {str(link)[:16]}, not {previous[:16]}")
    return Record(seq, previous, kind, body, seal.decode())


def _sealed(seq: int, previous: str, *, kind: str, body: Mapping[str, Any]) -> tuple[Record, bytes]:
    """A record and its line: the hash first, then the canonical text of all the rest, which is what it is the hash of.

    The text holds the hash of the record before it, so each hash stands for the whole file up to its line.
    """
    text = _canonical({"seq": seq, "previous": previous, "kind": kind, "body": body}).encode()
    seal = hashlib.sha256(text).hexdigest()
    return Record(seq, previous, kind, body, seal), _SEAL + seal.encode() + b'",' + text[1:] + b"\n"


def _canonical(value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError("a journal holds plain values, and None for what is not known", found=str(error)) from error


def _locked(path: Path) -> int:
    """A handle that holds the lock of a journal; the system lets go of it when the process ends, however it ends."""
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # Windows only
    except OSError as error:
        os.close(handle)
        raise DataError(
            "a journal has one writer at a time",
            found="another process or another object is writing to it",
            where=str(path),
            fix="wait until it is done; a process that was killed holds no lock",
        ) from error
    return handle
