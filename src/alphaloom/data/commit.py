"""Writing that happens whole or not at all: stage, sync, rename, and the manifest last."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from alphaloom.errors import DataError

__all__ = ["MANIFEST", "Commit", "leftovers", "locked", "read_manifest", "sweep"]

MANIFEST = "manifest.json"
_LOCK = ".lock"
_STAGING = ".staging"
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
_FOLDER = re.compile(r"^(prices(/year=-?\d+)?|quarantine|revisions|extras|reports)$")
_OURS = re.compile(r"^(prices/year=-?\d+|quarantine|revisions|extras|reports)/[\w.-]+-[0-9a-f]{16}\.(parquet|json)$")


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest of a store, or an empty one where nothing was imported yet.   Raises: DataError if it is damaged."""
    path = root / MANIFEST
    if not path.is_file():
        return {}
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            "the manifest of a store must be whole",
            found=str(error),
            where=str(path),
            fix="restore it from a copy, or import the sources into a new folder",
        ) from None
    return manifest


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Holds the store for one writer; the system lets go when the process ends, however it ends.

    Raises: DataError if another process writes to the store.
    """
    with _lock_file(root) as stream:
        if not _take(stream):
            stream.seek(0)
            raise DataError(
                "one process at a time may write to a store",
                found=f"process {stream.read().strip() or '?'} holds it",
                where=str(root),
                fix="wait until it ends",
            )
        try:
            with suppress(OSError):  # the number only serves the message above; a full disk is told of later
                stream.truncate(0)
                stream.write(str(os.getpid()))
                stream.flush()
            yield
        finally:
            with suppress(OSError):
                stream.seek(0)
                stream.truncate(0)
            _release(stream)


def _lock_file(root: Path) -> IO[str]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        return (root / _LOCK).open("a+", encoding="ascii")
    except OSError as error:
        raise _explained(error, root) from error


def _explained(error: OSError, root: Path) -> DataError:
    """What the system says when it cannot write, with the way out."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(
            "the disk must have room for the store",
            found=error.strerror or "no space left",
            where=str(root),
            fix="make room and import again; the store is as it was before",
        )
    return DataError(
        "the store must be writable", found=str(error), where=str(root), fix="check the rights of the directory"
    )


def _take(stream: IO[str]) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _release(stream: IO[str]) -> None:
    # Closing the file lets go of it on every system but Windows.
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(stream.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]


def leftovers(root: Path) -> list[Path]:
    """What an interrupted writer left behind: the staging folder and parts that the manifest does not name."""
    manifest = read_manifest(root)
    named = {*manifest.get("files", {}), *manifest.get("replaced", ())}
    staging = [root / _STAGING] if (root / _STAGING).exists() else []
    parts = ((path, path.relative_to(root).as_posix()) for path in root.rglob("*"))
    return staging + [path for path, name in parts if name not in named and _OURS.match(name)]


def sweep(root: Path) -> None:
    """Removes the leftovers and the folders that they leave empty.   The caller holds the lock."""
    for path in leftovers(root):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    for folder in sorted((item for item in root.rglob("*") if item.is_dir()), reverse=True):
        if _FOLDER.match(folder.relative_to(root).as_posix()):
            with suppress(OSError):  # a folder with files stays
                folder.rmdir()


class Commit:
    """Files that enter a store together: before `publish` nobody sees them, after it everybody does.

    Leaving the block without `publish`, by an error, a full disk or Ctrl-C, takes every new file away again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root / _STAGING
        self._put: list[str] = []

    def __enter__(self) -> Commit:
        shutil.rmtree(self._staging, ignore_errors=True)
        try:
            self._staging.mkdir(parents=True)
        except OSError as error:
            raise _explained(error, self.root) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sweep(self.root)
        if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
            raise _explained(error, self.root) from error

    def put(self, name: str, write: Callable[[Path], object]) -> None:
        """Stages one file under its final name; a file that is there already is left alone."""
        if (self.root / name).exists() or name in self._put:
            return
        staged = self._staging / name
        staged.parent.mkdir(parents=True, exist_ok=True)
        write(staged)
        _sync(staged)
        self._put.append(name)

    def find(self, name: str) -> Path:
        """Where a file of the store lies at the moment: staged or in place."""
        return self._staging / name if name in self._put else self.root / name

    def publish(self, manifest: Mapping[str, Any]) -> None:
        """Moves the staged files in and replaces the manifest last: that rename is the moment of the change.

        Files of the manifest before stay for one generation, for readers that have just read it.
        """
        before = read_manifest(self.root).get("files", {})
        manifest = {**manifest, "replaced": sorted(set(before) - set(manifest["files"]))}
        staged = self._staging / MANIFEST
        staged.write_text(json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        _sync(staged)
        folders = {self.root}
        for name in self._put:
            final = self.root / name
            final.parent.mkdir(parents=True, exist_ok=True)
            (self._staging / name).replace(final)
            folders |= {final.parent, final.parent.parent}
        for folder in folders:
            _sync(folder)
        staged.replace(self.root / MANIFEST)
        _sync(self.root)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
