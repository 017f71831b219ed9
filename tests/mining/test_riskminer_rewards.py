"""What RiskMiner pays, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alphaloom.factors import parse
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.mining import Budget, Pool, Session
from alphaloom.mining.identity import root_sign
from alphaloom.mining.riskminer_plan import PLANS
from alphaloom.mining.riskminer_rewards import Rewards
from alphaloom.signal import forward_returns

GRAMMAR = Grammar(windows=(5, 10), max_tokens=10, max_lookback=60)
# Tokens: close open div | 5 ts_mean | abs: two formulas and one that pads the second.
EPISODE = ("close / open", "ts_mean(close / open, 5)", "abs(ts_mean(close / open, 5)) + 1")
SAFE, PAPER = PLANS["safe"], PLANS["paper"]


@pytest.fixture
def opened(make_panel):
    panel = make_panel(160, 20, seed=4)

    def make(**more):
        target = forward_returns(panel, Market(), horizon=3)
        held = Session(panel, target, grammar=GRAMMAR, pool=Pool(4), start_row=60, **more)
        for text in ("ts_corr(close, volume, 10)", "high / low"):
            held.offer(held.judge([parse(text)])[0])
        return held

    return make


def paid(plan, session, texts=EPISODE):
    rewards, seen, worth, gains = Rewards(plan, session), set(), 0.0, []
    for judged in rewards.judge([parse(text) for text in texts]):
        gain, worth, form = rewards.step(seen, worth, judged)
        seen |= {form} if form is not None else set()
        gains.append(gain)
    return gains


def worths(session, *, unsigned, diversity=0.1):
    found = []
    for text in EPISODE[:2]:
        alpha = session.filled(session.judge([parse(text)])[0])
        alike = [
            float(np.einsum("tn,tn->t", alpha.z, session.filled(member).z).mean()) for member in session.pool.alphas
        ]
        ic = alpha.ic
        ic, alike = (abs(ic), np.abs(alike)) if unsigned else (ic, np.array(alike))
        found.append(ic - diversity * alike.mean())
    return found


def test_a_safe_episode_by_hand(opened):
    session = opened()
    assert len(session.pool) == 2
    first, second = worths(session, unsigned=True)
    assert paid(SAFE, session) == pytest.approx([first, second - first, 0.0], abs=1e-6)


def test_a_printed_episode_by_hand(opened):
    session = opened()
    first, second = worths(session, unsigned=False)
    assert paid(PAPER, session) == pytest.approx([first, second, second], abs=1e-6)


def test_padding_is_paid_as_printed_and_earns_nothing_in_safe(opened):
    padded = ("close / open", "close / open + 1", "2 * (close / open + 1)", "abs(2 * (close / open + 1))")
    session = opened()
    for shaping in ("difference", "paper"):
        gains = paid(replace(SAFE, shaping=shaping), session, padded)
        assert gains[0] != 0.0
        # The last is another form of equal values: its worth is equal but for rounding.
        assert gains[1:] == pytest.approx([0.0] * 3, abs=1e-6)
    printed = paid(PAPER, session, padded)
    assert printed == pytest.approx([printed[0]] * 4, abs=1e-6)
    assert sum(printed) == pytest.approx(4 * printed[0], abs=1e-6)


def test_an_empty_pool_has_no_term_of_similarity(make_panel):
    panel = make_panel(160, 20, seed=4)
    session = Session(panel, forward_returns(panel, Market(), horizon=3), grammar=GRAMMAR, start_row=60)
    alpha = session.judge([parse(EPISODE[0])])[0]
    assert paid(SAFE, session, EPISODE[:1]) == [pytest.approx(abs(alpha.ic))]


def test_a_sign_turns_what_is_printed_and_not_what_is_safe(opened):
    session = opened()
    assert root_sign(parse("-2 * (close / open) + 3")) == -1.0
    assert root_sign(parse("5 - (close / open) / -2")) == 1.0
    plain = paid(PAPER, session, ("close / open",))[0]
    assert paid(PAPER, session, ("close / open * -2",))[0] == pytest.approx(-plain)
    assert paid(SAFE, session, ("close / open * -2",)) == paid(SAFE, session, ("close / open",))


def test_what_is_unusable_is_worth_nothing_and_takes_back_what_was_paid(opened):
    session = opened()
    first, last = paid(SAFE, session, ("close / open", "sign(close)"))
    assert last == -first
    assert paid(PAPER, session, ("close / open", "sign(close)"))[1] == 0.0


def test_beyond_the_budget_nothing_is_paid(opened):
    session = opened(budget=Budget(3))
    assert paid(SAFE, session)[1:] == [0.0, 0.0]


def test_the_end_brings_the_level_or_the_rise(opened):
    for mode in ("level", "increment"):
        session = opened()
        rewards = Rewards(replace(SAFE, end_mode=mode), session)
        alpha = session.judge([parse("volume / ts_mean(volume, 10)")])[0]
        before = session.pool.ic
        got = rewards.end(alpha)
        after = session.pool.ic
        assert after != before
        assert got == pytest.approx(after if mode == "level" else after - before)
        # What is in the pool changes nothing when it ends again, and is not worked out again.
        accepted = dict(session.counts)
        assert rewards.end(alpha) == (after if mode == "level" else 0.0)
        assert dict(session.counts) == accepted


def test_similarity_follows_the_pool(opened):
    session = opened()
    rewards = Rewards(SAFE, session)
    before = rewards.judge([parse(EPISODE[0])])[0].worth
    rewards.end(session.judge([parse("volume / ts_mean(volume, 10)")])[0])
    after = rewards.judge([parse(EPISODE[0])])[0].worth
    assert len(session.pool) == 3
    assert after != before
    assert after == pytest.approx(worths(session, unsigned=True)[0], abs=1e-6)
