"""The checks themselves are checked: honest models pass, each kind of leak is caught."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from alphaloom.corpus import Corpus
from alphaloom.errors import DecisionError, LookaheadError
from alphaloom.market import Market
from alphaloom.signal import Signal, forward_returns
from alphaloom.testing import (
    attacked,
    check_forecaster,
    check_learner,
    check_policy,
    find_leak,
    find_same_bar_fill,
    probe_rows,
)


@dataclass(frozen=True)
class Momentum:
    window: int = 5
    peek: int = 0

    @property
    def lookback(self):
        return self.window

    def predict(self, panel):
        close = panel["close"]
        values = np.full(panel.shape, np.nan)
        values[self.window :] = close[self.window :] / close[: -self.window] - 1
        if self.peek:
            values[: -self.peek] = values[self.peek :]
        return Signal(panel.times, panel.assets, values)


@pytest.mark.parametrize("attack", ["cut", "shuffle", "poison"])
def test_an_attack_leaves_the_past_alone_and_changes_the_future(make_panel, attack):
    panel = make_panel(60, 4)
    corpus = Corpus.from_documents(panel.times[[10, 40]], [0, 1], ["before", "after"])
    panel = panel.replace(corpus=corpus)
    changed = attacked(panel, 20, attack)
    for name, values in panel.fields.items():
        np.testing.assert_array_equal(changed[name][:21], values[:21])
        if attack != "cut":
            assert (changed[name][21:] != values[21:]).mean() > 0.5
    np.testing.assert_array_equal(changed.member[:21], panel.member[:21])
    assert changed.corpus.text[0] == "before"
    if attack == "poison":
        assert changed.corpus.text[1] != "after"


def test_an_honest_forecaster_passes_and_a_peeking_one_is_caught(make_panel):
    panel = make_panel(90, 5)
    check_forecaster(Momentum(), panel, rows=20)
    with pytest.raises(LookaheadError, match="changes from"):
        check_forecaster(Momentum(peek=1), panel, rows=20)


def test_a_look_back_that_is_too_short_is_caught(make_panel):
    class Short(Momentum):
        lookback = 2

    with pytest.raises(LookaheadError, match="look-back"):
        check_forecaster(Short(), make_panel(90, 5), rows=10)


def test_a_forecaster_with_dice_is_caught(make_panel):
    class Dice(Momentum):
        def predict(self, panel):
            return Signal(panel.times, panel.assets, np.random.default_rng().random(panel.shape))

    with pytest.raises(LookaheadError, match="equal panels"):
        check_forecaster(Dice(), make_panel(60, 4))


def test_strangers_must_not_change_members(make_panel):
    member = np.ones((80, 6), dtype=bool)
    member[:, 4:] = False
    panel = make_panel(80, 6).replace(member=member)

    class Demeaned(Momentum):
        among_members = False

        def predict(self, panel):
            values = super().predict(panel).values.copy()
            values[: self.window] = 0.0
            seen = np.where(panel.member, values, np.nan) if self.among_members else values
            return Signal(panel.times, panel.assets, values - np.nanmean(seen, axis=1, keepdims=True))

    class Proper(Demeaned):
        among_members = True

    # the first rows carry no window: keep them out of the look-back comparison
    check_forecaster(Proper(), panel, rows=10)
    with pytest.raises(LookaheadError, match="never members"):
        check_forecaster(Demeaned(), panel, rows=10)


@dataclass(frozen=True)
class MeanReversion:
    """A learner that fits one number: the sign of the relation between momentum and the label."""

    labels: object = None

    def fit(self, train, market):
        label = forward_returns(train, market, horizon=3).values if self.labels is None else self.labels[: len(train)]
        past = Momentum().predict(train).values
        both = np.isfinite(label) & np.isfinite(past)
        slope = float((past[both] * label[both]).sum())

        class Fitted(Momentum):
            def predict(self, panel):
                said = super().predict(panel)
                return Signal(said.times, said.assets, slope * said.values)

        return Fitted()


def test_an_unpurged_label_is_caught_at_the_border_of_the_training_slice(make_panel):
    panel = make_panel(120, 5)
    check_learner(MeanReversion(), panel)
    check_learner(lambda p: MeanReversion(), panel)
    with pytest.raises(LookaheadError, match="changes from"):
        check_learner(lambda p: MeanReversion(forward_returns(p, Market(), horizon=3).values), panel)


class Hold:
    lookback = 0

    def decide(self, view, book):
        return book.weights


def test_policies_are_pure_and_finite(make_panel):
    panel = make_panel(60, 4)
    check_policy(Hold(), panel)

    class Forgetful(Hold):
        calls = 0

        def decide(self, view, book):
            self.calls += 1
            return book.weights * (0.5 if self.calls % 2 else 1.0)

    class Holes(Hold):
        def decide(self, view, book):
            weights = book.weights.copy()
            weights[0] = np.nan
            return weights

    with pytest.raises(DecisionError, match="pure"):
        check_policy(Forgetful(), panel)
    with pytest.raises(DecisionError, match="1 not finite"):
        check_policy(Holes(), panel)


def test_a_schedule_must_say_what_decide_says(make_panel):
    class Winner:
        lookback = 0
        peek = 0

        def decide(self, view, book):
            return (view["close"][-1] > view["open"][-1]) / view.shape[1]

        def weights(self, panel):
            rows = (panel["close"] > panel["open"]) / panel.shape[1]
            return np.roll(rows, -self.peek, axis=0)

    class Peeking(Winner):
        peek = 1

    check_policy(Winner(), make_panel(60, 4))
    with pytest.raises(DecisionError, match="table"):
        check_policy(Peeking(), make_panel(60, 4))


def test_a_position_that_saw_its_own_fill_bends_the_equity_curve(make_panel):
    panel = make_panel(80, 6)

    def curve(lag):
        def equity(p):
            open_, close = p["open"].astype(float), p["close"].astype(float)
            winners = (close > open_).astype(float)
            held = np.zeros_like(winners)
            held[1:] = winners[:-1]
            held = held if lag else winners
            return np.cumprod(1 + (held * (close / open_ - 1)).mean(axis=1))

        return equity

    rows = probe_rows(80, 10, 0)
    assert find_same_bar_fill(curve(1), panel, rows=rows) is None
    assert find_same_bar_fill(curve(0), panel, rows=rows) is not None


def test_code_that_breaks_without_its_future_is_caught(make_panel):
    panel = make_panel(60, 3)

    def run(p):
        return p["close"] / p["close"][59]

    with pytest.raises(LookaheadError, match="IndexError"):
        find_leak(run, panel, rows=[30])
