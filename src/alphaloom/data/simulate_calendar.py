"""The trading days of the embedded exchange: weekdays less a short list of holidays made by rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["quarter_ends", "trading_days"]

Dates = NDArray[np.datetime64]


def trading_days(start: str, count: int) -> Dates:
    """The first `count` trading days at or after `start`.

    Shape: (count,) datetime64[D].
    """
    first = np.datetime64(start, "D")
    year = int(first.astype("datetime64[Y]").astype(int)) + 1970
    closed = np.concatenate([_holidays(y) for y in range(year, year + count // 240 + 3)])
    return np.asarray(np.busday_offset(first, np.arange(count), roll="forward", holidays=closed))


def quarter_ends(days: Dates) -> Dates:
    """The last calendar day of every quarter from the one before the first day to the last one that is over.

    Shape: (Q,) datetime64[D].
    """
    first = int(days[0].astype("datetime64[M]").astype(int)) // 3
    last = int((days[-1] + 1).astype("datetime64[M]").astype(int)) // 3
    months = (np.arange(first, last + 1) * 3).astype("datetime64[M]")
    return np.asarray(months.astype("datetime64[D]") - 1)


def _holidays(year: int) -> Dates:
    # New Year's Day on a Saturday falls into the old year, whose books the exchange keeps open: it is not made up for.
    fixed = [_observed(np.datetime64(f"{year}-{day}"), early=day != "01-01") for day in _fixed_days(year)]
    floating = [
        _nth_weekday(year, 1, "Mon", 2),
        _nth_weekday(year, 2, "Mon", 2),
        np.busday_offset(f"{year}-06-01", -1, roll="forward", weekmask="Mon"),  # the last Monday of May
        _nth_weekday(year, 9, "Mon", 0),
        _nth_weekday(year, 11, "Thu", 3),
    ]
    return np.array([*fixed, *floating, _easter(year) - 2], dtype="datetime64[D]")


def _fixed_days(year: int) -> tuple[str, ...]:
    return ("01-01", "07-04", "12-25", *(("06-19",) if year >= 2022 else ()))


def _observed(day: np.datetime64, *, early: bool) -> np.datetime64:
    """A holiday on a Sunday is kept on Monday, one on a Saturday on Friday where `early` says so."""
    weekday = (int(day.astype(int)) + 3) % 7
    return day + 1 if weekday == 6 else day - 1 if weekday == 5 and early else day


def _nth_weekday(year: int, month: int, weekday: str, after: int) -> np.datetime64:
    first = np.datetime64(f"{year}-{month:02d}-01", "D")
    return np.datetime64(str(np.busday_offset(first, after, roll="forward", weekmask=weekday)), "D")


def _easter(year: int) -> np.datetime64:
    """Easter Sunday.   Source: the anonymous Gregorian computus (Meeus, Astronomical Algorithms, ch. 8)."""
    century, rest = divmod(year, 100)
    moon = (19 * (year % 19) + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    day = (32 + 2 * (century % 4) + 2 * (rest // 4) - moon - rest % 4) % 7
    late = (year % 19 + 11 * moon + 22 * day) // 451
    month, place = divmod(moon + day - 7 * late + 114, 31)
    return np.datetime64(f"{year}-{month:02d}-{place + 1:02d}", "D")
