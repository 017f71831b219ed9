"""Bars of crypto exchanges, by way of the library ccxt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaloom.data.vendors.doors import check_symbols, load_library, read_day, require_network
from alphaloom.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["fetch_ccxt"]

_PAGE = 200  # bars; less than the limit of the exchanges that ccxt knows, so that no page is cut short


def fetch_ccxt(
    exchange: str,
    symbols: Sequence[str],
    timeframe: str,
    since: str,
    until: str,
    *,
    allow_network: bool,
    client: Any = None,
) -> pl.DataFrame:
    """Finished bars of some pairs from `since` to before `until`, page by page at the pace that the exchange allows.

    Columns: date, asset, open, high, low, close, adj_close, volume, dividend, split; a coin pays no dividend and does
    not split, so adj_close is close, dividend 0 and split 1.
    Time: `date` is the bar's opening time in UTC; `since` and `until` are read as UTC. A bar that had not ended when
    the exchange was asked, by its own clock, is left out.
    Raises: DataError without `allow_network`, without ccxt, for an unknown exchange, an unknown timeframe or a pair
    without bars. `client` is anything with ccxt's `fetch_ohlcv`, `parse_timeframe`, `milliseconds` and `has`.
    """
    import polars as pl

    require_network(allow_network, vendor="ccxt")
    wanted = check_symbols(symbols, vendor="ccxt")
    first = int(read_day(since, where="vendors.ccxt.since").astype(np.int64))
    stop = int(read_day(until, where="vendors.ccxt.until").astype(np.int64))
    if stop <= first:
        raise DataError("a fetch ends after its start", found=f"{since} to {until}", where="vendors.ccxt")
    source = _connect(exchange) if client is None else client
    step = _bar_length(source, timeframe)
    tables = [_canonical(symbol, _bars(source, symbol, timeframe, (first, stop, step))) for symbol in wanted]
    empty = [symbol for symbol, table in zip(wanted, tables, strict=True) if not table.height]
    if empty:
        raise DataError(
            "each pair must have finished bars in the asked time",
            found=f"none for {', '.join(empty)}",
            where=f"vendors.ccxt.{exchange}",
            fix="check the spelling (BTC/USDT) and the dates",
        )
    return pl.concat(tables).sort("asset", "date")


def _connect(exchange: str) -> Any:
    library = load_library("ccxt", vendor="ccxt")
    if exchange not in library.exchanges:
        raise DataError(
            "the exchange must be one that ccxt knows",
            found=exchange,
            where="vendors.ccxt",
            fix="ccxt.exchanges lists them: binance, kraken, coinbase, ...",
        )
    return getattr(library, exchange)({"enableRateLimit": True})


def _bar_length(source: Any, timeframe: str) -> int:
    """Milliseconds of a bar.   Raises: DataError where the exchange has no such bars."""
    if not source.has.get("fetchOHLCV"):
        raise DataError("the exchange must offer bars", found="no fetchOHLCV", where="vendors.ccxt")
    offered = getattr(source, "timeframes", None)
    if offered and timeframe not in offered:
        raise DataError(
            "the timeframe must be one that the exchange offers",
            found=timeframe,
            where="vendors.ccxt.timeframe",
            fix=f"one of: {', '.join(offered)}",
        )
    return int(source.parse_timeframe(timeframe)) * 1000


def _bars(source: Any, symbol: str, timeframe: str, span: tuple[int, int, int]) -> list[list[float]]:
    """All finished bars with first <= time < stop, each time once."""
    first, stop, step = span
    found: dict[int, list[float]] = {}
    cursor = first
    while cursor < stop:
        page = source.fetch_ohlcv(symbol, timeframe, cursor, _PAGE)
        now = int(source.milliseconds())
        for bar in page:
            if first <= bar[0] < stop and bar[0] + step <= now:
                found[int(bar[0])] = bar
        # An empty page may lie before the pair's listing; a page of older bars means that nothing newer is there.
        newest = int(page[-1][0]) if page else cursor + (_PAGE - 1) * step
        if newest < cursor or newest + step > now:
            break
        cursor = newest + step
    return [found[time] for time in sorted(found)]


def _canonical(symbol: str, bars: list[list[float]]) -> pl.DataFrame:
    import polars as pl

    if not bars:
        return pl.DataFrame()
    table = np.array([[np.nan if value is None else value for value in bar[1:6]] for bar in bars], dtype=np.float64)
    times = np.array([bar[0] for bar in bars], dtype="datetime64[ms]")
    prices = dict(zip(("open", "high", "low", "close"), table.T, strict=False))
    return pl.DataFrame(
        {
            "date": times,
            "asset": [symbol] * len(bars),
            **prices,
            "adj_close": table[:, 3],
            "volume": table[:, 4],
            "dividend": np.zeros(len(bars)),
            "split": np.ones(len(bars)),
        }
    )
