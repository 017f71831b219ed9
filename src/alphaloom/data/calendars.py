"""Exchange calendars: which days are sessions, and when they close."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.data.columns import near
from alphaloom.errors import DataError

__all__ = ["session_closes", "sessions"]

Times = NDArray[np.datetime64]


def sessions(calendar: str, first: np.datetime64, last: np.datetime64) -> Times:
    """The sessions of an exchange from `first` to `last`, as days.

    Shape: (S,) datetime64[ns] at midnight.   Raises: DataError for an unknown calendar, with the nearest name.
    """
    days: Times = _calendar(calendar, first, last).sessions.to_numpy().astype("datetime64[ns]")
    return days[(days >= _day(first)) & (days <= _day(last))]


def session_closes(calendar: str, first: np.datetime64, last: np.datetime64) -> tuple[Times, Times]:
    """The sessions and the moments in UTC at which they close.   Shape: (S,) and (S,)."""
    found = _calendar(calendar, first, last)
    days = found.sessions.to_numpy().astype("datetime64[ns]")
    closes = found.closes.dt.tz_localize(None).to_numpy().astype("datetime64[ns]")
    inside = (days >= _day(first)) & (days <= _day(last))
    return days[inside], closes[inside]


def check_calendar(calendar: str | None) -> None:
    """Refuses a name that is no exchange calendar.   Raises: DataError."""
    if calendar is None:
        return
    import exchange_calendars

    names = exchange_calendars.get_calendar_names(include_aliases=True)
    if calendar not in names:
        hint = near(calendar, names)
        raise DataError(
            "the calendar must be one that exchange_calendars knows",
            found=calendar,
            where="calendar",
            fix=(f"did you mean {hint!r}? " if hint else "") + "XNYS is New York, XSHG Shanghai, 24/7 never closes",
        )


def _day(when: np.datetime64) -> np.datetime64:
    day: np.datetime64 = when.astype("datetime64[D]").astype("datetime64[ns]")
    return day


def _calendar(calendar: str, first: np.datetime64, last: np.datetime64) -> Any:
    import exchange_calendars

    check_calendar(calendar)
    # A calendar of one day has no session where that day is a holiday, so a week is asked for on either side.
    start = str((first - np.timedelta64(7, "D")).astype("datetime64[D]"))
    end = str((last + np.timedelta64(7, "D")).astype("datetime64[D]"))
    try:
        with warnings.catch_warnings():
            # The library still calls what newer pandas releases announce as changing; its users cannot help that.
            warnings.simplefilter("ignore", DeprecationWarning)
            return exchange_calendars.get_calendar(calendar, start=start, end=end)
    except ValueError as error:
        raise DataError(
            "the calendar must cover the dates of the data",
            found=str(error)[:200],
            where=f"calendar {calendar}, {start} to {end}",
            fix="import without a calendar, or cut the data",
        ) from None
