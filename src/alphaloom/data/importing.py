"""Import: read, sift, merge, screen, and publish the whole change at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from alphaloom.data.calendars import check_calendar
from alphaloom.data.checks import sift
from alphaloom.data.commit import Commit, locked, read_manifest
from alphaloom.data.describe import Change, described, put_table
from alphaloom.data.extras import (
    read_actions,
    read_documents,
    read_fundamentals,
    read_labels,
    read_membership,
    read_series,
)
from alphaloom.data.files import MarketFiles
from alphaloom.data.findings import ValidationReport
from alphaloom.data.limits import check_limits, with_limits
from alphaloom.data.merge import merge_bars
from alphaloom.data.sources import Bars, read_parquet, read_prices
from alphaloom.data.store import Store
from alphaloom.errors import DataError

__all__ = ["import_market"]

Progress = Callable[[str, float], None]


def import_market(
    prices: Any,
    store: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    extras: MarketFiles | None = None,
    calendar: str | None = None,
    progress: Progress | None = None,
) -> ValidationReport:
    """Brings prices and what accompanies them into a store, whole or not at all, and says what was noticed.

    `prices`: paths, globs, folders, pandas or polars frames; empty to bring extras only. Bars that break an error rule
    go into quarantine. Importing the same thing again changes no byte. `progress` is told each stage and its share.
    Raises: DataError for unreadable input, for changed bars without `extras.revise`, for a full disk; the store is then
    as it was.
    """
    tell = progress or (lambda stage, share: None)
    files = extras or MarketFiles()
    check_calendar(calendar)
    check_limits(files.limits)
    target = Store(store)
    tell("read", 0.0)
    sources = prices if isinstance(prices, Sequence) and not isinstance(prices, str) else [prices]
    bars = read_prices(list(sources), columns) if len(sources) else None
    if bars is None and not target.manifest:
        raise DataError(
            "a first import needs prices",
            found="no source",
            where=str(store),
            fix="name the files of prices; what stands beside them may come later",
        )
    tables = _read_extras(files, tell)
    with locked(target.path), Commit(target.path) as commit:
        change = Change(read_manifest(target.path))
        _put_extras(change, commit, tables=tables, files=files)
        tell("check", 0.25)
        whole = _put_prices(change, commit, bars=_limited(bars, change, files, commit.root), revise=files.revise)
        tell("screen", 0.6)
        manifest, report = described(change, commit, whole=whole, bars=bars, files=files, calendar=calendar)
        tell("write", 0.9)
        if manifest is not None:
            commit.publish(manifest)
    tell("done", 1.0)
    return report


def _limited(bars: Bars | None, change: Change, files: MarketFiles, root: Path) -> Bars | None:
    if bars is None or files.limits == "none":
        return bars
    old = [name for name in change.old.get("files", {}) if name.startswith("prices/")]
    known = frozenset(asset for name in old for asset in read_parquet(root / name)["asset"].unique())
    return replace(bars, frame=with_limits(bars.frame, files.limits, known=known))


def _read_extras(files: MarketFiles, tell: Progress) -> dict[str, pl.DataFrame]:
    readers: dict[str, tuple[Any, Callable[[Any], pl.DataFrame]]] = {
        "membership": (files.membership, read_membership),
        "labels": (files.sectors, lambda source: read_labels(source, files.label_columns)),
        "fundamentals": (files.fundamentals, read_fundamentals),
        "documents": (files.documents, read_documents),
        "actions": (files.actions, read_actions),
    }
    tell("read extras", 0.15)
    tables = {kind: read(source) for kind, (source, read) in readers.items() if source is not None}
    for name, file in files.all_series().items():
        tables[f"series:{name}"] = read_series(name, file)
    return tables


def _put_extras(change: Change, commit: Commit, *, tables: Mapping[str, pl.DataFrame], files: MarketFiles) -> None:
    series = files.all_series()
    for key, entry in change.old.get("extras", {}).items():
        if key not in tables:
            change.extras[key] = entry
            change.files[entry["file"]] = change.old["files"][entry["file"]]
    for key, table in tables.items():
        fresh: dict[str, Any] = {"file": put_table(change, commit, f"extras/{key.replace(':', '-')}", table)}
        if key == "fundamentals":
            fresh["columns"] = [name for name in table.columns if name not in ("asset", "period_end", "available")]
            fresh["lag_days"] = files.fundamentals_lag
        if key.startswith("series:"):
            file = series[key.removeprefix("series:")]
            fresh |= {"lag_days": file.lag_days, "lag_bars": file.lag_bars, "carry": file.carry}
        change.extras[key] = fresh


def _put_prices(change: Change, commit: Commit, *, bars: Bars | None, revise: bool) -> pl.DataFrame:
    """Sifts and merges the new bars year by year and returns the whole table as it will be."""
    old_parts = {
        int(name.split("/")[1].removeprefix("year=")): name
        for name in change.old.get("files", {})
        if name.startswith("prices/")
    }
    fresh: dict[int, pl.DataFrame] = {}
    if bars is not None:
        good, set_aside, found = sift(bars.frame)
        change.findings.extend(found)
        change.counts["set_aside"] = set_aside.height
        _put_quarantine(change, commit, set_aside)
        years = good.with_columns(_year=pl.col("time").dt.year())
        fresh = {
            int(key[0]): part for key, part in years.partition_by("_year", as_dict=True, include_key=False).items()
        }
    else:
        _put_quarantine(change, commit, None)
    parts = []
    for year in sorted({*old_parts, *fresh}):
        old = read_parquet(commit.root / old_parts[year]) if year in old_parts else None
        part = old
        if year in fresh:
            merged = merge_bars(old, fresh[year], revise=revise)
            part = merged.frame
            for key in ("new", "unchanged", "revised"):
                change.counts[key] += getattr(merged, key)
            change.revisions.append(merged.revisions)
        assert part is not None
        if year in old_parts and part is old:
            change.files[old_parts[year]] = change.old["files"][old_parts[year]]
        else:
            put_table(change, commit, f"prices/year={year}/part", part)
        parts.append(part)
    if not parts:
        raise DataError(
            "an import must leave bars to store",
            found="every row is in quarantine",
            where="prices",
            fix="; ".join(f"{item.rule}: {item.count}" for item in change.findings if item.severity == "error"),
        )
    _put_revisions(change, commit)
    return pl.concat(parts, how="diagonal").sort("asset", "time")


def _put_quarantine(change: Change, commit: Commit, rows: pl.DataFrame | None) -> None:
    kept = [name for name in change.old.get("files", {}) if name.startswith("quarantine/")]
    old = read_parquet(commit.root / kept[0]) if kept else pl.DataFrame()
    new = rows if rows is not None else pl.DataFrame()
    if old.height and new.height:
        # The same rows again are not news; a second copy inside one file is.
        new = (
            new.join(old.select(new.columns), on=new.columns, how="anti", nulls_equal=True)
            if set(new.columns) <= set(old.columns)
            else new
        )
    table = pl.concat([item for item in (old, new) if item.height], how="diagonal") if old.height or new.height else old
    if table.height:
        put_table(change, commit, "quarantine/rows", table)


def _put_revisions(change: Change, commit: Commit) -> None:
    kept = [name for name in change.old.get("files", {}) if name.startswith("revisions/")]
    tables = [read_parquet(commit.root / name) for name in kept]
    tables += [item for item in change.revisions if item.height]
    if tables:
        put_table(change, commit, "revisions/cells", pl.concat(tables))
