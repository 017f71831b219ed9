from __future__ import annotations

import pickle

import numpy as np
import pytest

from alphaloom.errors import AxisError, ConfigError, DataError, Fault
from alphaloom.market import Book, History, Market
from alphaloom.signal import Signal, forward_returns


def test_a_target_is_the_return_from_the_fill(make_panel):
    panel = make_panel(12, 2)
    target = forward_returns(panel, Market(), horizon=3)
    assert target.values[4, 1] == pytest.approx(panel["open"][8, 1] / panel["open"][5, 1] - 1)
    assert np.isnan(target.values[-4:]).all()
    assert np.isfinite(target.values[:-4]).all()
    close = forward_returns(panel, Market(fill="same_close"), horizon=3)
    assert close.values[4, 1] == pytest.approx(panel["close"][7, 1] / panel["close"][4, 1] - 1)
    later = forward_returns(panel, Market(fill="next_close"), horizon=1)
    assert later.values[4, 1] == pytest.approx(panel["close"][6, 1] / panel["close"][5, 1] - 1)


def test_a_training_slice_purges_its_own_labels(make_panel):
    panel = make_panel(40, 3)
    whole, part = forward_returns(panel, Market(), horizon=5), forward_returns(panel[:20], Market(), horizon=5)
    assert np.isnan(part.values[14:]).all()
    np.testing.assert_array_equal(part.values[:14], whole.values[:14])


def test_labels_need_trades_that_could_happen(make_panel):
    panel = make_panel(20, 2)
    buyable, sellable = panel.buyable.copy(), panel.sellable.copy()
    buyable[6, 0] = False
    sellable[9, 1] = False
    target = forward_returns(panel.replace(buyable=buyable, sellable=sellable), Market(), horizon=2)
    assert np.isnan(target.values[5, 0])
    assert np.isfinite(target.values[4, 0])
    assert np.isnan(target.values[6, 1])
    assert np.isfinite(target.values[8, 1])


def test_a_delisting_settles_the_label(make_panel):
    panel = make_panel(20, 2)
    fields = {name: values.copy() for name, values in panel.fields.items()}
    for values in fields.values():
        values[10:, 0] = np.nan
    dead = panel.replace(fields=fields, listed=None, member=None, buyable=None, sellable=None)
    target = forward_returns(dead, Market(delist_loss=0.3), horizon=5)
    assert target.values[7, 0] == pytest.approx(panel["close"][9, 0] * 0.7 / panel["open"][8, 0] - 1)
    assert np.isnan(target.values[9, 0])


def test_a_signal_answers_by_date(make_panel):
    panel = make_panel(6, 2)
    signal = Signal(panel.times[2:], panel.assets, np.arange(8.0).reshape(4, 2))
    assert signal.row_at(panel.times[3]).tolist() == [2.0, 3.0]
    assert np.isnan(signal.row_at(panel.times[0])).all()
    with pytest.raises(AxisError):
        Signal(panel.times, panel.assets, np.zeros((4, 2)))
    with pytest.raises(DataError, match="probability"):
        Signal(panel.times, panel.assets, np.zeros((6, 2)), kind="guess")


def test_markets_refuse_negative_costs():
    with pytest.raises(DataError, match=r"market\.commission"):
        Market(commission=-0.1)
    with pytest.raises(DataError, match="next_open, next_close, same_close"):
        Market(fill="yesterday")


def test_a_book_weighs_what_it_holds():
    history = History(np.array(["2020-01-01"], "datetime64[ns]"), np.array([100.0]), np.zeros((1, 3)))
    book = Book(history.times[0], 40.0, np.array([2.0, 0.0, -1.0]), np.array([40.0, np.nan, 20.0]), history)
    assert book.equity == pytest.approx(100.0)
    assert book.weights.tolist() == pytest.approx([0.8, 0.0, -0.2])


def test_errors_travel_between_processes_whole():
    # Worker processes send exceptions home by pickle; the parts of the message must survive.
    fault = pickle.loads(pickle.dumps(DataError("a rule", found=3, where="here", fix="do that")))
    assert str(fault) == "a rule; where: here; found: 3; way out: do that"
    many = pickle.loads(pickle.dumps(ConfigError("a.toml", [Fault("x.y", "is a number", "abc", "give 3")])))
    assert "x.y: is a number (found 'abc'); give 3" in str(many)
