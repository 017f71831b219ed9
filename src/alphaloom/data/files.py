"""What accompanies the prices: membership, labels, series, fundamentals, documents, corporate actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from alphaloom.errors import DataError

__all__ = ["MarketFiles", "SeriesFile"]


@dataclass(frozen=True)
class SeriesFile:
    """A market-wide series and the delay with which each of its values became known.

    `column` is the value column (by default close, value, or the only numeric one). A value dated d is known from the
    first bar at or after d + `lag_days`, and `lag_bars` bars later still. Without `carry` it stands on that one bar;
    with `carry` it stands until the next value, as a monthly figure does.
    """

    path: Any
    column: str = ""
    lag_days: int = 0
    lag_bars: int = 0
    carry: bool = False

    def __post_init__(self) -> None:
        if self.lag_days < 0 or self.lag_bars < 0:
            raise DataError(
                "a publication lag is zero or more",
                found=f"{self.lag_days} days, {self.lag_bars} bars",
                where=f"series {self.path}",
            )

    @classmethod
    def parse(cls, text: str) -> SeriesFile:
        """A series from text such as `rates.csv?column=DGS10&lag=1d&carry=yes`; a lag counts bars or, with d, days.

        Raises: DataError for an option that is unknown or no number.
        """
        path, _, options = text.partition("?")
        parts = dict(parse_qsl(options, keep_blank_values=True))
        unknown = sorted(set(parts) - {"column", "lag", "carry"})
        lag = parts.get("lag", "0")
        if unknown or not lag.removesuffix("d").isdigit() or parts.get("carry", "no") not in ("yes", "no"):
            raise DataError(
                "options of a series are column=NAME, lag=BARS or lag=DAYSd, carry=yes|no", found=options, where=text
            )
        days, bars = (int(lag[:-1]), 0) if lag.endswith("d") else (0, int(lag))
        return cls(Path(path), parts.get("column", ""), days, bars, parts.get("carry", "no") == "yes")


@dataclass(frozen=True)
class MarketFiles:
    """The files beside the prices, each optional, and how the prices are to be understood.

    `membership`: asset, start, end, one row per spell; the end is the first day outside.
    `sectors`: asset and label columns (`label_columns`, by default those named sector, industry or group), with a date
    column or undated.
    `series`: name -> file; `benchmark`: the file of the index level.
    `fundamentals`: asset, period_end, available_date, numbers; visible `fundamentals_lag` days after that date.
    `documents`: time of availability, text, asset, kind. `actions`: asset, ex-date, split, dividend.
    A file may be given as a path, a pandas frame or a polars frame.
    `adjustment`: auto, adj_close, chained, events, preclose or none. `limits`: none, or a_share where the daily price
    limits are to be made from that market's rules. `revise` accepts changed rows for known bars.
    """

    membership: Any = None
    sectors: Any = None
    label_columns: tuple[str, ...] = ()
    series: Mapping[str, Any] = field(default_factory=dict)
    benchmark: Any = None
    fundamentals: Any = None
    fundamentals_lag: int = 1
    documents: Any = None
    actions: Any = None
    adjustment: str = "auto"
    limits: str = "none"
    revise: bool = False

    def all_series(self) -> dict[str, SeriesFile]:
        """Every series by name, the benchmark among them."""
        given = dict(self.series)
        if self.benchmark is not None:
            given["benchmark"] = self.benchmark
        return {name: _series_file(value) for name, value in given.items()}


def _series_file(value: Any) -> SeriesFile:
    if isinstance(value, SeriesFile):
        return value
    return SeriesFile.parse(value) if isinstance(value, str) else SeriesFile(value)
