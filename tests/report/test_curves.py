"""The curves of the figures against plain loops and sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.report.curves import (
    block_means,
    deepest,
    drawdowns,
    gross_returns,
    months_of,
    rolling_mean,
    rolling_sharpe,
    thin,
)
from alphaloom.report.reading import bars_per_year, facts, seek
from alphaloom.report.tables import typeset


def test_drawdown_by_hand():
    equity = np.array([100.0, 120.0, 90.0, 60.0, 120.0, 110.0])
    assert drawdowns(equity) == pytest.approx([0, 0, -0.25, -0.5, 0, 110 / 120 - 1])
    worst = deepest(equity)
    assert worst is not None
    assert (worst.depth, worst.peak, worst.bottom, worst.recovery) == (0.5, 1, 3, 4)
    assert deepest(np.array([1.0, 2.0, 3.0])) is None
    lasting = deepest(np.array([2.0, 1.0, 1.5]))
    assert lasting is not None
    assert lasting.recovery is None


def test_rolling_windows_match_a_loop():
    rng = np.random.default_rng(3)
    returns = rng.normal(0.001, 0.01, 300)
    found = rolling_sharpe(returns, 60, 252.0)
    mean = rolling_mean(returns, 60)
    assert np.isnan(found[:59]).all()
    for t in (59, 60, 150, 299):
        window = returns[t - 59 : t + 1]
        assert found[t] == pytest.approx(window.mean() / window.std(ddof=1) * np.sqrt(252))
        assert mean[t] == pytest.approx(window.mean())


def test_a_rolling_window_that_never_moves_has_no_sharpe():
    assert np.isnan(rolling_sharpe(np.zeros(50), 20, 252.0)).all()
    assert np.isnan(rolling_sharpe(np.ones(5), 20, 252.0)).all()


def test_rolling_mean_needs_half_of_its_window():
    values = np.array([1.0, np.nan, np.nan, np.nan, 2.0, 4.0])
    found = rolling_mean(values, 4)
    assert np.isnan(found[:5]).all()
    assert found[5] == 3.0


def test_costs_are_given_back_by_hand():
    equity = np.array([100.0, 108.0, 108.0])
    found = gross_returns(np.array([0.0, 0.08, 0.0]), np.array([0.0, 2.0, 5.4]), equity)
    assert found == pytest.approx([0.0, 0.10, 0.05])


def test_months_compound_by_hand():
    times = np.array(["2020-01-30", "2020-01-31", "2020-02-03", "2021-02-01"], dtype="datetime64[ns]")
    months = months_of(times, np.array([0.1, 0.1, -0.5, 0.2]))
    assert months.years.tolist() == [2020, 2021]
    assert months.table[0, 0] == pytest.approx(0.21)
    assert months.table[0, 1] == pytest.approx(-0.5)
    assert months.table[1, 1] == pytest.approx(0.2)
    assert np.isfinite(months.table).sum() == 3
    assert months.totals == pytest.approx([1.21 * 0.5 - 1, 0.2])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.integers(20, 200), st.integers(0, 10**6))
def test_thinning_keeps_order_ends_and_extremes(count, most, seed):
    values = np.random.default_rng(seed).normal(size=count)
    rows = thin(values, most)
    assert (np.diff(rows) > 0).all()
    assert rows[0] == 0
    assert rows[-1] == count - 1
    assert {int(values.argmin()), int(values.argmax())} <= set(rows.tolist())
    assert len(rows) <= max(most, 4)


def test_blocks_average_their_bars():
    rows, means, length = block_means(np.arange(10.0), most=4)
    assert length == 3
    assert rows.tolist() == [2, 5, 8, 9]
    assert means.tolist() == [1.0, 4.0, 7.0, 9.0]
    assert block_means(np.arange(3.0))[2] == 1


def test_bars_a_year_are_read_or_inferred(study, make_study):
    assert bars_per_year(study) == 252.0
    assert bars_per_year(make_study(bars=80, provenance={"periods_per_year": 365.0})) == 365.0
    weekly = np.datetime64("2020-01-03", "ns") + np.arange(150) * np.timedelta64(7, "D")
    assert bars_per_year(make_study(bars=80, daily={"time": weekly})) == 52.0


def test_seeking_takes_the_nearest_to_the_root():
    tree = {"a": {"fill": "deep", "b": {"seed": 3}}, "fill": "near"}
    assert seek(tree, "fill") == "near"
    assert seek(tree, "absent", "seed") == 3
    assert seek(tree, "absent") is None


def test_the_head_states_fill_costs_seed_and_data(study):
    stated = dict(facts(study))
    assert stated["Test span"] == "2018-01-02 to 2023-10-02"
    assert stated["Universe"] == "498 assets"
    assert stated["Fill"] == "next open"
    assert stated["Costs"] == "5 bp commission, 5 bp slippage, square-root impact 0.1"
    assert stated["Seed"] == "7"
    assert stated["Data"] == "4be1c0ffee01"


def test_minus_signs_are_set_and_dates_are_left_alone():
    assert typeset("-1.5 % on 2020-01-02 & [-3, 4]") == "\u22121.5\u00a0% on 2020-01-02 &amp; [\u22123,\u00a04]"
