"""What a study found, and how it is stored and read back without any market data."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.study.description import json_text, toml_text
from alphaloom.study.directory import CONFIG, PROVENANCE, RESULT, RunDirectory

__all__ = ["StudyResult", "load_run", "save_result"]

Columns = Mapping[str, NDArray[Any]]
Number = float | None

_TABLES = ("daily", "ic", "quantiles", "decay", "exposure")
_FACTS = ("name", "notes", "folds", "regimes", "summary", "benchmarks")
_LATER = ("directions",)  # facts that runs of earlier versions do not have


@dataclass(frozen=True, eq=False)
class StudyResult:
    """The findings of a study: everything that a report reads.

    Shape: `daily` columns (K,), one row for each bar of the test span: time, equity, returns, cash, cost, cost.<kind>,
    turnover, gross, net, holdings, benchmark.<name> (equity from the same cash), series.<name>; `ic` time, ic,
    rank_ic, breadth, rank_autocorrelation; `quantiles` time, q1..q5; `decay` horizon, ic, rank_ic, rank_ic_se;
    `exposure` time and one column of net weight for each sector. `directions` holds the hit rates of a two-sided
    signal, a row for each side and horizon, then for each regime, bucket and side.
    Unit: money for equity, cash and costs; returns, weights and rates are fractions.
    Missing: a table that the study cannot make (no signal, no sectors) is empty; a number that has no value is None in
    `summary` and NaN in a column.
    """

    name: str
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    notes: tuple[str, ...]
    folds: tuple[Mapping[str, Any], ...]
    daily: Columns
    ic: Columns
    quantiles: Columns
    decay: Columns
    exposure: Columns
    regimes: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Number | Mapping[str, Number]]
    benchmarks: Mapping[str, Mapping[str, Number]]
    directions: tuple[Mapping[str, Any], ...] = ()
    directory: Path | None = field(default=None, compare=False)


def save_result(result: StudyResult, folder: RunDirectory, *, tables: Mapping[str, Mapping[str, Any]]) -> StudyResult:
    """Write a result and the larger `tables` that only the disk keeps; `result.json`, the mark of the end, is last."""
    from alphaloom.study.tables import parquet_bytes

    contents = {CONFIG: toml_text(result.config).encode()}
    parts = {**tables, **{name: getattr(result, name) for name in _TABLES}}
    contents |= {f"{name}.parquet": parquet_bytes(columns) for name, columns in parts.items() if columns}
    for name, content in contents.items():
        folder.write(name, content)
    facts: dict[str, Any] = {name: getattr(result, name) for name in (*_FACTS, *_LATER)}
    facts["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    folder.write(RESULT, json_text(facts).encode())
    return replace(result, directory=folder.path)


def load_run(path: str | Path) -> StudyResult:
    """Read a finished run.

    Raises: DataError that names what is missing or changed.
    """
    folder = Path(path)
    facts, provenance = _facts(folder)
    files = facts["files"]
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise _broken(folder, f"missing: {', '.join(sorted(missing))}")
    from alphaloom.study.tables import columns_of

    kept = {name: _checked(folder / f"{name}.parquet", files) for name in _TABLES if f"{name}.parquet" in files}
    columns = {name: columns_of(kept[name])[0] if name in kept else {} for name in _TABLES}
    config = tomllib.loads(_checked(folder / CONFIG, files).decode())
    rest: dict[str, Any] = {
        name: tuple(facts[name]) if isinstance(facts[name], list) else facts[name]
        for name in (*_FACTS, *(later for later in _LATER if later in facts))
    }
    parts: dict[str, Any] = {**rest, **columns}
    return StudyResult(**parts, config=config, provenance=provenance, directory=folder)


def _facts(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such directory"
        raise DataError(
            "a run is a directory that a study wrote",
            found=found,
            where=str(folder),
            fix="the last line of `alphaloom run` names it",
        )
    absent = [name for name in (PROVENANCE, RESULT) if not (folder / name).is_file()]
    if absent == [RESULT]:
        raise DataError(
            "a run can be read once it is finished",
            found=f"no {RESULT}: it was stopped on the way",
            where=str(folder),
            fix="run the same study with this directory again; it resumes",
        )
    if len(absent) == 2:
        raise DataError(
            "a run is a directory that a study wrote",
            found=f"neither {PROVENANCE} nor {RESULT}",
            where=str(folder),
            fix="name the directory itself, such as runs/NAME-HASH",
        )
    if absent:
        raise _broken(folder, f"missing: {', '.join(absent)}")
    try:
        facts, provenance = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (RESULT, PROVENANCE))
    except ValueError as error:
        raise _broken(folder, str(error)) from error
    lacking = [name for name in (*_FACTS, "files") if not isinstance(facts, dict) or name not in facts]
    if lacking:
        raise _broken(folder, f"{RESULT} without {', '.join(lacking)}")
    return facts, provenance


def _checked(path: Path, files: Mapping[str, str]) -> bytes:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != files.get(path.name):
        raise _broken(path, "another content than was written")
    return content


def _broken(where: Path, found: str) -> DataError:
    return DataError(
        "a finished run holds every file that its result.json lists, unchanged",
        found=found,
        where=str(where),
        fix="restore the directory, or remove it and run the study again",
    )


def plain_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as Python floats; what is not finite has no value and becomes None."""
    return {
        name: plain_numbers(value) if isinstance(value, Mapping) else _number(value) for name, value in values.items()
    }


def _number(value: Any) -> Number:
    if value is None:
        return None
    number = float(value)
    return number if np.isfinite(number) else None
