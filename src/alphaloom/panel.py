"""The panel: everything that was known about a set of assets, bar by bar."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from alphaloom.corpus import Corpus
from alphaloom.errors import AxisError, DataError
from alphaloom.units import Unit, standard_unit

__all__ = ["Panel", "bars_per_year", "last_known"]

_MASKS = ("member", "listed", "buyable", "sellable")
_GRIDS = ("fields", "labels")


@dataclass(frozen=True, eq=False)
class Panel:
    """Prices, other fields and labels of N assets over T bars; row t holds what was complete at `times[t]`.

    Shape: `times` (T,) datetime64[ns], strictly increasing; `assets` N unique names, every asset that was ever a
    member, dead ones included; `fields` (T, N) float32 or float64; `series` (T,) float64; `labels` (T, N) int16, -1
    where unknown, with `label_names[name][code]`; the masks (T, N) bool.
    Unit: `units[field]`; prices are adjusted as of the panel's making, shares inversely to splits.
    Time: `buyable[t]` and `sellable[t]` say whether an order that reaches the open of bar t can be filled there.
    `listed[t]` is False before the first bar and from the first bar after the last one: a fall from True to False is
    a delisting, which the ledger settles. `member[t]` is the universe for cross-sections and portfolios.
    Missing: NaN = not known. Arrays are read-only; slices share memory with their parent.
    Raises: DataError, AxisError at construction.
    """

    times: NDArray[np.datetime64]
    assets: tuple[str, ...]
    fields: Mapping[str, NDArray[Any]]
    units: Mapping[str, Unit] = field(default_factory=dict)
    series: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    labels: Mapping[str, NDArray[np.int16]] = field(default_factory=dict)
    label_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    member: NDArray[np.bool_] = None  # type: ignore[assignment]  # filled at construction
    listed: NDArray[np.bool_] = None  # type: ignore[assignment]  # filled at construction
    buyable: NDArray[np.bool_] = None  # type: ignore[assignment]  # filled at construction
    sellable: NDArray[np.bool_] = None  # type: ignore[assignment]  # filled at construction
    corpus: Corpus = field(default_factory=Corpus.empty)
    periods_per_year: float = 0.0
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        put = _setter(self)
        put("times", _read_only(_checked_times(self.times)))
        put("assets", _checked_assets(self.assets))
        shape = (len(self.times), len(self.assets))
        put("fields", _frozen_map({k: _checked_field(k, v, shape) for k, v in self.fields.items()}))
        put("units", _frozen_map({k: self.units.get(k, standard_unit(k)) for k in self.fields}))
        put("series", _frozen_map({k: _checked_series(k, v, shape[0]) for k, v in self.series.items()}))
        put("labels", _frozen_map({k: _checked_label(k, v, shape) for k, v in self.labels.items()}))
        put("label_names", _frozen_map({k: tuple(v) for k, v in self.label_names.items()}))
        self._fill_masks(shape)
        if not self.periods_per_year:
            put("periods_per_year", bars_per_year(self.times))
        if not self.source:
            put("source", self.digest())

    def _fill_masks(self, shape: tuple[int, int]) -> None:
        put = _setter(self)
        seen = _first_to_last(self.fields["close"]) if "close" in self.fields else np.ones(shape, bool)
        has_open = np.isfinite(self.fields["open"]) if "open" in self.fields else seen
        defaults = {"listed": seen, "member": seen, "buyable": has_open & seen, "sellable": has_open & seen}
        for name in _MASKS:
            given = getattr(self, name)
            put(name, _read_only(_checked_mask(name, defaults[name] if given is None else given, shape)))

    def __getstate__(self) -> dict[str, Any]:
        # Read-only maps do not travel between processes; their contents do.
        return {
            name: dict(value) if isinstance(value, MappingProxyType) else value for name, value in vars(self).items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        def closed(value: Any) -> Any:
            return _read_only(value) if isinstance(value, np.ndarray) else value

        for name, value in state.items():
            whole = _frozen_map({k: closed(v) for k, v in value.items()}) if isinstance(value, dict) else closed(value)
            object.__setattr__(self, name, whole)

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return len(self.times), len(self.assets)

    def __len__(self) -> int:
        return len(self.times)

    @overload
    def __getitem__(self, key: str) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, key: slice) -> Panel: ...
    def __getitem__(self, key: str | slice) -> NDArray[Any] | Panel:
        """`panel["close"]` is a field; `panel[a:b]` is the panel as it was known after bar b - 1."""
        if isinstance(key, str):
            if key not in self.fields:
                raise DataError(
                    "a panel is indexed by one of its fields",
                    found=key,
                    where="panel[...]",
                    fix=f"one of: {', '.join(self.fields)}",
                )
            return self.fields[key]
        start, stop, step = key.indices(len(self))
        if step != 1:
            raise AxisError("a panel is sliced by consecutive rows", found=f"step {step}", where="panel[...]")
        return self._rows(start, max(start, stop))

    def _rows(self, start: int, stop: int) -> Panel:
        # Slices are made once a bar in a sequential back-test: they skip the validation their parent has passed.
        part = object.__new__(Panel)
        put = part.__dict__.__setitem__
        rows = slice(start, stop)
        put("times", self.times[rows])
        for name in ("assets", "units", "label_names", "periods_per_year", "notes"):
            put(name, getattr(self, name))
        for name in _GRIDS:
            put(name, MappingProxyType({k: v[rows] for k, v in getattr(self, name).items()}))
        put("series", MappingProxyType({k: v[rows] for k, v in self.series.items()}))
        for name in _MASKS:
            put(name, getattr(self, name)[rows])
        put("corpus", self.corpus.known(self.times[stop - 1]) if stop > start else Corpus.empty())
        put("source", f"{self.source}[{start}:{stop}]")
        return part

    def replace(self, **changes: Any) -> Panel:
        """A copy with some parts changed, validated again; the content hash is computed anew."""
        names = ("times", "assets", *_GRIDS, "units", "series", "label_names", *_MASKS, "corpus")
        parts = {name: getattr(self, name) for name in (*names, "periods_per_year", "notes")}
        return Panel(**{**parts, **changes})

    def with_field(self, name: str, values: NDArray[Any], unit: Unit) -> Panel:
        """The same panel with one more (or one replaced) field.

        Shape: values (T, N).   Raises: AxisError if the shape differs.
        """
        grid = _checked_field(name, values, self.shape)
        state = hashlib.sha256(f"{self.source}+{name}:{unit}:{grid.dtype.str}".encode())
        state.update(np.ascontiguousarray(grid).data)
        return self.replace(
            fields={**self.fields, name: grid}, units={**self.units, name: unit}, source=state.hexdigest()
        )

    def row_of(self, when: str | np.datetime64) -> int:
        """The first row at or after `when`; T if there is none."""
        return int(np.searchsorted(self.times, np.asarray(when, dtype="datetime64[ns]"), side="left"))

    def columns_of(self, assets: Sequence[str]) -> NDArray[np.intp]:
        """The columns of some assets.   Raises: DataError naming every asset that the panel lacks."""
        place = {name: j for j, name in enumerate(self.assets)}
        unknown = [name for name in assets if name not in place]
        if unknown:
            raise DataError(
                "an asset must be one of the panel's",
                found=", ".join(unknown[:10]),
                where="panel.assets",
                fix=f"the panel holds {len(self.assets)}, from {self.assets[0]} to {self.assets[-1]}",
            )
        return np.array([place[name] for name in assets], dtype=np.intp)

    def digest(self) -> str:
        """A content hash of everything but the notes; equal panels give equal hashes on every machine."""
        state = hashlib.sha256()
        state.update(self.times.astype("<i8").tobytes())
        state.update("\0".join(self.assets).encode())
        for group in ("fields", "series", "labels"):
            for name, values in sorted(getattr(self, group).items()):
                state.update(f"{group}.{name}:{self.units.get(name)}:{values.dtype.str}".encode())
                state.update(np.ascontiguousarray(values).data)
        for name in _MASKS:
            state.update(np.packbits(getattr(self, name)).data)
        state.update(self.corpus.digest().encode())
        return state.hexdigest()


def bars_per_year(times: NDArray[np.datetime64]) -> float:
    """How many bars a year has, counted from the bars themselves.

    Time: bars divided by the calendar time between the first and the last, rounded to a whole number of bars. With
    fewer than two bars there is nothing to count and the answer is 252.
    """
    if len(times) < 2:
        return 252.0
    years = float((times[-1] - times[0]) / np.timedelta64(1, "s")) / (365.2425 * 86400.0)
    return float(max(1.0, round((len(times) - 1) / years)))


def last_known(values: NDArray[Any]) -> NDArray[Any]:
    """Each row's last finite value at or before it.   Shape: (T, N) -> (T, N).   Missing: NaN where none is known."""
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], 0), axis=0)
    return np.take_along_axis(np.where(known, values, np.nan), last, axis=0)


def _setter(panel: Panel) -> Any:
    return lambda name, value: object.__setattr__(panel, name, value)


def _frozen_map(values: dict[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(values)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _first_to_last(close: NDArray[Any]) -> NDArray[np.bool_]:
    """True from the first known close to the last one, halts in between included."""
    known = np.isfinite(close)
    return np.asarray(np.logical_or.accumulate(known, axis=0) & np.logical_or.accumulate(known[::-1], axis=0)[::-1])


def _checked_times(times: NDArray[Any]) -> NDArray[np.datetime64]:
    stamps = np.ascontiguousarray(times, dtype="datetime64[ns]")
    if stamps.ndim != 1 or np.isnat(stamps).any():
        raise DataError(
            "times must be one row of dates without gaps", found=f"shape {stamps.shape}", where="panel.times"
        )
    late = np.flatnonzero(np.diff(stamps.view(np.int64)) <= 0)
    if len(late):
        at = int(late[0])
        raise DataError(
            "times must be strictly increasing",
            found=f"{stamps[at + 1]} after {stamps[at]}",
            where=f"panel.times[{at + 1}]",
            fix="sort the rows and remove duplicated dates",
        )
    return stamps


def _checked_assets(assets: Sequence[str]) -> tuple[str, ...]:
    names = tuple(str(name) for name in assets)
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError("assets must be unique", found=", ".join(twice[:10]), where="panel.assets")
    return names


def _checked_shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise AxisError(
            "an array must fit the panel's axes", found=f"shape {array.shape}, not {shape}", where=f"panel.{name}"
        )


def _checked_field(name: str, values: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    _checked_shape(f"fields[{name}]", array, shape)
    return _read_only(np.ascontiguousarray(array))


def _checked_series(name: str, values: NDArray[Any], length: int) -> NDArray[np.float64]:
    array = np.ascontiguousarray(values, dtype=np.float64)
    _checked_shape(f"series[{name}]", array, (length,))
    return _read_only(array)


def _checked_label(name: str, values: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.int16]:
    array = np.ascontiguousarray(values, dtype=np.int16)
    _checked_shape(f"labels[{name}]", array, shape)
    return _read_only(array)


def _checked_mask(name: str, values: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.bool_]:
    array = np.ascontiguousarray(values)
    if array.dtype != np.bool_:
        raise DataError("a mask is an array of booleans", found=str(array.dtype), where=f"panel.{name}")
    _checked_shape(name, array, shape)
    return array
