"""From text to dates and numbers, with the row and the value wherever it cannot be done."""

from __future__ import annotations

import polars as pl

from alphaloom.errors import DataError

__all__ = ["parse_numbers", "parse_times"]

_BLANK = ("", "na", "n/a", "nan", "null", "none", "-", "--", ".")
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%Y.%m.%d")
_ORDERED = ("%m/%d/%Y", "%d/%m/%Y")
_STAMPS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M")
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_ZONED = r"(?:Z|[+-]\d{2}:?\d{2})$"


def parse_numbers(values: pl.Series, *, where: str, first_row: int = 1) -> pl.Series:
    """Numbers from a column; blanks and the usual words for "missing" become null.

    Raises: DataError with the row and the text that is no number.
    """
    if values.dtype == pl.Boolean or values.dtype.is_numeric():
        return _finite_or_null(values.cast(pl.Float64))
    if values.dtype == pl.Null:
        return values.cast(pl.Float64)
    if values.dtype != pl.String:
        raise DataError("a numeric column holds numbers", found=str(values.dtype), where=f"{where}, {values.name!r}")
    text = values.str.strip_chars()
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() > text.null_count() and text.str.contains(_THOUSANDS).any():
        # Only whole groups of three are thousands: in "10,5" the comma may well be a decimal point.
        plain = text.set(text.str.contains(_THOUSANDS).fill_null(False), None)
        grouped = text.set(plain.is_not_null(), None).str.replace_all(",", "", literal=True)
        numbers = plain.cast(pl.Float64, strict=False).fill_null(grouped.cast(pl.Float64, strict=False))
    wrong = numbers.is_null() & text.is_not_null() & ~text.str.to_lowercase().is_in(list(_BLANK))
    if wrong.any():
        row = int(wrong.arg_true()[0])
        raise DataError(
            f"the column {values.name!r} must hold numbers",
            found=f"{values[row]!r}" + (f" and {int(wrong.sum()) - 1} more" if wrong.sum() > 1 else ""),
            where=f"{where}, row {row + first_row}",
            fix="correct the row, or leave the cell empty if the value is not known",
        )
    return _finite_or_null(numbers)


def _finite_or_null(numbers: pl.Series) -> pl.Series:
    return numbers.fill_nan(None)


def parse_times(values: pl.Series, *, where: str, first_row: int = 1) -> tuple[pl.Series, str]:
    """Times in nanoseconds without a zone, and a sentence on how the zone was understood.

    A column with a zone whose times are all local midnights holds days: its dates stay as they are. Other times with a
    zone become UTC. Times without a zone stay as written.
    Raises: DataError with the row and the text that is no date.
    """
    kind = values.dtype
    if kind == pl.Date:
        return values.cast(pl.Datetime("ns")), ""
    if isinstance(kind, pl.Datetime):
        return _from_stamps(values, kind.time_zone)
    if kind.is_integer():
        digits = values.cast(pl.String)
        if digits.str.len_chars().drop_nulls().eq(8).all():
            return _from_text(digits.alias(values.name), where, first_row), ""
    if kind == pl.String:
        text = values.str.strip_chars()
        filled = text.drop_nulls()
        if len(filled) and filled.str.contains(_ZONED).all() and filled.str.contains(":").all():
            return _from_zoned(text, where, first_row)
        return _from_text(text, where, first_row), ""
    raise DataError(
        "a date column holds dates", found=str(kind), where=f"{where}, {values.name!r}", fix="write dates as 2024-01-31"
    )


def _from_stamps(values: pl.Series, zone: str | None) -> tuple[pl.Series, str]:
    stamps: pl.Series = values.cast(pl.Datetime("ns", zone))
    if zone is None:
        whole = (stamps.drop_nulls() == stamps.drop_nulls().dt.truncate("1d")).all()
        return stamps, "" if whole else "times have no zone and stay as written"
    if zone == "UTC":
        return stamps.dt.replace_time_zone(None), "times are UTC"
    local = stamps.dt.replace_time_zone(None)
    if (local == local.dt.truncate("1d")).all():
        return local, f"times are midnights in {zone} and are taken as dates"
    return stamps.dt.convert_time_zone("UTC").dt.replace_time_zone(None), f"times were given in {zone} and are now UTC"


def _from_zoned(text: pl.Series, where: str, first_row: int) -> tuple[pl.Series, str]:
    local = _from_text(text.str.replace(_ZONED, ""), where, first_row)
    if (local.drop_nulls() == local.drop_nulls().dt.truncate("1d")).all():
        return local, "times are local midnights and are taken as dates"
    offset = text.str.extract(r"([+-]\d{2}):?\d{2}$").cast(pl.Int64, strict=False).fill_null(0)
    minutes = text.str.extract(r"[+-]\d{2}:?(\d{2})$").cast(pl.Int64, strict=False).fill_null(0)
    minus = text.str.contains(r"-\d{2}:?\d{2}$").cast(pl.Int64) * -2 + 1
    shift = (offset * 60 + minus * minutes) * 60_000_000_000
    return local - shift.cast(pl.Duration("ns")), "times were given with their offsets and are now UTC"


def _from_text(text: pl.Series, where: str, first_row: int) -> pl.Series:
    text = text.set(text == "", None)
    candidates: list[pl.Series] = []
    for form in _DATES + _STAMPS:
        parsed: pl.Series = text.str.to_date(form, strict=False) if form in _DATES else _stamps(text, form)
        if parsed.null_count() == text.null_count():
            return parsed.cast(pl.Datetime("ns"))
        candidates.append(parsed)
    ordered = [text.str.to_date(form, strict=False) for form in _ORDERED]
    whole = [parsed for parsed in ordered if parsed.null_count() == text.null_count()]
    if len(whole) == 2 and not (whole[0] == whole[1]).all():
        raise DataError(
            "dates must have one meaning",
            found=f"{text.drop_nulls()[0]!r}, which may be month/day or day/month throughout",
            where=f"{where}, {text.name!r}",
            fix="write dates as 2024-01-31",
        )
    if whole:
        return whole[0].cast(pl.Datetime("ns"))
    closest = min([*candidates, *ordered], key=lambda parsed: parsed.null_count())
    row = int((closest.is_null() & text.is_not_null()).arg_true()[0])
    raise DataError(
        f"the column {text.name!r} must hold dates",
        found=f"{text[row]!r}",
        where=f"{where}, row {row + first_row}",
        fix="write dates as 2024-01-31 or 2024-01-31T16:00:00+00:00",
    )


def _stamps(text: pl.Series, form: str) -> pl.Series:
    parsed: pl.Series = text.str.to_datetime(form, strict=False, time_unit="ns")
    return parsed
