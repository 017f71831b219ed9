"""A run's folder on disk: every file is complete or absent, and everything in it belongs to one study."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.disk import flush_folder
from alphaloom.errors import DataError
from alphaloom.roles import Policy
from alphaloom.signal import Kind, Signal
from alphaloom.study.description import json_text
from alphaloom.study.folds import Fold

__all__ = ["RunDirectory"]

CONFIG = "study.toml"
PROVENANCE = "provenance.json"
RESULT = "result.json"
_PART = ".part"


@dataclass(frozen=True)
class RunDirectory:
    """The folder of one run; make it with `claim`.

    A file is written beside its place, flushed to the disk and renamed, so that a kill at any moment leaves complete
    files only. Parts that a kill left behind are removed by the next claim. One process at a time may use a folder.
    """

    path: Path
    key: str

    @classmethod
    def claim(cls, path: Path, provenance: Mapping[str, Any], *, config: str) -> RunDirectory:
        """Take a new folder, or one that the same study on the same data began.

        Raises: DataError when the folder holds anything else or cannot be written.
        """
        mine = json_text(provenance)
        folder = cls(path, hashlib.sha256(mine.encode()).hexdigest())
        if path.exists() and not path.is_dir():
            raise DataError("a run is a directory", found="a file", where=str(path), fix="give another directory")
        with _disk(path):
            path.mkdir(parents=True, exist_ok=True)
            for part in (*path.glob(f"*{_PART}"), *path.glob(f"folds/*{_PART}")):
                part.unlink()
            if (path / PROVENANCE).is_file():
                folder._check_owner(provenance)
                if folder.finished:
                    return folder
            elif any(path.iterdir()):
                raise DataError(
                    "a run needs a new folder or one that a run began",
                    found="other files, and no provenance.json",
                    where=str(path),
                    fix="give another directory",
                )
        folder.write(PROVENANCE, mine.encode())
        folder.write(CONFIG, config.encode())
        return folder

    def _check_owner(self, provenance: Mapping[str, Any]) -> None:
        theirs = _read_json(self.path / PROVENANCE)
        for part, word in (("seed", "seed"), ("data_hash", "data"), ("study_hash", "configuration"), ("code", "code")):
            if theirs.get(part) != json.loads(json_text(provenance))[part]:
                raise DataError(
                    f"a run directory belongs to one study on one set of data, and this one's {word} differs",
                    found=f"{str(theirs.get(part))[:16]}, not {str(provenance[part])[:16]}",
                    where=str(self.path / PROVENANCE),
                    fix="give another directory, or remove this one to start afresh",
                )

    @property
    def finished(self) -> bool:
        """True when the last file of a run is there."""
        return (self.path / RESULT).is_file()

    def write(self, name: str, content: bytes) -> None:
        """Put a complete file in place.   Raises: DataError when the disk refuses; nothing half-written stays."""
        target = self.path / name
        part = target.with_name(f"{target.name}.{os.getpid()}{_PART}")
        with _disk(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(target)
            except BaseException:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
                raise
            flush_folder(target.parent)

    def keep_fold(self, number: int, fold: Fold, *, signal: Signal, notes: tuple[str, ...]) -> None:
        """Store the out-of-sample rows of one fold with a hash of all that they depend on."""
        from alphaloom.study.tables import parquet_bytes, signal_columns

        facts = {"kind": signal.kind, "horizon": signal.horizon, "name": signal.name, "notes": list(notes)}
        header = {"inputs": self._fold_key(fold), "facts": json.dumps(facts, sort_keys=True)}
        self.write(_fold_name(number), parquet_bytes(signal_columns(signal), header))

    def kept_fold(
        self, number: int, fold: Fold, *, times: NDArray[np.datetime64], assets: tuple[str, ...]
    ) -> tuple[Signal, tuple[str, ...]] | None:
        """A stored fold; None when it is absent, damaged or made from other inputs, and so must be made again."""
        import pyarrow as pa

        from alphaloom.study.tables import columns_of, signal_rows

        path = self.path / _fold_name(number)
        try:
            columns, header = columns_of(path.read_bytes())
        except (OSError, pa.ArrowException):
            return None
        if header.get("inputs") != self._fold_key(fold):
            return None
        facts = json.loads(header["facts"])
        kind: Kind = facts["kind"]
        rows = signal_rows(columns, times, assets=assets)
        return Signal(times, assets, rows, kind, facts["horizon"], facts["name"]), tuple(facts["notes"])

    def keep_policy(self, number: int, fold: Fold, *, policy: Policy, notes: tuple[str, ...]) -> None:
        """Store the policy that a fold learned, where it has a stored form; one of somebody's own has none."""
        from alphaloom.forecast import save_model

        place = self.path / _policy_name(number)
        with _disk(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                save_model(policy, place)
            except DataError:
                return
        facts = {"inputs": self._fold_key(fold), "model": _hash_of(place), "notes": list(notes)}
        self.write(_facts_name(number), json_text(facts).encode())

    def kept_policy(self, number: int, fold: Fold) -> tuple[Policy, tuple[str, ...]] | None:
        """A stored policy; None when it is absent, damaged or made from other inputs, and so must be learned again."""
        from alphaloom.forecast import load_model

        place, facts = self.path / _policy_name(number), self.path / _facts_name(number)
        if not place.is_file() or not facts.is_file():
            return None
        try:
            said = _read_json(facts)
            if said.get("inputs") != self._fold_key(fold) or said.get("model") != _hash_of(place):
                return None
            return load_model(place), tuple(said["notes"])
        except DataError:
            return None

    def _fold_key(self, fold: Fold) -> str:
        return hashlib.sha256(f"{self.key}:{fold}".encode()).hexdigest()


def _fold_name(number: int) -> str:
    return f"folds/fold_{number:03d}.parquet"


def _policy_name(number: int) -> str:
    return f"folds/policy_{number:03d}.json"


def _facts_name(number: int) -> str:
    return f"folds/policy_{number:03d}.facts.json"


def _hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError("a run's JSON files must be readable", found=str(error), where=str(path)) from error
    if not isinstance(value, dict):
        raise DataError("a run's JSON files hold one object", found=type(value).__name__, where=str(path))
    return value


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            "a run directory must be writable and its disk must have room",
            found=error.strerror or str(error),
            where=str(path),
            fix="free some space or give another directory; the same call resumes after the last complete fold",
        ) from error
