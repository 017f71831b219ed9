"""Daily bars from Yahoo Finance, by way of the library yfinance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alphaloom.data.vendors.doors import check_symbols, load_library, read_day, require_network
from alphaloom.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["fetch_yahoo"]

_COLUMNS = {
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Close": "close",
    "Adj Close": "adj_close",
    "Volume": "volume",
    "Dividends": "dividend",
    "Stock Splits": "split",
}


def fetch_yahoo(
    symbols: Sequence[str], start: str, end: str, *, allow_network: bool, client: Any = None
) -> pl.DataFrame:
    """Daily bars of some symbols from `start` to the day before `end`, one row for each symbol and day.

    Columns: date, asset, open, high, low, close, adj_close, volume, dividend (0 where none), split (1 where none).
    Unit: Yahoo's prices and volumes are split-adjusted as of the day of the fetch, `close` is not adjusted for
    dividends and `adj_close` is.
    Time: `date` is the exchange's day. Yahoo lists today's shares: a firm that has left its exchange is not there.
    Missing: a bar without a close is dropped.
    Raises: DataError without `allow_network`, without yfinance, for a symbol without data or an answer of another
    form. `client` is anything with yfinance's `Ticker(symbol).history(...)`; with one given nothing is imported.
    """
    import polars as pl

    require_network(allow_network, vendor="yahoo")
    wanted = check_symbols(symbols, vendor="yahoo")
    first, stop = read_day(start, where="vendors.yahoo.start"), read_day(end, where="vendors.yahoo.end")
    if stop <= first:
        raise DataError("a fetch ends after its start", found=f"{start} to {end}", where="vendors.yahoo")
    source = load_library("yfinance", vendor="yahoo") if client is None else client
    tables, empty = [], []
    for symbol in wanted:
        answer = source.Ticker(symbol).history(start=start, end=end, interval="1d", auto_adjust=False, actions=True)
        table = _canonical(symbol, answer)
        if table.height:
            tables.append(table)
        else:
            empty.append(symbol)
    if empty:
        raise DataError(
            "each symbol must have bars in the asked days",
            found=f"none for {', '.join(empty)}",
            where="vendors.yahoo",
            fix="check the spelling and the dates; Yahoo drops firms that were delisted",
        )
    return pl.concat(tables).sort("asset", "date")


def _canonical(symbol: str, answer: Any) -> pl.DataFrame:
    """One symbol's pandas frame, indexed by the exchange's midnights, as the canonical table."""
    import numpy as np
    import polars as pl

    missing = [name for name in _COLUMNS if name not in answer.columns] if len(answer) else []
    if missing:
        raise DataError(
            "Yahoo's answer must have the columns that yfinance documents",
            found=f"{symbol} without {', '.join(missing)}",
            where="vendors.yahoo",
            fix="install a version of yfinance that returns Adj Close with auto_adjust=False",
        )
    if not len(answer):
        return pl.DataFrame()
    # The index is midnight in the exchange's zone: its own date is the trading day, its date in UTC may be another.
    days = answer.index.tz_localize(None) if answer.index.tz is not None else answer.index
    columns = {ours: np.asarray(answer[theirs], dtype=np.float64) for theirs, ours in _COLUMNS.items()}
    columns["split"] = np.where(columns["split"] > 0.0, columns["split"], 1.0)
    columns["dividend"] = np.nan_to_num(columns["dividend"])
    table = pl.DataFrame({"date": days.to_numpy().astype("datetime64[D]"), "asset": [symbol] * len(answer), **columns})
    return table.filter(pl.col("close").is_finite() & pl.col("close").is_not_null())
