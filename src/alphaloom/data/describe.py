"""What an import will leave behind: the manifest, the report and the sentences that every panel repeats."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from alphaloom.data.adjust import choose_method, measure_splits_in_close, with_events
from alphaloom.data.commit import Commit
from alphaloom.data.coverage import cover_finding
from alphaloom.data.files import MarketFiles
from alphaloom.data.findings import Finding, ValidationReport, finding_of
from alphaloom.data.knowledge import Axes
from alphaloom.data.merge import content_hash
from alphaloom.data.screens import screen
from alphaloom.data.sources import Bars, read_parquet
from alphaloom.data.store import FORMAT
from alphaloom.errors import DataError

__all__ = ["Change", "described", "put_table"]


@dataclass
class Change:
    """An import on its way into the store: what it found and the files and entries that it would bring."""

    old: dict[str, Any]
    files: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"new": 0, "unchanged": 0, "revised": 0, "set_aside": 0})
    revisions: list[pl.DataFrame] = field(default_factory=list)


def _write(table: pl.DataFrame) -> Callable[[Path], object]:
    return lambda path: table.write_parquet(path, compression="zstd", statistics=True)


def put_table(change: Change, commit: Commit, folder: str, table: pl.DataFrame) -> str:
    """Stages a table under a name that bears its content, and enters it among the files of the store."""
    digest = content_hash(table)
    name = f"{folder}-{digest[:16]}.parquet"
    commit.put(name, _write(table))
    change.files[name] = {"rows": table.height, "digest": digest}
    return name


def described(
    change: Change, commit: Commit, *, whole: pl.DataFrame, bars: Bars | None, files: MarketFiles, calendar: str | None
) -> tuple[dict[str, Any] | None, ValidationReport]:
    """The manifest and the report of the store as it will be; no manifest where nothing changed."""
    actions = _extra_table(change, commit, "actions")
    told = with_events(whole, actions)
    wanted = files.adjustment if files.adjustment != "auto" or not change.old else change.old["adjustment"]
    method = choose_method(told.columns, wanted)
    _refuse_shadows(change, whole)
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
    change.findings.extend(_extra_findings(change, commit, lives))
    manifest = _manifest(change, commit, whole=whole, method=method, splits=splits, calendar=days)
    closed = flags.filter(pl.col("rule") == "not_a_session")["time"].dt.date().unique().sort()
    manifest["closed_days"] = [str(day) for day in closed.to_list()]
    manifest["sources"] = _sources(change, bars)
    said = [*change.old.get("source_notes", []), *(bars.notes if bars else ())]
    manifest["source_notes"] = list(dict.fromkeys(said))
    manifest["notes"] = _standing_notes(
        change, commit, told=manifest["source_notes"], method=method, splits=splits, columns=told.columns
    )
    report = _report(change, manifest, bars)
    if change.old and _same(change.old, manifest):
        return None, report
    manifest["files"] = dict(change.files)
    flags_name = put_table(change, commit, "reports/flags", flags)
    text = report.to_json()
    report_name = f"reports/report-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    commit.put(report_name, lambda path: path.write_text(text, encoding="utf-8"))
    manifest["files"] |= {flags_name: change.files[flags_name], report_name: {}}
    return manifest, report


def _extra_findings(change: Change, commit: Commit, lives: pl.DataFrame) -> Iterator[Finding]:
    """What is odd about the files beside the prices: assets that no price file knows, statements from the future."""
    axes = Axes(np.array([], dtype="datetime64[ns]"), lives["asset"].to_list())
    for kind in ("labels", "fundamentals", "actions", "documents"):
        table = _extra_table(change, commit, kind)
        names = [] if table is None else sorted(table["asset"].drop_nulls().unique().to_list())
        if names and (axes.columns(pl.Series(names)) < 0).all():
            sentence = f"assets in the {kind}, such as {', '.join(names[:5])}, and none of them is among the prices"
            yield Finding("unmatched_assets", "warning", len(names), sentence)
    stated = _extra_table(change, commit, "fundamentals")
    if stated is not None:
        early = stated.filter(pl.col("available") < pl.col("period_end"))
        sentence = "statements that were public before their period had ended; check which column is which date"
        found = finding_of("early_statement", "warning", sentence, early, ("period_end", "available"))
        if found is not None:
            yield found


def _refuse_shadows(change: Change, whole: pl.DataFrame) -> None:
    """A statement column must not take the place of a price."""
    stated = change.extras.get("fundamentals", {}).get("columns", ())
    twice = sorted({*whole.columns, "vwap", "adj_factor"} & set(stated))
    if twice:
        raise DataError(
            "fields must have names of their own",
            found=f"{', '.join(twice)} among the prices and among the fundamentals",
            where="fundamentals",
            fix="rename the column in the file of fundamentals",
        )


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    ignored = ("files", "sources", "notes", "source_notes", "replaced")
    data = {name for name in old["files"] if not name.startswith("reports/")}
    return data == set(new["files"]) and all(old[key] == new[key] for key in old if key not in ignored)


def _extra_table(change: Change, commit: Commit, key: str) -> pl.DataFrame | None:
    return read_parquet(commit.find(change.extras[key]["file"])) if key in change.extras else None


def _manifest(
    change: Change, commit: Commit, *, whole: pl.DataFrame, method: str, splits: bool, calendar: str | None
) -> dict[str, Any]:
    data = dict(change.files)
    state = {name: entry["digest"] for name, entry in data.items() if name.startswith(("prices/", "extras/"))}
    rules: dict[str, int] = {}
    for name in data:
        if name.startswith("quarantine/"):
            counted = read_parquet(commit.find(name)).group_by("rule").len().sort("rule")
            rules = {str(rule): int(count) for rule, count in counted.iter_rows()}
    facts = {"adjustment": method, "splits_in_close": splits, "calendar": calendar, "extras": change.extras}
    return {
        "format": FORMAT,
        "digest": hashlib.sha256(json.dumps([state, facts], sort_keys=True).encode()).hexdigest(),
        "rows": whole.height,
        "assets": int(whole["asset"].n_unique()),
        "first": str(whole["time"].dt.date().min()),
        "last": str(whole["time"].dt.date().max()),
        "columns": [name for name in whole.columns if name not in ("asset", "time")],
        **facts,
        "quarantine": rules,
        "revised": sum(entry["rows"] for name, entry in data.items() if name.startswith("revisions/")),
        "files": data,
    }


def _sources(change: Change, bars: Bars | None) -> list[dict[str, Any]]:
    known = list(change.old.get("sources", []))
    seen = {item["sha256"] for item in known}
    return known + [asdict(origin) for origin in (bars.origins if bars else ()) if origin.sha256 not in seen]


def _standing_notes(
    change: Change, commit: Commit, *, told: Sequence[str], method: str, splits: bool, columns: Sequence[str]
) -> list[str]:
    """Sentences that every panel of this store repeats."""
    notes = list(told)
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


def _report(change: Change, manifest: Mapping[str, Any], bars: Bars | None) -> ValidationReport:
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
