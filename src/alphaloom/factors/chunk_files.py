"""The folder of a chunked evaluation: what it holds while it grows, and how it is read back.

`job.json` says what is being computed and comes first; `chunk-000042.json` says that chunk 42 lies on the disk, with
its hashes; `manifest.json` comes last and makes the folder a result. Values are one `values.npy` that every chunk is
written into at its place, or one Parquet file for each chunk.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import AxisError, DataError
from alphaloom.signal import Features

__all__ = ["ChunkedFeatures", "Layout", "Writer", "open_chunks"]

Grid = NDArray[Any]
_FORMAT = 1
_BLOCK = 1 << 24


@dataclass(frozen=True)
class Layout:
    """What a folder is to hold: T rows of N assets and F factors, in chunks; `identity` hashes what decides values."""

    format: str
    dtype: str
    rows: int
    rows_per_chunk: int
    assets: tuple[str, ...]
    names: tuple[str, ...]
    identity: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, N, F)."""
        return self.rows, len(self.assets), len(self.names)

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.rows // self.rows_per_chunk)

    def stretch(self, number: int) -> tuple[int, int]:
        """The first row of a chunk and the row after its last."""
        start = number * self.rows_per_chunk
        return start, min(start + self.rows_per_chunk, self.rows)


@dataclass(frozen=True)
class Writer:
    """Writes the chunks of one layout into a folder; safe for many processes that write different chunks."""

    folder: Path
    layout: Layout

    def prepare(self) -> set[int]:
        """Make the folder, or take up the one that is there; the numbers of the chunks that it holds already.

        Raises: DataError where the folder holds something else.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError("chunks are written to a folder", found=str(error), where=str(self.folder)) from None
        if not (self.folder / "job.json").exists():
            strange = sorted(item.name for item in self.folder.iterdir() if not item.name.startswith("."))
            if strange:
                raise DataError(
                    "chunks are written to an empty folder or to one that they were written to before",
                    found=", ".join(strange[:5]),
                    where=str(self.folder),
                )
            _write_json(self.folder / "job.json", {"version": _FORMAT, **asdict(self.layout)})
        elif _read_layout(self.folder / "job.json") != self.layout:
            raise DataError(
                "a folder goes on with the same factors, source, format, type and chunk size",
                found="another job.json",
                where=str(self.folder),
                fix="choose another folder, or remove this one",
            )
        if (self.folder / "manifest.json").exists():
            return set(range(self.layout.chunks))
        self._allocate()
        return {number for number in range(self.layout.chunks) if self._holds(number)}

    def write(self, number: int, times: NDArray[np.datetime64], values: Grid) -> None:
        """Write one chunk; it counts only once its note is there, which comes last."""
        start, stop = self.layout.stretch(number)
        expected = (stop - start, *self.layout.shape[1:])
        if values.shape != expected or len(times) != stop - start:
            raise AxisError("a chunk has the rows that were asked for", found=values.shape, where=f"chunk {number}")
        stamps = np.ascontiguousarray(times.astype("datetime64[ns]").view(np.int64))
        if self.layout.format == "npy":
            digest = _overwrite(self.folder / "values.npy", values, start, self.layout)
        else:
            digest = hashlib.sha256()
            for block in _blocks(values, self.layout.dtype):
                digest.update(block.data)
        _overwrite(self.folder / "times.npy", stamps, start, self.layout)
        note = {"times": _hash(stamps.data), "values": digest.hexdigest()}
        if self.layout.format == "parquet":
            note["file"] = self._write_part(number, times, values.astype(self.layout.dtype, copy=False))
        _write_json(self._note(number), note)

    def finish(self) -> None:
        """Make the folder a result: the hashes of all chunks in one manifest, and their notes away."""
        manifest = self.folder / "manifest.json"
        if not manifest.exists():
            notes = [json.loads(self._note(number).read_text()) for number in range(self.layout.chunks)]
            _write_json(manifest, {"version": _FORMAT, **asdict(self.layout), "chunks": notes})
        for number in range(self.layout.chunks):
            self._note(number).unlink(missing_ok=True)

    def _allocate(self) -> None:
        """Files of their final size; the disk fills as chunks come."""
        from numpy.lib.format import open_memmap

        grids: list[tuple[str, str, tuple[int, ...]]] = [("times.npy", "<i8", (self.layout.rows,))]
        if self.layout.format == "npy":
            grids.append(("values.npy", self.layout.dtype, self.layout.shape))
        for name, dtype, shape in grids:
            if (self.folder / name).exists():
                continue
            # A reader that finds the name finds a whole file: it is made beside and renamed.
            open_memmap(self.folder / f".{name}", mode="w+", dtype=dtype, shape=shape)
            (self.folder / f".{name}").replace(self.folder / name)

    def _holds(self, number: int) -> bool:
        """Whether a chunk lies on the disk as its note says."""
        try:
            note = json.loads(self._note(number).read_text())
            start, stop = self.layout.stretch(number)
            if _hash(_mapped(self.folder / "times.npy")[start:stop].data) != note["times"]:
                return False
            if self.layout.format == "npy":
                return bool(_hash_rows(_mapped(self.folder / "values.npy"), start, stop) == note["values"])
            return bool(_hash_file(part_path(self.folder, number)) == note["file"])
        except (OSError, ValueError, KeyError):
            return False

    def _note(self, number: int) -> Path:
        return self.folder / f"chunk-{number:06d}.json"

    def _write_part(self, number: int, times: NDArray[np.datetime64], values: Grid) -> str:
        """One chunk as a Parquet file: a row for each time and asset, a column for each factor."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows, N, _ = values.shape
        codes = pa.array(np.tile(np.arange(N, dtype=np.int32), rows))
        columns = {
            "time": pa.array(np.repeat(times.astype("datetime64[ns]"), N)),
            "asset": pa.DictionaryArray.from_arrays(codes, pa.array(self.layout.assets, pa.string())),
        }
        columns |= {name: pa.array(values[:, :, k].reshape(-1)) for k, name in enumerate(self.layout.names)}
        place = part_path(self.folder, number)
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            with beside.open("wb") as file:
                pq.write_table(pa.table(columns), file, row_group_size=max(N, (1 << 20) // N * N))
                file.flush()
                os.fsync(file.fileno())
            digest = _hash_file(beside)
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
        return digest


@dataclass(frozen=True, eq=False)
class ChunkedFeatures:
    """Factor values that lie in a folder; read what fits, or map everything.

    `digest` hashes times and values alone: it is the same for both formats and for whoever computed the chunks, as
    long as the chunks have one size.
    """

    folder: Path
    layout: Layout
    times: NDArray[np.datetime64]
    digest: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, N, F)."""
        return self.layout.shape

    @property
    def names(self) -> tuple[str, ...]:
        """The factors' names."""
        return self.layout.names

    @property
    def assets(self) -> tuple[str, ...]:
        """The assets, in the order of axis N."""
        return self.layout.assets

    def features(self) -> Features:
        """Everything as one value, memory-mapped.   Raises: DataError for Parquet, which cannot be mapped."""
        if self.layout.format != "npy":
            raise DataError(
                "only the npy format is one mapped array",
                found=self.layout.format,
                where=str(self.folder),
                fix="read stretches with rows(start, stop) or blocks(), or the files as a Parquet data set",
            )
        return Features(self.times, self.assets, self.names, _mapped(self.folder / "values.npy"))

    def rows(self, start: int, stop: int) -> Features:
        """The features of a stretch of rows, in memory for Parquet and mapped for npy."""
        begin, end, _ = slice(start, stop).indices(len(self.times))
        end = max(begin, end)
        if self.layout.format == "npy":
            return self.features()[begin:end]
        out = np.empty((end - begin, *self.shape[1:]), self.layout.dtype)
        size = self.layout.rows_per_chunk
        for number in range(begin // size, -(-end // size)):
            a, b = self.layout.stretch(number)
            low, high = max(a, begin), min(b, end)
            out[low - begin : high - begin] = self._part(number)[low - a : high - a]
        return Features(self.times[begin:end], self.assets, self.names, out)

    def blocks(self) -> Iterator[Features]:
        """The features chunk by chunk, in the order of time."""
        for number in range(self.layout.chunks):
            yield self.rows(*self.layout.stretch(number))

    def _part(self, number: int) -> Grid:
        import pyarrow.parquet as pq

        a, b = self.layout.stretch(number)
        with pq.ParquetFile(part_path(self.folder, number)) as file:
            table = file.read(columns=list(self.names))
        shape = (b - a, len(self.assets))
        return np.stack([table.column(name).to_numpy().reshape(shape) for name in self.names], axis=-1)


def open_chunks(folder: str | Path) -> ChunkedFeatures:
    """A finished chunked evaluation.   Raises: DataError where the folder is none, unfinished or damaged."""
    place = Path(folder)
    try:
        document = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
        layout = _read_layout(place / "manifest.json")
        notes = [[note["times"], note["values"]] for note in document["chunks"]]
        times = np.array(_mapped(place / "times.npy")).view("datetime64[ns]")
        if layout.format == "npy" and _mapped(place / "values.npy").shape != layout.shape:
            raise ValueError("values.npy has another shape than the manifest")
    except (OSError, ValueError, KeyError, TypeError) as error:
        unfinished = (place / "job.json").exists() and not (place / "manifest.json").exists()
        raise DataError(
            "a folder of chunks is finished and whole",
            found="a run that was stopped" if unfinished else str(error) or type(error).__name__,
            where=str(place),
            fix="run evaluate_chunks again: it goes on where it was" if unfinished else "",
        ) from None
    return ChunkedFeatures(place, layout, times, _hash(json.dumps(notes).encode()))


def part_path(folder: Path, number: int) -> Path:
    """The Parquet file of a chunk."""
    return folder / f"part-{number:06d}.parquet"


def _read_layout(path: Path) -> Layout:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != _FORMAT:
            raise ValueError(f"version {document['version']}")
        given = {name: document[name] for name in Layout.__dataclass_fields__}
        return Layout(**{**given, "assets": tuple(given["assets"]), "names": tuple(given["names"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("a folder of chunks says what it holds", found=str(error), where=str(path)) from None


def _write_json(path: Path, document: Any) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump(document, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _blocks(rows: Grid, dtype: str) -> Iterator[Grid]:
    """Rows in the order of the axes, a few megabytes at a time: the engine keeps them factor by factor."""
    step = max(1, _BLOCK // max(1, rows[:1].nbytes))
    for a in range(0, len(rows), step):
        yield np.ascontiguousarray(rows[a : a + step], dtype=dtype)


def _overwrite(path: Path, rows: Grid, start: int, layout: Layout) -> Any:
    """Put rows into their place of a `.npy` file by plain writes, which take no memory as mapped pages would.

    Returns the hash of the bytes written.
    """
    dtype = layout.dtype if rows.ndim == 3 else "<i8"
    one = int(np.prod(rows.shape[1:])) * np.dtype(dtype).itemsize
    digest = hashlib.sha256()
    with path.open("r+b", buffering=0) as file:
        file.seek(path.stat().st_size - (layout.rows - start) * one)
        for block in _blocks(rows, dtype):
            digest.update(block.data)
            data = block.data.cast("B")
            while data.nbytes:
                data = data[file.write(data) :]
        os.fsync(file.fileno())
    return digest


def _mapped(path: Path) -> Grid:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _hash(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()


def _hash_rows(grid: Grid, start: int, stop: int) -> str:
    state = hashlib.sha256()
    step = max(1, _BLOCK // max(1, grid[:1].nbytes))
    for a in range(start, stop, step):
        state.update(np.array(grid[a : min(a + step, stop)]).data)
    return state.hexdigest()


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
