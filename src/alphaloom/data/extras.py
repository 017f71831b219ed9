"""Readers of the files beside the prices: each becomes one small canonical table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from alphaloom.data.columns import ALIASES, find_column, near
from alphaloom.data.files import SeriesFile
from alphaloom.data.parsing import parse_numbers, parse_times
from alphaloom.data.sources import read_table
from alphaloom.errors import DataError

__all__ = ["read_actions", "read_documents", "read_fundamentals", "read_labels", "read_membership", "read_series"]

_START = ("start", "startdate", "from", "fromdate", "since", "entry", "dateadded", "added")
_END = ("end", "enddate", "to", "todate", "until", "thru", "exit", "removed")
_AVAILABLE = (
    "available",
    "availabledate",
    "availableat",
    "publishedat",
    "published",
    "createdat",
    "filed",
    "filingdate",
    "datetime",
    "timestamp",
    "time",
    "date",
)


def read_membership(source: Any) -> pl.DataFrame:
    """Membership spells: asset, start, end. The end is the first day outside; null stands for "still a member".

    Raises: DataError if a spell ends before it starts.
    """
    raw, where = read_table(source), _name(source)
    spells = pl.DataFrame(
        [
            _asset(raw, where),
            _time(raw, _START, source, "start"),
            _time(raw, _END, source, "end") if find_column(raw.columns, _END) else _no_time(raw.height, "end"),
        ]
    )
    wrong = spells.filter(pl.col("end") <= pl.col("start"))
    if wrong.height:
        asset, start, end = wrong.row(0)
        raise DataError(
            "a membership spell ends after it starts",
            found=f"{asset} from {start:%Y-%m-%d} to {end:%Y-%m-%d}" + _more(wrong.height),
            where=where,
            fix="the end is the first day outside; leave it empty for one that is still a member",
        )
    return spells.unique().sort("asset", "start", "end", nulls_last=True)


def read_labels(source: Any, columns: Sequence[str] = ()) -> pl.DataFrame:
    """Labels: asset, level (sector, industry ...), label, start; start is null where the file has no date."""
    raw, where = read_table(source), _name(source)
    unknown = [name for name in columns if name not in raw.columns]
    if unknown:
        raise _no_column(unknown[0], raw.columns, where, unknown)
    chosen = list(columns) or [name for name in raw.columns if re.search(r"sector|industry|group", name.lower())]
    if not chosen:
        raise DataError(
            "labels need at least one column such as sector or industry",
            found=f"the columns {', '.join(raw.columns)}",
            where=where,
            fix="choose the label columns: --labels NAME",
        )
    dated = find_column(raw.columns, ("start", "startdate", "from", "fromdate", "effective", "effectivedate", "date"))
    start = _time(raw, (dated,), source, "start") if dated else _no_time(raw.height, "start")
    asset = _asset(raw, where)
    levels = [
        pl.DataFrame([asset, raw[name].cast(pl.String).alias("label"), start]).with_columns(level=pl.lit(_level(name)))
        for name in chosen
    ]
    table = pl.concat(levels).filter(pl.col("label").is_not_null() & (pl.col("label") != ""))
    keys = ["level", "asset", "start"]
    return table.unique(keys, keep="first", maintain_order=True).select(*keys, "label").sort(keys)


def _level(name: str) -> str:
    word = name.lower().removeprefix("gics_").removeprefix("gics ")
    if "sub" in word and "industry" in word:
        return "subindustry"
    return next((level for level in ("sector", "industry") if level in word), re.sub(r"\W+", "_", word))


def read_series(name: str, file: SeriesFile) -> pl.DataFrame:
    """A series: time, value. A long table of several series gives the rows whose key is `name`."""
    raw, where = read_table(file.path), _name(file.path)
    times = _time(raw, ALIASES["time"], file.path, "time")
    keys = [key for key in raw.columns if raw[key].dtype == pl.String and (raw[key] == name).any()]
    keep = (raw[keys[0]] == name) if keys else pl.Series([True]).new_from_index(0, raw.height)
    column = file.column or _value_column(raw, where)
    if column not in raw.columns:
        raise _no_column(column, raw.columns, where)
    values = parse_numbers(raw[column], where=where, first_row=_first_row(file.path)).alias("value")
    table = (
        pl.DataFrame([times, values]).filter(keep).filter(pl.col("time").is_not_null() & pl.col("value").is_not_null())
    )
    twice = table.filter(pl.col("time").is_duplicated())
    if twice.height:
        raise DataError(
            "a series has one value per time",
            found=f"{twice['time'][0]} twice" + _more(twice.height // 2),
            where=f"{where} ({name})",
            fix="name the series as its key in the file, or the column with ?column=",
        )
    if table.height == 0:
        raise DataError("a series must hold values", found="none", where=f"{where} ({name})")
    return table.sort("time")


def _value_column(raw: pl.DataFrame, where: str) -> str:
    found = find_column(raw.columns, ("close", "value", "level", "price"))
    if found is not None:
        return found
    times = find_column(raw.columns, ALIASES["time"])
    numeric = [name for name in raw.columns if name != times and _numeric(raw[name])]
    if len(numeric) == 1:
        return numeric[0]
    raise DataError(
        "a series needs one value column",
        found=f"the columns {', '.join(raw.columns)}",
        where=where,
        fix="choose it, as in file.csv?column=NAME",
    )


def _numeric(values: pl.Series) -> bool:
    if values.dtype != pl.String:
        return values.dtype.is_numeric()
    try:
        parse_numbers(values, where="")
    except DataError:
        return False
    return True


def read_fundamentals(source: Any) -> pl.DataFrame:
    """Statements: asset, period_end, available and the numeric columns; one row per statement as it was published."""
    raw, where = read_table(source), _name(source)
    period = find_column(raw.columns, ("periodend", "periodenddate", "fiscalperiodend", "reportdate", "enddate"))
    filed = find_column(
        raw.columns, ("availabledate", "available", "filingdate", "filed", "filedate", "publicationdate")
    )
    if filed is None or period is None:
        missing = "available_date" if filed is None else "period_end"
        raise DataError(
            f"fundamentals need a column {missing!r}",
            found=f"the columns {', '.join(raw.columns)}",
            where=where,
            fix="a statement without the date on which it became public cannot be used without a leak",
        )
    parts = [_asset(raw, where), _time(raw, (period,), source, "period_end"), _time(raw, (filed,), source, "available")]
    taken = {_asset_column(raw, where), period, filed}
    numbers = [
        parse_numbers(raw[name], where=where, first_row=_first_row(source)).alias(re.sub(r"\W+", "_", name))
        for name in raw.columns
        if name not in taken and raw[name].dtype != pl.Boolean and _numeric(raw[name])
    ]
    table = pl.DataFrame([*parts, *numbers])
    known = pl.col("available").is_not_null() & pl.col("period_end").is_not_null() & pl.col("asset").is_not_null()
    return table.filter(known).sort("asset", "available", "period_end", maintain_order=True)


def read_documents(source: Any) -> pl.DataFrame:
    """Documents: available (UTC), dated_only (midnight, so no time of day is known), asset or null, text, kind."""
    raw, where = read_table(source), _name(source)
    text = find_column(raw.columns, ("text", "headline", "title", "body", "content", "sentence"))
    if text is None:
        raise DataError(
            "documents need a column 'text'",
            found=f"the columns {', '.join(raw.columns)}",
            where=where,
            fix="name it text, headline, title, body or content",
        )
    available = _time(raw, _AVAILABLE, source, "available")
    asset = find_column(raw.columns, ALIASES["asset"][:6])
    kind = find_column(raw.columns, ("kind", "source", "type"))
    names = raw[asset].cast(pl.String) if asset else pl.Series([None], dtype=pl.String).new_from_index(0, raw.height)
    kinds = raw[kind].cast(pl.String) if kind else pl.Series(["news"]).new_from_index(0, raw.height)
    table = pl.DataFrame(
        [
            available,
            names.alias("asset"),
            raw[text].cast(pl.String).alias("text"),
            kinds.fill_null("news").alias("kind"),
        ]
    ).with_columns(dated_only=pl.col("available") == pl.col("available").dt.truncate("1d"))
    return table.filter(pl.col("available").is_not_null() & pl.col("text").is_not_null()).sort(
        "available", maintain_order=True
    )


def read_actions(source: Any) -> pl.DataFrame:
    """Corporate actions: asset, time (ex-date), split, dividend."""
    raw, where = read_table(source), _name(source)
    columns = {name: find_column(raw.columns, (name, *ALIASES[name])) for name in ("split", "dividend")}
    if not any(columns.values()):
        raise DataError(
            "corporate actions need a column split or dividend",
            found=f"the columns {', '.join(raw.columns)}",
            where=where,
        )
    times = _time(raw, ("exdate", *ALIASES["time"]), source, "time")
    numbers = [
        parse_numbers(raw[column], where=where, first_row=_first_row(source)).alias(name)
        if column
        else pl.Series(name, [None], dtype=pl.Float64).new_from_index(0, raw.height)
        for name, column in columns.items()
    ]
    table = pl.DataFrame([_asset(raw, where), times, *numbers])
    return table.unique().sort("asset", "time", "split", "dividend", nulls_last=True)


def _name(source: Any) -> str:
    return Path(source).name if isinstance(source, str | Path) else "the frame"


def _first_row(source: Any) -> int:
    return 2 if isinstance(source, str | Path) and Path(source).suffix.lower() != ".parquet" else 0


def _more(count: int) -> str:
    return f" and {count - 1} more" if count > 1 else ""


def _asset_column(raw: pl.DataFrame, where: str) -> str:
    found = find_column(raw.columns, ALIASES["asset"])
    if found is None:
        raise DataError(
            "the file needs a column 'asset'",
            found=f"the columns {', '.join(raw.columns)}",
            where=where,
            fix="name it asset, ticker or symbol",
        )
    return found


def _asset(raw: pl.DataFrame, where: str) -> pl.Series:
    return raw[_asset_column(raw, where)].cast(pl.String).str.strip_chars().alias("asset")


def _time(raw: pl.DataFrame, wanted: Sequence[str], source: Any, name: str) -> pl.Series:
    where, found = _name(source), find_column(raw.columns, wanted)
    if found is None:
        raise DataError(
            f"the file needs a date column for {name!r}",
            found=f"the columns {', '.join(raw.columns)}",
            where=where,
            fix=f"name it {wanted[0]}",
        )
    return parse_times(raw[found], where=where, first_row=_first_row(source))[0].alias(name)


def _no_time(height: int, name: str) -> pl.Series:
    return pl.Series(name, [None], dtype=pl.Datetime("ns")).new_from_index(0, height)


def _no_column(name: str, columns: Sequence[str], where: str, names: Sequence[str] = ()) -> DataError:
    hint = near(name, columns)
    return DataError(
        "a chosen column must exist in the file",
        found=", ".join(names) or name,
        where=where,
        fix=(f"did you mean {hint!r}? " if hint else "") + f"the columns are: {', '.join(columns)}",
    )
