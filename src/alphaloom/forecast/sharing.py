"""Factors that several learners read are computed, corrected and scaled once, in memory or on disk."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import FactorSet, evaluate, lookback
from alphaloom.forecast.correction import Correction
from alphaloom.panel import Panel
from alphaloom.signal import Features

__all__ = ["LIMIT", "Prepared", "Scaling", "factor_values", "opened", "shared_factors"]

LIMIT = 1 << 30
_GROUP_BYTES = 1 << 28
_BLOCK_BYTES = 1 << 25
_FORMAT = 1

_CUTS = re.compile(r"(\[\d+:\d+\])*")
_START = re.compile(r"\[(\d+):")

Block = NDArray[np.float32]
Scaling = Callable[[NDArray[Any]], NDArray[Any]]
Rows = NDArray[np.intp]
Kind = Literal["rank", "zscore", "raw"]
_Key = tuple[FactorSet, Correction | None, Kind]


class Prepared:
    """Corrected and scaled factors of one panel, a few dates at a time.

    Time: the first rows of a slice, which a factor's look-back does not allow, are unknown in every slice, also where
    older rows are at hand: so a slice gives the same numbers by itself and as a part of a longer panel.
    """

    def __init__(self, store: _Cube, start: int, reach: NDArray[np.intp]) -> None:
        self._store, self._start, self._reach = store, start, reach

    def at(self, dates: Rows) -> Block:
        """The factors of some ascending rows of the slice.   Shape: (B, F, N), a copy; NaN where not known."""
        block = self._store.read(dates + self._start)
        block[np.asarray(dates)[:, None] < self._reach] = np.nan
        return block


class _Cube:
    """Values (T, F, N) in an array, or in a file of which only what is asked for is ever in memory."""

    def __init__(self, shape: tuple[int, int, int], path: Path | None) -> None:
        self.shape, self.path = shape, path
        self._values: Block | None = np.empty(shape, np.float32) if path is None else None
        if path is not None:
            with path.open("wb") as file:
                file.truncate(4 * shape[0] * shape[1] * shape[2])

    @classmethod
    def existing(cls, shape: tuple[int, int, int], path: Path) -> _Cube:
        """A file that was written before."""
        found = cls.__new__(cls)
        found.shape, found.path, found._values = shape, path, None
        return found

    def _map(self, start: int, stop: int, mode: Literal["r", "r+"]) -> NDArray[np.float32]:
        _, F, N = self.shape
        # A fresh map for every stretch: what has been read does not stay in the process's memory.
        return np.memmap(self.path or "", np.float32, mode, 4 * start * F * N, (stop - start, F, N))

    def write(self, start: int, columns: slice, block: Block) -> None:
        if self._values is not None:
            self._values[start : start + len(block), columns] = block
            return
        self._map(start, start + len(block), "r+")[:, columns] = block

    def read(self, rows: Rows) -> Block:
        if not len(rows):
            return np.empty((0, *self.shape[1:]), np.float32)
        if self._values is not None:
            return self._values[rows]
        first = int(rows[0])
        return np.array(self._map(first, int(rows[-1]) + 1, "r")[rows - first])

    def checksum(self) -> int:
        """A sum over all bytes, read a stretch at a time."""
        T, F, N = self.shape
        step, found = max(1, _BLOCK_BYTES // max(1, 4 * F * N)), 0
        for start in range(0, T, step):
            found = zlib.crc32(self._map(start, min(T, start + step), "r").tobytes(), found)
        return found


class _Evaluated:
    """The prepared factors of one panel, kept for whoever asks for them on that panel or on a slice of it."""

    def __init__(self, panel: Panel, directory: Path | None, limit: int) -> None:
        self.panel, self.directory, self.limit = panel, directory, limit
        self._cubes: dict[_Key, _Cube] = {}
        self._own: Path | None = None

    def rows_of(self, part: Panel) -> slice | None:
        """Where `part` lies in the panel; None if it is not a slice of it."""
        cuts = _CUTS.fullmatch(part.source[len(self.panel.source) :])
        if not part.source.startswith(self.panel.source) or cuts is None:
            return None
        # The source of a slice names its parent's content and its rows, so of slices of slices: with equal sources the
        # values are equal.
        starts = [int(start) for start in _START.findall(cuts.group())]
        return slice(sum(starts), sum(starts) + len(part))

    def of(self, part: Panel, key: _Key, scale: Scaling) -> Prepared:
        """The prepared factors of a slice."""
        rows = self.rows_of(part)
        assert rows is not None
        if key not in self._cubes:
            self._cubes[key] = self._stored(key, scale)
        return Prepared(self._cubes[key], rows.start, _reach(key[0], key[1]))

    def _stored(self, key: _Key, scale: Scaling) -> _Cube:
        T, N = self.panel.shape
        shape = (T, len(key[0]), N)
        if 4 * T * N * len(key[0]) <= self.limit and self.directory is None:
            cube = _Cube(shape, None)
            _fill(cube, self.panel, key, scale=scale)
            return cube
        if self.directory is None:
            self._own = self._own or Path(tempfile.mkdtemp(prefix="alphaloom-factors-"))
            cube = _Cube(shape, self._own / f"{len(self._cubes)}.f4")
            _fill(cube, self.panel, key, scale=scale)
            return cube
        return self._kept(self.directory, shape, key, scale)

    def _kept(self, directory: Path, shape: tuple[int, int, int], key: _Key, scale: Scaling) -> _Cube:
        """The file of an earlier call if it is whole, otherwise a new one in its place."""
        name = _name(self.panel, key)
        values, says = directory / f"{name}.f4", directory / f"{name}.json"
        facts = {"format": _FORMAT, "shape": list(shape)}
        if _size(values) == 4 * shape[0] * shape[1] * shape[2] and says.is_file():
            cube = _Cube.existing(shape, values)
            if _read(says) == {**facts, "crc32": cube.checksum()}:
                return cube
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name[:8]}.", dir=directory) as beside:
            cube = _Cube(shape, Path(beside) / "values")
            _fill(cube, self.panel, key, scale=scale)
            note = Path(beside) / "note"
            note.write_text(json.dumps({**facts, "crc32": cube.checksum()}), encoding="utf-8")
            (Path(beside) / "values").replace(values)
            note.replace(says)
        return _Cube.existing(shape, values)

    def close(self) -> None:
        """Forget the values and remove what lies in a folder of its own."""
        self._cubes.clear()
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            self._own = None


_CURRENT: ContextVar[_Evaluated | None] = ContextVar("shared_factors", default=None)


@contextmanager
def shared_factors(panel: Panel, directory: str | Path | None = None, *, limit: int = LIMIT) -> Iterator[None]:
    """Inside, factors are computed, corrected and scaled on `panel` once and read from there for it and its slices.

    More than `limit` bytes lie in a file of a temporary folder that is removed at the end; with a `directory` they lie
    there, whatever their size, and are found again by later calls, known by the content of the panel, the formulas and
    the correction. A file that is damaged or was not finished is made again. Results do not depend on any of this.
    """
    outer = _CURRENT.get()
    if outer is not None and outer.rows_of(panel) is not None:
        yield
        return
    shared = _Evaluated(panel, None if directory is None else Path(directory), limit)
    token = _CURRENT.set(shared)
    try:
        yield
    finally:
        _CURRENT.reset(token)
        shared.close()


@contextmanager
def opened(
    panel: Panel, factors: FactorSet, correction: Correction | None, kind: Kind, *, scale: Scaling
) -> Iterator[Prepared]:
    """The prepared factors of a panel: the shared ones where they hold it, else made now and then dropped."""
    shared = _CURRENT.get()
    own = None if shared is not None and shared.rows_of(panel) is not None else _Evaluated(panel, None, LIMIT)
    source = own or shared
    assert source is not None
    try:
        yield source.of(panel, (factors, None if correction is None else correction.fixed_part, kind), scale)
    finally:
        if own is not None:
            own.close()


def factor_values(factors: FactorSet, panel: Panel) -> NDArray[np.float32]:
    """The plain factors of a panel, of all assets, without their first look-back rows.   Shape: (T, N, F)."""
    with opened(panel, factors, None, "raw", scale=_as_is) as prepared:
        return prepared.at(np.arange(len(panel))).transpose(0, 2, 1)


def _as_is(grid: NDArray[Any]) -> NDArray[Any]:
    return grid


def _reach(factors: FactorSet, correction: Correction | None) -> NDArray[np.intp]:
    """How many rows of a slice say nothing, for each factor."""
    plain = [lookback(factor.expr) for factor in factors.factors]
    return np.array(plain if correction is None else [correction.rows_before(rows) for rows in plain], dtype=np.intp)


def _fill(cube: _Cube, panel: Panel, key: _Key, *, scale: Scaling) -> None:
    """Compute a few factors at a time on all dates, correct and scale them a few dates at a time."""
    factors, correction, kind = key
    T, N = panel.shape
    view, dressed, late = (panel, panel, None) if correction is None else correction.prepared(panel)
    step = max(1, _GROUP_BYTES // max(1, 4 * T * N))
    for first in range(0, len(factors), step):
        group = FactorSet(factors.name, factors.factors[first : first + step], factors.options)
        columns = slice(first, first + len(group))
        features = evaluate(group, view)
        if late is not None:
            features.values[~late] = np.nan
        for start, block in _corrected(features, correction, dressed):
            seen = np.isfinite(block)
            if kind != "raw":
                seen &= panel.member[start : start + len(block), :, None]
            grid = np.where(seen, block, np.float32(np.nan)).transpose(0, 2, 1)
            cube.write(start, columns, scale(np.ascontiguousarray(grid)))


def _corrected(features: Features, correction: Correction | None, panel: Panel) -> Iterator[tuple[int, Block]]:
    """Stretches of dates after the fixed part of the chain.   Shape: (B, N, G)."""
    T, N, G = features.values.shape
    runs = [] if correction is None else [step.open(panel) for step in correction.fixed(features.names).steps]
    rows = max(1, _BLOCK_BYTES // max(1, 4 * N * G))
    for start in range(0, T, rows):
        part = slice(start, min(T, start + rows))
        block = features.values[part]
        if runs:
            block = np.array(block, order="C")
            for run in runs:
                block = run(block, part)
        yield start, block


def _name(panel: Panel, key: _Key) -> str:
    factors, correction, scale = key
    document = [
        _FORMAT,
        [[factor.name, str(factor.expr)] for factor in factors.factors],
        sorted(factors.options.stated.items()),
        None if correction is None else asdict(correction),
        scale,
        panel.source,
    ]
    return hashlib.sha256(json.dumps(document, ensure_ascii=False).encode()).hexdigest()[:32]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
