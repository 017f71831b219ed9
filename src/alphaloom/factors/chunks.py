"""Factors beyond memory: stretches of time, each with the look-back rows before it, written as they are finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike

from alphaloom.errors import AxisError, DataError, FormulaError
from alphaloom.factors.chunk_files import ChunkedFeatures, Layout, Writer, open_chunks
from alphaloom.factors.evaluate import evaluate
from alphaloom.factors.library import FactorSet
from alphaloom.factors.plan import plan
from alphaloom.panel import Panel
from alphaloom.roles import Executor

__all__ = ["ChunkedFeatures", "Rows", "Slices", "evaluate_chunks", "open_chunks"]

Format = Literal["npy", "parquet"]
Progress = Callable[[int, int], None]
# Rows of the plan that the need of one row is read from.
_SAMPLE = 1024


@runtime_checkable
class Rows(Protocol):
    """Anything that gives a stretch of a panel: a store, a simulation, a reader of files.

    `len(rows)` is T, `source` a name of the content that changes with it. Equal stretches give equal panels, with the
    same assets in the same order.
    """

    @property
    def source(self) -> str: ...

    def __len__(self) -> int: ...

    def rows(self, start: int, stop: int) -> Panel: ...


@dataclass(frozen=True)
class Slices:
    """A function `give(start, stop) -> Panel` as a source of `length` rows; `source` names its content."""

    give: Callable[[int, int], Panel]
    length: int
    source: str

    def __len__(self) -> int:
        return self.length

    def rows(self, start: int, stop: int) -> Panel:
        """The rows from `start` up to `stop`, which is not included."""
        return self.give(start, stop)


@dataclass(frozen=True)
class _Stretch:
    """The rows of one chunk: all that travels to a worker beside the job itself."""

    number: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class _Job:
    """Computes and writes one chunk; says how many rows it wrote."""

    factors: FactorSet
    source: Panel | Rows
    writer: Writer
    threads: int

    def __call__(self, stretch: _Stretch) -> int:
        before = max(0, stretch.start - self.factors.lookback)
        panel = _stretch_of(self.source, before, stretch.stop)
        if panel.assets != self.writer.layout.assets:
            raise AxisError(
                "every stretch of a source has the same assets in the same order",
                found=f"{len(panel.assets)} assets",
                where=f"rows {before}:{stretch.stop}",
            )
        values = evaluate(self.factors, panel, dtype=self.writer.layout.dtype, threads=self.threads).values
        own = slice(stretch.start - before, None)
        self.writer.write(stretch.number, panel.times[own], values[own])
        return stretch.stop - stretch.start


class _Here:
    def map(self, work: Callable[[Any], Any], items: Any) -> Iterator[Any]:
        return map(work, items)


def evaluate_chunks(
    factors: FactorSet,
    source: Panel | Rows,
    *,
    out: str | Path,
    rows_per_chunk: int | None = None,
    memory_limit: int = 1 << 30,
    format: Format = "npy",
    dtype: DTypeLike = np.float32,
    threads: int = 1,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> ChunkedFeatures:
    """The values of every factor on every bar, computed stretch by stretch and written to a folder.

    The bits are those of one `evaluate` over everything, whatever the size of the chunks and whoever computes them. A
    run that was stopped goes on where it was: a finished chunk of the same factors, source and size is kept. `npy`
    gives one memory-mapped array, `parquet` a data set of one file per chunk. Without `rows_per_chunk` a chunk is as
    long as `memory_limit` bytes for the arrays of one worker allow. Each chunk is computed by `threads`; an executor
    maps over chunks, and its workers must see the folder. `progress(done, all)` counts rows.
    Raises: FormulaError for a name that the panel lacks, AxisError for a source without rows or with changing assets,
    DataError where the folder holds something else.
    """
    if format not in ("npy", "parquet"):
        raise FormulaError("chunks are written as npy or parquet", found=format, where="evaluate_chunks(format=)")
    total = len(source)
    if not total:
        raise AxisError("a source has at least one row", found="0 rows", where="evaluate_chunks(source)")
    first = _stretch_of(source, 0, 1)
    # The engine's own checks of names and dtype, before anything is written.
    kind = evaluate(factors, first, dtype=dtype).values.dtype
    size = rows_per_chunk
    if size is None:
        # float64 takes the reference kernels, which hold about as much again; Parquet wants a copy of every column.
        extra = (kind.itemsize - 4) * 2 + (kind.itemsize if format == "parquet" else 0)
        size = _rows_within(memory_limit, factors, first, layout_bytes=extra, threads=threads)
    if size < 1:
        raise AxisError("a chunk has at least one row", found=size, where="evaluate_chunks(rows_per_chunk=)")
    size = min(size, total)
    layout = Layout(format, kind.str, total, size, first.assets, factors.names, _identity(factors, source))
    writer = Writer(Path(out), layout)
    kept = writer.prepare()
    job = _Job(factors, source, writer, threads)
    missing = [_Stretch(k, a, min(a + size, total)) for k, a in enumerate(range(0, total, size)) if k not in kept]
    done = total - sum(stretch.stop - stretch.start for stretch in missing)
    for rows in (executor or _Here()).map(job, missing):
        done += rows
        if progress is not None:
            progress(done, total)
    writer.finish()
    return open_chunks(out)


def _stretch_of(source: Panel | Rows, start: int, stop: int) -> Panel:
    return source[start:stop] if isinstance(source, Panel) else source.rows(start, stop)


def _identity(factors: FactorSet, source: Panel | Rows) -> str:
    """A hash of what decides the values: formulas, options and the source's content."""
    document = [
        [[factor.name, str(factor.expr)] for factor in factors.factors],
        sorted(factors.options.stated.items()),
        source.source,
    ]
    return hashlib.sha256(json.dumps(document, ensure_ascii=False).encode()).hexdigest()


def _rows_within(limit: int, factors: FactorSet, first: Panel, *, layout_bytes: int, threads: int) -> int:
    """How many rows a chunk may have so that one worker stays within a number of bytes.

    A row costs its inputs twice (a source joins parts), what the engine's plan says, and `layout_bytes` a value of the
    writer's own; the look-back rows cost the same as the chunk's own.
    """
    N, F = len(first.assets), len(factors)
    inputs = sum(grid.itemsize for grid in first.fields.values()) + 2 * len(first.labels) + 4
    # A plan grows with its rows and nothing else.
    work = plan(factors, shape=(_SAMPLE, N), threads=threads).peak_bytes // _SAMPLE
    per_row = N * (2 * inputs + layout_bytes * F) + 8 * len(first.series) + work
    rows = limit // per_row - factors.lookback
    if rows < 1:
        raise DataError(
            "the memory limit must hold one row and the look-back rows before it",
            found=f"{limit:,} bytes",
            where="evaluate_chunks(memory_limit=)",
            fix=f"at least {per_row * (factors.lookback + 1):,} bytes, fewer factors at once or shorter windows",
        )
    return rows
