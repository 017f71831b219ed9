"""Gymnasium's interfaces, the pays, the published environment's arithmetic, and input that cannot be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from tests.agents.test_simulator import OPEN, PAPER, acts, days, seen, small, world  # noqa: E402

from alphaloom.agents.environment import EpisodeRecorder, TradingEnv, TradingVecEnv  # noqa: E402
from alphaloom.agents.simulator import Simulator  # noqa: E402
from alphaloom.agents.trading import PRESETS, Trading  # noqa: E402
from alphaloom.errors import AlphaloomError, AxisError, DataError  # noqa: E402
from alphaloom.market import Market  # noqa: E402
from alphaloom.panel import Panel  # noqa: E402

LAYOUTS = ("flat", "dict", "rows", "finrl")


# Money, prices and standardised features have no bounds and logits reach 5, which is worth a warning to Gymnasium.
@pytest.mark.filterwarnings("ignore:.*For Box action spaces, we recommend")
@pytest.mark.filterwarnings("ignore:.*A Box observation space m..imum value is.*infinity")
@pytest.mark.parametrize("mode", ["weights", "shares", "discrete", "joint", "binary"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gymnasium_accepts_one_copy(mode, layout):
    from gymnasium.utils.env_checker import check_env

    panel = world()
    check_env(TradingEnv(panel, seen(panel), OPEN, Trading(mode=mode, layout=layout)), skip_render_check=True)


def test_one_copy_is_the_vector_without_its_axis():
    panel = world()
    trading = Trading(mode="discrete", episode="random", length=6)
    many = TradingVecEnv(panel, seen(panel), OPEN, trading, count=1)
    one = TradingEnv(panel, seen(panel), OPEN, trading)
    many.reset(seed=4)
    one.reset(seed=4)
    for action in acts("discrete", 20, 1, 5):
        seen_many, pay, ended, cut, infos = many.step(action)
        seen_one, reward, terminated, truncated, info = one.step(action[0])
        assert (reward, terminated, truncated) == (pay[0], ended[0], cut[0])
        assert info["equity"] == infos["equity"][0]
        if truncated:
            np.testing.assert_array_equal(seen_one, infos["final_obs"][0])
            seen_one, _ = one.reset()
        np.testing.assert_array_equal(seen_one, seen_many[0])
    assert set(info) == {"equity", "cost", "turnover", "invalid", "row", "date"}


def test_what_is_seen_has_its_layout():
    panel = world()
    N = panel.shape[1]
    observed = seen(panel, window=3, F=4)
    copies = Simulator(panel, observed, OPEN, Trading(), count=2)
    for action in acts("weights", 9, 2, N):
        copies.step(action)
    row = copies.row[0]
    rows, whole, flat = copies.observe("rows"), copies.observe("dict"), copies.observe("flat")
    assert rows["row"][0] == row == 2 + 9
    window = observed.features[row - 2 : row + 1] * observed.usable[row][None, :, None]
    np.testing.assert_array_equal(whole["features"][0], window)
    np.testing.assert_array_equal(whole["mask"][0], observed.usable[row])
    parts = (copies.portfolio[0], observed.market[row], window.ravel())
    np.testing.assert_array_equal(flat[0], np.concatenate(parts))
    raw = copies.observe("finrl")[0]
    assert len(raw) == 1 + 2 * N + 4 * N
    np.testing.assert_allclose(raw[0], copies.cash[0], rtol=1e-6)
    np.testing.assert_allclose(raw[1 + N : 1 + 2 * N], copies.shares[0], rtol=1e-6)
    np.testing.assert_array_equal(raw[1 + 2 * N : 1 + 3 * N], window[-1, :, 0])


def slow_steps(close: np.ndarray, vix: np.ndarray, actions: np.ndarray, *, hmax: float, fee: float, cash: float):
    """The published stock environment, trade by trade in plain Python: whole shares, sales first, largest buy first."""
    shares, equity, costs = [0.0] * close.shape[1], [cash], 0.0
    for t, action in enumerate(actions):
        wanted = [int(a * hmax) for a in action]
        calm = vix[t] < 35.0
        for i, _ in sorted(enumerate(wanted), key=lambda pair: pair[1]):
            amount = min(-wanted[i], shares[i]) if calm else shares[i]
            if amount > 0:
                cash += close[t, i] * amount * (1 - fee)
                costs += close[t, i] * amount * fee
                shares[i] -= amount
        for i in np.argsort(action, kind="stable")[::-1]:
            if wanted[i] > 0 and calm:
                amount = min(wanted[i], int(cash // (close[t, i] * (1 + fee))))
                cash -= close[t, i] * amount * (1 + fee)
                costs += close[t, i] * amount * fee
                shares[i] += amount
        equity.append(cash + float(np.dot(shares, close[t + 1])))
    return np.array(equity), costs


@pytest.mark.parametrize("cash", [20_000.0, 300_000.0])
def test_the_published_environment_s_arithmetic(cash):
    rng = np.random.default_rng(12)
    T, N = 80, 6
    close = np.round(60 * np.exp(np.cumsum(rng.normal(0, 0.02, (T, N)), axis=0)), 2)
    panel = Panel(days(T), tuple("ABCDEF"), {"open": close, "close": close}, series={"vix": rng.uniform(10, 36, T)})
    trading, market = Trading.preset("finrl")
    trading = replace(trading, cash=cash, risk="vix", risk_threshold=35.0)
    ramp = np.linspace(-0.9, 1, N)
    for actions in (rng.uniform(-1, 1, (T - 1, N)), np.array([np.roll(ramp, t) for t in range(T - 1)])):
        env = Simulator(panel, seen(panel), market, trading)
        steps = [env.step(action[None]) for action in actions]
        equity, costs = slow_steps(close, panel.series["vix"], actions, hmax=100, fee=0.001, cash=cash)
        np.testing.assert_allclose([s.equity[0] for s in steps], equity[1:], rtol=1e-11)
        np.testing.assert_allclose([s.reward[0] for s in steps], np.diff(equity) * 1e-4, atol=1e-9)
        assert sum(s.cost[0] for s in steps) == pytest.approx(costs, rel=1e-9)
        assert steps[-1].truncated[0]


def test_the_pays():
    panel = world(seed=6)
    N = panel.shape[1]
    actions = acts("weights", 40, 1, N)

    def pays(**terms):
        env = Simulator(panel, seen(panel), OPEN, Trading(**terms))
        steps = [env.step(action) for action in actions]
        return np.array([s.reward[0] for s in steps]), steps

    log, steps = pays()
    equity = np.array([1e6] + [s.equity[0] for s in steps])
    change, turnover = equity[1:] / equity[:-1] - 1, np.array([s.turnover[0] for s in steps])
    np.testing.assert_allclose(log, np.log(equity[1:] / equity[:-1]), rtol=1e-12)
    np.testing.assert_allclose(pays(reward="delta", reward_scale=1e-4)[0], np.diff(equity) * 1e-4, rtol=1e-9)
    np.testing.assert_allclose(pays(reward="simple")[0], change, rtol=1e-12)
    shy = pays(reward="log_minus_risk", risk_aversion=2.0, turnover_price=0.1)[0]
    np.testing.assert_allclose(shy, log - 2 * change**2 - 0.1 * turnover, rtol=1e-9)
    mean = square = 0.0
    wanted = []
    for r in change:
        variance = square - mean**2
        up, out = r - mean, r * r - square
        wanted.append((square * up - 0.5 * mean * out) / variance**1.5 if variance > 1e-12 else 0.0)
        mean, square = mean + 0.01 * up, square + 0.01 * out
    np.testing.assert_allclose(pays(reward="diff_sharpe")[0], wanted, rtol=1e-9)
    assert turnover[0] > 0.2


def test_the_pay_of_one_asset_or_the_others():
    returns = np.array([[0.02, -0.01, 0.03]])
    close = 100 * np.vstack([np.ones(3), 1 + returns[0], (1 + returns[0]) * 1.01])
    panel = Panel(days(3), ("A", "B", "C"), {"open": close, "close": close})
    usable = np.array([[True, False, False], [True, True, True], [True, True, True]])
    trading, market = Trading.preset("dqn_single")
    for action, first, second in ((1, 0.019, 0.01), (0, 0.01, 0.009)):
        mask = np.ones((3, 3), bool)
        env = Simulator(panel, seen(panel, usable=mask), market, trading)
        env.asset[0] = 0
        assert env.step([action]).reward[0] == pytest.approx(first, abs=1e-12)
        # Held already, it costs nothing to stay; from cash it costs to enter.
        assert env.step([1]).reward[0] == pytest.approx(second, abs=1e-12)
    only = Simulator(panel, seen(panel, usable=usable), market, trading, count=8)
    assert (only.asset == 0).all(), "an asset that may be traded is drawn"


def test_impossible_wishes_are_counted_and_fined():
    panel = small()
    env = Simulator(panel, seen(panel), PAPER, Trading(mode="discrete", invalid_penalty=0.5, reward="simple"))
    step = env.step([(0, 2)])
    assert step.invalid[0] == 1
    assert step.reward[0] == pytest.approx(step.equity[0] / 1e6 - 1 - 0.5 / 2)


def test_shaped_pay_rewards_purchases_and_fines_wishes():
    panel = small()
    trading, market = Trading.preset("qtmrl_shaped")
    env = Simulator(panel, seen(panel), market, trading)
    bought = env.step([(0, 2)])
    growth = bought.equity[0] / 10_000 - 1
    assert bought.reward[0] == pytest.approx(0.001 * growth - 0.02 / 2 + 0.1 / 2)


def test_cash_that_is_short_is_cut_alike_or_goes_to_the_largest_wish():
    close = np.full((3, 3), 100.0)
    panel = Panel(days(3), ("A", "B", "C"), {"open": close, "close": close})
    free = Market(commission=0.0, slippage=0.0, fill="same_close", lot=1.0)
    # Sixteen shares are asked for and ten can be paid; of equal wishes the last asset is served first.
    for rule, bought in (("prorata", (3, 3, 3)), ("greedy", (0, 6, 4))):
        env = Simulator(panel, seen(panel), free, Trading(mode="shares", hmax=10, cash=1000.0, cash_rule=rule))
        env.step([(0.5, 0.6, 0.5)])
        np.testing.assert_array_equal(env.shares[0], bought)


def test_the_risk_switch_sells_everything():
    panel = world(seed=8)
    on = np.zeros(len(panel))
    on[10:13] = 50.0
    panel = panel.replace(series={"vix": on})
    env = Simulator(panel, seen(panel), OPEN, Trading(risk="vix", risk_threshold=40.0))
    for t, action in enumerate(acts("weights", 16, 1, 5)):
        env.step(action)
        held = env.shares[0][panel.sellable[t + 1]]
        assert (held == 0).all() if 10 <= t < 13 else held.any()


def test_an_asset_that_is_delisted_is_paid_out_and_one_that_goes_to_zero_is_worth_nothing():
    close = np.full((6, 2), 100.0)
    close[3:, 0] = 0.0
    listed = np.ones((6, 2), bool)
    listed[4:, 1] = False
    shown = np.where(listed, close, np.nan)
    panel = Panel(days(6), ("zero", "gone"), {"open": shown, "close": shown}, listed=listed)
    free = Market(commission=0.0, slippage=0.0, delist_loss=0.25)
    env = Simulator(panel, seen(panel), free, Trading(cash=1000.0))
    equity = [env.step([(0.0, 0.5, 0.5)]).equity[0] for _ in range(2)]
    assert equity == [1000.0, 1000.0]
    step = env.step([(0.0, 0.5, 0.5)])
    assert step.equity[0] == 500.0
    step = env.step([(0.0, 0.5, 0.5)])
    assert step.equity[0] == pytest.approx(500.0 * 0.75)
    assert not step.terminated[0]


def test_losing_everything_is_a_termination():
    close = np.array([[100.0], [100.0], [0.0], [0.0]])
    panel = Panel(days(4), ("A",), {"open": close, "close": close})
    env = Simulator(panel, seen(panel), Market(commission=0.0, slippage=0.0), Trading())
    env.step([(0.0, 1.0)])
    step = env.step([(0.0, 1.0)])
    assert (step.equity[0], step.terminated[0], step.truncated[0]) == (0.0, True, False)
    assert np.isfinite(step.reward[0])
    assert env.equity[0] == 1e6


def test_an_asset_that_leaves_the_universe_is_sold():
    panel = world()
    left = len(panel) // 3
    env = Simulator(panel, seen(panel), replace(OPEN, fill="same_close"), Trading(mode="discrete"))
    hold = np.ones((1, 5), int)
    env.step(np.full((1, 5), 2))
    while env.row[0] < left:
        env.step(hold)
    assert env.shares[0, 3] > 0
    for _ in range(6):
        env.step(hold)
    assert env.shares[0, 3] == 0


def test_episodes_are_recorded():
    panel = world()
    recorder = EpisodeRecorder()
    trading = Trading(mode="shares", hmax=900, episode="random", length=8)
    env = TradingVecEnv(panel, seen(panel), OPEN, trading, count=3, recorder=recorder)
    env.reset(seed=1)
    for action in acts("shares", 17, 3, 5):
        env.step(action)
    assert len(recorder.episodes) == 6
    for episode in recorder.episodes:
        assert len(episode.rows) == len(episode.equity) == 9
        np.testing.assert_array_equal(np.diff(episode.rows), 1)
        trades = episode.trades
        paid = trades.commission + trades.tax + trades.slippage + trades.impact
        assert paid.sum() == pytest.approx(episode.costs.sum())
        held = np.zeros(5)
        np.add.at(held, trades.asset, trades.done)
        gone = ~panel.listed[episode.rows[-1]]
        cash = 1e6 - np.nansum(trades.done * trades.price) - paid.sum()
        if not gone[held != 0].any():
            marks = np.nan_to_num(panel["close"][episode.rows[-1]])
            if (marks[held != 0] > 0).all():
                assert cash + held @ marks == pytest.approx(episode.equity[-1])


@pytest.mark.parametrize(
    ("mode", "action"),
    [
        ("weights", [[0.5, 0.6, 0.1]]),
        ("weights", [[np.nan, 0.5, 0.5]]),
        ("weights", [[0.5, 0.5]]),
        ("shares", [[1.5, 0.0]]),
        ("shares", [["many", "few"]]),
        ("discrete", [[3, 1]]),
        ("discrete", [[0.5, 1]]),
        ("joint", [4]),
        ("binary", [2]),
    ],
)
def test_an_action_outside_the_space_is_refused_and_nothing_happens(mode, action):
    panel = small()
    env = Simulator(panel, seen(panel), PAPER, Trading(mode=mode))
    with pytest.raises(DataError, match="in the space") as told:
        env.step(action)
    assert mode in told.value.fix
    assert env.row[0] == 0


def test_settings_that_cannot_be_are_refused():
    panel = small()
    observed = seen(panel)
    wide = Panel(days(3), tuple(f"A{j}" for j in range(13)), {"close": np.ones((3, 13)), "open": np.ones((3, 13))})
    cases = [
        lambda: Trading(mode="buy"),
        lambda: Trading(cash=-1),
        lambda: Trading(risk_threshold=3.0),
        lambda: Trading(reward="alternative"),
        lambda: Trading.preset("golden"),
        lambda: Simulator(wide, seen(wide), PAPER, Trading(mode="joint")),
        lambda: Simulator(panel, observed, replace(PAPER, leverage=2.0), Trading()),
        lambda: Simulator(panel, observed, PAPER, Trading(), rows=(2, 3)),
        lambda: Simulator(panel, observed, PAPER, Trading(), count=0),
        lambda: Simulator(panel, seen(panel, window=3), PAPER, Trading(), rows=(0, 3)),
        lambda: Simulator(panel, observed, PAPER, Trading(risk="vix", risk_threshold=30.0)),
        lambda: Trading(hmax=0),
    ]
    for case in cases:
        with pytest.raises(AlphaloomError):
            case()
    with pytest.raises(DataError, match="known ones") as told:
        Trading.preset("golden")
    assert all(name in told.value.fix for name in PRESETS)
    with pytest.raises(AxisError):
        Simulator(wide, observed, PAPER, Trading())
