from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphaloom.errors import AxisError, DataError
from alphaloom.portfolio import TopK
from alphaloom.roles import Allocator, Policy
from alphaloom.signal import Signal
from alphaloom.testing import check_policy


def scores(panel, *rows):
    values = np.full(panel.shape, np.nan)
    values[-len(rows) :] = rows
    return Signal(panel.times, panel.assets, values)


def test_it_plays_its_roles(make_panel):
    panel = make_panel(5, 4)
    allocator = TopK(k=2)
    assert isinstance(allocator, Allocator)
    assert isinstance(allocator.policy(scores(panel, [1, 2, 3, 4])), Policy)


def test_best_two_of_five_from_an_empty_book(make_panel, book_of):
    panel = make_panel(3, 5)
    policy = TopK(k=2, cash=0.1).policy(scores(panel, [5, 1, 9, 3, np.nan]))
    assert policy.decide(panel, book_of(panel)).tolist() == [0.45, 0, 0.45, 0, 0]


def test_an_incumbent_stays_inside_the_buffer_and_leaves_below_it(make_panel, book_of):
    panel = make_panel(3, 6)
    held = [0, 0, 0, 0.5, 0.5, 0]
    inside = TopK(k=2, buffer=2, cash=0).policy(scores(panel, [9, 8, 7, 6, 5, 4]))
    # Ranks from 1: asset 3 is fourth, inside 2 + 2, and stays; asset 4 is fifth and leaves for the best newcomer.
    assert inside.decide(panel, book_of(panel, held)).tolist() == [0.5, 0, 0, 0.5, 0, 0]
    without = TopK(k=2, buffer=0, cash=0).policy(scores(panel, [9, 8, 7, 6, 5, 4]))
    assert without.decide(panel, book_of(panel, held)).tolist() == [0.5, 0.5, 0, 0, 0, 0]


def test_a_newcomer_enters_only_among_the_best_k(make_panel, book_of):
    panel = make_panel(3, 6)
    policy = TopK(k=2, buffer=3, cash=0).policy(scores(panel, [9, 8, 7, 6, 5, 4]))
    full = policy.decide(panel, book_of(panel, [0, 0, 0, 0.5, 0.5, 0]))
    assert full.tolist() == [0, 0, 0, 0.5, 0.5, 0]


def test_too_few_candidates_leave_cash(make_panel, book_of):
    panel = make_panel(3, 5)
    policy = TopK(k=4, cash=0).policy(scores(panel, [5, np.nan, 9, np.nan, np.nan]))
    assert policy.decide(panel, book_of(panel)).tolist() == [0.25, 0, 0.25, 0, 0]


def test_rank_weights_fall_from_best_to_worst(make_panel, book_of):
    panel = make_panel(3, 4)
    policy = TopK(k=3, cash=0, weighting="rank").policy(scores(panel, [1, 4, 3, 2]))
    weights = policy.decide(panel, book_of(panel))
    np.testing.assert_allclose(weights, [0, 3 / 6, 2 / 6, 1 / 6], rtol=1e-14)


def test_a_halted_holding_keeps_its_weight_and_its_place(make_panel, book_of):
    panel = make_panel(4, 5)
    close = panel["close"].copy()
    close[-1, 4] = np.nan
    panel = panel.replace(fields={**panel.fields, "close": close}, member=None, listed=None, buyable=None)
    policy = TopK(k=2, cash=0).policy(scores(panel, [5, 4, 3, 2, 1]))
    book = book_of(panel, [0, 0, 0, 0.3, 0.4])
    weights = policy.decide(panel, book)
    np.testing.assert_allclose(weights, [0.5, 0, 0, 0, 0.4], rtol=1e-14)
    heavy = policy.decide(panel, book_of(panel, [0, 0, 0, 0.1, 0.9]))
    np.testing.assert_allclose(heavy, [0.1, 0, 0, 0, 0.9], rtol=1e-12)


def test_what_cannot_be_bought_or_has_left_the_universe_gets_nothing(make_panel, book_of):
    panel = make_panel(4, 4)
    member, buyable = panel.member.copy(), panel.buyable.copy()
    member[-1, 0] = False
    buyable[-1, 1] = False
    panel = panel.replace(member=member, buyable=buyable)
    policy = TopK(k=1, cash=0).policy(scores(panel, [9, 8, 7, 6]))
    assert policy.decide(panel, book_of(panel)).tolist() == [0, 0, 1, 0]
    # A holding need not be bought again, so a limit does not push it out.
    assert policy.decide(panel, book_of(panel, [0, 1, 0, 0])).tolist() == [0, 1, 0, 0]


def test_rebalancing_days_are_counted_on_the_signal(make_panel, book_of):
    panel = make_panel(20, 4)
    rng = np.random.default_rng(0)
    signal = Signal(panel.times, panel.assets, rng.normal(size=panel.shape))
    policy = TopK(k=2, every=5).policy(signal)
    traded = [t for t in range(20) if np.isfinite(policy.decide(panel[: t + 1], book_of(panel[: t + 1]))).any()]
    assert traded == [0, 5, 10, 15]
    later = [t for t in range(7, 20) if np.isfinite(policy.decide(panel[7 : t + 1], book_of(panel[7 : t + 1]))).any()]
    assert later == [10, 15]


def test_a_bar_without_views_or_outside_the_signal_holds(make_panel, book_of):
    panel = make_panel(6, 4)
    silent = TopK(k=2).policy(scores(panel, [np.nan] * 4))
    assert np.isnan(silent.decide(panel, book_of(panel))).all()
    other = TopK(k=2).policy(Signal(panel.times[:3], panel.assets, np.ones((3, 4))))
    assert np.isnan(other.decide(panel, book_of(panel))).all()


def test_the_buffer_lowers_turnover(make_panel, book_of):
    panel = make_panel(60, 30, seed=3)
    rng = np.random.default_rng(1)
    values = np.cumsum(rng.normal(size=panel.shape), axis=0) + rng.normal(size=panel.shape)
    signal = Signal(panel.times, panel.assets, values)

    def turnover(buffer):
        policy, held, total = TopK(k=10, buffer=buffer, cash=0).policy(signal), np.zeros(30), 0.0
        for t in range(60):
            view = panel[: t + 1]
            new = policy.decide(view, book_of(view, held))
            total, held = total + np.abs(new - held).sum(), new
        return total

    assert turnover(5) < 0.8 * turnover(0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_weights_respect_budget_members_and_the_two_ranks(make_panel, book_of, data):
    N, k = 12, data.draw(st.integers(1, 8))
    buffer, cash = data.draw(st.integers(0, 5)), data.draw(st.sampled_from([0.0, 0.05]))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    panel = make_panel(3, N, seed=int(rng.integers(100)))
    panel = panel.replace(member=rng.random(panel.shape) < 0.8)
    score = np.where(rng.random(N) < 0.2, np.nan, rng.integers(0, 6, N).astype(float))
    held = np.where(rng.random(N) < 0.4, 1.0, 0.0)
    held = held / max(held.sum(), 1.0)
    weights = TopK(k=k, buffer=buffer, cash=cash).policy(scores(panel, score)).decide(panel, book_of(panel, held))
    able = panel.member[-1] & np.isfinite(score)
    if not able.any():
        assert np.isnan(weights).all()
        return
    assert (weights >= 0).all()
    assert weights.sum() <= 1 - cash + 1e-12
    assert not weights[~able].any()
    assert (weights > 0).sum() == min(k, able.sum())
    better = (np.where(able, score, -np.inf)[None, :] > score[:, None]).sum(axis=1)
    for j in np.flatnonzero(weights > 0):
        assert better[j] < (k + buffer if held[j] > 0 else k)


def test_the_law_of_policies(make_panel):
    panel = make_panel(60, 10, holes=0.05)
    signal = Signal(panel.times, panel.assets, np.random.default_rng(0).normal(size=panel.shape))
    check_policy(TopK(k=3, buffer=2, every=2).policy(signal), panel)


def test_faults_are_named(make_panel, book_of):
    for wrong in ({"k": 0}, {"buffer": -1}, {"every": 0}, {"cash": 1.0}, {"weighting": "best"}):
        with pytest.raises(DataError, match="where: TopK"):
            TopK(**wrong)
    panel, other = make_panel(4, 3), make_panel(4, 5)
    policy = TopK(k=1).policy(scores(other, [1, 2, 3, 4, 5]))
    with pytest.raises(AxisError, match="panel's assets"):
        policy.decide(panel, book_of(panel))
