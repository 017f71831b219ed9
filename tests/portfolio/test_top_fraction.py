from __future__ import annotations

import numpy as np
import pytest

from alphaloom.backtest import backtest
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.portfolio import TopFraction
from alphaloom.signal import Signal
from alphaloom.testing import check_policy

FREE = Market(commission=0.0, slippage=0.0)


@pytest.fixture
def panel():
    T, N = 12, 10
    close = np.full((T, N), 10.0) * (1.0 + 0.01 * np.arange(T)[:, None])
    times = (np.datetime64("2020-01-01") + np.arange(T)).astype("datetime64[ns]")
    return Panel(times=times, assets=tuple("ABCDEFGHIJ"), fields={"open": close, "close": close})


def told(panel, rows):
    values = np.array([rows[min(t, len(rows) - 1)] for t in range(len(panel))], dtype=float)
    return Signal(panel.times, panel.assets, values)


def test_a_holding_stays_until_it_leaves_the_wider_fraction(panel):
    first = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]  # A and B are the best fifth
    slipped = [7.5, 3.5, 11, 10, 9, 8, 4, 3, 2, 1]  # C, D the best; A is fifth, B seventh of ten
    policy = TopFraction(enter=0.2, leave=0.6, cash=0.0).policy(told(panel, [first, first, slipped]))
    run = backtest(policy, panel, FREE)
    assert np.flatnonzero(run.holdings[2] > 0).tolist() == [0, 1]
    assert np.flatnonzero(run.holdings[4] > 0).tolist() == [0, 2, 3]
    np.testing.assert_allclose(run.holdings[4][[0, 2, 3]], 1 / 3, atol=1e-9)


def test_it_reads_no_later_bar_and_looks_when_it_should(panel):
    rng = np.random.default_rng(0)
    signal = Signal(panel.times, panel.assets, rng.normal(size=panel.shape))
    check_policy(TopFraction(0.2, 0.4).policy(signal), panel)
    run = backtest(TopFraction(0.2, 0.4, every=5).policy(signal), panel, FREE)
    assert np.flatnonzero(run.traded > 0).tolist() == [1, 6, 11]


@pytest.mark.parametrize("wrong", [{"enter": 0.0}, {"enter": 0.5, "leave": 0.4}, {"leave": 1.1}, {"every": 0}])
def test_faults_name_their_setting(wrong):
    with pytest.raises(DataError, match="TopFraction"):
        TopFraction(**wrong)
