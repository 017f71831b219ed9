"""What a study gives to those who go on with it day by day: its folds on a longer panel, its parts and its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.signal import Signal
from alphaloom.study.description import describe, fingerprint, json_text
from alphaloom.study.folds import Fold, WalkForward
from alphaloom.study.stitching import notes_of
from alphaloom.study.tables import columns_of, named, parquet_bytes, signal_columns, signal_rows

__all__ = [
    "columns_of",
    "describe",
    "fingerprint",
    "fold_of",
    "json_text",
    "named",
    "notes_of",
    "parquet_bytes",
    "signal_columns",
    "signal_rows",
    "stored_signal",
]


def fold_of(plan: WalkForward, row: int) -> tuple[int, Fold]:
    """The number and the rows of the fold whose test block holds a row, however long the panel has become.

    Time: the plan goes on beyond the study's last bar with the same arithmetic; the test block is given in full.
    Raises: DataError for a row before the first test block.
    """
    number = (row - plan.start) // plan.test
    if number < 0:
        raise DataError(
            "a study speaks from its first test bar on",
            found=f"row {row}, the first test bar is row {plan.start}",
            where="plan",
        )
    return number, plan.folds(plan.start + max(2, (number + 1) * plan.test))[number]


def stored_signal(run: Path, times: NDArray[np.datetime64], *, assets: tuple[str, ...]) -> Signal | None:
    """The signal that a finished run stored, on the given axes; None for a run without a signal.

    Missing: NaN where the run had no view; views on other bars and other assets than the axes have are left out.
    """
    path = run / "signal.parquet"
    if not path.is_file():
        return None
    columns = columns_of(path.read_bytes())[0]
    keep = np.isin(columns["asset"].astype(str), np.array(assets)) & np.isin(columns["time"], times)
    kept = {key: values[keep] for key, values in columns.items()}
    return Signal(times, assets, signal_rows(kept, times, assets=assets))
