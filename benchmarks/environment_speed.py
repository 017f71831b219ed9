"""How fast the trading environment steps: ours by copies and windows, beside the logic of FinRL's stock environment.

FinRL itself cannot be installed beside present libraries, so `FrameEnv` below is its environment's logic written anew:
a long table, one slice of it for each day, one asset after the other bought and sold in Python, the state a list that
is put together from the table's columns. Before time is taken, both trade the same actions on the same prices, and
equity must agree to 1e-9 on every day (and what is seen to float32). The script ends with a non-zero code where it
does not.

Steps are steps of single copies; one thread; CPU seconds, the best of several rounds. Observations are made in every
step ("rows" hands out row numbers and portfolios alone, for learners that keep the features themselves).

    python benchmarks/environment_speed.py            # 29 assets, 8 features, 2,800 days
    python benchmarks/environment_speed.py --quick    # 600 days, one round
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from alphaloom.agents.observed import Observed
from alphaloom.agents.simulator import Simulator
from alphaloom.agents.trading import Layout, Trading
from alphaloom.market import Market
from alphaloom.panel import Panel

N, F, HMAX, FEE = 29, 8, 100, 0.001
NAMES = tuple(f"indicator_{k}" for k in range(F))
SHARES, FINRL_MARKET = Trading.preset("finrl")
# Copies, window, layout, and what the issue of this environment asks for.
CASES: tuple[tuple[int, int, Layout, int], ...] = (
    (1, 1, "flat", 5_000),
    (64, 1, "flat", 0),
    (256, 1, "flat", 300_000),
    (64, 20, "flat", 150_000),
    (64, 20, "rows", 150_000),
)


class FrameEnv:
    """One account over a long table with a row for each day and asset, in the manner of FinRL's stock environment."""

    def __init__(self, frame: pd.DataFrame, names: tuple[str, ...]) -> None:
        self.frame, self.names = frame, names
        self.reset()

    def reset(self) -> list[float]:
        """All cash on the first day."""
        self.day, self.data = 0, self.frame.loc[0, :]
        self.assets, self.rewards, self.dates = [1e6], [], [self.data.date.unique()[0]]
        self.state = [1e6, *self.data.close.values.tolist(), *([0] * N), *self._indicators()]
        return self.state

    def _indicators(self) -> list[float]:
        return [value for name in self.names for value in self.data[name].values.tolist()]

    def _worth(self) -> float:
        prices, shares = np.array(self.state[1 : N + 1]), np.array(self.state[N + 1 : 2 * N + 1])
        return self.state[0] + float(sum(prices * shares))

    def _sell(self, index: int, wanted: int) -> None:
        if self.state[index + 1] > 0 and self.state[index + N + 1] > 0:
            count = min(abs(wanted), self.state[index + N + 1])
            self.state[0] += self.state[index + 1] * count * (1 - FEE)
            self.state[index + N + 1] -= count

    def _buy(self, index: int, wanted: int) -> None:
        if self.state[index + 1] > 0:
            count = min(self.state[0] // (self.state[index + 1] * (1 + FEE)), wanted)
            self.state[0] -= self.state[index + 1] * count * (1 + FEE)
            self.state[index + N + 1] += count

    def step(self, actions: np.ndarray) -> tuple[list[float], float, bool]:
        """Trade at today's closes, then live to tomorrow's."""
        if self.day >= len(self.frame.index.unique()) - 1:
            return self.state, self.rewards[-1], True
        orders = (actions * HMAX).astype(int)
        before = self._worth()
        ranks = np.argsort(orders, kind="stable")
        for index in ranks[: np.where(orders < 0)[0].shape[0]]:
            self._sell(index, orders[index])
        for index in ranks[::-1][: np.where(orders > 0)[0].shape[0]]:
            self._buy(index, orders[index])
        self.day += 1
        self.data = self.frame.loc[self.day, :]
        self.state = [
            self.state[0],
            *self.data.close.values.tolist(),
            *self.state[N + 1 : 2 * N + 1],
            *self._indicators(),
        ]
        after = self._worth()
        self.assets.append(after)
        self.dates.append(self.data.date.unique()[0])
        self.rewards.append((after - before) * 1e-4)
        return self.state, self.rewards[-1], False


def main() -> int:
    """Check that both mean the same, then measure; 1 where they do not."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--quick", action="store_true")
    quick = reader.parse_args().quick
    days, rounds, work = (600, 1, 4_000) if quick else (2_800, 5, 30_000)
    panel, features = market_of(days)
    found = disagreement(panel, features)
    print(f"{days} days x {N} assets, {F} features; equity differs by at most {found:.1e} (relative)")
    if not found <= 1e-9:
        return 1
    env = FrameEnv(table_of(panel, features), NAMES)
    peer = measured(endless(env), orders(200), 300 if quick else 2_000, 1, rounds)
    print(f"{'':22s} {'copies':>6s} {'window':>6s} {'seen':>5s} {'steps/s':>10s} {'times':>7s} {'asked':>9s}")
    print(f"{'frames, day by day':22s} {1:6d} {1:6d} {'flat':>5s} {peer:10,.0f} {1.0:7,.1f}", flush=True)
    modes: tuple[tuple[str, Trading, Market], ...] = (
        ("shares, greedy", SHARES, FINRL_MARKET),
        ("weights", Trading(), Market(commission=FEE, slippage=0.0)),
        ("discrete", Trading(mode="discrete"), Market(commission=FEE, slippage=0.0)),
    )
    for name, trading, market in modes:
        for count, window, layout, asked in CASES:
            speed = ours(panel, features, trading, market, count=count, window=window, layout=layout)
            best = measured(speed[0], speed[1], max(20, work // count), count, rounds)
            told = f"{asked:9,d}" if asked else ""
            print(
                f"{name:22s} {count:6d} {window:6d} {layout:>5s} {best:10,.0f} {best / peer:7,.0f} {told}", flush=True
            )
    return 0


def market_of(days: int) -> tuple[Panel, np.ndarray]:
    """Random prices, and features as an indicator would be."""
    rng = np.random.default_rng(0)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, (days, N)), axis=0))
    opened = close * np.exp(rng.normal(0.0, 0.005, (days, N)))
    times = np.busday_offset("2010-01-04", np.arange(days), roll="forward").astype("datetime64[ns]")
    panel = Panel(times, tuple(f"A{k:02d}" for k in range(N)), {"open": opened, "close": close})
    return panel, rng.normal(size=(days, N, F)).astype(np.float32)


def table_of(panel: Panel, features: np.ndarray) -> pd.DataFrame:
    """The same as a long table whose index is the number of the day."""
    T = len(panel)
    parts = {"date": np.repeat(panel.times, N), "tic": np.tile(panel.assets, T), "close": panel["close"].ravel()}
    parts |= {name: features[:, :, k].ravel() for k, name in enumerate(NAMES)}
    return pd.DataFrame(parts, index=np.repeat(np.arange(T), N))


def endless(env: FrameEnv) -> Callable[[np.ndarray], object]:
    """A step that begins anew where the days are over: a step beyond them would do nothing."""

    def step(actions: np.ndarray) -> object:
        seen = env.step(actions)
        return env.reset() if seen[2] else seen

    return step


def orders(count: int) -> np.ndarray:
    """Another order of the assets every day.   Shape: (count, N)."""
    return np.stack([np.roll(np.linspace(-0.9, 1.0, N), t) for t in range(count)])


def disagreement(panel: Panel, features: np.ndarray) -> float:
    """The largest relative difference of equity on any day; infinite where what is seen differs."""
    seen = Observed.of(panel, features, NAMES)
    simulator = Simulator(panel, seen, FINRL_MARKET, SHARES)
    env, worst = FrameEnv(table_of(panel, features), NAMES), 0.0
    for actions in orders(len(panel) - 1):
        if not np.allclose(simulator.observe("finrl")[0], env.state, rtol=1e-6):
            return float("inf")
        step = simulator.step(actions[None])
        env.step(actions)
        worst = max(worst, abs(float(step.equity[0]) / env.assets[-1] - 1.0))
    return worst


def ours(
    panel: Panel,
    features: np.ndarray,
    trading: Trading,
    market: Market,
    *,
    count: int,
    window: int,
    layout: Layout,
) -> tuple[Callable[[np.ndarray], object], np.ndarray]:
    """One step of all copies with its observation, and actions by lot."""
    rng = np.random.default_rng(1)
    seen = Observed.of(panel, features, NAMES, window=window)
    simulator = Simulator(panel, seen, market, replace(trading, episode="random"), count=count)
    if trading.mode == "weights":
        actions = rng.dirichlet(np.ones(N + 1), (50, count))
    elif trading.mode == "shares":
        actions = rng.uniform(-1.0, 1.0, (50, count, N))
    else:
        actions = rng.integers(0, 3, (50, count, N)).astype(np.float64)

    def step(action: np.ndarray) -> object:
        simulator.step(action)
        return simulator.observe(layout)

    return step, actions


def measured(step: Callable[[np.ndarray], object], actions: np.ndarray, count: int, copies: int, rounds: int) -> float:
    """Steps of single copies a CPU second, the best round."""
    step(actions[0])
    best = 0.0
    for _ in range(rounds):
        begun = time.process_time()
        for k in range(count):
            step(actions[k % len(actions)])
        best = max(best, count * copies / (time.process_time() - begun))
    return best


if __name__ == "__main__":
    sys.exit(main())
