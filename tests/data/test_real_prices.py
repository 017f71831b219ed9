"""The real files: the defects that their catalogue names are found, and known numbers come out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from alphaloom.data import MarketFiles, Store, import_market


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


def flagged(store, rule):
    return {
        (asset, f"{time:%Y-%m-%d}") for _, asset, time, _ in store.flags().filter(pl.col("rule") == rule).iter_rows()
    }


def test_the_index_members_since_2000(shared_data, folder):
    daily, reference, index = (shared_data / name for name in ("us_equities_daily", "reference", "index"))
    extras = MarketFiles(
        membership=reference / "sp500_membership.csv",
        sectors=reference / "sectors.csv",
        series={"vix": index / "vix_daily.parquet"},
        benchmark=index / "gspc_daily.parquet",
        fundamentals=shared_data / "fundamentals" / "sec_sp500_2009_2024.parquet",
    )
    report = import_market(str(daily / "sp500_*.parquet"), folder / "us", extras=extras, calendar="XNYS")
    store = Store(folder / "us")
    assert (report.rows_read, report.rows_quarantined, report.assets) == (2_744_249, 1, 501)
    assert report.finding("outside_range").examples[0]["asset"] == "HUBB"
    empty = report.finding("zero_volume")
    assert (empty.count, empty.by_asset["AMCR"]) == (1371 + 243, 1371)
    assert {"ODFL", "HWM", "DECK", "MNST"} <= set(empty.by_asset)
    assert "AMCR" in report.finding("stale_run").by_asset
    spun_off = {("MO", "2008-03-31"), ("KDP", "2018-07-10"), ("ROK", "2001-07-02"), ("WY", "2010-07-20")}
    assert spun_off <= flagged(store, "adjusted_raw_disagreement")
    wrong = {("JCI", "2007-07-02"), ("DHR", "2016-07-05"), ("EXPE", "2011-12-21"), ("ETN", "2001-01-02")}
    assert wrong <= flagged(store, "large_move")
    assert report.finding("not_a_session") is None
    years = {item["year"]: (item["held"], item["members"]) for item in report.finding("missing_members").examples}
    assert [years[year] for year in (2000, 2005, 2010, 2020, 2024)] == [
        (203, 492),
        (230, 496),
        (287, 499),
        (426, 505),
        (500, 503),
    ]
    assert years[2015] == (330, 499)

    panel = store.panel()
    assert panel.shape == (6201, 501)
    lehman = panel.row_of("2008-09-15")
    aig = panel.columns_of(["AIG"])[0]
    moved = panel["close"][lehman, aig] / panel["close"][lehman - 1, aig] - 1
    assert moved == pytest.approx(-0.608, abs=0.001), "a real crash survives"
    assert not panel.buyable[:, panel.columns_of(["AMCR"])[0]].all()
    assert (panel.labels["sector"] >= 0).all()
    assert "203 of 492 (2000)" in " ".join(panel.notes)
    assert np.isfinite(panel.series["vix"]).mean() > 0.999
    assert panel.series["benchmark"][panel.row_of("2008-09-15")] == pytest.approx(1192.70, abs=0.01)
    assert panel.periods_per_year == 252
    ours = np.isfinite(panel["close"])
    assert ours.sum() == 2_744_248
    assert (panel.member.sum(axis=1)[[0, -1]] > [150, 480]).all()


def test_chinese_shares_by_reference_prices(shared_data, folder):
    china = shared_data / "china_a_daily"
    extras = MarketFiles(sectors=china / "industry.csv")
    report = import_market(china / "csi300_2020_2024.parquet", folder / "cn", extras=extras, calendar="XSHG")
    assert report.adjustment == "preclose"
    assert report.rows_new == 351_038
    raw = pl.read_parquet(china / "csi300_2020_2024.parquet").sort("code", "date")
    panel = Store(folder / "cn").panel(dtype=np.float64)
    rows = np.searchsorted(panel.times, raw["date"].to_numpy().astype("datetime64[ns]"))
    columns = panel.columns_of(raw["code"].to_list())
    close = panel["close"]
    later = rows > 0
    own = close[rows[later], columns[later]] / close[rows[later] - 1, columns[later]] - 1
    stated = (raw["close"] / raw["preclose"] - 1).to_numpy()[later]
    known = np.isfinite(own)
    assert known.sum() > 350_000
    np.testing.assert_allclose(own[known], stated[known], atol=1e-5)
    steps = np.diff(panel["adj_factor"], axis=0)
    assert (np.abs(np.nan_to_num(steps)) > 1e-9).sum() == 1524, "the ex-right days"
    suspended = raw.filter(pl.col("tradestatus") == 0)
    at = np.searchsorted(panel.times, suspended["date"].to_numpy().astype("datetime64[ns]"))
    assert suspended.height == 676
    assert not panel.buyable[at, panel.columns_of(suspended["code"].to_list())].any()
    assert any("vwap is amount/volume" in note for note in panel.notes)
    assert (panel["vwap"] <= panel["high"] * 1.001)[np.isfinite(panel["vwap"])].all()


def test_prices_as_traded_with_their_events(shared_data, folder):
    path = shared_data / "us_equities_daily" / "raw_with_actions_52.parquet"
    extras = MarketFiles(adjustment="events")
    report = import_market(path, folder / "raw", extras=extras, calendar="XNYS")
    assert report.rows_new == 262_225
    raw = pl.read_parquet(path).sort("ticker", "date")
    panel = Store(folder / "raw").panel(fields=["close", "volume"], dtype=np.float64)
    rows = np.searchsorted(panel.times, raw["date"].to_numpy().astype("datetime64[ns]"))
    columns = panel.columns_of(raw["ticker"].to_list())
    own = panel["close"][rows, columns]
    own = own[1:] / own[:-1] - 1
    vendor = (raw["adjusted_close"].cast(pl.Float64).pct_change()).to_numpy()[1:]
    same = (raw["ticker"] == raw["ticker"].shift(1))[1:].to_numpy().astype(bool)
    apart = same & (np.abs(own - vendor) > 0.005)
    assert apart.sum() <= 13
    rows_apart = raw[1:].filter(pl.Series(apart)).select("ticker", pl.col("date").cast(pl.String))
    found = set(rows_apart.iter_rows())
    known = {
        ("HLT", "2017-01-04"),
        ("JCI", "2007-07-02"),
        ("LDOS", "2013-09-30"),
        ("TMUS", "2013-05-01"),
        ("TRMB", "2007-02-23"),
        ("ZBRA", "2003-08-21"),
        ("ZBRA", "2004-08-25"),
    }
    assert known <= found
    apple = panel.columns_of(["AAPL"])[0]
    seven = panel.row_of("2014-06-06")
    assert panel["volume"][seven, apple] == pytest.approx(
        raw.filter((pl.col("ticker") == "AAPL") & (pl.col("date") == pl.date(2014, 6, 6)))["volume"][0] * 7 * 4,
        rel=1e-5,
    )


def test_as_traded_prices_of_survivors_and_others_chain_day_by_day(shared_data, folder):
    path = shared_data / "us_equities_daily" / "broad_pit_2015_2017.parquet"
    import_market(path, folder / "broad", extras=MarketFiles(adjustment="chained"), calendar="XNYS")
    store = Store(folder / "broad")
    panel = store.panel(fields=["close"], dtype=np.float64)
    assert panel.shape[1] == 1200
    gone = [name for name, listed in zip(panel.assets, panel.listed[-1], strict=True) if not listed]
    assert len(gone) >= 114, "those that died before March 2017 are there, and no longer listed at the end"
    holidays = set(store.manifest["closed_days"])
    assert {"2015-04-03", "2015-05-25", "2015-07-03"} <= holidays
    assert not holidays & {str(day)[:10] for day in panel.times}
    raw = store.prices(assets=["AAPL"]).with_columns(step=pl.col("close") / pl.col("adj_close").shift(1))
    column = panel.columns_of(["AAPL"])[0]
    own = panel["close"][-1, column] / panel["close"][0, column]
    assert own == pytest.approx(raw["step"].product(), rel=1e-9), "the links of all days, holidays included"
    assert own > raw["close"][-1] / raw["close"][0], "dividends are in it"
