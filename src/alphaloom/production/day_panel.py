"""The panel of a production day: the study's own past, continued; and hashes of what was read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.corpus import Corpus
from alphaloom.errors import DataError
from alphaloom.panel import Panel, last_known
from alphaloom.units import Unit

__all__ = ["Reading", "continued", "row_of"]

_MASKS = ("member", "listed", "buyable", "sellable")
_SAME = 1e-6  # a factor so close to one is rounding
_REVISED = 1e-4  # a past price that moved by more was revised, whatever the rounding of its adjustment


def row_of(panel: Panel, when: str | np.datetime64 | None) -> int:
    """The row of a day, the last bar of the day where it has several; the panel's last row for None.

    Raises: DataError for a day without a bar, naming the bars around it, and for one after the last.
    """
    if when is None:
        return len(panel) - 1
    text = str(when)
    try:
        moment = np.datetime64(text)
    except ValueError as error:
        raise DataError("a day is written like 2024-01-31", found=text, where="date") from error
    if len(text) <= 10:
        begin, end = (np.datetime64(text, "D") + k for k in (0, 1))
        row = int(np.searchsorted(panel.times, end.astype("datetime64[ns]"))) - 1
        if row >= 0 and panel.times[row] >= begin.astype("datetime64[ns]"):
            return row
        moment = begin
    row = int(np.searchsorted(panel.times, moment.astype("datetime64[ns]")))
    if row < len(panel) and panel.times[row] == moment.astype("datetime64[ns]"):
        return row
    if row == len(panel):
        raise DataError(
            "a day can be run once the data reach it",
            found=f"{text}, and the last bar is of {_day(panel.times[-1])}",
            where="date",
            fix="import newer bars, or run the last bar",
        )
    before = f"the bar before it is of {_day(panel.times[row - 1])}, " if row else ""
    raise DataError(
        "a day is a bar of the panel",
        found=f"{text}, which is none",
        where="date",
        fix=f"{before}the one after it is of {_day(panel.times[row])}",
    )


def continued(known: Panel, later: Panel) -> tuple[Panel, tuple[str, ...]]:
    """The panel `known` with the newer rows of `later`, and the assets that vanished from it.

    The rows of `known` stay as they are, so that everything that was learned and decided on them stays true to the bit.
    The newer rows are brought to the prices of `known`: an asset's later prices are multiplied by one factor (its
    volumes by another), taken from the last bar that both know, because a split or dividend in between has moved all
    of its adjusted prices. New assets follow the old ones; one that `later` no longer has is not listed in new rows.
    Raises: DataError when the bars or the prices of the past are not those of `known`.
    """
    K, T = len(known), len(later)
    if T < K or not np.array_equal(later.times[:K], known.times):
        raise DataError(
            "newer data hold every bar that the study read",
            found=_bars_apart(known, later),
            where="the calendar of the data",
            fix="restore the bars, or run the study again on the data as they are",
        )
    kinds = ("fields", "series", "labels")
    lost = [f"{kind}.{n}" for kind in kinds for n in getattr(known, kind) if n not in getattr(later, kind)]
    if lost:
        raise DataError("newer data hold all that the study read", found=f"no {', '.join(lost)}", where="the data")
    place = {name: j for j, name in enumerate(later.assets)}
    fresh = [name for name in later.assets if name not in set(known.assets)]
    axis = _Axis(known, later, (*known.assets, *fresh), np.array([place.get(name, -1) for name in known.assets]))
    price, share = axis.scale("close"), axis.scale("volume")
    vanished = tuple(name for name in known.assets if name not in place)
    return axis.joined(price, share), vanished


@dataclass(frozen=True, eq=False)
class _Axis:
    """Two panels, the assets of their union, and where the columns of the older one lie in the newer (-1: nowhere)."""

    known: Panel
    later: Panel
    assets: tuple[str, ...]
    column: NDArray[Any]

    def scale(self, name: str) -> NDArray[np.float64]:
        """What a field of the newer panel is multiplied by, asset by asset.   Shape: (M,), 1 for new assets."""
        factor = np.ones(len(self.assets))
        if name not in self.known.fields or name not in self.later.fields:
            return factor
        here = np.flatnonzero(self.column >= 0)
        old = np.asarray(self.known[name][:, here], dtype=np.float64)
        new = np.asarray(self.later[name][: len(self.known), self.column[here]], dtype=np.float64)
        both = np.isfinite(old) & np.isfinite(new) & (old > 0.0) & (new > 0.0)
        ratio = np.where(both, old / np.where(both, new, 1.0), np.nan)
        last = last_known(ratio)[-1]
        if name == "close":
            self._check_past(ratio / last, here)
        last = np.where(np.isnan(last) | (np.abs(last - 1.0) < _SAME), 1.0, last)
        factor[here] = last
        return factor

    def _check_past(self, ratio: NDArray[np.float64], here: NDArray[np.intp]) -> None:
        apart = np.argwhere(np.abs(ratio - 1.0) > _REVISED)
        if len(apart):
            row, at = (int(part) for part in apart[-1])
            raise DataError(
                "the past that a study read does not change",
                found=f"{len(apart)} closes moved, the latest of {self.known.assets[here[at]]} on "
                f"{_day(self.known.times[row])} by {ratio[row, at] - 1.0:+.4%}",
                where="close",
                fix="restore the data, or run the study again on the revised ones",
            )

    def joined(self, price: NDArray[np.float64], share: NDArray[np.float64]) -> Panel:
        known, later = self.known, self.later
        fields = {
            name: self._grid(values, later[name], np.nan, _exponent(name, known.units[name], price, share))
            for name, values in known.fields.items()
        }
        names, labels = {}, {}
        for name, values in known.labels.items():
            names[name], codes = self._labels(name)
            labels[name] = self._grid(values, codes, -1)
        member, listed, buyable, sellable = (
            self._grid(getattr(known, name), getattr(later, name), False) for name in _MASKS
        )
        series = {
            name: np.concatenate([values, later.series[name][len(known) :]]) for name, values in known.series.items()
        }
        return Panel(
            times=later.times,
            assets=self.assets,
            fields=fields,
            units=known.units,
            series=series,
            labels=labels,
            label_names=names,
            corpus=self._corpus(),
            periods_per_year=known.periods_per_year,
            notes=later.notes,
            member=member,
            listed=listed,
            buyable=buyable,
            sellable=sellable,
        )

    def _grid(
        self, old: NDArray[Any], new: NDArray[Any], nothing: Any, factor: NDArray[np.float64] | None = None
    ) -> NDArray[Any]:
        K, T, N = len(old), len(new), old.shape[1]
        grid = np.full((T, len(self.assets)), nothing, dtype=old.dtype)
        here = np.flatnonzero(self.column >= 0)
        newer = np.full(grid.shape, nothing, dtype=new.dtype)
        newer[:, here] = new[:, self.column[here]]
        newer[:, N:] = new[:, np.setdiff1d(np.arange(new.shape[1]), self.column)]
        scaled = newer if factor is None or (factor == 1.0).all() else newer.astype(np.float64) * factor
        grid[K:] = scaled[K:]
        grid[:K, N:] = newer[:K, N:]
        grid[:K, :N] = old
        return grid

    def _labels(self, name: str) -> tuple[tuple[str, ...], NDArray[np.int16]]:
        """The older panel's codes with new labels after them, and the newer panel's rows in these codes."""
        old, new = self.known.label_names.get(name, ()), self.later.label_names.get(name, ())
        names = (*old, *(label for label in new if label not in old))
        place = np.array([*(names.index(label) for label in new), -1], dtype=np.int16)
        return names, place[self.later.labels[name]] if new else self.later.labels[name]

    def _corpus(self) -> Corpus:
        later = self.later.corpus
        if not len(later):
            return later
        place = {name: j for j, name in enumerate(self.assets)}
        columns = np.array([*(place[name] for name in self.later.assets), -1], dtype=np.int32)
        return Corpus(later.available, columns[later.asset], later.text, later.kind)


def _exponent(
    name: str, unit: Unit, price: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    if name == "adj_factor":
        return price
    if unit.price and not unit.share:
        return np.asarray(price ** float(unit.price))
    return np.asarray(share ** float(unit.share)) if unit.share and not unit.price else None


def _bars_apart(known: Panel, later: Panel) -> str:
    lost = np.setdiff1d(known.times, later.times)
    added = np.setdiff1d(later.times[later.times <= known.times[-1]], known.times)
    parts = [
        f"{len(days)} bars {word}, the first of {_day(days[0])}"
        for days, word in ((lost, "lost"), (added, "added"))
        if len(days)
    ]
    return "; ".join(parts) or "another calendar"


@dataclass(eq=False)
class Reading:
    """Hashes of everything that a panel says up to a row, each field apart; asked day by day it reads each row once."""

    _panel: Panel | None = None
    _rows: int = 0
    _states: dict[str, Any] = field(default_factory=dict)

    def at(self, panel: Panel, row: int) -> dict[str, str]:
        """The hash of each part of rows 0..row.   Time: no later row is read."""
        if panel is not self._panel or row + 1 < self._rows:
            self._panel, self._rows, self._states = panel, 0, {}
        rows = slice(self._rows, row + 1)
        for name, values in _parts(panel, rows):
            self._states.setdefault(name, hashlib.sha256(values.dtype.str.encode())).update(
                np.ascontiguousarray(values).data
            )
        self._rows = row + 1
        told = {name: state.hexdigest()[:16] for name, state in self._states.items()}
        told["assets"] = hashlib.sha256("\0".join(panel.assets).encode()).hexdigest()[:16]
        if len(panel.corpus):
            told["corpus"] = panel.corpus.known(panel.times[row]).digest()[:16]
        return dict(sorted(told.items()))


def _parts(panel: Panel, rows: slice) -> list[tuple[str, NDArray[Any]]]:
    grids = [(name, values) for group in (panel.fields, panel.series, panel.labels) for name, values in group.items()]
    masks = [(name, getattr(panel, name).view(np.uint8)) for name in _MASKS]
    times = ("times", panel.times.view(np.int64))
    return [(name, values[rows]) for name, values in (times, *grids, *masks)]


def _day(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, unit="D"))
