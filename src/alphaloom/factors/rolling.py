"""Window kernels by doubling: windows of 2k rows are made from two windows of k rows.

Every result is a fixed tree of operations over the window's own values. So it does not drift, an unknown value spoils
its own windows only, and any slice with its look-back rows gives the same bits as the whole history.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Grid",
    "State",
    "delay",
    "delta",
    "doubled",
    "ts_argmax",
    "ts_argmin",
    "ts_backfill",
    "ts_count",
    "ts_days_since_max",
    "ts_days_since_min",
    "ts_max",
    "ts_mean",
    "ts_min",
    "ts_product",
    "ts_sum",
    "windowed",
]

Grid = NDArray[np.float64]
State = tuple[Grid, ...]


class _Rows(Protocol):
    """Whatever has rows that can be sliced: an array of numpy or a tensor of torch."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> Any: ...


_Array = TypeVar("_Array", bound=_Rows)
# merge(newer, older, rows in newer, rows in older) -> the state of the joint window
_Merge = Callable[[tuple[_Array, ...], tuple[_Array, ...], int, int], tuple[_Array, ...]]

_COLUMNS = 32


def doubled(state: tuple[_Array, ...], d: int, merge: _Merge[_Array]) -> tuple[_Array, ...]:
    """The state of every full window of d rows, from the states of single rows.

    Shape: (T, N) -> (T - d + 1, N).
    """
    level, size = state, 1
    done: tuple[_Array, ...] = ()
    rows = 0
    while True:
        if d & size:
            if not rows:
                done, rows = level, size
            else:
                count = len(done[0]) - size
                done = merge(tuple(a[size:] for a in done), tuple(a[:count] for a in level), rows, size)
                rows += size
        if rows == d:
            return done
        level = merge(tuple(a[size:] for a in level), tuple(a[:-size] for a in level), size, size)
        size *= 2


def windowed(arrays: State, d: int, make: Callable[[State], Grid]) -> Grid:
    """Run `make` on blocks of columns that fit the cache; rows without a full window are NaN."""
    T, N = arrays[0].shape
    out = np.full((T, N), np.nan)
    if d > T:
        return out
    for left in range(0, N, _COLUMNS):
        cut = slice(left, left + _COLUMNS)
        out[d - 1 :, cut] = make(tuple(np.ascontiguousarray(a[:, cut]) for a in arrays))
    return out


def _simple(x: Grid, d: int, join: Callable[[Grid, Grid], Grid]) -> Grid:
    def merge(newer: State, older: State, _a: int, _b: int) -> State:
        return (join(newer[0], older[0]),)

    return windowed((x,), d, lambda block: doubled(block, d, merge)[0])


def delay(x: Grid, d: int) -> Grid:
    """The value d rows ago."""
    out = np.full(x.shape, np.nan)
    if d < len(x):
        out[d:] = x[: len(x) - d]
    return out


def delta(x: Grid, d: int) -> Grid:
    """X minus its value d rows ago."""
    return x - delay(x, d)


def ts_sum(x: Grid, d: int) -> Grid:
    """Sum of the last d values."""
    return _simple(x, d, np.add)


def ts_mean(x: Grid, d: int) -> Grid:
    """Mean of the last d values."""
    return ts_sum(x, d) / d


def ts_product(x: Grid, d: int) -> Grid:
    """Product of the last d values."""
    return _simple(x, d, np.multiply)


def ts_min(x: Grid, d: int) -> Grid:
    """Least of the last d values."""
    return _simple(x, d, np.minimum)


def ts_max(x: Grid, d: int) -> Grid:
    """Largest of the last d values."""
    return _simple(x, d, np.maximum)


def ts_count(c: Grid, d: int) -> Grid:
    """How many of the last d values are not 0."""
    return ts_sum(np.where(np.isnan(c), np.nan, np.not_equal(c, 0)), d)


def _merge_largest(newer: State, older: State, a: int, _b: int) -> State:
    """The largest value and how many rows ago; the older row wins a tie."""
    late = newer[0] > older[0]
    unknown = np.isnan(newer[0]) | np.isnan(older[0])
    return (
        np.where(unknown, np.nan, np.where(late, newer[0], older[0])),
        np.where(late, newer[1], older[1] + a),
    )


def ts_days_since_max(x: Grid, d: int) -> Grid:
    """Rows since the largest, today = 0."""

    def block(arrays: State) -> Grid:
        value, age = doubled((arrays[0], np.zeros_like(arrays[0])), d, _merge_largest)
        return np.where(np.isnan(value), np.nan, age)

    return windowed((x,), d, block)


def ts_days_since_min(x: Grid, d: int) -> Grid:
    """Rows since the least, today = 0."""
    return ts_days_since_max(-x, d)


def ts_argmax(x: Grid, d: int) -> Grid:
    """Place of the largest, oldest = 1, earliest of ties."""
    return d - ts_days_since_max(x, d)


def ts_argmin(x: Grid, d: int) -> Grid:
    """Place of the least, oldest = 1, earliest of ties."""
    return d - ts_days_since_max(-x, d)


def ts_backfill(x: Grid, d: int) -> Grid:
    """The last known value, at most d rows old."""
    rows = np.arange(len(x), dtype=np.int64)[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(x), -1, rows), axis=0)
    taken = np.take_along_axis(x, np.maximum(last, 0), axis=0)
    return np.where((last >= 0) & (rows - last <= d), taken, np.nan)
