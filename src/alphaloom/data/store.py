"""The store: a directory of Parquet files that keeps raw prices and gives panels as of a date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from alphaloom.corpus import Corpus
from alphaloom.data.adjust import with_events
from alphaloom.data.assemble import Grids, grids_of, listed_grid, with_factors
from alphaloom.data.columns import near
from alphaloom.data.commit import MANIFEST, leftovers, locked, read_manifest, sweep
from alphaloom.data.coverage import cover, cover_sentence
from alphaloom.data.findings import ValidationReport
from alphaloom.data.knowledge import (
    Axes,
    corpus_of,
    dividend_part,
    fundamentals_grid,
    in_last_shares,
    labels_grid,
    membership_grid,
    series_row,
)
from alphaloom.data.statements import statement_unit
from alphaloom.data.views import cut_after, last_moment, moment, no_bars, notes_of
from alphaloom.errors import DataError
from alphaloom.panel import Panel
from alphaloom.units import PRICE, Unit

__all__ = ["FORMAT", "Store"]

FORMAT = 1
_OWN = {"prices", "quarantine", "revisions", "extras", "reports", MANIFEST, ".lock", ".staging"}
When = str | np.datetime64 | None


class Store:
    """A directory of real market data: raw bars by year, what accompanies them, and the record of every import.

    Opening one removes what an interrupted writer left behind. Every read follows the manifest, which is replaced as a
    whole, so a reader sees the store before an import or after it.
    Raises: DataError if the folder holds something else or a newer format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise DataError("a store is a directory", found="a file", where=str(self.path))
        strangers = (
            sorted(item.name for item in self.path.iterdir() if item.name not in _OWN) if self.path.is_dir() else []
        )
        if strangers and not (self.path / MANIFEST).is_file():
            raise DataError(
                "a store needs a directory of its own",
                found=f"other files, such as {strangers[0]!r}",
                where=str(self.path),
                fix="name a new or an empty directory",
            )
        version = self.manifest.get("format", FORMAT)
        if version != FORMAT:
            raise DataError(
                f"this release reads stores of format {FORMAT}",
                found=f"format {version}",
                where=str(self.path),
                fix="use the release that wrote it, or import the sources anew",
            )
        self._tidy()

    def _tidy(self) -> None:
        """Cleans up after a writer that died; a writer that lives holds the lock and is left in peace."""
        if not self.path.is_dir() or not leftovers(self.path):
            return
        try:
            with locked(self.path):
                sweep(self.path)
        except (DataError, OSError):
            return  # somebody writes, or the folder is read-only: either way there is nothing to clean now

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Schema, content hash, sources, adjustment, span, quarantine counts; empty before the first import."""
        return read_manifest(self.path)

    @property
    def digest(self) -> str:
        """The content hash of everything a panel is made of."""
        return str(self._known()["digest"])

    def _known(self) -> Mapping[str, Any]:
        manifest = self.manifest
        if not manifest:
            raise DataError(
                "a store must hold an import",
                found="no manifest",
                where=str(self.path),
                fix="alphaloom data import PRICES --store " + str(self.path),
            )
        return manifest

    def prices(self, start: When = None, end: When = None, assets: Sequence[str] | None = None) -> pl.DataFrame:
        """The raw bars as imported, sorted by asset and time; both ends included."""
        manifest = self._known()
        if assets is not None:
            self._check_assets(assets)
        scans = list(self._scans(manifest, start, end))
        if not scans:
            raise no_bars(manifest, self.path)
        table = pl.concat(scans, how="diagonal")
        if start is not None:
            table = table.filter(pl.col("time") >= pl.lit(moment(start)))
        if end is not None:
            table = table.filter(pl.col("time") <= pl.lit(last_moment(end)))
        if assets is not None:
            table = table.filter(pl.col("asset").is_in(list(assets)))
        return _collected(table, self.path).sort("asset", "time")

    def _scans(self, manifest: Mapping[str, Any], start: When, end: When) -> Iterator[pl.LazyFrame]:
        low = _year(moment(start)) if start is not None else -(10**6)
        high = _year(moment(end)) if end is not None else 10**6
        for name in sorted(manifest["files"]):
            if name.startswith("prices/") and low <= int(name.split("/")[1].removeprefix("year=")) <= high:
                yield self._scan(name)

    def _scan(self, name: str) -> pl.LazyFrame:
        if not (self.path / name).is_file():
            raise DataError(
                "a store must hold every file that its manifest names",
                found="no such file",
                where=str(self.path / name),
                fix="restore the store from a copy, or import the sources anew",
            )
        return pl.scan_parquet(self.path / name, hive_partitioning=False)

    def _check_assets(self, assets: Sequence[str]) -> None:
        held = self.lives()["asset"].to_list()
        unknown = [name for name in assets if name not in set(held)]
        if unknown:
            hint = near(unknown[0], held)
            raise DataError(
                "an asset must be one that the store holds",
                found=", ".join(unknown[:10]),
                where=str(self.path),
                fix=(f"did you mean {hint!r}? " if hint else "") + f"the store holds {len(held)} assets",
            )

    def lives(self) -> pl.DataFrame:
        """Each asset with its first and last bar that has a close, and the count of its bars."""
        scans = [scan.select("asset", "time", "close") for scan in self._scans(self._known(), None, None)]
        bars = pl.concat(scans).filter(pl.col("close").is_not_null())
        life = bars.group_by("asset").agg(
            first=pl.col("time").min(), last=pl.col("time").max(), bars=pl.len().cast(pl.Int64)
        )
        return _collected(life, self.path).sort("asset")

    def extra(self, kind: str, name: str = "") -> pl.DataFrame | None:
        """One table that accompanies the prices (membership, labels, series, fundamentals, documents, actions)."""
        entry = self._known()["extras"].get(f"{kind}:{name}" if name else kind)
        return None if entry is None else _collected(self._scan(entry["file"]), self.path)

    def quarantine(self) -> pl.DataFrame:
        """Every row that was set aside, with the rule that it broke."""
        return self._single("quarantine/")

    def revisions(self) -> pl.DataFrame:
        """Every stored cell that a later import changed: asset, time, field, old, new."""
        return self._single("revisions/")

    def flags(self) -> pl.DataFrame:
        """Every row that a screen found worth a look: rule, asset, time, value."""
        return self._single("reports/flags")

    def _single(self, prefix: str) -> pl.DataFrame:
        names = [name for name in self._known()["files"] if name.startswith(prefix)]
        return _collected(self._scan(names[0]), self.path) if names else pl.DataFrame()

    def report(self) -> ValidationReport:
        """The validation report of the last import that changed the store."""
        name = next(name for name in self._known()["files"] if name.startswith("reports/report"))
        return ValidationReport.from_json((self.path / name).read_text(encoding="utf-8"))

    def panel(
        self,
        *,
        start: When = None,
        end: When = None,
        as_of: When = None,
        fields: Sequence[str] | None = None,
        assets: Sequence[str] | None = None,
        dtype: Any = np.float32,
    ) -> Panel:
        """The panel of a span, adjusted as of a date.

        `as_of` is the day from which the data are seen: later rows, splits and dividends are absent and the prices of
        that day are the prices that were paid; without it the last day of the store is meant. `start` and `end` (both
        included) choose rows and change no number. Assets without a bar in the span are left out.
        Raises: DataError for an unknown field or asset, or a span without bars.
        """
        manifest = self._known()
        self._check_fields(manifest, fields)
        raw = with_events(self.prices(None, as_of, assets), self.extra("actions"))
        table = with_factors(raw, manifest["adjustment"], splits_in_close=manifest["splits_in_close"])
        # Factors need every row: what is cut, at the start, at the end and on closed days, is cut after them.
        table = table.filter(~pl.col("time").dt.date().cast(pl.String).is_in(manifest["closed_days"]))
        seen = table.select("asset", "time", "adj_factor", "_shares")
        history = table["time"].unique().sort().to_numpy().astype("datetime64[ns]")
        if start is not None:
            table = table.filter(pl.col("time") >= pl.lit(moment(start)))
        if not table.height:
            raise no_bars(manifest, self.path)
        grids = grids_of(table, names=fields, dtype=dtype)
        stated = self._statements(manifest["extras"], grids.axes, fields, seen)
        panel = self._furnished(manifest, grids, stated, history)
        return panel if end is None else cut_after(panel, last_moment(end))

    def _check_fields(self, manifest: Mapping[str, Any], fields: Sequence[str] | None) -> None:
        legal = {
            *manifest["columns"],
            "vwap",
            "adj_factor",
            *manifest["extras"].get("fundamentals", {}).get("columns", ()),
        }
        unknown = [name for name in fields or () if name not in legal]
        if unknown:
            hint = near(unknown[0], legal)
            raise DataError(
                "a field must be one that the store holds",
                found=", ".join(unknown),
                where=str(self.path),
                fix=(f"did you mean {hint!r}? " if hint else "") + f"fields: {', '.join(sorted(legal))}",
            )

    def _furnished(
        self,
        manifest: Mapping[str, Any],
        grids: Grids,
        stated: tuple[dict[str, Any], dict[str, Unit]],
        history: Any,
    ) -> Panel:
        axes, extras = grids.axes, manifest["extras"]
        lives = self.lives()
        listed = listed_grid(lives, axes)
        spells = self.extra("membership")
        member = listed if spells is None else listed & membership_grid(spells, axes)
        labels, names = self._labels(axes)
        series = {
            key.removeprefix("series:"): series_row(table, history, entry)[-len(axes.times) :]
            for key, entry in extras.items()
            if key.startswith("series:") and (table := self.extra(key)) is not None
        }
        documents = self.extra("documents")
        corpus, foreign = (
            (Corpus.empty(), 0)
            if documents is None
            else corpus_of(documents, axes, manifest["calendar"], since=history[0])
        )
        notes = [*notes_of(manifest, axes.times[-1]), *grids.notes]
        if spells is not None:
            first, last = (int(str(axes.times[row])[:4]) for row in (0, -1))
            notes.append(cover_sentence([year for year in cover(spells, lives) if first <= year.year <= last]))
        if foreign:
            notes.append(f"{foreign} documents about assets outside the panel were left out.")
        return Panel(
            times=axes.times,
            assets=axes.assets,
            fields={
                **grids.fields,
                **{name: values.astype(grids.fields["close"].dtype) for name, values in stated[0].items()},
            },
            units={**grids.units, **stated[1]},
            series=series,
            labels=labels,
            label_names=names,
            member=member,
            listed=listed,
            buyable=grids.buyable & listed,
            sellable=grids.sellable & listed,
            corpus=corpus,
            notes=tuple(dict.fromkeys(note for note in notes if note)),
        )

    def _labels(self, axes: Axes) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
        table = self.extra("labels")
        labels, names = {}, {}
        if table is not None:
            for level in sorted(table["level"].unique().to_list()):
                labels[level], names[level] = labels_grid(table.filter(pl.col("level") == level), axes)
        return labels, names

    def _statements(
        self, extras: Mapping[str, Any], axes: Axes, fields: Sequence[str] | None, bars: pl.DataFrame
    ) -> tuple[dict[str, Any], dict[str, Unit]]:
        """Statement columns on the axes, figures a share adjusted as the prices are."""
        table = self.extra("fundamentals")
        if table is None:
            return {}, {}
        entry = extras["fundamentals"]
        wanted = [name for name in entry["columns"] if fields is None or name in fields]
        units = {name: statement_unit(name) for name in wanted}
        table = in_last_shares(table, units, bars=bars, axes=axes)
        grids = {name: fundamentals_grid(table, name, axes, entry["lag_days"]) for name in wanted}
        if PRICE in units.values():
            paid = dividend_part(bars, axes)
            grids |= {name: grids[name] * paid for name, unit in units.items() if unit == PRICE}
        return grids, units


def _year(when: np.datetime64) -> int:
    return int(when.astype("datetime64[Y]").astype(np.int64)) + 1970


def _collected(table: pl.LazyFrame, path: Path) -> pl.DataFrame:
    try:
        return table.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            "the files of a store must be whole",
            found=str(error).splitlines()[0][:200],
            where=str(path),
            fix="restore the store from a copy, or import the sources into a new folder",
        ) from None
