"""Merging new bars into stored ones: new rows enter, equal rows change nothing, changed rows are revisions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import polars as pl

from alphaloom.errors import DataError

__all__ = ["Merged", "content_hash", "merge_bars"]

_KEY = ["asset", "time"]


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge: the whole table, and what the new rows did to it."""

    frame: pl.DataFrame
    new: int
    unchanged: int
    revised: int
    revisions: pl.DataFrame


def merge_bars(old: pl.DataFrame | None, new: pl.DataFrame, *, revise: bool) -> Merged:
    """Merges bars of one span; both tables have one row per asset and time.

    The revisions table keeps asset, time, field, the old and the new value of every changed cell.
    Raises: DataError for changed rows unless `revise`, with examples.
    """
    if old is None or old.height == 0:
        return Merged(new.sort(_KEY), new.height, 0, 0, _no_revisions())
    values = [name for name in new.columns if name not in _KEY]
    missing = [pl.lit(None, pl.Float64).alias(name) for name in values if name not in old.columns]
    old = old.with_columns(missing)
    fresh = new.join(old, on=_KEY, how="anti")
    both = new.join(old.select(*_KEY, *values), on=_KEY, how="inner", suffix=" before")
    differs = pl.any_horizontal([pl.col(name).ne_missing(pl.col(f"{name} before")) for name in values])
    changed = both.filter(differs)
    unchanged = both.height - changed.height
    if not changed.height:
        frame = pl.concat([old, fresh], how="diagonal").sort(_KEY) if fresh.height else old
        return Merged(frame, fresh.height, unchanged, 0, _no_revisions())
    revisions = _revisions(changed, values)
    if not revise:
        raise _refusal(revisions, changed.height)
    replaced = old.join(changed.select(_KEY), on=_KEY, how="semi").drop(values)
    replaced = replaced.join(changed.select(*_KEY, *values), on=_KEY, how="left")
    kept = old.join(changed.select(_KEY), on=_KEY, how="anti")
    frame = pl.concat([kept, replaced, fresh], how="diagonal").sort(_KEY)
    return Merged(frame.select(old.columns), fresh.height, unchanged, changed.height, revisions)


def _no_revisions() -> pl.DataFrame:
    schema: dict[str, Any] = {
        "asset": pl.String,
        "time": pl.Datetime("ns"),
        "field": pl.String,
        "old": pl.Float64,
        "new": pl.Float64,
    }
    return pl.DataFrame(schema=schema)


def _revisions(changed: pl.DataFrame, values: list[str]) -> pl.DataFrame:
    tables = [
        changed.filter(pl.col(name).ne_missing(pl.col(f"{name} before"))).select(
            *_KEY, field=pl.lit(name), old=pl.col(f"{name} before"), new=pl.col(name)
        )
        for name in values
    ]
    return pl.concat(tables).sort(*_KEY, "field")


def _refusal(revisions: pl.DataFrame, rows: int) -> DataError:
    shown = [
        f"{asset} {time:%Y-%m-%d} {field} {_short(old)} -> {_short(new)}"
        for asset, time, field, old, new in revisions.head(4).iter_rows()
    ]
    return DataError(
        "a stored bar does not change unless a revision is asked for",
        found=f"{rows} changed rows, such as {'; '.join(shown)}",
        where="import",
        fix="accept them with --revise (revise=True in Python); the old values are kept in the table of revisions",
    )


def _short(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.8g}"


def content_hash(frame: pl.DataFrame) -> str:
    """A hash of the values of a table, whatever wrote its file; columns in order of name."""
    state = hashlib.sha256(str(frame.height).encode())
    for name in sorted(frame.columns):
        values = frame[name]
        state.update(f"|{name}:{values.dtype}|".encode())
        if values.dtype == pl.String:
            state.update("\0".join("\1" if word is None else word for word in values.to_list()).encode())
        elif values.dtype.is_float():
            state.update(values.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype("<f8").tobytes())
        else:
            state.update(values.cast(pl.Int64).fill_null(-(2**63)).to_numpy().astype("<i8").tobytes())
    return state.hexdigest()
