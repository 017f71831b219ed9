"""Sources: any table of bars, or an error that names the row and the value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from alphaloom.data import import_market, read_table
from alphaloom.data.extras import read_membership
from alphaloom.data.sources import read_prices
from alphaloom.errors import DataError

CSV = (
    "Date,Ticker,Open,High,Low,Close,Adj Close,Volume\n"
    "2024-01-02,X,10,11,9,10.5,10.4,100\n2024-01-03,X,10,11,9,10,9.9,0\n"
)


def write(path, text):
    path.write_text(text)
    return path


def test_usual_spellings_are_understood(tmp_path):
    bars = read_prices(write(tmp_path / "p.csv", CSV))
    assert bars.frame.columns[:7] == ["time", "asset", "open", "high", "low", "close", "volume"]
    assert bars.frame["adj_close"].to_list() == [10.4, 9.9]
    assert bars.frame["time"].dtype == pl.Datetime("ns")
    assert bars.origins[0].rows == 2
    assert len(bars.origins[0].sha256) == 64


def test_csv_parquet_pandas_and_polars_give_the_same_table(tmp_path):
    path = write(tmp_path / "p.csv", CSV)
    want = read_prices(path).frame
    typed = pl.read_csv(path, try_parse_dates=True)
    typed.write_parquet(tmp_path / "p.parquet")
    indexed = pd.read_csv(path, parse_dates=["Date"]).set_index(["Date", "Ticker"])
    for source in (tmp_path / "p.parquet", typed, typed.lazy(), indexed):
        assert read_prices(source).frame.equals(want)
    assert "Open" in indexed.columns[:1], "the caller's frame stays as it was"


def test_a_mapping_names_columns_and_constants(tmp_path):
    path = write(tmp_path / "p.csv", "when,o,h,l,px,v,score\n2024-01-02,1,1,1,1,5,0.5\n")
    frame = read_prices(path, {"date": "when", "asset": "=SPY", "close": "px"}).frame
    assert frame.row(0, named=True)["asset"] == "SPY"
    assert frame["score"].to_list() == [0.5], "further numeric columns become fields"


def test_several_files_and_globs_are_one_source(tmp_path):
    for year in (2023, 2024):
        write(tmp_path / f"p_{year}.csv", CSV.replace("2024", str(year)))
    bars = read_prices(str(tmp_path / "p_*.csv"))
    assert bars.frame.height == 4
    assert [origin.name for origin in bars.origins] == ["p_2023.csv", "p_2024.csv"]
    assert read_prices(tmp_path).frame.equals(bars.frame)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CSV.replace(",Close,", ",Clsoe,"), ["column 'close'", "Clsoe", "p.csv"]),
        (CSV.replace("10,9.9", "ten,9.9"), ["'Close'", "'ten'", "row 3"]),
        (CSV.replace("2024-01-03", "yesterday"), ["'Date'", "'yesterday'", "row 3"]),
        ("", ["empty file"]),
        ("Date,Ticker,Open,High,Low,Close,Volume\n", ["no row"]),
        (CSV + "2024-01-04,X,1,2,3,4,5,6,7,8,9\n", ["same columns"]),
    ],
)
def test_bad_files_are_refused_with_the_place(tmp_path, text, words):
    path = write(tmp_path / "p.csv", text)
    with pytest.raises(DataError) as caught:
        import_market(path, tmp_path / "store")
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "store").exists(), "nothing is half-written"


def test_a_truncated_parquet_file_is_refused(tmp_path):
    path = tmp_path / "p.parquet"
    pl.DataFrame({"date": ["2024-01-02"] * 50}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="whole"):
        read_table(path)
    with pytest.raises(DataError, match="exist"):
        read_table(tmp_path / "absent.parquet")
    with pytest.raises(DataError, match="CSV or Parquet"):
        read_table(write(tmp_path / "p.xyz", "x"))


def test_a_mapped_column_that_is_absent_gets_the_nearest_name(tmp_path):
    path = write(tmp_path / "p.csv", CSV)
    with pytest.raises(DataError, match="did you mean 'Ticker'"):
        read_prices(path, {"asset": "Tickr"})


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (["2024-01-02", "2024-01-03"], "2024-01-02T00:00"),
        (["20240102", "20240103"], "2024-01-02T00:00"),
        (["01/13/2024", "01/14/2024"], "2024-01-13T00:00"),
        (["13/01/2024", "14/01/2024"], "2024-01-13T00:00"),
        (["2024-01-02 00:00:00-05:00", "2024-01-03 00:00:00-05:00"], "2024-01-02T00:00"),
        (["2024-01-02T09:30:00-05:30", "2024-01-02T10:30:00-05:30"], "2024-01-02T15:00"),
        (["2024-01-02T15:00:00Z", "2024-01-02T16:00:00Z"], "2024-01-02T15:00"),
    ],
)
def test_dates_and_zones(tmp_path, cells, first):
    rows = "\n".join(f"{cell},X,1,1,1,1,1" for cell in cells)
    path = write(tmp_path / "p.csv", "date,asset,open,high,low,close,volume\n" + rows + "\n")
    assert read_prices(path).frame["time"].to_numpy()[0] == np.datetime64(first, "ns")


def test_ambiguous_dates_are_refused(tmp_path):
    path = write(tmp_path / "p.csv", "date,asset,open,high,low,close,volume\n01/02/2024,X,1,1,1,1,1\n")
    with pytest.raises(DataError, match="one meaning"):
        read_prices(path)


def test_a_zone_is_stated():
    stamps = pl.Series("date", ["2024-01-02T14:30:00"]).str.to_datetime().dt.replace_time_zone("America/New_York")
    frame = pl.DataFrame([stamps]).with_columns(asset=pl.lit("X"), volume=1.0, **dict.fromkeys(("open", "high"), 1.0))
    bars = read_prices(frame.with_columns(low=1.0, close=1.0))
    assert bars.frame["time"].to_numpy()[0] == np.datetime64("2024-01-02T19:30", "ns")
    assert any("America/New_York" in note for note in bars.notes)


def test_thousands_are_understood_and_decimal_commas_are_not_guessed(tmp_path):
    head = "date,asset,open,high,low,close,volume\n"
    path = write(
        tmp_path / "p.csv", head + '2024-01-02,X,"1,010.5","1,011",1000,1010,"1,234,567"\n2024-01-03,X,1,1,1,1,\n'
    )
    frame = read_prices(path).frame
    assert frame["open"].to_list() == [1010.5, 1.0]
    assert frame["volume"].to_list() == [1234567.0, None]
    with pytest.raises(DataError, match="'10,5'"):
        read_prices(write(path, head + '2024-01-02,X,"10,5",11,9,10,5\n'))


def test_bars_named_by_their_start_move_to_their_end():
    hours = pl.datetime_range(pl.datetime(2024, 1, 2), pl.datetime(2024, 1, 2, 5), "1h", eager=True, time_zone="UTC")
    prices = {name: [1.0] * 6 for name in ("open", "high", "low", "close", "volume")}
    bars = read_prices(pl.DataFrame({"open_time": hours, "symbol": ["BTC"] * 6, **prices}))
    assert bars.frame["time"].to_numpy()[0] == np.datetime64("2024-01-02T01:00", "ns")
    assert bars.frame["time"].dtype == pl.Datetime("ns")
    assert any("1:00:00 later" in note for note in bars.notes)


def test_a_missing_column_is_answered_in_the_words_of_the_command_line(tmp_path):
    def told(header, columns=None):
        path = tmp_path / "p.csv"
        path.write_text(f"{header}\n" + "2024-01-02" + ",1" * header.count(",") + "\n")
        with pytest.raises(DataError) as wrong:
            read_prices(path, columns)
        return wrong.value.fix

    assert "--map asset=Symbols" in told("Date,Symbols,Open,High,Low,Close,Volume")
    # A column that stands for something else already is no guess: "code" is spelt much like "Close".
    assert "Close" not in told("Date,Open,High,Low,Close,Volume")
    assert "should read close=Px" in told("Date,Ticker,Open,High,Low,Px,Volume", {"clos": "Px"})
    assert "separated by commas" in told("Date;Ticker;Open;High;Low;Close;Volume")


def test_a_wrong_row_beside_the_prices_is_counted_as_an_editor_counts(tmp_path):
    path = tmp_path / "members.csv"
    path.write_text("ticker,start,end\nX,2020-01-01,\nY,soon,\n")
    with pytest.raises(DataError) as wrong:
        read_membership(path)
    assert "row 3" in str(wrong.value.where)


def test_a_csv_file_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(CSV, encoding="utf-16")
    with pytest.raises(DataError, match="UTF-8 text"):
        read_table(path)
