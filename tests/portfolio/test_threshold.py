from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.portfolio import Threshold
from alphaloom.signal import Signal
from alphaloom.testing import check_policy


def decide(rule, panel, book_of, score, held=None):
    signal = Signal(panel.times[-1:], panel.assets, [score])
    return rule.policy(signal).decide(panel, book_of(panel, held))


def test_enter_stay_and_leave(make_panel, book_of):
    panel = make_panel(3, 4)
    rule = Threshold(enter=1.0, leave=0.2, slots=4, cash=0.0)
    assert decide(rule, panel, book_of, [1.0, 0.9, 0.5, -3]).tolist() == [0.25, 0, 0, 0]
    held = [0, 0.3, 0.1, 0.2]
    weights = decide(rule, panel, book_of, [1.5, 0.9, 0.1, np.nan], held)
    # The second stays at its drifted weight, the third leaves, the fourth has no score and has not fallen below.
    np.testing.assert_allclose(weights, [0.25, 0.3, 0, 0.2], rtol=1e-14)


def test_nothing_to_open_or_close_trades_nothing(make_panel, book_of):
    panel = make_panel(3, 3)
    rule = Threshold(enter=1.0, leave=0.2, slots=2)
    assert np.isnan(decide(rule, panel, book_of, [0.5, 0.9, 0.0], [0.4, 0.0, 0.0])).all()
    assert np.isnan(decide(rule, panel, book_of, [0.5, 0.9, 0.0])).all()


def test_the_strongest_get_the_free_slots(make_panel, book_of):
    panel = make_panel(3, 5)
    rule = Threshold(enter=1.0, leave=0.0, slots=3, cash=0.1)
    weights = decide(rule, panel, book_of, [1.1, 1.2, 1.3, 1.4, 0.5], [0, 0, 0, 0, 0.7])
    # Two slots are free but the holding has grown: the rest of the money, 1 - 0.1 - 0.7, is shared.
    np.testing.assert_allclose(weights, [0, 0, 0.1, 0.1, 0.7], rtol=1e-12)


def test_shorts_mirror_longs_around_the_centre(make_panel, book_of):
    panel = make_panel(3, 5)
    rule = Threshold(enter=0.6, leave=0.5, slots=5, sides="both", centre=0.5, cash=0.0)
    probability = [0.7, 0.3, 0.55, 0.45, 0.52]
    np.testing.assert_allclose(decide(rule, panel, book_of, probability), [0.2, -0.2, 0, 0, 0], atol=1e-15)
    held = [0, 0, 0.2, -0.2, -0.2]
    weights = decide(rule, panel, book_of, probability, held)
    np.testing.assert_allclose(weights, [0.2, -0.2, 0.2, -0.2, 0], atol=1e-12)


def test_an_order_does_not_carry_exposure_above_equity(make_panel, book_of):
    panel = make_panel(3, 4)
    rule = Threshold(enter=1.0, leave=0.0, slots=4, sides="both")
    weights = decide(rule, panel, book_of, [2.0, -2.0, 2.0, -1.0], [0.6, -0.6, 0.0, 0.3])
    np.testing.assert_allclose(weights, [0.5, -0.5, 0.0, 0.0], atol=1e-12)


def test_without_shorts_a_short_is_closed_and_none_is_opened(make_panel, book_of):
    panel = make_panel(3, 3)
    rule = Threshold(enter=1.0, leave=0.0, slots=2)
    assert decide(rule, panel, book_of, [-5.0, 0.0, 0.0], [0, -0.3, 0]).tolist() == [0, 0, 0]


def test_a_negative_threshold_opens_longs(make_panel, book_of):
    panel = make_panel(3, 3)
    rule = Threshold(enter=-1.0, leave=-2.0, slots=2, cash=0.0)
    assert decide(rule, panel, book_of, [-0.5, -1.5, -3.0]).tolist() == [0.5, 0, 0]


def test_a_halted_holding_is_kept_and_a_former_member_is_sold(make_panel, book_of):
    panel = make_panel(3, 3)
    close, member = panel["close"].copy(), panel.member.copy()
    close[-1, 0] = np.nan
    member[-1, 1] = False
    panel = panel.replace(fields={**panel.fields, "close": close}, member=member)
    weights = decide(Threshold(enter=1.0, leave=0.0), panel, book_of, [-9, 9, np.nan], [0.3, 0.3, 0.3])
    np.testing.assert_allclose(weights, [0.3, 0, 0.3], rtol=1e-14)


def test_the_law_of_policies(make_panel):
    panel = make_panel(60, 8, holes=0.05)
    signal = Signal(panel.times, panel.assets, np.random.default_rng(0).normal(size=panel.shape))
    check_policy(Threshold(enter=1.0, leave=0.0, sides="both", slots=8, every=2).policy(signal), panel)


def test_faults_are_named():
    for wrong in (
        {"enter": 0.0, "leave": 1.0},
        {"enter": 1.0, "leave": -0.1, "sides": "both"},
        {"enter": 1.0, "leave": 0.0, "slots": 0},
        {"enter": 1.0, "leave": 0.0, "sides": "short"},
        {"enter": float("nan"), "leave": 0.0},
    ):
        with pytest.raises(DataError, match="where: Threshold"):
            Threshold(**wrong)
