"""What surrounds a search: parts that do not touch, placebos of whole days, an exchange of at most n holdings."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.backtest import backtest
from alphaloom.errors import DataError
from alphaloom.factors import parse
from alphaloom.market import Market
from alphaloom.mining import Budget, RandomSearch, Session
from alphaloom.portfolio import TopDrop
from alphaloom.signal import Signal, forward_returns
from alphaloom.study.mining import GrammarChoice, Mining, Placebo, Split, hold_out, permuted, run_mining, training


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


def _joined_later(make_panel, rows=300, assets=30, late=6):
    """The last assets join the universe at row 210, after training ends at row 200."""
    panel = make_panel(rows, assets, seed=5)
    member = np.ones(panel.shape, bool)
    member[:210, -late:] = False
    return panel.replace(member=member)


def _search():
    return Mining(
        "late", RandomSearch(), GrammarChoice(max_lookback=50), budget=Budget(60), placebo=Placebo(1, 30, 20), horizon=5
    )


def test_assets_that_join_after_training_are_not_searched_and_change_no_coefficient(make_panel):
    panel, mining = _joined_later(make_panel), _search()
    parts = mining.parts(panel)
    assert parts.train.stop == 200
    session = training(mining, panel[: parts.valid.stop], parts)
    assert session.panel.assets == panel.assets[:24]
    train = panel[:200]
    whole = Session(
        train,
        forward_returns(train, mining.market, horizon=5),
        grammar=mining.grammar.grammar,
        start_row=parts.train.start,
        settings=mining.settings,
    )
    np.testing.assert_allclose(session.target, whole.target[:, :24])
    for text in ("rank(close / open)", "ts_corr(close, volume, 20)", "ts_rank(volume, 20) - ts_rank(vwap, 10)"):
        one, other = session.judge([parse(text)])[0], whole.judge([parse(text)])[0]
        assert one.fault == other.fault == ""
        assert one.ic == pytest.approx(other.ic, abs=1e-6)


def test_assets_that_join_after_training_are_scored_from_then_on(make_panel, tmp_path):
    panel, mining = _joined_later(make_panel), _search()
    found = run_mining(mining, panel, tmp_path / "run")
    assert found.facts["assets"] == 30
    tested = hold_out(mining, panel, tmp_path / "run").holdout
    assert tested is not None
    assert tested["placebo"]["test"]["values"]
    assert tested["days"] > 0
