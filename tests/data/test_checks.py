"""Validation: every rule catches its row, real extremes survive, and nothing disappears."""

from __future__ import annotations

import polars as pl
import pytest

from alphaloom.data import MarketFiles, Store, ValidationReport, import_market


def with_row(frame: pl.DataFrame, row: int, **values) -> pl.DataFrame:
    at = pl.int_range(pl.len()) == row
    return frame.with_columns([pl.when(at).then(pl.lit(v)).otherwise(pl.col(k)).alias(k) for k, v in values.items()])


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("missing_close", {"close": None}),
        ("non_positive_price", {"low": 0.0}),
        ("non_positive_price", {"open": -3.0}),
        ("not_finite", {"high": float("inf")}),
        ("not_finite", {"volume": 1e39}),
        ("negative_volume", {"volume": -1.0}),
        ("high_below_low", {"high": 9.0, "low": 10.5}),
        ("outside_range", {"open": 12.0}),
        ("missing_key", {"asset": None}),
    ],
)
def test_a_row_that_cannot_be_true_is_set_aside_with_its_rule(tmp_path, bars, rule, values):
    frame = with_row(bars(X=[10.0, 10.1, 10.2, 10.3]), 1, **values)
    report = import_market(frame, tmp_path / "s")
    assert report.finding(rule).severity == "error"
    assert report.finding(rule).count == 1
    store = Store(tmp_path / "s")
    assert store.quarantine()["rule"].to_list() == [rule]
    assert store.prices().height == 3
    assert report.rows_read == report.rows_new + report.rows_quarantined == 4
    assert any(rule in note for note in store.panel().notes)


def test_a_hair_outside_the_range_is_rounding(tmp_path, bars):
    frame = with_row(bars(X=[10.0, 10.1, 10.2]), 1, high=10.1 * (1 - 1e-7))
    assert import_market(frame, tmp_path / "s").finding("outside_range") is None


def test_unsorted_rows_are_sorted_and_counted(tmp_path, bars):
    frame = bars(X=[10.0, 10.1, 10.2], Y=[5.0, 5.1, 5.2])
    report = import_market(frame.sort("date", "asset"), tmp_path / "by_date")
    assert report.finding("unsorted") is None, "the order by date is an order too"
    report = import_market(frame.reverse(), tmp_path / "s")
    assert report.finding("unsorted").count == 4
    assert Store(tmp_path / "s").digest == Store(tmp_path / "by_date").digest


def test_equal_duplicates_keep_one_copy_and_conflicting_ones_none(tmp_path, bars):
    frame = bars(X=[10.0, 10.1, 10.2], Y=[5.0, 5.1, 5.2])
    again = pl.concat([frame, frame.slice(0, 1), with_row(frame.slice(4, 1), 0, close=5.11)])
    report = import_market(again, tmp_path / "s")
    assert report.finding("duplicate").count == 1
    assert report.finding("conflicting_duplicate").count == 2
    assert report.finding("conflicting_duplicate").by_asset == {"Y": 2}
    assert report.rows_read == 8 == report.rows_new + report.rows_quarantined
    assert Store(tmp_path / "s").prices().group_by("asset").len().sort("asset")["len"].to_list() == [3, 2]


def test_a_crash_is_flagged_and_kept(tmp_path, bars):
    report = import_market(bars(X=[10.0, 10.1, 3.9, 4.0]), tmp_path / "s")
    assert report.finding("large_move").severity == "warning"
    assert report.finding("large_move").examples[0]["time"] == "2024-01-03"
    assert Store(tmp_path / "s").prices().height == 4


def test_a_split_without_an_event_is_flagged_and_with_one_it_is_not(tmp_path, bars):
    frame = bars(X=[30.0, 30.1, 10.05, 10.1])
    report = import_market(frame, tmp_path / "a")
    assert report.finding("split_like_jump").count == 1
    report = import_market(frame.with_columns(split=pl.Series([1.0, 1.0, 3.0, 1.0])), tmp_path / "b")
    assert report.finding("split_like_jump") is None
    assert report.adjustment == "events"


def test_disagreement_of_raw_and_adjusted_returns(tmp_path, bars):
    frame = bars(X=[100.0, 100.0, 80.0, 80.0]).with_columns(adj_close=pl.Series([80.0, 80.0, 80.0, 80.0]))
    finding = import_market(frame, tmp_path / "s").finding("adjusted_raw_disagreement")
    assert (finding.count, finding.examples[0]["time"]) == (1, "2024-01-03")


def test_stale_runs_and_empty_days(tmp_path, bars):
    frame = bars(X=[10.0] * 9, Y=[5.0 + 0.1 * k for k in range(9)])
    flat = pl.col("asset") == "X"
    frame = frame.with_columns(
        high=pl.when(flat).then(pl.col("close")).otherwise(pl.col("high")),
        low=pl.when(flat).then(pl.col("close")).otherwise(pl.col("low")),
        volume=pl.when(flat).then(0.0).otherwise(pl.col("volume")),
    )
    report = import_market(frame, tmp_path / "s")
    assert report.finding("stale_run").examples[0]["value"] == 8
    assert report.finding("zero_volume").by_asset == {"X": 9}


def test_calendar_gaps_and_days_without_a_session(tmp_path, bars):
    # 2024-01-01 and 2024-01-15 are holidays in New York; Y lacks 2024-01-04.
    frame = bars(X=[10.0 + 0.1 * k for k in range(12)], Y=[5.0, 5.1, 5.2, None, 5.4, 5.5])
    report = import_market(frame, tmp_path / "s", calendar="XNYS")
    assert report.finding("not_a_session").by_asset == {"X": 2, "Y": 1}
    gap = report.finding("missing_sessions")
    assert gap.examples[0] == {"asset": "Y", "time": "2024-01-05", "after": "2024-01-03", "value": 1}
    panel = Store(tmp_path / "s").panel()
    assert len(panel) == 10
    assert any("2 days on which XNYS was closed" in note for note in panel.notes)
    without = import_market(frame, tmp_path / "t").finding("missing_sessions")
    assert without.count == 1, "without a calendar the days of the other assets are the measure"


def test_the_report_survives_json(tmp_path, bars):
    report = import_market(bars(X=[10.0, 3.0, 3.1]), tmp_path / "s")
    again = ValidationReport.from_json(report.to_json())
    assert again.rows() == report.rows()
    assert Store(tmp_path / "s").report().rows() == report.rows()
    severity, rule, count, sentence, example = report.rows()[0]
    assert severity in ("error", "warning", "info")
    assert rule
    assert count > 0
    assert sentence
    assert "X 2024" in example


def test_files_beside_the_prices_that_cannot_be_meant_are_noticed(tmp_path, bars):
    frame = bars(X=[10.0, 10.1, 10.2], Y=[5.0, 5.0, 5.1])

    def rules(name, **files):
        return {found.rule for found in import_market(frame, tmp_path / name, extras=MarketFiles(**files)).findings}

    other = pl.DataFrame({"ticker": ["Q", "R"], "sector": ["tech", "oil"]})
    assert "unmatched_assets" in rules("a", sectors=other)
    assert "unmatched_assets" not in rules("b", sectors=other.with_columns(ticker=pl.Series(["Q", "X"])))
    stated = pl.DataFrame(
        {"ticker": ["X"], "period_end": ["2024-03-31"], "available_date": ["2024-01-02"], "sales": [1.0]}
    )
    assert "early_statement" in rules("c", fundamentals=stated)
    assert "early_statement" not in rules("d", fundamentals=stated.with_columns(period_end=pl.lit("2023-12-31")))
