"""From the store to a panel: axes, masks, derived fields, everything no earlier than it was known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from alphaloom.data import MarketFiles, Store, import_market
from alphaloom.errors import DataError
from alphaloom.units import MONEY, PRICE


def stored(path, frame, **extras):
    calendar = extras.pop("calendar", None)
    import_market(frame, path, extras=MarketFiles(**extras), calendar=calendar)
    return Store(path)


def test_the_grid_holds_each_bar_at_its_place(tmp_path, bars):
    frame = bars(X=[10.0, None, 10.2, 10.3], Y=[None, 5.1, 5.2])
    panel = stored(tmp_path / "s", frame.sample(fraction=1.0, shuffle=True, seed=3)).panel(dtype=np.float64)
    assert panel.assets == ("X", "Y")
    assert [str(day)[:10] for day in panel.times] == [f"2024-01-0{k}" for k in (1, 2, 3, 4)]
    np.testing.assert_array_equal(panel["close"], [[10, np.nan], [np.nan, 5.1], [10.2, 5.2], [10.3, np.nan]])
    assert panel["close"].dtype == np.float64
    assert stored(tmp_path / "s", frame).panel()["close"].dtype == np.float32


def test_listed_spans_a_life_and_a_halt_cannot_be_traded(tmp_path, bars):
    frame = bars(X=[10.0, None, 10.2, 10.3], Y=[None, 5.1, 5.2])
    panel = stored(tmp_path / "s", frame).panel()
    np.testing.assert_array_equal(panel.listed, [[1, 0], [1, 1], [1, 1], [1, 0]])
    np.testing.assert_array_equal(panel.buyable, [[1, 0], [0, 1], [1, 1], [1, 0]])
    np.testing.assert_array_equal(panel.member, panel.listed)
    early = Store(tmp_path / "s").panel(end="2024-01-02")
    np.testing.assert_array_equal(early.listed, [[1, 0], [1, 1]])
    assert Store(tmp_path / "s").panel(end="2024-01-01").assets == ("X",), "an asset that had no bar yet is absent"


def test_no_volume_a_halt_flag_or_a_limit_at_the_open_stops_an_order(tmp_path, bars):
    frame = bars(X=[10.0, 10.0, 10.0, 10.0, 10.0]).with_columns(
        volume=pl.Series([0.0, 5.0, 5.0, 5.0, 5.0]),
        tradestatus=pl.Series([1, 0, 1, 1, 1]),
        limit_up=pl.Series([11.0, 11.0, 10.0, 11.0, 11.0]),
        limit_down=pl.Series([9.0, 9.0, 9.0, 10.0, 9.0]),
        close=pl.Series([10.0, 10.0, 9.95, 10.05, 9.98]),
    )
    panel = stored(tmp_path / "s", frame).panel()
    np.testing.assert_array_equal(panel.buyable[:, 0], [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(panel.sellable[:, 0], [0, 0, 1, 0, 1])


def test_vwap_is_amount_over_volume_or_a_named_stand_in(tmp_path, bars):
    frame = bars(X=[10.0, 10.0])
    proxy = stored(tmp_path / "a", frame).panel(dtype=np.float64)
    np.testing.assert_allclose(proxy["vwap"], (proxy["high"] + proxy["low"] + proxy["close"]) / 3)
    assert any("stand-in" in note for note in proxy.notes)
    own = stored(tmp_path / "b", frame.with_columns(amount=pl.lit(10_050.0))).panel(dtype=np.float64)
    np.testing.assert_allclose(own["vwap"], 10.05)
    assert own.units["vwap"] == PRICE
    lots = stored(tmp_path / "c", frame.with_columns(amount=pl.lit(1_005_000.0))).panel(dtype=np.float64)
    np.testing.assert_allclose(lots["vwap"], proxy["vwap"])
    assert any("another unit" in note for note in lots.notes)


def test_fields_assets_and_spans_are_chosen_and_checked(tmp_path, bars):
    store = stored(tmp_path / "s", bars(X=[10.0, 10.1, 10.2], YY=[5.0, 5.1, 5.2]).with_columns(score=1.0))
    part = store.panel(fields=["score"], assets=["YY"], start="2024-01-02", end="2024-01-02")
    assert (set(part.fields), part.assets, part.shape) == ({"open", "close", "score"}, ("YY",), (1, 1))
    with pytest.raises(DataError, match="did you mean 'score'"):
        store.panel(fields=["scroe"])
    with pytest.raises(DataError, match="YZ"):
        store.panel(assets=["YZ"])
    with pytest.raises(DataError, match="hold bars"):
        store.panel(start="2031-01-01")
    with pytest.raises(DataError, match="hold bars"):
        store.panel(end="1999-01-01")
    with pytest.raises(DataError, match="written as"):
        store.panel(start="soon")


def test_membership_ends_before_its_end(tmp_path, bars):
    spells = pl.DataFrame(
        {
            "ticker": ["X", "X", "Q.B", "GONE"],
            "start_date": ["1996-01-02", "2024-01-04", "2024-01-02", "1996-01-02"],
            "end_date": ["2024-01-03", None, None, "2024-01-02"],
        }
    )
    panel = stored(tmp_path / "s", bars(X=[1.0] * 5, **{"Q-B": [2.0] * 5}), membership=spells).panel()
    np.testing.assert_array_equal(panel.member[:, panel.assets.index("X")], [1, 1, 0, 1, 1])
    np.testing.assert_array_equal(panel.member[:, panel.assets.index("Q-B")], [0, 1, 1, 1, 1])
    finding = Store(tmp_path / "s").report().finding("missing_members")
    assert "GONE" in finding.sentence
    bad = spells.with_columns(end_date=pl.lit("1990-01-01"))
    with pytest.raises(DataError, match="ends after it starts"):
        import_market([], tmp_path / "s", extras=MarketFiles(membership=bad))


def test_labels_hold_from_their_date_and_undated_ones_are_named(tmp_path, bars):
    dated = pl.DataFrame(
        {
            "ticker": ["X", "X", "Y"],
            "from": ["2024-01-02", "2024-01-04", "2020-01-01"],
            "gics_sector": ["Energy", "Utilities", "Energy"],
            "gics_sub_industry": ["Oil", "Water", "Oil"],
        }
    )
    frame = bars(X=[1.0] * 5, Y=[1.0] * 5, Z=[1.0] * 5)
    panel = stored(tmp_path / "s", frame, sectors=dated).panel()
    assert panel.label_names["sector"] == ("Energy", "Utilities")
    np.testing.assert_array_equal(panel.labels["sector"].T, [[-1, 0, 0, 1, 1], [0] * 5, [-1] * 5])
    assert set(panel.labels) == {"sector", "subindustry"}
    assert not any("point in time" in note for note in panel.notes)
    undated = stored(tmp_path / "t", frame, sectors=dated.drop("from").tail(2)).panel()
    np.testing.assert_array_equal(undated.labels["sector"][:, 1], 0)
    assert any("not point in time" in note for note in undated.notes)


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ("", [1, np.nan, np.nan, np.nan, 3, np.nan]),
        ("?lag=1", [np.nan, 1, np.nan, np.nan, np.nan, 3]),
        ("?lag=2d", [np.nan, np.nan, 1, np.nan, np.nan, 3]),
        ("?carry=yes", [1, 1, 1, 1, 3, 3]),
        ("?lag=1&carry=yes", [np.nan, 1, 1, 1, 1, 3]),
    ],
)
def test_a_series_is_known_after_its_lag(tmp_path, bars, options, want):
    # 2024-01-05 is a Friday and the last of the first five bars; the value of Saturday reaches the bar of Monday.
    path = tmp_path / "rate.csv"
    path.write_text("date,value\n2023-12-01,0.5\n2024-01-01,1\n2024-01-05,3\n2024-02-01,9\n")
    panel = stored(tmp_path / "s", bars(X=[1.0] * 6), series={"rate": f"{path}{options}"}).panel()
    np.testing.assert_array_equal(panel.series["rate"], want)
    part = Store(tmp_path / "s").panel(start="2024-01-03")
    np.testing.assert_array_equal(part.series["rate"], want[2:], "a cut changes no number")


def test_a_daily_value_is_not_known_inside_its_day(tmp_path):
    hours = pl.datetime_range(pl.datetime(2024, 1, 2, 10), pl.datetime(2024, 1, 4, 10), "1d", eager=True)
    frame = pl.DataFrame({"time": hours, "asset": "X", **dict.fromkeys(("open", "high", "low", "close"), 1.0)})
    vix = pl.DataFrame({"date": ["2024-01-02", "2024-01-03"], "close": [20.0, 30.0]})
    panel = stored(tmp_path / "s", frame.with_columns(volume=1.0), series={"vix": vix}).panel()
    np.testing.assert_array_equal(panel.series["vix"], [np.nan, 20, 30])


def test_a_long_table_of_series_and_the_benchmark(tmp_path, bars):
    long = pl.DataFrame({"series_id": ["A", "B"], "date": ["2024-01-01"] * 2, "value": [1.0, 2.0]})
    index = pl.DataFrame({"date": ["2024-01-01", "2024-01-02"], "open": [9.0, 9.0], "close": [10.0, 11.0]})
    panel = stored(tmp_path / "s", bars(X=[1.0, 1.0]), series={"B": long}, benchmark=index).panel()
    np.testing.assert_array_equal(panel.series["B"], [2, np.nan])
    np.testing.assert_array_equal(panel.series["benchmark"], [10, 11])
    with pytest.raises(DataError, match="one value per time"):
        import_market([], tmp_path / "s", extras=MarketFiles(series={"C": long}))
    with pytest.raises(DataError, match="options of a series"):
        import_market([], tmp_path / "s", extras=MarketFiles(series={"C": "x.csv?delay=3"}))


def test_statements_count_from_their_publication(tmp_path, bars):
    statements = pl.DataFrame(
        [
            ("X", "2023-09-30", "2023-11-01", 100.0, None),
            ("X", "2023-12-31", "2024-01-02", 200.0, 7.0),
            ("X", "2023-09-30", "2024-01-03", 150.0, None),  # an old period restated: the newer one stays
            ("X", "2023-12-31", "2024-01-04", 210.0, None),  # the newest period restated
            ("GONE", "2023-12-31", "2024-01-02", 1.0, 1.0),
        ],
        schema=["ticker", "period_end", "available_date", "net_income", "eps"],
        orient="row",
    )
    panel = stored(tmp_path / "s", bars(X=[1.0] * 6), fundamentals=statements).panel(dtype=np.float64)
    np.testing.assert_array_equal(panel["net_income"][:, 0], [100, 100, 200, 200, 210, 210])
    np.testing.assert_array_equal(panel["eps"][:, 0], [np.nan, np.nan, 7, 7, 7, 7])
    assert (panel.units["net_income"], panel.units["eps"]) == (MONEY, PRICE)
    before = Store(tmp_path / "s").panel(as_of="2024-01-03", dtype=np.float64)
    np.testing.assert_array_equal(before["net_income"][:, 0], [100, 100, 200])
    with pytest.raises(DataError, match="available_date"):
        import_market([], tmp_path / "s", extras=MarketFiles(fundamentals=statements.drop("available_date")))


def test_a_statement_column_cannot_take_the_place_of_a_price(tmp_path, bars):
    statements = pl.DataFrame(
        {"ticker": ["X"], "period_end": ["2023-12-31"], "available_date": ["2024-01-01"], "close": [5.0]}
    )
    with pytest.raises(DataError, match="names of their own"):
        stored(tmp_path / "s", bars(X=[1.0] * 3), fundamentals=statements)


def test_a_statement_of_long_ago_is_not_carried_for_ever(tmp_path, bars):
    statements = pl.DataFrame(
        {"ticker": ["X"], "period_end": ["2022-06-29"], "available_date": ["2022-08-01"], "equity": [5.0]}
    )
    panel = stored(tmp_path / "s", bars(X=[1.0] * 3), fundamentals=statements).panel()
    assert np.isnan(panel["equity"]).all(), "551 days after the end of the period"


def documents_of(panel):
    return [(str(when)[:10], asset, text) for when, asset, text, _ in panel.corpus]


def test_documents_count_for_the_close_at_which_they_were_known(tmp_path, bars):
    # New York closes at 21:00 UTC in winter; 2024-01-15 is a holiday.
    news = pl.DataFrame(
        [
            ("X", "2024-01-02T20:59:00Z", "before the close"),
            ("X", "2024-01-02T21:01:00Z", "after the close"),
            ("ELSE", "2024-01-02T12:00:00Z", "of no concern"),
            (None, "2024-01-06T12:00:00Z", "weekend"),
        ],
        schema=["ticker", "created_at", "text"],
        orient="row",
    )
    frame = bars(X=[1.0] * 8).filter(pl.col("date") != pl.date(2024, 1, 1))
    exact = stored(tmp_path / "s", frame, documents=news, calendar="XNYS").panel()
    assert documents_of(exact) == [
        ("2024-01-02", 0, "before the close"),
        ("2024-01-03", 0, "after the close"),
        ("2024-01-08", -1, "weekend"),
    ]
    assert len(exact[:1].corpus) == 1
    assert any("1 documents" in note for note in exact.notes)
    careful = stored(tmp_path / "t", frame, documents=news).panel()
    assert [len(careful[: k + 1].corpus) for k in range(5)] == [0, 2, 2, 2, 3]


def test_documents_with_a_date_only_count_from_the_day_after(tmp_path, bars):
    news = pl.DataFrame({"date": ["2024-01-02"], "headline": ["x"]})
    panel = stored(tmp_path / "s", bars(X=[1.0] * 4), documents=news, calendar="24/7").panel()
    assert [len(panel[: k + 1].corpus) for k in range(4)] == [0, 0, 1, 1]


def test_the_future_of_the_store_changes_no_row_as_of_a_day(tmp_path, bars):
    rng = np.random.default_rng(5)
    closes = {name: list(50 * np.exp(rng.normal(0, 0.02, 40).cumsum())) for name in "XYZ"}
    frame = bars(**closes).with_columns(dividend=pl.when(pl.int_range(pl.len()) % 9 == 8).then(0.4).otherwise(0.0))
    cut = pl.date(2024, 1, 25)
    whole = stored(tmp_path / "a", frame).panel(as_of="2024-01-25")
    part = stored(tmp_path / "b", frame.filter(pl.col("date") <= cut)).panel()
    assert whole.source == part.source


def test_figures_a_share_follow_the_splits_and_dividends_of_the_prices(tmp_path, bars):
    """Earnings of 8 a share before a split by 4 are 2 after it, and a share count of 10 is 40, on every row alike."""
    frame = bars(X=[100.0, 100.0, 25.0, 25.0, 20.0, 20.0], Y=[10.0] * 6).with_columns(
        split=pl.when((pl.col("asset") == "X") & (pl.col("date") == pl.date(2024, 1, 3))).then(4.0).otherwise(1.0),
        dividend=pl.when((pl.col("asset") == "X") & (pl.col("date") == pl.date(2024, 1, 5))).then(5.0).otherwise(0.0),
    )
    statements = pl.DataFrame(
        [
            ("X", "2023-09-30", "2023-11-01", 8.0, 10.0, 700.0),
            ("X", "2023-12-31", "2024-01-04", 3.0, 40.0, 900.0),
            ("Y", "2023-09-30", "2023-11-01", 1.0, 5.0, 50.0),
        ],
        schema=["ticker", "period_end", "available_date", "eps", "shares_outstanding", "net_income"],
        orient="row",
    )
    store = stored(tmp_path / "s", frame, fundamentals=statements)
    panel = store.panel(dtype=np.float64)
    # Row by row as a person with that day's newspaper would divide them.
    np.testing.assert_allclose((panel["eps"] / panel["close"])[:, 0], [0.08, 0.08, 0.08, 0.08, 0.15, 0.15])
    np.testing.assert_allclose((panel["volume"] / panel["shares_outstanding"])[:, 0], [100.0, 100.0, *[25.0] * 4])
    np.testing.assert_array_equal(panel["net_income"][:, 0], [700.0] * 4 + [900.0] * 2)
    np.testing.assert_array_equal(panel["eps"][:, 1], [1.0] * 6)
    for day, row in (("2024-01-02", 1), ("2024-01-03", 2), ("2024-01-05", 4)):
        then = store.panel(as_of=day, dtype=np.float64)
        for one, other in (("eps", "close"), ("volume", "shares_outstanding")):
            np.testing.assert_allclose((then[one] / then[other]), (panel[one] / panel[other])[: row + 1])
    # Where a panel starts changes no number.
    late = store.panel(start="2024-01-04", dtype=np.float64)
    for name in ("eps", "shares_outstanding"):
        np.testing.assert_array_equal(late[name], panel[name][3:])


def test_an_action_file_with_splits_alone_leaves_the_dividends_of_the_prices(tmp_path, bars):
    frame = bars(X=[100.0, 100.0, 50.0, 45.0]).with_columns(dividend=pl.Series([0.0, 0.0, 0.0, 5.0]))
    actions = pl.DataFrame({"ticker": ["X"], "date": ["2024-01-03"], "split": [2.0]})
    panel = stored(tmp_path / "s", frame, actions=actions).panel(dtype=np.float64)
    np.testing.assert_allclose(panel["close"][:, 0], [45.0, 45.0, 45.0, 45.0])


def test_a_document_from_before_the_first_bar_keeps_its_own_time(tmp_path, bars):
    news = pl.DataFrame({"ticker": ["X", "X"], "created_at": ["2024-01-02T12:00:00Z", "2024-01-08T21:30:00Z"]})
    frame = bars(X=[1.0] * 8).filter(pl.col("date") != pl.date(2024, 1, 1))
    store = stored(tmp_path / "s", frame, documents=news.with_columns(text=pl.lit("x")), calendar="XNYS")
    assert documents_of(store.panel()) == [("2024-01-02", 0, "x"), ("2024-01-09", 0, "x")]
    assert documents_of(store.panel(start="2024-01-09")) == [("2024-01-02", 0, "x"), ("2024-01-09", 0, "x")]
