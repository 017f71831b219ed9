"""Putting dated facts on a panel's axes: a value stands in row t only if it was known at `times[t]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alphaloom.corpus import Corpus
from alphaloom.data.calendars import session_closes
from alphaloom.units import PRICE, SHARE, Unit

__all__ = [
    "Axes",
    "corpus_of",
    "dividend_part",
    "fundamentals_grid",
    "in_last_shares",
    "labels_grid",
    "membership_grid",
    "series_row",
]

Times = NDArray[np.datetime64]
_DAY = np.timedelta64(1, "D").astype("timedelta64[ns]")
_STALE_DAYS = 550


class Axes:
    """The times and assets of a panel under construction, and which column an asset's name in another file means."""

    def __init__(self, times: Times, assets: Sequence[str]) -> None:
        self.times = times
        self.assets = tuple(assets)
        self._place = {name: column for column, name in enumerate(self.assets)}

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N)."""
        return len(self.times), len(self.assets)

    def column(self, name: str | None) -> int:
        """The column of an asset, share classes written with a dot or a dash alike; -1 if the panel lacks it."""
        if name is None:
            return -1
        for spelling in (name, name.replace(".", "-"), name.replace("-", "."), name.replace(".", "")):
            if spelling in self._place:
                return self._place[spelling]
        return -1

    def columns(self, names: pl.Series) -> NDArray[np.int64]:
        """The columns of many assets."""
        unique = names.unique().to_list()
        found = {name: self.column(name) for name in unique}
        return np.array([found[name] for name in names.to_list()], dtype=np.int64)

    def rows(self, when: Times) -> NDArray[np.int64]:
        """The first row at or after each time; T where the panel ends before it."""
        return np.searchsorted(self.times, when.astype("datetime64[ns]"), side="left").astype(np.int64)


def membership_grid(spells: pl.DataFrame, axes: Axes) -> NDArray[np.bool_]:
    """True from the start of each spell to the bar before its end.   Shape: (T, N)."""
    steps = np.zeros((axes.shape[0] + 1, axes.shape[1]), dtype=np.int32)
    columns = axes.columns(spells["asset"])
    here = columns >= 0
    starts = axes.rows(spells["start"].to_numpy())
    ends = spells["end"].to_numpy()
    stops = np.where(np.isnat(ends), axes.shape[0], axes.rows(np.where(np.isnat(ends), axes.times[-1], ends)))
    np.add.at(steps, (starts[here], columns[here]), 1)
    np.add.at(steps, (np.maximum(stops, starts)[here], columns[here]), -1)
    return np.asarray(np.cumsum(steps[:-1], axis=0) > 0)


def labels_grid(table: pl.DataFrame, axes: Axes) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Label codes of one level and their names; a dated label holds from its date until the next one.

    Shape: (T, N) int16.   Missing: -1 before the first date and for assets without a label.
    """
    names = tuple(sorted(table["label"].unique().to_list()))
    code = {name: number for number, name in enumerate(names)}
    codes = np.array([code[name] for name in table["label"].to_list()], dtype=np.int16)
    starts = table["start"].to_numpy()
    undated = np.isnat(starts)
    rows = np.where(undated, 0, axes.rows(np.where(undated, axes.times[0], starts)))
    # Undated labels first, so that a dated one for the same asset replaces them from its date on.
    order = np.lexsort((np.where(undated, np.datetime64("0001-01-01", "s"), starts), rows))
    source = np.full(axes.shape, -1, dtype=np.int64)
    columns = axes.columns(table["asset"])
    for at in order:
        if columns[at] >= 0 and rows[at] < axes.shape[0]:
            source[rows[at], columns[at]] = at
    carried = _carry(source)
    return np.where(carried >= 0, codes[carried], np.int16(-1)).astype(np.int16), names


def _carry(source: NDArray[np.int64]) -> NDArray[np.int64]:
    """The last known place at or before each row; -1 before the first."""
    rows = np.arange(source.shape[0])[:, None]
    last = np.maximum.accumulate(np.where(source >= 0, rows, -1), axis=0)
    carried = np.take_along_axis(source, np.maximum(last, 0), axis=0)
    return np.asarray(np.where(last >= 0, carried, -1))


def _whole_days(times: Times) -> bool:
    return bool((times == times.astype("datetime64[D]")).all())


def series_row(table: pl.DataFrame, times: Times, options: Mapping[str, Any]) -> NDArray[np.float64]:
    """A series on the panel's bars, each value no earlier than its publication.   Shape: (T,).

    Missing: without `carry` a bar on which nothing was published is NaN.
    """
    when = table["time"].to_numpy() + int(options["lag_days"]) * _DAY
    # A daily bar bears the stamp of its day and is complete with that day's value; a bar inside a day is not.
    if not _whole_days(times) and _whole_days(when):
        when = when + _DAY
    rows = np.searchsorted(times, when, side="left") + int(options["lag_bars"])
    # What was published before the first bar matters only where it is carried into it.
    usable = (rows < len(times)) & ((when >= times[0]) | bool(options["carry"]))
    out = np.full(len(times), np.nan)
    out[rows[usable]] = table["value"].to_numpy()[usable]  # sorted by time: of several on one bar the last stays
    if options["carry"]:
        known = np.maximum.accumulate(np.where(np.isfinite(out), np.arange(len(out)), -1))
        out = np.where(known >= 0, out[known], np.nan)
    return out


def fundamentals_grid(table: pl.DataFrame, name: str, axes: Axes, lag_days: int) -> NDArray[np.float64]:
    """One statement column as it was known at each close.   Shape: (T, N).

    Time: a statement counts from the first bar at or after its available date plus the lag; a restatement counts from
    its own date; an older period never replaces a newer one that is known already.
    Missing: NaN before the first statement and when the period ended more than 550 days ago.
    """
    given = table.filter(pl.col(name).is_not_null() & pl.col(name).is_finite()).sort(
        "asset", "available", "period_end", maintain_order=True
    )
    newest = pl.col("period_end").cum_max().over("asset")
    given = given.filter(pl.col("period_end") == newest)
    columns = axes.columns(given["asset"])
    rows = axes.rows(given["available"].to_numpy() + lag_days * _DAY)
    here = np.flatnonzero((columns >= 0) & (rows < axes.shape[0]))
    source = np.full(axes.shape, -1, dtype=np.int64)
    source[rows[here], columns[here]] = here  # sorted: of several on one bar the newest period's last figure stays
    carried = _carry(source)
    if given.height == 0:
        return np.full(axes.shape, np.nan)
    values, periods = given[name].to_numpy(), given["period_end"].to_numpy()
    fresh = (carried >= 0) & (axes.times[:, None] - periods[carried] <= _STALE_DAYS * _DAY)
    return np.where(fresh, values[carried], np.nan)


def in_last_shares(table: pl.DataFrame, units: Mapping[str, Unit], *, bars: pl.DataFrame, axes: Axes) -> pl.DataFrame:
    """Statements with counts of shares, and figures a share, told in shares of the last day of `bars`.

    `bars` holds asset, time and _shares, the factor from the shares of a bar to those of its asset's last one.
    Time: a figure was told in the shares of the last bar at or before its available date.
    """
    touched = {name: unit for name, unit in units.items() if unit in (PRICE, SHARE)}
    if not touched:
        return table
    columns = axes.columns(table["asset"])
    named = table.with_columns(
        _row=pl.int_range(pl.len()),
        _bars=pl.Series([axes.assets[at] if at >= 0 else None for at in columns], dtype=pl.String),
    )
    counted = named.sort("available").join_asof(
        bars.select(_bars="asset", time="time", _shares="_shares").sort("time"),
        left_on="available",
        right_on="time",
        by="_bars",
        check_sortedness=False,
    )
    first = (
        bars.sort("asset", "time").group_by(_bars="asset", maintain_order=True).agg(_first=pl.col("_shares").first())
    )
    counted = counted.join(first, on="_bars", how="left")
    factor = pl.coalesce("_shares", "_first", pl.lit(1.0))
    told = [pl.col(name) * factor if unit == SHARE else pl.col(name) / factor for name, unit in touched.items()]
    return counted.sort("_row").with_columns(told).select(table.columns)


def dividend_part(bars: pl.DataFrame, axes: Axes) -> NDArray[np.float64]:
    """What later dividends alone did to the prices of each bar: the price factor without its splits.

    Shape: (T, N).   Missing: a bar that is not there keeps the factor of the bar before.
    """
    source = np.full(axes.shape, -1, dtype=np.int64)
    inside = bars.filter(pl.col("time") >= axes.times[0])
    source[axes.rows(inside["time"].to_numpy()), axes.columns(inside["asset"])] = np.arange(inside.height)
    carried = _carry(source)
    values = (inside["adj_factor"] * inside["_shares"]).to_numpy()
    return np.where(carried >= 0, values[carried], np.nan)


def corpus_of(table: pl.DataFrame, axes: Axes, calendar: str | None, *, since: np.datetime64) -> tuple[Corpus, int]:
    """The documents of the panel's assets and of the whole market, and how many belong to other assets.

    Time: daily bars bear the stamp of their day. With a calendar a document counts for the bar at whose close it was
    known and is stamped with that bar; without one a document with a time of day counts from the next day's bar on. A
    document that has a date and no time counts from the day after, and one from before `since`, the first bar of the
    store, keeps its own time.
    """
    columns = axes.columns(table["asset"])
    foreign = (columns < 0) & table["asset"].is_not_null().to_numpy()
    when = table["available"].to_numpy().astype("datetime64[ns]")
    dated_only = table["dated_only"].to_numpy()
    when = np.where(dated_only, when + _DAY, when)
    if calendar is not None and _whole_days(axes.times) and not dated_only.all():
        days, closes = session_closes(calendar, since, axes.times[-1] + 7 * _DAY)
        place = np.searchsorted(closes, when, side="left")
        stamped = np.where(place < len(days), days[np.minimum(place, len(days) - 1)], when)
        when = np.where(dated_only | (when < since), when, stamped)
    keep = ~foreign & (when <= axes.times[-1])
    texts, kinds = table["text"].to_list(), table["kind"].to_list()
    chosen = np.flatnonzero(keep)
    corpus = Corpus.from_documents(
        when[chosen], columns[chosen].astype(np.int32), [texts[i] for i in chosen], [kinds[i] for i in chosen]
    )
    return corpus, int(foreign.sum())
