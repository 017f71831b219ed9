"""The folder of a day: all of its files or none, and the difference between two tellings of the same day."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphaloom.disk import flush_folder
from alphaloom.errors import DataError
from alphaloom.study.serving import columns_of

__all__ = ["FACTS", "day_name", "read_files", "refuse_change", "write_files"]

FACTS = "day.json"
_BOOK = "book.parquet"


def day_name(time: np.datetime64, periods_per_year: float) -> str:
    """The name of a bar's folder: its date, with the time of day where a market has several bars a day."""
    text = str(time.astype("datetime64[s]"))
    return text[:10] if periods_per_year <= 366 else text.replace(":", "")


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put a folder in place with all of its files, or leave nothing behind.

    Raises: DataError when the disk refuses.
    """
    part = folder.with_name(f".{folder.name}.part")
    try:
        if part.exists():
            shutil.rmtree(part)
        part.mkdir(parents=True)
        for name, content in files.items():
            with (part / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        flush_folder(part)
        part.rename(folder)
        flush_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise DataError(
            "a run directory must be writable and its disk must have room",
            found=error.strerror or str(error),
            where=str(folder),
            fix="free some space and run the day again; nothing of it was kept",
        ) from error


def read_files(folder: Path) -> dict[str, bytes] | None:
    """The files of a folder; None when there is no such folder."""
    if not folder.is_dir():
        return None
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def refuse_change(folder: Path, kept: Mapping[str, bytes], made: Mapping[str, bytes]) -> None:
    """Nothing when a day was made again to the byte; otherwise an error that names what differs.

    Raises: DataError.
    """
    if dict(kept) == dict(made):
        return
    try:
        found = "; ".join(_differences(kept, made))
    except (KeyError, ValueError, OSError) as error:
        found = f"a file of the day cannot be read ({error})"
    raise DataError(
        "a day that is run again gives the same bytes, and this one does not",
        found=found,
        where=str(folder),
        fix="the data or the program changed under it: restore them, or move the folder aside and keep it as evidence",
    )


def _differences(kept: Mapping[str, bytes], made: Mapping[str, bytes]) -> list[str]:
    told = []
    lost, fresh = sorted(set(made) - set(kept)), sorted(set(kept) - set(made))
    told += [f"missing: {', '.join(lost)}"] if lost else []
    told += [f"not of this day: {', '.join(fresh)}"] if fresh else []
    if FACTS in kept and kept[FACTS] != made[FACTS]:
        told += _facts_apart("", json.loads(kept[FACTS]), json.loads(made[FACTS]))[:8]
    if _BOOK in kept and kept[_BOOK] != made[_BOOK]:
        told += _rows_apart(columns_of(kept[_BOOK])[0], columns_of(made[_BOOK])[0])[:4]
    if not told:
        told = [f"the content of {name}" for name in sorted(made) if kept.get(name) != made[name]]
    return told


def _facts_apart(path: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [line for key in keys for line in _facts_apart(f"{path}.{key}".lstrip("."), old.get(key), new.get(key))]
    return [] if old == new else [f"{path}: {_short(old)} then, {_short(new)} now"]


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 20 else f"{text[:17]}..."


def _rows_apart(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The first asset in each column of the book that is no longer what it was."""
    names, now = old["asset"].astype(str), new["asset"].astype(str)
    if not np.array_equal(names, now):
        apart = sorted(set(names.tolist()) ^ set(now.tolist()))
        return [f"assets: {', '.join(apart[:5]) or 'in another order'}"]
    told = []
    for key in [key for key in old if key != "asset" and key in new]:
        rows = np.flatnonzero(~((old[key] == new[key]) | (np.isnan(old[key]) & np.isnan(new[key]))))
        if len(rows):
            at = int(rows[0])
            more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
            told.append(f"{key} of {names[at]}: {old[key][at]:.10g} then, {new[key][at]:.10g} now{more}")
    return told
