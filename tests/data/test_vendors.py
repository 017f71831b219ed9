"""Vendor adapters against recorded answers; nothing here connects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from alphaloom.data.vendors import ccxt as ccxt_adapter
from alphaloom.data.vendors import doors, fetch_ccxt, fetch_yahoo
from alphaloom.errors import DataError

RECORDED = Path(__file__).parent / "recorded"
COLUMNS = ["date", "asset", "open", "high", "low", "close", "adj_close", "volume", "dividend", "split"]
DAY = 86_400_000


class Yahoo:
    """Replays `Ticker(symbol).history(...)` and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers = json.loads((RECORDED / "yahoo.json").read_text(encoding="utf-8"))
        self.asked: list[dict[str, Any]] = []
        self.symbol = ""

    def Ticker(self, symbol: str) -> Yahoo:  # the library's own spelling
        self.symbol = symbol
        return self

    def history(self, **options: Any) -> pd.DataFrame:
        self.asked.append({"symbol": self.symbol, **options})
        answer = self.answers[self.symbol]
        index = pd.DatetimeIndex(answer["index"], dtype="datetime64[ns]", name="Date").tz_localize(answer["zone"])
        return pd.DataFrame(answer["data"], index=index, columns=answer["columns"])


class Exchange:
    """Replays `fetch_ohlcv` in pages of at most `page` bars, as exchanges do."""

    def __init__(self, page: int = 4) -> None:
        answer = json.loads((RECORDED / "ccxt.json").read_text(encoding="utf-8"))
        self.bars, self.now, self.timeframes = answer["bars"], answer["now"], answer["timeframes"]
        self.has = {"fetchOHLCV": True}
        self.page = page
        self.asked: list[int] = []

    def parse_timeframe(self, timeframe: str) -> int:
        return {"1h": 3600, "1d": 86400}[timeframe]

    def milliseconds(self) -> int:
        return self.now

    def fetch_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> list[list[float]]:
        self.asked.append(since)
        return [bar for bar in self.bars[symbol] if bar[0] >= since][: min(limit, self.page)]


def fetch_bars(
    client: Exchange, symbols: list[str], since: str = "2020-01-01", until: str = "2020-02-01"
) -> pl.DataFrame:
    return fetch_ccxt("paper", symbols, "1d", since, until, allow_network=True, client=client)


def test_a_vendor_is_not_reached_without_permission() -> None:
    yahoo, exchange = Yahoo(), Exchange()
    with pytest.raises(DataError, match="allow_network=True"):
        fetch_yahoo(["ACME"], "2020-08-27", "2020-09-03", allow_network=False, client=yahoo)
    with pytest.raises(DataError, match="allow_network=True"):
        fetch_ccxt("paper", ["BTC/USDT"], "1d", "2020-01-01", "2020-02-01", allow_network=False, client=exchange)
    assert yahoo.asked == []
    assert exchange.asked == []


def test_an_absent_library_names_the_extra() -> None:
    with pytest.raises(DataError, match=r"pip install 'alphaloom\[vendors\]'"):
        doors.load_library("a_library_that_is_not_there", vendor="yahoo")


def test_yahoo_becomes_the_long_table() -> None:
    yahoo = Yahoo()
    table = fetch_yahoo(["ACME", "7000.T"], "2020-08-27", "2020-09-03", allow_network=True, client=yahoo)
    assert table.columns == COLUMNS
    assert table["asset"].to_list() == ["7000.T"] * 2 + ["ACME"] * 4
    acme = table.filter(pl.col("asset") == "ACME")
    assert [str(day) for day in acme["date"]] == ["2020-08-27", "2020-08-28", "2020-08-31", "2020-09-01"]
    assert acme["split"].to_list() == [1.0, 1.0, 4.0, 1.0]
    assert acme["dividend"].to_list() == [0.0, 0.0, 0.0, 0.135]
    assert acme["close"].to_list() == [25.5, 25.8, 26.7, 27.0]
    # By hand: a dividend of 0.135 on a close of 26.7 would be 0.5056 %; the vendor wrote 0.5 % before the ex-day.
    np.testing.assert_allclose((acme["adj_close"] / acme["close"]).to_numpy(), [0.995, 0.995, 0.995, 1.0])
    assert all(asked["auto_adjust"] is False and asked["actions"] is True for asked in yahoo.asked)


def test_a_day_in_tokyo_keeps_its_own_date() -> None:
    table = fetch_yahoo(["7000.T"], "2020-08-27", "2020-09-03", allow_network=True, client=Yahoo())
    # Midnight in Tokyo is still the day before in UTC.
    assert [str(day) for day in table["date"]] == ["2020-08-28", "2020-08-31"]


def test_yahoo_names_every_symbol_without_bars() -> None:
    with pytest.raises(DataError, match="GONE"):
        fetch_yahoo(["ACME", "GONE"], "2020-08-27", "2020-09-03", allow_network=True, client=Yahoo())


def test_yahoo_refuses_an_answer_of_another_form() -> None:
    yahoo = Yahoo()
    for row in yahoo.answers["ACME"]["data"]:
        del row[4]
    yahoo.answers["ACME"]["columns"].remove("Adj Close")
    with pytest.raises(DataError, match="Adj Close"):
        fetch_yahoo(["ACME"], "2020-08-27", "2020-09-03", allow_network=True, client=yahoo)


@pytest.mark.parametrize(
    ("start", "end"), [("2020-09-03", "2020-08-27"), ("2020-08-27", "2020-08-27"), ("soon", "2021-01-01")]
)
def test_a_fetch_needs_a_span(start: str, end: str) -> None:
    with pytest.raises(DataError):
        fetch_yahoo(["ACME"], start, end, allow_network=True, client=Yahoo())


@pytest.mark.parametrize("symbols", [[], "ACME"])
def test_symbols_are_a_list_with_something_in_it(symbols: Any) -> None:
    with pytest.raises(DataError):
        fetch_yahoo(symbols, "2020-08-27", "2020-09-03", allow_network=True, client=Yahoo())


@pytest.mark.parametrize("page", [1, 3, 4, 200])
def test_pages_are_joined_and_the_unfinished_bar_is_left_out(page: int) -> None:
    exchange = Exchange(page)
    table = fetch_bars(exchange, ["BTC/USDT"])
    recorded = exchange.bars["BTC/USDT"]
    assert exchange.now < recorded[-1][0] + DAY  # the last recorded bar had not ended
    assert table.columns == COLUMNS
    assert table["date"].cast(pl.Int64).to_list() == [bar[0] for bar in recorded[:-1]]
    assert table["close"].to_list() == [bar[4] for bar in recorded[:-1]]
    assert table["volume"].to_list() == [bar[5] for bar in recorded[:-1]]
    assert table["adj_close"].to_list() == table["close"].to_list()
    assert set(table["split"]) == {1.0}
    assert set(table["dividend"]) == {0.0}


def test_the_span_is_half_open_and_in_utc() -> None:
    table = fetch_bars(Exchange(), ["BTC/USDT"], "2020-01-03", "2020-01-06")
    assert [str(when) for when in table["date"].dt.date()] == ["2020-01-03", "2020-01-04", "2020-01-05"]


def test_a_pair_listed_later_begins_with_its_first_bar() -> None:
    table = fetch_bars(Exchange(), ["NEW/USDT", "BTC/USDT"])
    fresh = table.filter(pl.col("asset") == "NEW/USDT")
    assert str(fresh["date"].dt.date()[0]) == "2020-01-07"
    assert fresh.height == 3


def test_an_empty_page_before_the_listing_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Windowed(Exchange):
        def fetch_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> list[list[float]]:
            inside = super().fetch_ohlcv(symbol, timeframe, since, limit)
            return [bar for bar in inside if bar[0] < since + limit * DAY]

    monkeypatch.setattr(ccxt_adapter, "_PAGE", 3)
    exchange = Windowed()
    table = fetch_bars(exchange, ["NEW/USDT"])
    assert table.height == 3
    assert len(exchange.asked) > 2


def test_an_exchange_that_ignores_since_does_not_loop() -> None:
    class Stuck(Exchange):
        def fetch_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> list[list[float]]:
            self.asked.append(since)
            return self.bars[symbol][:3]

    exchange = Stuck()
    assert fetch_bars(exchange, ["BTC/USDT"]).height == 3
    assert len(exchange.asked) == 2


def test_ccxt_refuses_what_the_exchange_does_not_offer() -> None:
    with pytest.raises(DataError, match="1h, 1d"):
        fetch_ccxt("paper", ["BTC/USDT"], "7m", "2020-01-01", "2020-02-01", allow_network=True, client=Exchange())
    mute = Exchange()
    mute.has = {"fetchOHLCV": False}
    with pytest.raises(DataError, match="offer bars"):
        fetch_bars(mute, ["BTC/USDT"])
    with pytest.raises(DataError, match="BTC/USDT"):
        fetch_bars(Exchange(), ["BTC/USDT"], "2021-01-01", "2021-02-01")
