"""Small tables of bars."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest


@pytest.fixture
def bars() -> Callable[..., pl.DataFrame]:
    """Bars of one or more assets from lists of closes on consecutive weekdays from 2024-01-01; None skips a day."""

    def make(first: str = "2024-01-01", **closes: list[float | None]) -> pl.DataFrame:
        length = max(len(values) for values in closes.values())
        start = pl.Series([first]).str.to_date()[0]
        days = [
            day
            for day in pl.date_range(start, pl.lit(start).dt.offset_by(f"{2 * length + 7}d"), eager=True)
            if day.weekday() < 5
        ]
        rows = [
            {
                "date": day,
                "asset": name,
                "open": close,
                "high": close * 1.01,
                "low": close * 0.99,
                "close": close,
                "volume": 1000.0,
            }
            for name, values in closes.items()
            for day, close in zip(days, values, strict=False)
            if close is not None
        ]
        return pl.DataFrame(rows)

    return make
