"""Scores of different experts on one scale, and the weights that scores lead to."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.agents.dqn_alignment import Member, aligned, chosen

WEIGHTS = {"w1": np.zeros((2, 3, 1), np.float32)}


def member(table=None, spread=(1.0, 4.0), deviation=1.0):
    table = np.zeros((2, 1)) if table is None else table
    return Member(WEIGHTS, False, 1.0, np.zeros(2), np.array(spread), table, deviation)


def test_the_advantage_forgets_what_both_actions_share():
    values = np.array([[[0.0, 0.1], [0.3, 0.5]]])
    place = np.array([0, 1])
    gain, order = aligned(member(deviation=0.5), values, place, "advantage")
    assert gain == pytest.approx(np.array([[0.2, 0.4]]))
    shifted = values + np.array([0.0, 9.0])[None, :, None]
    assert aligned(member(deviation=0.5), shifted, place, "advantage")[1] == pytest.approx(order)
    assert aligned(member(deviation=0.5), shifted, place, "none")[1] == pytest.approx(np.array([[0.2, 19.0]]))


def test_popart_divides_by_the_spread_of_the_experts_targets():
    values = np.array([[[0.0, 1.0], [0.0, 4.0]]])
    gain, _ = aligned(member(), values, np.array([0, 1]), "popart")
    assert gain[0, 0] == pytest.approx(gain[0, 1])


def test_cdf_reads_a_score_as_its_place_among_the_experts_own():
    from scipy.stats import norm

    table = np.stack([np.linspace(-1.0, 1.0, 101), np.linspace(90.0, 110.0, 101)])
    values = np.array([[[0.0, 0.5], [0.0, 105.0]]])
    gain, _ = aligned(member(table), values, np.array([0, 1]), "cdf")
    assert gain[0, 0] == pytest.approx(gain[0, 1])
    assert norm.cdf(gain[0, 0]) == pytest.approx(0.75, abs=0.01)
    assert aligned(member(table), np.array([[[0.0, 0.0], [0.0, 100.0]]]), np.array([0, 1]), "cdf")[0] == pytest.approx(
        0
    )


def test_who_is_held():
    gain = np.array([[0.3, -0.1, 0.2, np.nan, 0.1], [-1.0, -2.0, -3.0, np.nan, -4.0]])
    usable = np.array([[True, True, True, True, True], [True, True, False, True, True]])
    positive = chosen(gain, gain, usable, rule="positive", k=None, idle="cash")
    assert positive == pytest.approx(np.array([[1 / 3, 0, 1 / 3, 0, 1 / 3], [0, 0, 0, 0, 0]]))
    basket = chosen(gain, gain, usable, rule="positive", k=None, idle="basket")
    assert basket[1] == pytest.approx(np.array([1 / 3, 1 / 3, 0, 0, 1 / 3]))
    best = chosen(gain, gain, usable, rule="top_k", k=2, idle="cash")
    assert best == pytest.approx(np.array([[0.5, 0, 0.5, 0, 0], [0, 0, 0, 0, 0]]))
    fifth = chosen(gain, gain, usable, rule="top_k", k=None, idle="cash")
    assert fifth[0] == pytest.approx(np.array([1.0, 0, 0, 0, 0]))


def test_ranks_follow_the_order_and_holding_follows_the_gain():
    gain, order = np.array([[0.1, 0.2, -0.5]]), np.array([[3.0, 1.0, 9.0]])
    usable = np.ones((1, 3), bool)
    assert chosen(gain, order, usable, rule="top_k", k=1, idle="cash")[0] == pytest.approx([1.0, 0.0, 0.0])
