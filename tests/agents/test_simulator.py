"""The exact environment: worked examples, what holds for every mode, and the back-test of the same weights."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from alphaloom.agents.observed import Observed
from alphaloom.agents.simulator import Simulator
from alphaloom.agents.trading import Trading, target_weights
from alphaloom.backtest import backtest
from alphaloom.market import Book, Market
from alphaloom.panel import Panel

PAPER = Market(commission=0.001, slippage=0.0, fill="same_close")
OPEN = Market(commission=0.001, slippage=0.0005, sell_tax=0.0005)
MODES = ("weights", "shares", "discrete", "joint", "binary")


def days(T: int) -> np.ndarray:
    return np.busday_offset("2021-03-01", np.arange(T), roll="forward")


def seen(panel: Panel, *, window: int = 1, seed: int = 0, F: int = 2, usable: Any = None) -> Observed:
    """Features that nothing depends on; usable where there is a price."""
    (T, N), rng = panel.shape, np.random.default_rng(seed)
    close = panel["close"]
    mask = (panel.member & panel.listed & np.isfinite(close) & (close > 0)) if usable is None else usable
    features = np.where(mask[:, :, None], rng.normal(size=(T, N, F)), 0.0).astype(np.float32)
    market = rng.normal(size=(T, 1)).astype(np.float32)
    names = tuple(f"f{k}" for k in range(F))
    return Observed(features, market, np.asarray(mask), window - 1, names, ("m",), window, "layout")


def small() -> Panel:
    close = np.array([[100.0, 50.0], [110.0, 45.0], [121.0, 49.5]])
    return Panel(days(3), ("A", "B"), {"open": close, "close": close})


def world(T: int = 60, N: int = 5, seed: int = 0) -> Panel:
    """Random walks with a late listing, a delisting, halts and one asset that leaves the universe."""
    rng = np.random.default_rng(seed)
    close = 30.0 * np.exp(np.cumsum(rng.normal(0, 0.03, (T, N)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.02, (T, N)))
    listed, member = np.ones((T, N), bool), np.ones((T, N), bool)
    listed[:7, 1], listed[T // 2 :, 2], member[T // 3 :, 3] = False, False, False
    halted = rng.random((T, N)) < 0.05
    close[~listed | halted] = np.nan
    open_[~listed | halted] = np.nan
    volume = np.exp(rng.normal(10, 1, (T, N)))
    fields = {"open": open_, "close": close, "volume": volume}
    masks = {"member": member & listed, "listed": listed, "buyable": listed & ~halted, "sellable": listed & ~halted}
    return Panel(days(T), tuple(f"A{j}" for j in range(N)), fields, series={"vix": rng.uniform(10, 40, T)}, **masks)


def acts(mode: str, steps: int, B: int, N: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    match mode:
        case "weights":
            return rng.dirichlet(np.ones(N + 1), (steps, B))
        case "shares":
            return rng.uniform(-1, 1, (steps, B, N))
        case "discrete":
            return rng.integers(0, 3, (steps, B, N))
        case "joint":
            return rng.integers(0, 2**N, (steps, B))
        case _:
            return rng.integers(0, 2, (steps, B))


def path(panel: Panel, market: Market, trading: Trading, actions: np.ndarray, **more: Any) -> dict[str, np.ndarray]:
    """All that steps tell, with the state before each."""
    observed = more.pop("observed", None) or seen(panel)
    copies = Simulator(panel, observed, market, trading, count=actions.shape[1], **more)
    told: dict[str, list[Any]] = {name: [] for name in ("portfolio", "cash", "shares", "row", "seen", "step")}
    for action in actions:
        for name in ("portfolio", "cash", "shares", "row"):
            told[name].append(getattr(copies, name).copy())
        told["seen"].append(copies.observe("flat"))
        told["step"].append(copies.step(action))
    out = {name: np.array(values) for name, values in told.items() if name != "step"}
    for name in told["step"][0]._fields:
        out[name] = np.array([getattr(step, name) for step in told["step"]])
    return out


@pytest.mark.parametrize(
    ("trading", "cost", "actions", "cash", "shares", "equity"),
    [
        (Trading(mode="shares", hmax=5), 1e-3, [(1, 0.4), (-0.6, 1)], 399.4, (5, 2), [1039.4, 1092.345]),
        (
            Trading(mode="discrete"),
            5e-4,
            [(2, 2), (0, 1)],
            600.0,
            (1.99900049975, 3.9980009995),
            [999.80009995, 1028.73063468],
        ),
        (
            Trading(),
            1e-3,
            [(0.2, 0.5, 0.3), (0.5, 0.25, 0.25)],
            199.84012790,
            (4.99600320, 5.99520384),
            [1019.18465228, 1069.81848238],
        ),
    ],
)
def test_worked_examples(trading, cost, actions, cash, shares, equity):
    copies = Simulator(small(), seen(small()), replace(PAPER, commission=cost), replace(trading, cash=1000.0))
    first = copies.step([actions[0]])
    np.testing.assert_allclose(copies.cash[0], cash, rtol=1e-9)
    np.testing.assert_allclose(copies.shares[0], shares, rtol=1e-8)
    assert not first.truncated[0]
    last = copies.step([actions[1]])
    np.testing.assert_allclose([first.equity[0], last.equity[0]], equity, rtol=2e-11)
    assert last.truncated[0]
    assert not last.terminated[0]
    assert copies.row[0] == 0, "an episode that ended is opened in the same step"
    assert copies.equity[0] == 1000.0
    assert last.final_row[0] == 2


def test_the_value_after_costs_is_a_fixed_point():
    copies = Simulator(small(), seen(small()), PAPER, Trading(cash=1000.0))
    for weights, after in (((0.2, 0.5, 0.3), 999.20063949), ((0.5, 0.25, 0.25), 1018.87474513)):
        before = copies.equity[0]
        step = copies.step([weights])
        assert before - step.cost[0] == pytest.approx(after, abs=1e-8)


class Recorded:
    """The weights that actions mean, asked bar by bar as any policy is."""

    lookback = 0

    def __init__(self, actions: np.ndarray, observed: Observed, market: Market, trading: Trading) -> None:
        self.actions, self.observed, self.market, self.trading = actions, observed, market, trading

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        row = len(view) - 1
        if row == len(self.actions):
            return np.full(view.shape[1], np.nan)
        usable = self.observed.usable[row]
        return target_weights(self.actions[row], book, self.trading, self.market, usable, view=view)


@pytest.mark.parametrize("mode", MODES[:4])
@pytest.mark.parametrize(
    "market",
    [
        PAPER,
        OPEN,
        replace(OPEN, fill="next_close"),
        replace(PAPER, lot=1.0),
        replace(OPEN, impact=0.5, delist_loss=0.3),
        replace(OPEN, cash_rate=0.03),
    ],
    ids=["paper", "open", "close", "lots", "impact", "interest"],
)
def test_an_environment_earns_what_the_back_test_of_its_weights_earns(mode, market):
    panel = world()
    T, N = panel.shape
    actions, observed = acts(mode, T - 1, 1, N), seen(panel)
    trading = Trading(mode=mode, cash=50_000.0, risk="vix", risk_threshold=38.0)
    told = path(panel, market, trading, actions, observed=observed)
    result = backtest(Recorded(actions[:, 0], observed, market, trading), panel, market, cash=50_000.0)
    # The back-test writes equity after a fill at the same close; the environment tells it before the decision.
    paid = np.append(told["cost"][1:, 0], 0.0) if market.fill == "same_close" else 0.0
    np.testing.assert_allclose(told["equity"][:, 0] - paid, result.equity[1:], rtol=1e-12)
    assert told["equity"][-1, 0] == result.equity[-1], "to the bit, where nothing was paid since"
    assert result.equity[-1] != result.equity[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("market", [PAPER, OPEN], ids=["paper", "open"])
def test_money_is_conserved(mode, market):
    panel = world(seed=3)
    T, N = panel.shape
    told = path(panel, market, Trading(mode=mode, reward="simple"), acts(mode, T - 2, 3, N))
    assert told["cash"].min() >= -1e-9 * 1e6
    assert told["shares"].min() >= 0.0
    np.testing.assert_allclose(told["portfolio"].sum(axis=2), 1.0, atol=1e-6)
    before = np.concatenate([np.full((1, 3), 1e6), told["equity"][:-1]])
    np.testing.assert_allclose(told["reward"], told["equity"] / before - 1.0, rtol=1e-12, atol=1e-15)
    close = panel["close"].copy()
    for t in range(1, T):
        close[t] = np.where(np.isfinite(close[t]), close[t], close[t - 1])
    close, price = np.nan_to_num(close), np.nan_to_num(panel["close" if market is PAPER else "open"])
    for t in range(T - 3):
        shares, after = told["shares"][t], told["shares"][t + 1]
        at = t if market is PAPER else t + 1
        sold = after != shares
        paid = np.where(sold & panel.listed[t + 1], price[at], close[t])
        gain = (after * (close[t + 1] - paid) + shares * (paid - close[t])).sum(axis=1)
        np.testing.assert_allclose(told["equity"][t] - before[t], gain - told["cost"][t], atol=1e-9 * 1e6)


@pytest.mark.parametrize("mode", MODES)
def test_many_copies_are_many_single_ones(mode):
    panel, B = world(seed=5), 4
    _, N = panel.shape
    trading = Trading(mode=mode, episode="random", length=9, reward="diff_sharpe")
    actions, observed = acts(mode, 40, B, N), seen(panel, window=3)
    told = path(panel, OPEN, trading, actions, observed=observed, seed=11)
    assert len(np.unique(told["row"][0])) > 1, "episodes start at random rows"
    assert told["truncated"].sum() == B * (40 // 9)
    for b in range(B):
        alone = Simulator(panel, observed, OPEN, trading, count=b + 1, seed=11)
        for t in range(12):
            np.testing.assert_array_equal(alone.observe("flat")[b], told["seen"][t, b])
            table = np.repeat(actions[t, b][None], b + 1, axis=0)
            step = alone.step(table)
            for name in step._fields:
                np.testing.assert_array_equal(getattr(step, name)[b], told[name][t, b])


@pytest.mark.parametrize("mode", ["weights", "shares", "discrete"])
def test_the_order_of_assets_means_nothing(mode):
    panel = world(seed=7)
    T, N = panel.shape
    order = np.random.default_rng(0).permutation(N)
    fields = {name: values[:, order] for name, values in panel.fields.items()}
    masks = {name: getattr(panel, name)[:, order] for name in ("member", "listed", "buyable", "sellable")}
    mixed = panel.replace(assets=tuple(panel.assets[j] for j in order), fields=fields, **masks)
    actions = acts(mode, T - 1, 1, N)
    columns = np.concatenate([[0], order + 1]) if mode == "weights" else order
    trading = Trading(mode=mode, hmax=3000)
    one = path(panel, OPEN, trading, actions)
    other = path(mixed, OPEN, trading, actions[:, :, columns])
    np.testing.assert_allclose(one["equity"], other["equity"], rtol=1e-12)
    np.testing.assert_allclose(one["shares"][:, :, order], other["shares"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("market", [PAPER, OPEN], ids=["paper", "open"])
@pytest.mark.parametrize("mode", MODES)
def test_the_future_changes_nothing(mode, market):
    panel, t = world(seed=9), 30
    T, N = panel.shape
    rng = np.random.default_rng(1)
    noisy = {name: values.copy() for name, values in panel.fields.items()}
    for values in noisy.values():
        values[t + 1 :] = rng.uniform(1, 100, (T - t - 1, N))
    other = panel.replace(fields=noisy)
    actions, mask = acts(mode, T - 1, 2, N), seen(panel).usable
    trading = Trading(mode=mode, reward="alternative" if mode == "binary" else "log")
    # What is usable at t is the same, and what was decided at t is filled after it.
    told, changed = (
        path(p, market, trading, actions, observed=seen(panel, usable=mask), seed=3) for p in (panel, other)
    )
    for name in ("portfolio", "seen", "cash", "shares"):
        np.testing.assert_array_equal(told[name][: t + 1], changed[name][: t + 1])
    for name in ("equity", "reward", "cost", "turnover", "invalid"):
        np.testing.assert_array_equal(told[name][:t], changed[name][:t])
    moved = "reward" if mode == "binary" else "equity"
    assert not np.array_equal(told[moved][t], changed[moved][t])


def test_no_costs_and_nothing_done_scales_with_prices():
    panel = world(seed=2)
    T, N = panel.shape
    free = Market(commission=0.0, slippage=0.0, fill="same_close")
    hold = np.ones((T - 1, 1, N), int)
    hold[0, 0, 0] = 2
    told = path(panel, free, Trading(mode="discrete", buy=1.0), hold)
    marks = np.array([np.nan_to_num(panel["close"][t, 0]) for t in range(T)])
    for t in range(1, T):
        marks[t] = marks[t] or marks[t - 1]
    np.testing.assert_allclose(told["equity"][:, 0], 1e6 * marks[1:] / marks[0], rtol=1e-12)


def test_dearer_trading_never_leaves_more():
    panel = world(seed=4)
    T, N = panel.shape
    actions = acts("shares", T - 1, 1, N)
    ends = []
    for cost in (0.0, 0.001, 0.003, 0.01):
        market = replace(PAPER, commission=cost)
        ends.append(path(panel, market, Trading(mode="shares", hmax=10), actions)["equity"])
    for cheap, dear in pairwise(ends):
        assert (dear < cheap + 1e-9).all()


CODE = """
import hashlib, sys
sys.path.insert(0, {folder!r})
from test_simulator import *
told = path(world(), OPEN, Trading(episode="random", length=7), acts("weights", 50, 3, 5), seed=5)
print(hashlib.sha256(told["equity"].tobytes() + told["seen"].tobytes()).hexdigest())
"""


def test_two_processes_agree_to_the_byte():
    import hashlib
    from pathlib import Path

    told = path(world(), OPEN, Trading(episode="random", length=7), acts("weights", 50, 3, 5), seed=5)
    here = hashlib.sha256(told["equity"].tobytes() + told["seen"].tobytes()).hexdigest()
    code = CODE.format(folder=str(Path(__file__).parent))
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here
