"""Portfolios drawn by lot: a slow oracle, the habits that they copy, and the chance that drives them."""

from __future__ import annotations

import numpy as np
import pytest
from study_cases import MARKET, Constant, line_study, planted_panel, policy_study

from alphaloom.backtest import backtest
from alphaloom.compute import processes
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.study.controls import (
    Ground,
    Habits,
    RandomPortfolio,
    draw_seed,
    habits_of,
    matched,
    plain_controls,
    random_band,
)


def slow_schedule(panel, habits, start, seed):
    """The rules of a drawn portfolio, one asset after the other."""
    T, N = panel.shape
    random, held = np.random.default_rng(seed), {}
    rows = np.full((T, N), np.nan)
    for t in range(start, T, habits.every):
        lots = random.random(N)
        able = [
            bool(panel.member[t, j]) and bool(panel.buyable[t, j]) and bool(np.isfinite(panel["close"][t, j]))
            for j in range(N)
        ]
        before = dict(held)
        held = {j: side for j, side in before.items() if able[j] and lots[j] >= habits.exchanged}
        waiting = [j for j in range(N) if able[j] and j not in held]
        for j in sorted(waiting, key=lambda j: (j in before, lots[j])):
            longs = sum(side > 0 for side in held.values())
            shorts = len(held) - longs
            if longs < habits.longs:
                held[j] = 1
            elif shorts < habits.holdings - habits.longs:
                held[j] = -1
        rows[t] = 0.0
        for j, side in held.items():
            rows[t, j] = habits.long / habits.longs if side > 0 else -habits.short / (habits.holdings - habits.longs)
    return rows


class Scheduled:
    lookback = 0

    def __init__(self, rows):
        self.rows = rows

    def decide(self, view, book):
        return self.rows[len(view) - 1]


@pytest.mark.parametrize(
    ("habits", "market"),
    [
        (Habits(3, 4, 0.4, 0.95), MARKET),
        (Habits(5, 1, 1.0, 0.6), MARKET),
        (Habits(4, 3, 0.5, 0.5, 0.5), Market(short=True, borrow=0.01)),
    ],
)
def test_the_band_equals_a_slow_oracle(make_panel, habits, market):
    panel = make_panel(T=40, N=9, seed=2, holes=0.05)
    ground = Ground(panel, market, start=5, cash=1e5)
    returns, _ = random_band(habits, ground, draws=4, seed=11)
    for number in range(4):
        rows = slow_schedule(panel, habits, 5, draw_seed(11, number))
        slow = backtest(Scheduled(rows), panel, market, start=5, cash=1e5)
        np.testing.assert_array_equal(returns[:, number], slow.returns)


def test_equal_seeds_give_equal_bands_on_any_executor():
    ground = Ground(planted_panel(T=80), MARKET, start=10)
    habits = Habits(4, 5, 0.5, 0.95)
    here, _ = random_band(habits, ground, draws=6, seed=3)
    with processes(2) as executor:
        there, _ = random_band(habits, ground, draws=6, seed=3, executor=executor)
    np.testing.assert_array_equal(here, there)
    other, _ = random_band(habits, ground, draws=6, seed=4)
    assert not np.array_equal(here, other)
    assert len({column.tobytes() for column in here.T}) == 6


def test_later_rows_do_not_change_earlier_draws():
    panel = planted_panel(T=80)
    policy = RandomPortfolio(Habits(4, 3, 0.5, 0.95), 10, 7)
    whole = policy.weights(panel)
    np.testing.assert_array_equal(policy.weights(panel[:41]), whole[:41])
    assert np.isnan(whole[:10]).all()


def test_only_members_with_a_price_are_drawn():
    panel = planted_panel(T=60, N=8)
    member = np.array(panel.member)
    member[30:, :4] = False
    panel = panel.replace(member=member)
    weights = RandomPortfolio(Habits(3, 1, 0.3, 0.9), 0, 1).weights(panel)
    assert (weights[30:, :4] == 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 0.9)


def test_habits_are_read_from_what_was_traded():
    panel = planted_panel(T=260)
    found = habits_of([line_study().run(panel), line_study(seed=5).run(panel)])
    assert found is not None
    assert (found.holdings, found.every) == (4, 1)
    assert found.long == pytest.approx(0.98, abs=0.02)
    assert found.short == 0.0
    assert 0.5 < found.exchanged <= 1.0


def test_drawn_portfolios_turn_over_as_much_as_the_study():
    panel = planted_panel(T=260)
    result = line_study().run(panel)
    ground = Ground(panel, MARKET, start=60)
    habits = matched(habits_of([result]), ground, seed=0)
    _, traded = random_band(habits, ground, draws=20, seed=0)
    assert traded.mean() == pytest.approx(result.daily["turnover"].mean(), rel=0.1)


def test_one_holding_for_ever_is_a_habit_too():
    result = policy_study(learner=Constant(3)).run(planted_panel(T=120))
    found = habits_of([result])
    assert found is not None
    assert found.holdings == 1
    assert found.exchanged < 0.01


def test_a_study_that_holds_nothing_has_no_habits():
    result = policy_study(learner=Constant(3, weight=0.0)).run(planted_panel(T=120))
    assert habits_of([result]) is None


def test_the_plain_controls_pay_costs():
    ground = Ground(planted_panel(T=120), MARKET, start=20, cash=1e5)
    found = plain_controls(ground)
    assert set(found) == {"equal_weight", "buy_and_hold"}
    for book in found.values():
        assert book.capital == 1e5
        assert book.costs["commission"].sum() > 0


def test_a_control_is_not_kept_in_cash_by_lots():
    panel = planted_panel(T=60)
    free, lots = (Ground(panel, Market(lot=lot), start=5, cash=1e4) for lot in (0.0, 100.0))
    for name, book in plain_controls(lots).items():
        np.testing.assert_array_equal(book.equity, plain_controls(free)[name].equity)
    assert lots.market.lot == 100.0


@pytest.mark.parametrize("wrong", [(0, 1, 0.5, 0.9), (1, 0, 0.5, 0.9), (1, 1, 1.5, 0.9), (1, 1, 0.5, -0.1)])
def test_habits_out_of_range_are_refused(wrong):
    with pytest.raises(DataError):
        Habits(*wrong)


def test_a_band_of_one_is_refused():
    with pytest.raises(DataError, match="at least two"):
        random_band(Habits(2, 1, 0.5, 0.9), Ground(planted_panel(T=40), MARKET), draws=1, seed=0)
