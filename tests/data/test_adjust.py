"""Adjustment against examples that can be done by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.data import MarketFiles, Store, import_market
from alphaloom.data.adjust import adjustment_factors
from alphaloom.errors import DataError
from alphaloom.units import ONE


def table(close, **columns):
    n = len(close)
    return pl.DataFrame({"asset": ["X"] * n, "time": np.arange(n), "close": np.array(close, float), **columns})


def test_a_split_divides_prices_and_multiplies_shares():
    frame = table([100.0, 102.0, 51.0, 52.0], split=[1.0, 1.0, 2.0, 1.0])
    factor, shares = adjustment_factors(frame, "events", splits_in_close=True)
    np.testing.assert_array_equal(factor, [0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(shares, [2, 2, 1, 1])


def test_a_dividend_scales_earlier_prices_by_its_share_of_the_close_before():
    factor, shares = adjustment_factors(table([100.0, 98.0], dividend=[0.0, 2.0]), "events", splits_in_close=True)
    np.testing.assert_allclose(factor, [0.98, 1.0])
    np.testing.assert_array_equal(shares, [1, 1])


def test_a_reference_price_tells_the_step():
    frame = table([10.0, 9.1, 9.2], preclose=[9.9, 9.0, 9.1])
    factor, _ = adjustment_factors(frame, "preclose", splits_in_close=True)
    np.testing.assert_allclose(factor, [0.9, 1.0, 1.0])


def test_an_adjusted_close_is_anchored_at_the_last_bar():
    factor, _ = adjustment_factors(table([10.0, 10.0], adj_close=[4.0, 8.0]), "adj_close", splits_in_close=True)
    np.testing.assert_allclose(factor, [0.5, 1.0])


def test_chained_links_step_to_the_next_bar():
    factor, _ = adjustment_factors(table([10.0, 9.0, 9.0], adj_close=[9.0, 9.0, 9.0]), "chained", splits_in_close=True)
    np.testing.assert_allclose(factor, [0.9, 1.0, 1.0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([1.0, 1.0, 1.0, 2.0, 3.0, 0.5]), min_size=2, max_size=30), st.integers(0, 99))
def test_adjusted_returns_do_not_depend_on_the_day_of_the_view(splits, seed):
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(rng.normal(0, 0.02, len(splits)).cumsum()) / np.cumprod(splits)
    frame = table(close, split=splits, dividend=np.where(rng.random(len(splits)) < 0.2, 0.01, 0.0) * close)
    whole, _ = adjustment_factors(frame, "events", splits_in_close=True)
    cut = rng.integers(1, len(splits) + 1)
    part, _ = adjustment_factors(frame.head(cut), "events", splits_in_close=True)
    assert part[-1] == 1.0
    np.testing.assert_allclose(whole[:cut] / whole[cut - 1], part, rtol=1e-12)


def test_all_prices_and_the_volume_of_a_panel_are_adjusted_as_of_a_day(tmp_path, bars):
    frame = bars(X=[100.0, 102.0, 51.0, 52.0]).with_columns(split=pl.Series([1.0, 1.0, 2.0, 1.0]))
    import_market(frame, tmp_path / "s")
    store = Store(tmp_path / "s")
    now, then = store.panel(dtype=np.float64), store.panel(as_of="2024-01-02", dtype=np.float64)
    np.testing.assert_allclose(now["close"][:, 0], [50, 51, 51, 52])
    np.testing.assert_allclose(now["high"][:, 0], 1.01 * now["close"][:, 0])
    np.testing.assert_allclose(now["volume"][:, 0], [2000, 2000, 1000, 1000])
    np.testing.assert_allclose(now["adj_factor"][:, 0], [0.5, 0.5, 1, 1])
    assert now.units["adj_factor"] == ONE
    np.testing.assert_allclose(then["close"][:, 0], [100, 102])
    np.testing.assert_allclose(store.prices()["close"], [100, 102, 51, 52])
    np.testing.assert_allclose(store.panel(end="2024-01-02", dtype=np.float64)["close"][:, 0], [50, 51])
    assert "as of 2024-01-02" in " ".join(then.notes)


def test_events_in_a_file_of_their_own_meet_the_next_bar(tmp_path, bars):
    frame = bars(X=[100.0, 102.0, None, 51.0, 52.0], Y=[10.0, 10.0, 10.0, 10.0, 9.8])
    actions = pl.DataFrame(
        {"ticker": ["X", "Y"], "date": ["2024-01-03", "2024-01-05"], "split": [2.0, 1.0], "dividend": [0.0, 0.2]}
    )
    report = import_market(frame, tmp_path / "s", extras=MarketFiles(actions=actions))
    assert report.adjustment == "events"
    panel = Store(tmp_path / "s").panel(dtype=np.float64)
    np.testing.assert_allclose(panel["close"][:, 0], [50, 51, np.nan, 51, 52])
    np.testing.assert_allclose(panel["close"][:, 1], [9.8, 9.8, 9.8, 9.8, 9.8])


def test_splits_that_the_source_divided_out_are_not_applied_twice(tmp_path, bars):
    frame = bars(X=[50.0, 51.0, 51.0, 52.0]).with_columns(split=pl.Series([1.0, 1.0, 2.0, 1.0]))
    import_market(frame, tmp_path / "s")
    panel = Store(tmp_path / "s").panel(dtype=np.float64)
    np.testing.assert_allclose(panel["close"][:, 0], [50, 51, 51, 52])
    np.testing.assert_allclose(panel["volume"][:, 0], 1000)
    assert any("divided its splits out" in note for note in panel.notes)


def test_an_adjustment_needs_its_columns(tmp_path, bars):
    with pytest.raises(DataError, match="preclose"):
        import_market(bars(X=[1.0, 2.0]), tmp_path / "s", extras=MarketFiles(adjustment="preclose"))
    with pytest.raises(DataError, match="known one"):
        import_market(bars(X=[1.0, 2.0]), tmp_path / "s", extras=MarketFiles(adjustment="magic"))
