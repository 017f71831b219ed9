from __future__ import annotations

import numpy as np
import pytest

from alphaloom.backtest import backtest
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.portfolio.exits import ExitGrid, FixedExits
from alphaloom.portfolio.exits_grid import calibrate, cells_of
from alphaloom.portfolio.exits_kernels import grid_trades
from alphaloom.signal import Signal
from alphaloom.testing import check_policy, find_leak

FREE = Market(commission=0.0, slippage=0.0, short=True, leverage=1.0)


def panel_of(open_, close, *, buyable=None, **parts):
    open_, close = (np.asarray(x, dtype=np.float64).reshape(len(x), -1) for x in (open_, close))
    times = (np.datetime64("2020-01-06") + np.arange(len(close))).astype("datetime64[ns]")
    assets = tuple(f"A{j}" for j in range(close.shape[1]))
    if buyable is not None:
        parts["buyable"] = np.asarray(buyable).reshape(close.shape)
    return Panel(times=times, assets=assets, fields={"open": open_, "close": close}, **parts)


def signal_of(panel, values):
    return Signal(panel.times, panel.assets, np.asarray(values, dtype=np.float64).reshape(panel.shape))


def closed_on(panel, values, allocator):
    """Rows of the fills that closed the first asset's positions."""
    orders = backtest(allocator.policy(signal_of(panel, values)), panel, FREE).orders
    shares = np.zeros(len(panel.assets))
    rows = []
    for k in range(len(orders)):
        shares[orders.asset[k]] += orders.done[k]
        if abs(shares[orders.asset[k]]) < 1e-9 and orders.asset[k] == 0:
            rows.append(int(orders.filled[k]))
    return rows


ONE_VIEW = [1, 0, 0, 0, 0, 0, 0, 0]


def test_a_profit_closes_at_the_open_after_the_close_that_shows_it():
    # Bought at the open of bar 1 for 100. Close of bar 3 is 106: +6 %, sold at the open of bar 4.
    open_ = [99, 100, 101, 104, 107, 100, 100, 100]
    close = [99, 101, 104, 106, 90, 100, 100, 100]
    panel = panel_of(open_, close)
    rule = FixedExits(0.055, 0.5, 20, positions=1, gross=0.9)
    book = backtest(rule.policy(signal_of(panel, ONE_VIEW)), panel, FREE)
    assert closed_on(panel, ONE_VIEW, rule) == [4]
    # 0.9 of a million was sized at 99; each share earned 7.
    assert book.equity[-1] == pytest.approx(1e6 + 0.9e6 / 99 * 7)


def test_a_loss_closes_at_the_open_after_the_close_that_shows_it():
    open_ = [99, 100, 99, 97, 95, 120, 120, 120]
    close = [99, 99, 96, 94, 120, 120, 120, 120]
    panel = panel_of(open_, close)
    assert closed_on(panel, ONE_VIEW, FixedExits(0.5, 0.05, 20, positions=1, gross=0.9)) == [4]


def test_age_counts_the_bar_of_the_entry():
    flat = np.full(8, 100.0)
    panel = panel_of(flat, flat)
    # Bought at the open of bar 1; after three closes (1, 2, 3) it goes at the open of bar 4.
    assert closed_on(panel, ONE_VIEW, FixedExits(0.5, 0.5, 3, positions=1, gross=0.9)) == [4]
    assert closed_on(panel, ONE_VIEW, FixedExits(0.5, 0.5, 1, positions=1, gross=0.9)) == [2]


def test_a_short_mirrors_a_long():
    open_ = [101, 100, 98, 96, 93, 90, 90, 90]
    close = [100, 99, 97, 94, 92, 90, 90, 90]
    panel, values = panel_of(open_, close), [-1, *[0] * 7]
    assert closed_on(panel, values, FixedExits(0.055, 0.5, 20, positions=1, gross=0.9)) == [4]
    assert closed_on(panel, values, FixedExits(0.055, 0.5, 20, positions=1, gross=0.9, sides="long")) == []


def test_a_position_may_be_opened_again_after_it_was_closed():
    flat = np.full(9, 100.0)
    panel = panel_of(flat, flat)
    assert closed_on(panel, np.ones(9), FixedExits(0.5, 0.5, 2, positions=1, gross=0.9)) == [3, 6]


def test_the_largest_views_get_the_places_and_equal_parts():
    flat = np.full((4, 4), 50.0)
    panel = panel_of(flat, flat)
    values = np.tile([0.1, -0.4, 0.3, 0.0], (4, 1))
    book = backtest(FixedExits(positions=2, gross=0.8).policy(signal_of(panel, values)), panel, FREE)
    np.testing.assert_allclose(book.weights[0], [0.0, -0.4, 0.4, 0.0])
    assert np.isnan(book.weights[1]).all()


def test_what_left_the_universe_is_closed_and_what_is_halted_stays():
    close = np.full((6, 2), 100.0)
    close[3, 1] = np.nan
    member = np.ones((6, 2), bool)
    member[3:, 0] = False
    panel = panel_of(np.where(np.isfinite(close), 100.0, np.nan), close, member=member, listed=np.ones((6, 2), bool))
    values = np.zeros((6, 2))
    values[0] = 1
    book = backtest(FixedExits(0.5, 0.5, 3, positions=2, gross=0.9).policy(signal_of(panel, values)), panel, FREE)
    assert book.shares[3, 0] > 0
    assert book.shares[4, 0] == 0
    assert book.shares[4, 1] > 0
    assert book.shares[5, 1] == 0


def slow_trades(side, open_, close, rule, cost):
    """The obvious loop for one asset and one rule."""
    T, days = len(side), int(rule[2])
    found, row = [], 0
    while row < T - days - 1:
        if side[row] == 0:
            row += 1
            continue
        entry, sign = row + 1, side[row]
        for at in range(entry, entry + days):
            gain = sign * (close[at] / open_[entry] - 1)
            if gain >= rule[0] or gain <= -rule[1] or at - entry + 1 >= days:
                break
        net = sign * (open_[at + 1] / open_[entry] - 1) - 2 * cost[0] - cost[1]
        found.append(net - (cost[2] * (at + 1 - entry) if sign < 0 else 0.0))
        row = at + 1
    return np.array(found)


def test_the_grid_replays_what_a_slow_loop_replays():
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (150, 3)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.005, close.shape))
    side = rng.choice([-1.0, 0.0, 1.0], close.shape, p=[0.2, 0.6, 0.2])
    cost = np.array([0.001, 0.0005, 0.0002])
    rules = np.array([[0.03, 0.05, 7.0], [0.02, 0.02, 7.0], [1.0, 1.0, 7.0]])
    found = grid_trades(side, open_, close, rules, cost)
    for c, rule in enumerate(rules):
        for j in range(3):
            net = slow_trades(side[:, j], open_[:, j], close[:, j], rule, cost)
            np.testing.assert_allclose(found[c, j], [len(net), net.sum(), (net**2).sum()], rtol=1e-12)
    assert found[:, :, 0].min() > 5


def test_the_replay_earns_what_the_ledger_earns():
    """One asset, no costs: the fixed rule in the back-test makes the same trades as its cell in the grid."""
    rng = np.random.default_rng(5)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 80)))
    panel = panel_of(close * np.exp(rng.normal(0, 0.004, 80)), close)
    side = rng.choice([-1.0, 0.0, 1.0], 80, p=[0.1, 0.8, 0.1])
    rule = FixedExits(0.03, 0.03, 6, positions=1, gross=0.5)
    side[80 - 7 :] = 0
    orders = backtest(rule.policy(signal_of(panel, side)), panel, FREE).orders
    entries, exits = orders.price[0::2], orders.price[1::2]
    net = np.sign(orders.done[0::2])[: len(exits)] * (exits / entries[: len(exits)] - 1)
    grid = grid_trades(side[:, None], panel["open"], panel["close"], np.array([[0.03, 0.03, 6.0]]), np.zeros(3))
    np.testing.assert_allclose(grid[0, 0, :2], [len(net), net.sum()], rtol=1e-9)


def trending(T=500, N=12, seed=1):
    """After a view one half of the assets runs for ten bars, the other turns back after two."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-1.0, 0.0, 1.0], (T, N), p=[0.03, 0.94, 0.03])
    drift = np.zeros((T, N))
    for t, j in np.argwhere(side != 0):
        if j < N // 2:
            drift[t + 2 : t + 12, j] += 0.01 * side[t, j]
        else:
            drift[t + 2 : t + 4, j] += 0.02 * side[t, j]
            drift[t + 4 : t + 12, j] -= 0.01 * side[t, j]
    open_ = 100 * np.exp(np.cumsum(drift + rng.normal(0, 0.004, (T, N)), axis=0))
    sector = np.broadcast_to((np.arange(N) >= N // 2).astype(np.int16), (T, N))
    labels = {"labels": {"sector": sector}, "label_names": {"sector": ("runs", "turns")}}
    return panel_of(open_, open_ * np.exp(rng.normal(0, 0.001, (T, N))), **labels), side


GRID = ExitGrid((0.03, 0.5), (0.5,), (2, 10), default=(0.5, 0.5, 5), window=200, every=50, positions=6, gross=0.9)


def test_each_group_gets_the_exit_that_suited_it():
    panel, side = trending()
    plan = calibrate(GRID, panel[:300], side[:300])
    assert plan.groups["runs"][2] == 10
    assert plan.groups["turns"][2] == 2 or plan.groups["turns"][0] == 0.03
    np.testing.assert_array_equal(plan.rules[0], plan.groups["runs"])
    np.testing.assert_array_equal(plan.rules[-1], plan.groups["turns"])
    assert plan.single == 0


def test_an_asset_has_its_own_exit_only_with_many_views():
    panel, side = trending()
    few = ExitGrid(GRID.take_profit, GRID.stop_loss, GRID.days, least_signals=15, least_trades=5)
    plan = calibrate(few, panel, side)
    views = (side != 0).sum(axis=0)
    assert plan.single == (views >= 15).sum() > 0
    none = calibrate(ExitGrid(GRID.take_profit, GRID.stop_loss, GRID.days, least_trades=10_000), panel, side)
    assert none.defaults == len(panel.assets)
    np.testing.assert_allclose(none.rules, np.tile([0.06, 0.06, 5], (12, 1)))


def test_costs_move_the_choice_to_longer_holding():
    # Most of the gain comes on the first bar, a little on the nine after it.
    rng = np.random.default_rng(0)
    day = np.arange(396)[:, None] % 12
    drift = np.where(day == 2, 0.004, np.where((day > 2) | (day == 0), 0.0007, 0.0))
    close = 100 * np.exp(np.cumsum(drift + rng.normal(0, 0.003, (396, 4)), axis=0))
    panel, side = panel_of(close, close), np.where(np.broadcast_to(day, (396, 4)) == 0, 1.0, 0.0)
    cheap, dear = (
        calibrate(ExitGrid((0.9,), (0.9,), (1, 10), cost=cost, least_trades=5), panel, side).groups["all"]
        for cost in (0.0, 0.004)
    )
    assert dear[2] == 10
    assert cheap == (0.9, 0.9, 1)


def test_the_default_rules_until_the_signal_is_old_enough_and_notes_say_what_was_chosen():
    panel, side = trending()
    policy = GRID.policy(signal_of(panel, side))
    backtest(policy, panel, Market(short=True, leverage=1.0))
    assert policy.counts == {"calibrations": 6, "default_quarters": 4, "cells_of_single_assets": 0}
    assert "6 quarters calibrated, 4 with the default" in policy.notes[0]
    assert "runs +3 % / -50 % / 10 bars" in policy.notes[-1]
    assert "turns +3 % / -50 % / 2 bars" in policy.notes[-1]
    assert GRID.trials == len(cells_of(GRID)) == 4
    assert FixedExits().trials == 1


def test_a_choice_knows_nothing_of_its_own_quarter_and_a_fresh_policy_decides_the_same():
    panel, side = trending(320)
    market = Market(short=True, leverage=1.0)

    def equity(changed):
        told = Signal(panel.times, panel.assets, side)
        return backtest(GRID.policy(told[: len(changed)]), changed, market).shares

    assert find_leak(equity, panel, rows=[205, 249, 250, 290]) is None
    policy = GRID.policy(signal_of(panel, side))
    check_policy(policy, panel, rows=8)
    whole = backtest(policy, panel, market)
    np.testing.assert_array_equal(whole.equity, backtest(policy, panel, market).equity)


def test_a_poisoned_panel_leaves_nothing_behind():
    """One policy object asked about two panels that differ only later answers each from its own rows."""
    panel, side = trending(420)
    policy = GRID.policy(signal_of(panel, side))
    other = panel.replace(fields={name: values[:, ::-1].copy() for name, values in panel.fields.items()})
    first = backtest(policy, other, FREE).equity
    np.testing.assert_array_equal(
        backtest(policy, panel, FREE).equity, backtest(GRID.policy(signal_of(panel, side)), panel, FREE).equity
    )
    assert not np.array_equal(first, backtest(policy, panel, FREE).equity)


@pytest.mark.parametrize(
    "wrong",
    [
        {"take_profit": (0.0,)},
        {"stop_loss": ()},
        {"days": (0,)},
        {"window": 5},
        {"positions": 0},
        {"gross": 0.0},
        {"cost": -0.1},
        {"sides": "short"},
        {"default": (0.1, 0.1)},
    ],
)
def test_faults_show_at_construction(wrong):
    with pytest.raises(DataError):
        ExitGrid(**wrong)


def test_a_fixed_rule_checks_itself():
    for wrong in ({"take_profit": 0.0}, {"days": 0}, {"positions": 0}, {"sides": "short"}):
        with pytest.raises(DataError):
            FixedExits(**wrong)


def test_a_probability_has_no_side():
    panel = panel_of(np.ones((3, 1)), np.ones((3, 1)))
    signal = Signal(panel.times, panel.assets, np.full((3, 1), 0.6), "probability")
    with pytest.raises(DataError, match="side"):
        FixedExits().policy(signal)
