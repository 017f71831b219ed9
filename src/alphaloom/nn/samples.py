"""What a net learns from: rows that belong to dates, in memory or on disk, as points or as windows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import AxisError, DataError

__all__ = ["Samples"]

_HASHED_ROWS = 1 << 15


@dataclass(frozen=True, eq=False)
class Samples:
    """R samples of D dates, the samples of a date next to each other, with what should be said of each.

    Shape: y (R, H), one column for each output; `date` (R,) whole numbers that never fall.
    Points: x (R, F), sample r is x[r]. Windows: x (T, N, F) with `column` (R,) and `length` L; sample r is
    x[date[r] - L + 1 .. date[r], column[r]], made when its batch is due, rows before the first being 0.
    x may be memory-mapped; unknown values (NaN) in it are read as 0.
    `fit` marks the samples to learn from, `held` those on which early stopping judges; the default is all and none.
    `weight` (R,) counts a sample more or less in learning; judging counts all held ones alike.
    Missing: NaN in y leaves that output of that sample out.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    date: NDArray[Any]
    weight: NDArray[Any] | None = None
    fit: NDArray[np.bool_] | None = None
    held: NDArray[np.bool_] | None = None
    column: NDArray[Any] | None = None
    length: int = 0

    def __post_init__(self) -> None:
        y = np.asarray(self.y, dtype=np.float32)
        put = _setter(self)
        put("y", y[:, None] if y.ndim == 1 else y)
        put("date", np.asarray(self.date, dtype=np.int64))
        R = len(self.y)
        defaults = {"weight": np.ones(R, np.float32), "fit": np.ones(R, np.bool_), "held": np.zeros(R, np.bool_)}
        for name, default in defaults.items():
            given = getattr(self, name)
            put(name, default if given is None else np.asarray(given, dtype=default.dtype))
            _check_length(name, getattr(self, name), R)
        _check_length("date", self.date, R)
        if (np.diff(self.date) < 0).any():
            raise DataError("the samples of a date stand together, dates in order", where="samples.date")
        if (self.masks[0] & self.masks[1]).any():
            raise DataError("a sample that judges is not learnt from", where="samples.held")
        if not (np.isfinite(self.weights).all() and (self.weights >= 0.0).all()):
            raise DataError("a weight is finite and not negative", where="samples.weight")
        self._check_inputs(R)

    def _check_inputs(self, R: int) -> None:
        if not self.length:
            if self.x.ndim != 2 or len(self.x) != R:
                raise AxisError("points are one row for each sample", found=f"shape {self.x.shape}", where="samples.x")
            return
        if self.x.ndim != 3 or self.column is None or self.length < 1:
            raise AxisError(
                "windows are cut from (T, N, F) by row and column",
                found=f"shape {self.x.shape}, length {self.length}",
                where="samples.x",
            )
        _setter(self)("column", np.asarray(self.column, dtype=np.int64))
        _check_length("column", self.column, R)
        T, N = self.x.shape[:2]
        if R and not (self.date[0] >= 0 and self.date[-1] < T and self.column.min() >= 0 and self.column.max() < N):
            raise AxisError("a window ends inside the grid", found=f"shape {self.x.shape}", where="samples.column")

    @property
    def features(self) -> int:
        """F."""
        return int(self.x.shape[-1])

    @property
    def outputs(self) -> int:
        """H, the columns of y."""
        return int(self.y.shape[1])

    @property
    def masks(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """`fit` and `held`.   Shape: (R,) each."""
        assert self.fit is not None
        assert self.held is not None
        return self.fit, self.held

    @property
    def weights(self) -> NDArray[np.float32]:
        """`weight`, ones where none was given.   Shape: (R,)."""
        assert self.weight is not None
        return self.weight

    def dates_of(self, chosen: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
        """The chosen samples that have something to say, date by date."""
        rows = np.flatnonzero(chosen & np.isfinite(self.y).any(axis=1))
        return np.split(rows, np.flatnonzero(np.diff(self.date[rows])) + 1) if len(rows) else []

    def inputs(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The inputs of some samples, in memory.   Shape: (B,) -> (B, F), or (B, L, F) of windows."""
        if not self.length:
            span = _span(rows)
            found = np.array(self.x[rows if span is None else span], dtype=np.float32)
        else:
            assert self.column is not None
            found = windows(self.x, self.date[rows], self.column[rows], length=self.length)
        np.nan_to_num(found, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return found

    def digest(self) -> str:
        """A hash by which a checkpoint knows its samples; of large inputs it sees evenly spread rows."""
        state = hashlib.sha256(repr((self.x.shape, self.x.dtype.str, self.y.shape, self.length)).encode())
        state.update(np.ascontiguousarray(self.x[:: max(1, len(self.x) // _HASHED_ROWS)]).data)
        parts: Mapping[str, Any] = {"y": self.y, "date": self.date, "weight": self.weight, "column": self.column}
        for name, values in (*parts.items(), ("fit", self.fit), ("held", self.held)):
            state.update(name.encode())
            if values is not None:
                state.update(np.ascontiguousarray(values).data)
        return state.hexdigest()


def windows(
    grid: NDArray[Any], row: NDArray[np.int64], column: NDArray[np.int64], *, length: int
) -> NDArray[np.float32]:
    """The last `length` rows of some columns of (T, N, F), rows before the first being 0.   Shape: (B, L, F)."""
    out = np.zeros((len(row), length, grid.shape[2]), dtype=np.float32)
    cuts = np.flatnonzero(np.diff(row)) + 1
    # Date by date: whole rows lie next to each other on disk, single cells would be read one by one.
    for start, stop in zip((0, *cuts), (*cuts, len(row)), strict=True):
        if stop > start:
            last = int(row[start]) + 1
            first = max(0, last - length)
            block = np.asarray(grid[first:last])[:, column[start:stop]]
            out[start:stop, length - (last - first) :] = block.transpose(1, 0, 2)
    return out


def _span(rows: NDArray[np.intp]) -> slice | None:
    """Neighbouring rows as a slice, which reads a file in one go."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return None


def _check_length(name: str, values: Any, R: int) -> None:
    if values.shape != (R,):
        raise AxisError("one value for each sample", found=f"shape {values.shape}, not {(R,)}", where=f"samples.{name}")


def _setter(samples: Samples) -> Any:
    return lambda name, value: object.__setattr__(samples, name, value)
