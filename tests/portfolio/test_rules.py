from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.portfolio import BuyAndHold, EqualWeight, MovingAverageCross
from alphaloom.roles import ScheduledPolicy
from alphaloom.testing import check_policy


def test_buy_and_hold_buys_once(make_panel, book_of):
    panel = make_panel(4, 4)
    member = panel.member.copy()
    member[-1, 3] = False
    panel = panel.replace(member=member)
    policy = BuyAndHold(cash=0.1)
    first = policy.decide(panel, book_of(panel))
    np.testing.assert_allclose(first, [0.3, 0.3, 0.3, 0], rtol=1e-14)
    assert np.isnan(policy.decide(panel, book_of(panel, first))).all()


def test_equal_weight_counts_the_bars_of_the_book(make_panel, book_of):
    panel = make_panel(60, 5)
    policy = EqualWeight(every=21, cash=0.0)
    due = [
        bars for bars in range(1, 50) if np.isfinite(policy.decide(panel, book_of(panel, [0.1] * 5, bars=bars))).all()
    ]
    assert due == [1, 22, 43]
    assert policy.decide(panel, book_of(panel)).tolist() == [0.2] * 5


def test_moving_averages_by_hand(make_panel, book_of):
    panel = make_panel(4, 3)
    close = np.array([[1.0, 4, 2], [2, 3, np.nan], [3, 2, np.nan], [4, 1, 5]])
    panel = panel.replace(fields={**panel.fields, "close": close}, member=None, listed=None)
    policy = MovingAverageCross(fast=2, slow=4, cash=0.0)
    # Fast 3.5, 1.5, 5 and slow 2.5, 2.5, 3.5: the first and the third rise, each has a third.
    expected = [1 / 3, 0, 1 / 3]
    np.testing.assert_allclose(policy.weights(panel)[-1], expected, rtol=1e-14)
    assert np.isnan(policy.weights(panel)[:-1]).all()
    np.testing.assert_array_equal(policy.decide(panel, book_of(panel)), policy.weights(panel)[-1])


def test_moving_averages_agree_with_a_plain_loop(make_panel, book_of):
    panel = make_panel(80, 7, holes=0.3, seed=5)
    rng = np.random.default_rng(0)
    panel = panel.replace(member=rng.random(panel.shape) < 0.7)
    policy = MovingAverageCross(fast=5, slow=20, every=3, cash=0.02)
    assert isinstance(policy, ScheduledPolicy)
    table = policy.weights(panel)
    close = panel["close"]
    for t in range(len(panel)):
        np.testing.assert_array_equal(policy.decide(panel[: t + 1], book_of(panel[: t + 1])), table[t])
        if t < 19 or t % 3:
            assert np.isnan(table[t]).all()
            continue
        able = panel.member[t] & np.isfinite(close[t])
        for j in range(7):
            fast, slow = close[t - 4 : t + 1, j], close[t - 19 : t + 1, j]
            enough = np.isfinite(fast).sum() * 2 >= 5 and np.isfinite(slow).sum() * 2 >= 20
            rising = bool(able[j]) and enough and np.nanmean(fast) > np.nanmean(slow)
            assert table[t, j] == pytest.approx(0.98 / able.sum() if rising else 0.0)
    np.testing.assert_array_equal(policy.weights(panel[:50]), table[:50])


@pytest.mark.parametrize("policy", [BuyAndHold(), EqualWeight(every=5), MovingAverageCross(fast=3, slow=10)])
def test_the_law_of_policies(make_panel, policy):
    check_policy(policy, make_panel(90, 8, holes=0.05))


def test_faults_are_named():
    with pytest.raises(DataError, match=r"MovingAverageCross\.slow"):
        MovingAverageCross(fast=20, slow=20)
    with pytest.raises(DataError, match=r"EqualWeight\.every"):
        EqualWeight(every=0)
    with pytest.raises(DataError, match=r"BuyAndHold\.cash"):
        BuyAndHold(cash=-0.1)
