"""The panels of the daily job: what the study read, and what has come since, each day as it was known on that day."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from alphaloom.app.sources import StoreView, load_panel
from alphaloom.data import EmbeddedMarket
from alphaloom.errors import DataError
from alphaloom.panel import Panel
from alphaloom.production import continued

__all__ = ["DailyPanels", "open_panels"]

_CHUNK = 250
_CHUNKS = 40


@dataclass(eq=False)
class DailyPanels:
    """Panels for one run; ask `calendar` for the bars there are and `at` for the panel of one of them.

    The rows that the study read are the study's own, to the bit. Later rows continue them at the study's prices. A
    store is read as of the day that is asked for: splits and dividends that came after it have no say. The embedded
    market goes on as a longer one would, in steps of 250 bars.
    """

    source: Any
    known: Panel
    vanished: tuple[str, ...] = ()
    _newest: Panel | None = None
    _joined: dict[int, Panel] = field(default_factory=dict)

    def calendar(self, upto: str | None) -> Panel:
        """The panel with the latest bars, those until `upto` at least where there are so many."""
        if isinstance(self.source, EmbeddedMarket):
            return self._simulated(self.known.times[-1] if upto is None else _end_of(upto))
        newest = self._latest()
        return self.known if newest.times[-1] <= self.known.times[-1] else newest

    def at(self, time: np.datetime64) -> Panel:
        """The panel in which the bar `time` stands, with nothing of later days in the rows up to it."""
        if time <= self.known.times[-1]:
            return self.known
        return self._simulated(time) if isinstance(self.source, EmbeddedMarket) else self._stored(time)

    def _simulated(self, time: np.datetime64) -> Panel:
        panel, step = self.known, 0
        while panel.times[-1] < time and step < _CHUNKS:
            step += 1
            if step not in self._joined:
                market = self.source
                bars, opening = market.days + step * _CHUNK, market.opening or market.days
                longer = load_panel(replace(market, days=bars, opening=opening))
                self._joined = {**self._joined, step: continued(panel, longer)[0]}
            panel = self._joined[step]
        return panel

    def _latest(self) -> Panel:
        if self._newest is None:
            self._newest = load_panel(replace(self.source, end=None, as_of=None))
        return self._newest

    def _stored(self, time: np.datetime64) -> Panel:
        """The store as of a day; read once for all days that no later split, dividend or listing divides."""
        newest = self._latest()
        row = int(np.searchsorted(newest.times, time, side="right"))
        if not _divided(newest, row):
            key, fresh = -1, newest
        else:
            key, fresh = row, newest  # read below, and only if it is not at hand
        if key not in self._joined:
            if key >= 0:
                fresh = load_panel(replace(self.source, end=None, as_of=str(time)[:10]))
            joined, self.vanished = continued(self.known, fresh)
            kept = {-1: self._joined[-1]} if -1 in self._joined else {}
            self._joined = {**kept, key: joined}
        return self._joined[key]


def _divided(newest: Panel, row: int) -> bool:
    """True when something after the first `row` rows shows in them: an adjustment, or an asset that came later."""
    factor = newest.fields.get("adj_factor")
    if factor is None or (newest.listed[row:].any(axis=0) & ~newest.listed[:row].any(axis=0)).any():
        return True
    known = np.isfinite(factor[:row])
    last = row - 1 - np.argmax(known[::-1], axis=0)
    return bool((known.any(axis=0) & (factor[last, np.arange(factor.shape[1])] != 1.0)).any())


def _end_of(day: str) -> np.datetime64:
    try:
        midnight: np.datetime64 = (np.datetime64(day[:10], "D") + 1).astype("datetime64[ns]")
        return midnight - np.timedelta64(1, "ns")
    except ValueError as error:
        raise DataError("a day is written like 2024-01-31", found=day, where="date") from error


def open_panels(source: Any, provenance: Any, store: Path | None) -> DailyPanels:
    """The panels of a run whose configuration names `source`; `store` is where a store stands now.

    Raises: DataError when the data are no longer those that the study read.
    """
    if store is not None:
        if not isinstance(source, StoreView):
            raise DataError(
                "a run goes on with the data that it was made with",
                found="a store, and the study read the embedded market",
                where="--data",
                fix="leave --data out, or run the study on the store",
            )
        source = replace(source, path=str(store))
    views = [source]
    if isinstance(source, StoreView):
        # A store that has grown gives the study's panel when it is read as of the study's last day.
        views.append(replace(source, as_of=str(provenance["last"])[:10]))
    found = None
    for view in views:
        try:
            panel = load_panel(view)
        except DataError:
            if found is None:
                raise
            break
        if panel.source == provenance["data_hash"]:
            return DailyPanels(source, panel)
        found = panel
    assert found is not None
    raise DataError(
        "a run goes on with the data that its study read",
        found=_apart(found, provenance),
        where=str(getattr(source, "path", "the embedded market")),
        fix="restore the data, or run the study again on the data as they are",
    )


def _apart(panel: Panel, provenance: Any) -> str:
    facts = {
        "bars": len(panel),
        "assets": len(panel.assets),
        "first": str(panel.times[0])[:19],
        "last": str(panel.times[-1])[:19],
    }
    told = [f"{name} {value}, not {provenance[name]}" for name, value in facts.items() if value != provenance[name]]
    return "; ".join(told) or f"other values: {panel.source[:16]}, not {str(provenance['data_hash'])[:16]}"
