"""Columns to Parquet bytes and back; equal columns give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from alphaloom.signal import Signal

__all__ = ["columns_of", "named", "parquet_bytes", "signal_columns", "signal_rows"]

Columns = Mapping[str, Any]


def parquet_bytes(columns: Columns, notes: Mapping[str, str] | None = None) -> bytes:
    """The columns as one Parquet file; `notes` go into its header."""
    arrays = {name: _to_arrow(values) for name, values in columns.items()}
    table = pa.table(arrays).replace_schema_metadata(dict(notes) if notes else None)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="zstd", compression_level=3, version="2.6", data_page_version="1.0", store_schema=True
    )
    return bytes(sink.getvalue())


def columns_of(content: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The columns and the header notes of a Parquet file.   Raises: OSError, pyarrow.ArrowException if unreadable."""
    # Threads of pyarrow that hold Python objects may abort an interpreter that ends at the same moment: use none.
    table = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)
    notes = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    return {name: _to_numpy(table.column(name)) for name in table.column_names}, notes


def named(names: tuple[str, ...], codes: NDArray[Any]) -> pa.DictionaryArray:
    """A column of names, stored once each."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(list(names), pa.string()))


def signal_columns(signal: Signal) -> dict[str, Any]:
    """The views of a signal as rows of time, asset and score; cells without a view are left out."""
    row, column = np.nonzero(~np.isnan(signal.values))
    return {
        "time": signal.times[row],
        "asset": named(signal.assets, column),
        "score": signal.values[row, column],
    }


def signal_rows(columns: Columns, times: NDArray[np.datetime64], *, assets: tuple[str, ...]) -> NDArray[np.float64]:
    """The inverse of `signal_columns`.   Shape: (T, N)."""
    grid = np.full((len(times), len(assets)), np.nan)
    place = {name: j for j, name in enumerate(assets)}
    if len(columns["score"]):
        names, codes = np.unique(columns["asset"].astype(str), return_inverse=True)
        column = np.array([place[str(name)] for name in names], dtype=np.intp)[codes]
        grid[np.searchsorted(times, columns["time"]), column] = columns["score"]
    return grid


def _to_arrow(values: Any) -> Any:
    if isinstance(values, pa.Array):
        return values
    array = np.asarray(values)
    if array.dtype.kind == "M":
        return pa.array(array.astype("datetime64[ns]"), pa.timestamp("ns"))
    if array.dtype.kind in "OU":
        return pa.array([str(item) for item in array], pa.string())
    return pa.array(np.ascontiguousarray(array), from_pandas=False)


def _to_numpy(column: Any) -> NDArray[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    array: NDArray[Any] = column.to_numpy()
    return array
