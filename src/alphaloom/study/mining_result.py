"""What a search for formulas found, and its folder on disk: whole files, and the same bytes for the same search."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.study.description import json_text
from alphaloom.study.directory import RunDirectory

__all__ = ["MiningResult", "claim_search", "load_mining", "read_json", "write_holdout", "write_mining", "write_timings"]

Columns = Mapping[str, NDArray[Any]]
SETTINGS, OWNER, RESULT, TIMINGS = "mining.toml", "provenance.json", "result.json", "timings.json"
HOLDOUT, READS, POOL, ARCHIVE = "holdout.json", "test_reads.jsonl", "pool.toml", "archive.parquet"


@dataclass(frozen=True, eq=False)
class MiningResult:
    """A finished search: the chosen pool, what it was chosen from, and its worth on validation rows.

    `alphas` is one row a formula; `correlations` (K, K) are its mean daily inner products on training rows; `choices`
    what validation compared; `counts` what the search did; `curve` its course against evaluations; `valid` the numbers
    on validation rows and `daily` their days. `holdout` and `holdout_daily` are the same on the test, once it was read.
    `timings` hold seconds and stand in a file of their own.
    """

    name: str
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    alphas: Sequence[Mapping[str, Any]]
    correlations: NDArray[np.float64]
    choices: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]
    curve: Columns
    valid: Mapping[str, Any]
    daily: Columns
    notes: tuple[str, ...] = ()
    holdout: Mapping[str, Any] | None = None
    holdout_daily: Columns | None = None
    timings: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[Mapping[str, Any], ...] = ()

    @property
    def formulas(self) -> tuple[str, ...]:
        """The chosen formulas."""
        return tuple(str(row["formula"]) for row in self.alphas)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Their weights.   Shape: (K,)."""
        return np.array([row["weight"] for row in self.alphas], dtype=np.float64)


def claim_search(path: Path, owner: Mapping[str, Any], *, settings: str) -> RunDirectory:
    """Take a new folder, or one that the same search on the same data began.

    Raises: DataError when the folder holds anything else.
    """
    folder = RunDirectory(path, "")
    if path.exists() and not path.is_dir():
        raise DataError("a search has a directory", found="a file", where=str(path), fix="give another directory")
    if (path / OWNER).is_file():
        theirs = read_json(path / OWNER)
        for part, value in json.loads(json_text(owner)).items():
            if theirs.get(part) != value:
                raise DataError(
                    f"a search's directory belongs to one search on one set of data, and this one's {part} differs",
                    found=_apart(path / SETTINGS, settings) or f"{str(theirs.get(part))[:12]}, not {str(value)[:12]}",
                    where=str(path / OWNER),
                    fix="give another directory, or remove this one to start afresh",
                )
        return folder
    if path.is_dir() and any(path.iterdir()):
        raise DataError(
            "a search needs a new folder or one that a search began",
            found=f"other files, and no {OWNER}",
            where=str(path),
            fix="give another directory",
        )
    folder.write(OWNER, json_text(owner).encode())
    folder.write(SETTINGS, settings.encode())
    return folder


def _apart(theirs: Path, settings: str) -> str:
    """In which keys two searches differ, with both values; "" where that cannot be told."""
    try:
        old, new = (_flat(tomllib.loads(text)) for text in (theirs.read_text(encoding="utf-8"), settings))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return ""
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    told = [f"{key} = {old.get(key, 'none')}, not {new.get(key, 'none')}" for key in keys[:4]]
    return "; ".join(told + [f"{len(keys) - 4} more"] * (len(keys) > 4))


def _flat(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found


def write_mining(result: MiningResult, folder: RunDirectory) -> None:
    """Write curves, days and, last, the result; seconds are not among them."""
    from alphaloom.study.tables import parquet_bytes

    folder.write("curves.parquet", parquet_bytes(result.curve))
    folder.write("daily.parquet", parquet_bytes(result.daily))
    index = {
        "name": result.name,
        "config": dict(result.config),
        "facts": dict(result.facts),
        "alphas": [dict(row) for row in result.alphas],
        "correlations": result.correlations.tolist(),
        "choices": [dict(row) for row in result.choices],
        "counts": dict(result.counts),
        "valid": dict(result.valid),
        "notes": list(result.notes),
    }
    folder.write(RESULT, json_text(index).encode())


def write_timings(timings: Mapping[str, Any], path: Path) -> None:
    """Write what took how long, beside what was found."""
    RunDirectory(path, "").write(TIMINGS, json_text(timings).encode())


def write_holdout(found: Mapping[str, Any], daily: Columns, path: Path) -> None:
    """Write what the test showed."""
    from alphaloom.study.tables import parquet_bytes

    folder = RunDirectory(path, "")
    folder.write("holdout.parquet", parquet_bytes(daily))
    folder.write(HOLDOUT, json_text(found).encode())


def load_mining(path: Path) -> MiningResult:
    """A finished search from its folder, with the test where it was read.   Raises: DataError."""
    if not (path / RESULT).is_file():
        begun = (path / OWNER).is_file()
        raise DataError(
            "a finished search has its result",
            found="a search that was stopped" if begun else f"no {RESULT}",
            where=str(path),
            fix="run `alphaloom mine run` with the same directory again" if begun else "give a directory of `mine run`",
        )
    index = read_json(path / RESULT)
    found = MiningResult(
        index["name"],
        index["config"],
        index["facts"],
        index["alphas"],
        np.array(index["correlations"], dtype=np.float64).reshape(len(index["alphas"]), -1),
        index["choices"],
        index["counts"],
        _columns(path / "curves.parquet"),
        index["valid"],
        _columns(path / "daily.parquet"),
        tuple(index["notes"]),
        timings=read_json(path / TIMINGS) if (path / TIMINGS).is_file() else {},
        reads=test_reads(path),
    )
    if not (path / HOLDOUT).is_file():
        return found
    return replace(found, holdout=read_json(path / HOLDOUT), holdout_daily=_columns(path / "holdout.parquet"))


def test_reads(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Every time the test was read, the earliest first."""
    record = path / READS
    if not record.is_file():
        return ()
    return tuple(json.loads(line) for line in record.read_text(encoding="utf-8").splitlines() if line.strip())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.   Raises: DataError for a file that is not one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError("a search's JSON files must be readable", found=str(error), where=str(path)) from error
    if not isinstance(found, dict):
        raise DataError("a search's JSON files hold one object", found=type(found).__name__, where=str(path))
    return found


def _columns(path: Path) -> Columns:
    from alphaloom.study.tables import columns_of

    try:
        return columns_of(path.read_bytes())[0]
    except OSError as error:
        raise DataError("a search's tables must be readable", found=str(error), where=str(path)) from error
