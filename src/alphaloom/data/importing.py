"""Import: read, sift, merge, screen, and publish the whole change at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from alphaloom.data.adjust import choose_method, measure_splits_in_close, with_events
from alphaloom.data.calendars import check_calendar
from alphaloom.data.checks import sift
from alphaloom.data.commit import Commit, locked, read_manifest
from alphaloom.data.coverage import cover_finding
from alphaloom.data.extras import (
    read_actions,
    read_documents,
    read_fundamentals,
    read_labels,
    read_membership,
    read_series,
)
from alphaloom.data.files import MarketFiles
from alphaloom.data.findings import Finding, ValidationReport
from alphaloom.data.merge import content_hash, merge_bars
from alphaloom.data.screens import screen
from alphaloom.data.sources import Bars, read_prices
from alphaloom.data.store import FORMAT, Store
from alphaloom.errors import DataError

__all__ = ["import_market"]

Progress = Callable[[str, float], None]


@dataclass
class _Change:
    """An import on its way into the store: what it found and the files and entries that it would bring."""

    old: dict[str, Any]
    files: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"new": 0, "unchanged": 0, "revised": 0, "set_aside": 0})
    revisions: list[pl.DataFrame] = field(default_factory=list)


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
    target = Store(store)
    tell("read", 0.0)
    sources = prices if isinstance(prices, Sequence) and not isinstance(prices, str) else [prices]
    bars = read_prices(list(sources), columns) if len(sources) else None
    tables = _read_extras(files, tell)
    with locked(target.path), Commit(target.path) as commit:
        change = _Change(read_manifest(target.path))
        if bars is None and not change.old:
            raise DataError("a first import needs prices", found="no source", where=str(store))
        _put_extras(change, commit, tables, files)
        tell("check", 0.25)
        whole = _put_prices(change, commit, bars, files.revise)
        tell("screen", 0.6)
        manifest, report = _described(change, commit, whole, bars, files, calendar)
        tell("write", 0.9)
        if manifest is not None:
            commit.publish(manifest)
    tell("done", 1.0)
    return report


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


def _write(table: pl.DataFrame) -> Callable[[Path], object]:
    return lambda path: table.write_parquet(path, compression="zstd", statistics=True)


def _put(change: _Change, commit: Commit, folder: str, table: pl.DataFrame) -> str:
    """Stages a table under a name that bears its content, and enters it among the files of the store."""
    digest = content_hash(table)
    name = f"{folder}-{digest[:16]}.parquet"
    commit.put(name, _write(table))
    change.files[name] = {"rows": table.height, "digest": digest}
    return name


def _put_extras(change: _Change, commit: Commit, tables: Mapping[str, pl.DataFrame], files: MarketFiles) -> None:
    series = files.all_series()
    for key, entry in change.old.get("extras", {}).items():
        if key not in tables:
            change.extras[key] = entry
            change.files[entry["file"]] = change.old["files"][entry["file"]]
    for key, table in tables.items():
        entry: dict[str, Any] = {"file": _put(change, commit, f"extras/{key.replace(':', '-')}", table)}
        if key == "fundamentals":
            entry["columns"] = [name for name in table.columns if name not in ("asset", "period_end", "available")]
            entry["lag_days"] = files.fundamentals_lag
        if key.startswith("series:"):
            file = series[key.removeprefix("series:")]
            entry |= {"lag_days": file.lag_days, "lag_bars": file.lag_bars, "carry": file.carry}
        change.extras[key] = entry


def _put_prices(change: _Change, commit: Commit, bars: Bars | None, revise: bool) -> pl.DataFrame:
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
        old = pl.read_parquet(commit.root / old_parts[year], hive_partitioning=False) if year in old_parts else None
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
            _put(change, commit, f"prices/year={year}/part", part)
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


def _put_quarantine(change: _Change, commit: Commit, rows: pl.DataFrame | None) -> None:
    kept = [name for name in change.old.get("files", {}) if name.startswith("quarantine/")]
    old = pl.read_parquet(commit.root / kept[0]) if kept else pl.DataFrame()
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
        _put(change, commit, "quarantine/rows", table)


def _put_revisions(change: _Change, commit: Commit) -> None:
    kept = [name for name in change.old.get("files", {}) if name.startswith("revisions/")]
    tables = [pl.read_parquet(commit.root / name) for name in kept]
    tables += [item for item in change.revisions if item.height]
    if tables:
        _put(change, commit, "revisions/cells", pl.concat(tables))


def _described(
    change: _Change, commit: Commit, whole: pl.DataFrame, bars: Bars | None, files: MarketFiles, calendar: str | None
) -> tuple[dict[str, Any] | None, ValidationReport]:
    """The manifest and the report of the store as it will be; no manifest where nothing changed."""
    actions = _extra_table(change, commit, "actions")
    told = with_events(whole, actions)
    wanted = files.adjustment if files.adjustment != "auto" or not change.old else change.old["adjustment"]
    method = choose_method(told.columns, wanted)
    days = calendar or change.old.get("calendar")
    splits = measure_splits_in_close(told)
    found, flags = screen(told, method, splits_in_close=splits, calendar=days)
    change.findings.extend(found)
    lives = (
        whole.filter(pl.col("close").is_not_null())
        .group_by("asset")
        .agg(first=pl.col("time").min(), last=pl.col("time").max())
        .sort("asset")
    )
    spells = _extra_table(change, commit, "membership")
    if spells is not None and (absent := cover_finding(spells, lives)) is not None:
        change.findings.append(absent)
    manifest = _manifest(change, commit, whole, method, splits, days)
    manifest["sources"] = _sources(change, bars)
    manifest["notes"] = _standing_notes(change, commit, bars, method, splits, told.columns)
    report = _report(change, manifest, bars)
    if change.old and _same(change.old, manifest):
        return None, report
    manifest["files"] = dict(change.files)
    flags_name = _put(change, commit, "reports/flags", flags)
    text = report.to_json()
    report_name = f"reports/report-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    commit.put(report_name, lambda path: path.write_text(text, encoding="utf-8"))
    manifest["files"] |= {flags_name: change.files[flags_name], report_name: {}}
    return manifest, report


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    ignored = ("files", "sources", "notes")
    data = {name for name in old["files"] if not name.startswith("reports/")}
    return data == set(new["files"]) and all(old[key] == new[key] for key in old if key not in ignored)


def _extra_table(change: _Change, commit: Commit, key: str) -> pl.DataFrame | None:
    return pl.read_parquet(commit.find(change.extras[key]["file"])) if key in change.extras else None


def _manifest(
    change: _Change, commit: Commit, whole: pl.DataFrame, method: str, splits: bool, calendar: str | None
) -> dict[str, Any]:
    data = dict(change.files)
    state = {name: entry["digest"] for name, entry in data.items() if name.startswith(("prices/", "extras/"))}
    rules: dict[str, int] = {}
    for name in data:
        if name.startswith("quarantine/"):
            counted = pl.read_parquet(commit.find(name), columns=["rule"]).group_by("rule").len().sort("rule")
            rules = {str(rule): int(count) for rule, count in counted.iter_rows()}
    facts = {"adjustment": method, "splits_in_close": splits, "calendar": calendar, "extras": change.extras}
    return {
        "format": FORMAT,
        "digest": hashlib.sha256(json.dumps([state, facts], sort_keys=True).encode()).hexdigest(),
        "rows": whole.height,
        "assets": int(whole["asset"].n_unique()),
        "first": f"{whole['time'].min():%Y-%m-%d}",
        "last": f"{whole['time'].max():%Y-%m-%d}",
        "columns": [name for name in whole.columns if name not in ("asset", "time")],
        **facts,
        "quarantine": rules,
        "revised": sum(entry["rows"] for name, entry in data.items() if name.startswith("revisions/")),
        "files": data,
    }


def _sources(change: _Change, bars: Bars | None) -> list[dict[str, Any]]:
    known = list(change.old.get("sources", []))
    seen = {item["sha256"] for item in known}
    return known + [asdict(origin) for origin in (bars.origins if bars else ()) if origin.sha256 not in seen]


def _standing_notes(
    change: _Change, commit: Commit, bars: Bars | None, method: str, splits: bool, columns: Sequence[str]
) -> list[str]:
    """Sentences that every panel of this store repeats."""
    notes = list(bars.notes if bars else change.old.get("notes", []))
    if method in ("adj_close", "chained") and "split" not in columns:
        notes.append(
            "Volume is as the source gives it: without split events the split part of the adjustment is unknown."
        )
    if method == "preclose":
        notes.append("Volume is not adjusted: a reference price does not tell splits from dividends.")
    if not splits:
        notes.append(
            "The source has divided its splits out of prices and volumes already; split events were not applied again."
        )
    if "labels" in change.extras:
        table = _extra_table(change, commit, "labels")
        if table is not None and table["start"].null_count():
            share = table["start"].null_count() / table.height
            which = "All labels" if share == 1 else f"{share:.0%} of the labels"
            notes.append(f"{which} are as of one date and not point in time: they are applied to the whole history.")
    if "membership" not in change.extras:
        notes.append("No membership was given: every listed asset counts as a member on every day of its life.")
    return list(dict.fromkeys(notes))


def _report(change: _Change, manifest: Mapping[str, Any], bars: Bars | None) -> ValidationReport:
    counts = change.counts
    return ValidationReport(
        sources=tuple(asdict(origin) for origin in (bars.origins if bars else ())),
        rows_read=bars.frame.height if bars else 0,
        rows_new=counts["new"],
        rows_unchanged=counts["unchanged"],
        rows_revised=counts["revised"],
        rows_quarantined=counts["set_aside"],
        assets=manifest["assets"],
        first=manifest["first"],
        last=manifest["last"],
        adjustment=manifest["adjustment"],
        findings=tuple(change.findings),
        notes=tuple(manifest["notes"]),
    )
