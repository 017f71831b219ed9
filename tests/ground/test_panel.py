from __future__ import annotations

import pickle

import numpy as np
import pytest

from alphaloom.corpus import Corpus
from alphaloom.errors import AxisError, DataError
from alphaloom.panel import Panel, bars_per_year
from alphaloom.units import MONEY, ONE, PRICE, SHARE


def test_a_slice_shares_memory_and_ends_knowledge(make_panel):
    panel = make_panel(50, 4)
    part = panel[10:20]
    assert part.shape == (10, 4)
    assert np.shares_memory(part["close"], panel["close"])
    assert part.assets == panel.assets
    with pytest.raises(ValueError):
        part["close"][0, 0] = 1.0


def test_a_slice_hides_later_documents(make_panel):
    panel = make_panel(50, 4)
    corpus = Corpus.from_documents(
        [panel.times[30], panel.times[5], panel.times[5] + np.timedelta64(1, "h")],
        [0, 1, -1],
        ["late", "early", "next"],
    )
    panel = panel.replace(corpus=corpus)
    assert list(panel[:6].corpus.text) == ["early"]
    assert list(panel[:7].corpus.text) == ["early", "next"]
    assert len(panel[:31].corpus) == 3
    assert len(panel[3:3].corpus) == 0


def test_times_must_increase(make_panel):
    panel = make_panel(10, 2)
    times = panel.times.copy()
    times[4] = times[3]
    with pytest.raises(DataError, match=r"strictly increasing.*panel.times\[4\]"):
        panel.replace(times=times)


def test_assets_must_be_unique_and_shapes_must_fit(make_panel):
    panel = make_panel(10, 2)
    with pytest.raises(DataError, match=r"unique.*A"):
        panel.replace(assets=("A", "A"))
    with pytest.raises(AxisError, match=r"fields\[close\]"):
        panel.replace(fields={"close": panel["close"][:5]})
    with pytest.raises(DataError, match="booleans"):
        panel.replace(member=np.ones((10, 2)))


def test_the_default_masks_follow_the_closes():
    close = np.array([[np.nan, 1.0], [2.0, 1.0], [np.nan, 1.0], [3.0, np.nan], [np.nan, np.nan]])
    times = np.arange("2020-01-01", "2020-01-06", dtype="datetime64[D]")
    panel = Panel(times, ("a", "b"), {"close": close, "open": close})
    assert panel.listed[:, 0].tolist() == [False, True, True, True, False]
    assert panel.listed[:, 1].tolist() == [True, True, True, False, False]
    assert panel.buyable[:, 0].tolist() == [False, True, False, True, False]


def test_the_hash_is_of_the_content(make_panel):
    panel = make_panel(20, 3)
    assert panel.source == make_panel(20, 3).source
    assert panel.source != make_panel(20, 3, seed=1).source
    member = panel.member.copy()
    member[3, 1] = False
    assert panel.replace(member=member).source != panel.source
    added = panel.with_field("news", np.zeros((20, 3)), ONE)
    assert added.source != panel.source
    assert added.source == make_panel(20, 3).with_field("news", np.zeros((20, 3)), ONE).source
    assert added.source != panel.with_field("news", np.ones((20, 3)), ONE).source


def test_a_year_has_as_many_bars_as_the_calendar_says(make_panel):
    assert make_panel(1000, 1).periods_per_year == pytest.approx(261, abs=1)
    hours = np.arange("2020-01-01", "2020-07-01", dtype="datetime64[h]").astype("datetime64[ns]")
    assert bars_per_year(hours) == pytest.approx(8766, abs=5)
    assert bars_per_year(hours[:1]) == 252.0


def test_units_multiply_and_know_what_a_split_changes():
    assert PRICE * SHARE == MONEY
    assert (MONEY / SHARE) == PRICE
    assert (PRICE / PRICE).scale_free
    assert not MONEY.scale_free
    assert str(PRICE**2 * SHARE) == "price^2*share"
    assert str(ONE) == "1"


def test_unknown_assets_are_named(make_panel):
    panel = make_panel(5, 3)
    assert panel.columns_of(["A002", "A000"]).tolist() == [2, 0]
    with pytest.raises(DataError, match="NOPE"):
        panel.columns_of(["A000", "NOPE"])
    with pytest.raises(DataError, match="open, high"):
        panel["clsoe"]


def test_a_panel_travels_between_processes_as_it_is(make_panel):
    panel = make_panel(12, 3)[2:9]
    there = pickle.loads(pickle.dumps(panel))
    assert there.source == panel.source
    np.testing.assert_array_equal(there["close"], panel["close"])
    with pytest.raises(ValueError):
        there["close"][0, 0] = 1.0
    with pytest.raises(TypeError):
        there.fields["x"] = panel["close"]
