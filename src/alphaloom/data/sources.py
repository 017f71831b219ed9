"""Sources: CSV and Parquet files, pandas and polars frames, read into one long table of bars."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from alphaloom.data.columns import REQUIRED, match_columns, plain
from alphaloom.data.parsing import parse_numbers, parse_times
from alphaloom.errors import DataError

__all__ = ["Bars", "Origin", "expand", "file_hash", "read_parquet", "read_prices", "read_table"]

_SUFFIXES = {".csv": "csv", ".gz": "csv", ".txt": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_EMPTY = "write the file again: whoever made it had nothing to write or was stopped"


@dataclass(frozen=True)
class Origin:
    """Where rows came from: a file with its hash, or a frame in memory."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Bars:
    """The long table of a source, before any rule was applied, and what was noticed while reading.

    Columns: time (Datetime[ns]), asset, open, high, low, close, volume and further numeric columns as Float64.
    """

    frame: pl.DataFrame
    origins: tuple[Origin, ...]
    notes: tuple[str, ...] = field(default=())


def read_table(source: Any) -> pl.DataFrame:
    """A file or a frame as a polars frame; every cell of a CSV file stays text, so that nothing is guessed.

    Raises: DataError if the file is absent, empty, cut short or of an unknown kind.
    """
    if isinstance(source, pl.LazyFrame):
        return source.collect()
    if isinstance(source, pl.DataFrame):
        return source
    if _is_pandas(source):
        return _from_pandas(source)
    if not isinstance(source, str | Path):
        raise DataError(
            "a source is a path, a pandas frame or a polars frame", found=type(source).__name__, where="source"
        )
    path = Path(source)
    kind = _SUFFIXES.get(path.suffix.lower())
    if not path.is_file():
        raise DataError("the file must exist", found="no such file", where=str(path), fix="check the path")
    if kind is None:
        raise DataError(
            "a data file is CSV or Parquet",
            found=path.suffix or "no suffix",
            where=str(path),
            fix=f"save it as CSV or Parquet; known suffixes: {', '.join(_SUFFIXES)}",
        )
    if path.stat().st_size == 0:
        raise DataError("a data file must hold rows", found="an empty file (0 bytes)", where=str(path), fix=_EMPTY)
    frame = _read_csv(path) if kind == "csv" else read_parquet(path)
    if frame.height == 0:
        raise DataError("a data file must hold rows", found="a header and no row", where=str(path), fix=_EMPTY)
    return frame


def _read_csv(path: Path) -> pl.DataFrame:
    with path.open("rb") as stream:
        mark = stream.read(2)
    if mark in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            "a CSV file is UTF-8 text", found="UTF-16", where=str(path), fix="save it as UTF-8, or as Parquet"
        )
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        return pl.read_csv(path, infer_schema=False, separator=separator)
    except pl.exceptions.NoDataError:
        raise DataError("a data file must hold rows", found="no text", where=str(path), fix=_EMPTY) from None
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise DataError(
            "a CSV file must have the same columns in each row",
            found=_first_line(error),
            where=str(path),
            fix="look for a row with too many fields, a stray quotation mark or an encoding other than UTF-8",
        ) from None


def read_parquet(path: Path) -> pl.DataFrame:
    """A Parquet file.   Raises: DataError if it is cut short or no Parquet file."""
    try:
        return pl.read_parquet(path, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            "a Parquet file must be whole",
            found=_first_line(error),
            where=str(path),
            fix="the file is cut short or is not Parquet: copy or download it again",
        ) from None


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__


def _is_pandas(source: Any) -> bool:
    return type(source).__module__.split(".")[0] == "pandas" and hasattr(source, "columns")


def _from_pandas(source: Any) -> pl.DataFrame:
    """A pandas frame; a named index (a date, or date and ticker) becomes columns."""
    index = source.index
    if any(name is not None for name in index.names):
        source = source.reset_index()
    elif str(index.dtype).startswith("datetime64"):
        source = source.rename_axis("date").reset_index()
    frame: pl.DataFrame = pl.from_pandas(source.rename(columns=str))
    return frame


def expand(sources: Any) -> list[Any]:
    """One flat list of sources: globs become files in order of name, folders their CSV and Parquet files."""
    if isinstance(sources, str | Path) or not isinstance(sources, Sequence):
        sources = [sources]
    flat = [item for source in sources for item in _expanded(source)]
    if not flat:
        raise DataError("an import needs at least one source", found="none", where="prices")
    return flat


def _expanded(source: Any) -> Iterator[Any]:
    if not isinstance(source, str | Path):
        yield source
        return
    path = Path(source)
    if path.is_dir():
        found = sorted(item for item in path.rglob("*") if item.suffix.lower() in _SUFFIXES and item.is_file())
    elif re.search(r"[*?\[]", path.name) and not path.exists():
        found = sorted(path.parent.glob(path.name))
    else:
        yield path
        return
    if not found:
        raise DataError(
            "a pattern or a folder must hold data files",
            found="no file",
            where=str(path),
            fix=f"known suffixes: {', '.join(_SUFFIXES)}",
        )
    yield from found


def file_hash(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_prices(sources: Any, columns: Mapping[str, str] | None = None) -> Bars:
    """All rows of the sources as one long table with canonical names, in their given order.

    Missing: blanks and NaN are null.   Raises: DataError for a missing column, text among numbers, an unreadable date.
    """
    frames, origins, notes = [], [], []
    for source in expand(sources):
        frame, origin, said = _read_one(source, dict(columns or {}))
        frames.append(frame)
        origins.append(origin)
        notes.extend(said)
    together = pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0]
    return Bars(together, tuple(origins), tuple(dict.fromkeys(notes)))


def _read_one(source: Any, columns: dict[str, str]) -> tuple[pl.DataFrame, Origin, list[str]]:
    raw = read_table(source)
    named = isinstance(source, str | Path)
    where = Path(source).name if named else "the frame"
    if raw.height == 0:
        raise DataError("a source must hold rows", found="no row", where=where)
    matched = match_columns(raw.columns, columns, where=where)
    frame, notes = _canonical(raw, matched, where, 2 if named and Path(source).suffix.lower() != ".parquet" else 0)
    sha = file_hash(Path(source)) if named else _frame_hash(frame)
    return frame, Origin(where, sha, raw.height), notes


def _canonical(
    raw: pl.DataFrame, matched: Mapping[str, str], where: str, first_row: int
) -> tuple[pl.DataFrame, list[str]]:
    """The canonical columns; row numbers in errors count as an editor does for CSV files and from 0 otherwise."""
    notes: list[str] = []
    times, said = parse_times(raw[matched["time"]], where=where, first_row=first_row)
    if said:
        notes.append(f"{where}: {said}.")
    if matched["asset"].startswith("="):
        assets = pl.Series("asset", [matched["asset"][1:]]).new_from_index(0, raw.height)
    else:
        assets = raw[matched["asset"]].cast(pl.String).str.strip_chars()
        assets = assets.set(assets == "", None).alias("asset")
    out = {"time": times.alias("time"), "asset": assets}
    for canonical, name in matched.items():
        if canonical not in out:
            numbers = (
                _constant(name, raw.height)
                if name.startswith("=")
                else parse_numbers(raw[name], where=where, first_row=first_row)
            )
            out[canonical] = numbers.alias(canonical)
    unused = _further_fields(raw, set(matched.values()), out)
    if unused:
        notes.append(f"{where}: columns that hold no numbers were not read: {', '.join(unused)}.")
    if plain(matched["time"]) == "opentime" and (step := _bar_length(out["time"], out["asset"])) is not None:
        out["time"] = (out["time"] + step).cast(pl.Datetime("ns"))
        notes.append(f"{where}: bars were named by their start and now bear the time at which they end ({step} later).")
    return pl.DataFrame(list(out.values())).select(*REQUIRED, *(name for name in out if name not in REQUIRED)), notes


def _bar_length(times: pl.Series, assets: pl.Series) -> timedelta | None:
    """The usual distance between two bars of an asset where it is shorter than a day; daily bars bear their day."""
    steps = pl.DataFrame({"time": times, "asset": assets}).sort("asset", "time")
    steps = steps.select(step=pl.col("time").diff().over("asset")).filter(pl.col("step") > pl.duration(days=0))
    usual = steps["step"].mode().sort()
    return usual[0] if len(usual) and usual[0] < timedelta(days=1) else None


def _constant(text: str, height: int) -> pl.Series:
    return parse_numbers(pl.Series(text, [text[1:]]), where="the mapping").new_from_index(0, height)


def _further_fields(raw: pl.DataFrame, taken: set[str], out: dict[str, pl.Series]) -> list[str]:
    """Puts every other numeric column under its own name and returns the names of the rest."""
    unused = []
    for name in raw.columns:
        if name in taken:
            continue
        values = raw[name]
        if values.dtype == pl.String:
            try:
                values = parse_numbers(values, where="")
            except DataError:
                unused.append(name)
                continue
        if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
            unused.append(name)
            continue
        field_name = re.sub(r"\W+", "_", name).strip("_") or "field"
        if field_name in out:
            raise DataError("field names must be unique", found=f"{name!r} beside {field_name!r}", where="columns")
        out[field_name] = parse_numbers(values, where="").alias(field_name)
    return unused


def _frame_hash(frame: pl.DataFrame) -> str:
    state = hashlib.sha256("\0".join(frame.columns).encode())
    state.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return state.hexdigest()
