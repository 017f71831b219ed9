"""What surrounds a search: parts that do not touch, placebos of whole days, an exchange of at most n holdings."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.backtest import backtest
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.portfolio import TopDrop
from alphaloom.signal import Signal
from alphaloom.study.mining import Split, permuted


def test_parts_follow_each_other_and_are_purged(make_panel):
    parts = Split().parts(make_panel(300, 4).times, warm=50, horizon=5, lag=1)
    assert (parts.train.start, parts.train.stop) == (50, parts.valid.start)
    assert (parts.valid.stop, parts.test.stop) == (parts.test.start, 300)
    assert parts.purge == 6
    with pytest.raises(DataError, match="look-back"):
        Split().parts(make_panel(90, 4).times, warm=50, horizon=5, lag=1)


def test_a_placebo_moves_whole_days_in_blocks():
    values = np.arange(40.0)[:, None] * np.ones((1, 3))
    mixed = permuted(values, start=5, stop=35, block=10, seed=1)
    assert sorted(mixed[:, 0]) == sorted(values[:, 0])
    assert (mixed[:5] == values[:5]).all()
    assert (mixed[35:] == values[35:]).all()
    assert (mixed == mixed[:, :1]).all()
    assert (mixed[5:35] != values[5:35]).all()
    assert 1 <= int((np.diff(mixed[5:35, 0]) != 1).sum()) <= 2
    with pytest.raises(DataError, match="two blocks"):
        permuted(values, start=5, stop=15, block=10, seed=1)


def test_no_more_than_n_holdings_are_exchanged(make_panel):
    panel = make_panel(40, 12, seed=2)
    scores = np.random.default_rng(0).standard_normal(panel.shape)
    book = backtest(TopDrop(5, 2).policy(Signal(panel.times, panel.assets, scores)), panel, Market())
    held = book.shares[2:] > 0
    assert (held.sum(axis=1) == 5).all()
    assert (held[:-1] & ~held[1:]).sum(axis=1).max() == 2
