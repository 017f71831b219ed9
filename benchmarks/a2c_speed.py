"""How fast an actor-critic learns on the trading environment: ours beside stable-baselines3's A2C.

Both train on one and the same environment (30 assets, 8 features, weights or orders), with the same number of copies,
the same rollout, Adam, and two hidden layers of 64 with tanh for actor and critic; stable-baselines3 reaches the
environment through `SB3VecEnv`. What is timed is the whole training: acting, stepping, returns, gradients, from the end
of the first update to the last. One thread; CPU seconds on a processor, wall seconds on a card.

    python benchmarks/a2c_speed.py                                   # 30 assets, 64 copies
    python benchmarks/a2c_speed.py --assets 16 --copies 32           # the other claim: 5,000 steps a second at 20 bars
    python benchmarks/a2c_speed.py --device cuda --copies 256
    python benchmarks/a2c_speed.py --quick
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.logger import Logger

from alphaloom.agents.a2c import ActorCritic
from alphaloom.agents.baselines3_env import SB3VecEnv
from alphaloom.agents.observation import Observation
from alphaloom.agents.simulator import Simulator
from alphaloom.agents.trading import Mode, Trading
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.market import Market
from alphaloom.panel import Panel

F, DAYS = 8, 2_000
MARKET = Market(commission=0.001, slippage=0.0)
SEEN = FactorSet("own", tuple(Factor(f"x{k}", parse(f"x{k}")) for k in range(F)))


def main() -> None:
    """Train both, print steps of single copies a second and their ratio."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--assets", type=int, default=30)
    reader.add_argument("--copies", type=int, default=64)
    reader.add_argument("--device", default="cpu")
    reader.add_argument("--quick", action="store_true")
    wanted = reader.parse_args()
    torch.set_num_threads(1)
    clock = time.process_time if wanted.device == "cpu" else time.perf_counter
    panel = market_of(wanted.assets)
    least = 4 if wanted.quick else 20
    print(f"{wanted.assets} assets, {F} features, {wanted.copies} copies, {wanted.device}; steps of a copy a second")
    print(
        f"{'mode':9s} {'window':>6s} {'rollout':>7s} {'stable-baselines3':>17s} {'mlp':>9s} {'times':>6s}"
        f" {'attention':>9s}"
    )
    modes: tuple[Mode, ...] = ("weights", "discrete")
    for mode in modes:
        for window in (1, 20):
            for rollout in (5, 50):
                updates = max(least, 400 // rollout if not wanted.quick else 0)
                given: dict[str, Any] = {
                    "trading": Trading(mode=mode, reward_scale=100.0, episode="random"),
                    "window": window,
                    "copies": wanted.copies,
                    "rollout": rollout,
                    "updates": updates,
                    "device": wanted.device,
                    "clock": clock,
                }
                peer = of_library(panel, **given)
                flat, attention = (of_ours(panel, net, **given) for net in ("mlp", "attention"))
                print(
                    f"{mode:9s} {window:6d} {rollout:7d} {peer:17,.0f} {flat:9,.0f} {flat / peer:6.1f}"
                    f" {attention:9,.0f}",
                    flush=True,
                )


def market_of(assets: int) -> Panel:
    """Random prices and features."""
    rng = np.random.default_rng(0)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, (DAYS, assets)), axis=0))
    times = np.busday_offset("2010-01-04", np.arange(DAYS), roll="forward").astype("datetime64[ns]")
    fields = {"open": close, "close": close, **{f"x{k}": rng.normal(size=(DAYS, assets)) for k in range(F)}}
    return Panel(times, tuple(f"A{k:02d}" for k in range(assets)), fields)


def of_ours(
    panel: Panel,
    net: Any,
    *,
    trading: Trading,
    window: int,
    copies: int,
    rollout: int,
    updates: int,
    device: str,
    clock: Callable[[], float],
) -> float:
    """Steps a second of `ActorCritic`."""
    observation = Observation(SEEN, market=False, window=window, levels="raw")
    one = copies * rollout
    marks: dict[int, float] = {}

    def tell(stage: str, done: int, total: int) -> None:
        marks.setdefault(done, clock())

    ActorCritic(
        observation,
        trading,
        net,
        steps=one * (updates + 1),
        rollout=rollout,
        copies=copies,
        validation=0,
        laps=1,
        gamma=0.99,
        device=device,
    ).fit(panel, MARKET, progress=tell)
    return one * updates / (marks[one * (updates + 1)] - marks[one])


def of_library(
    panel: Panel,
    *,
    trading: Trading,
    window: int,
    copies: int,
    rollout: int,
    updates: int,
    device: str,
    clock: Callable[[], float],
) -> float:
    """Steps a second of stable-baselines3's A2C."""
    observed = Observation(SEEN, market=False, window=window, levels="raw").fit(panel).observe(panel)
    env = SB3VecEnv(Simulator(panel, observed, MARKET, trading, count=copies), layout="flat")
    model = A2C("MlpPolicy", env, n_steps=rollout, use_rms_prop=False, ent_coef=0.01, seed=0, device=device)
    model.set_logger(Logger(folder=None, output_formats=[]))
    one = copies * rollout
    model.learn(one, log_interval=10**9)
    begun = clock()
    model.learn(one * updates, log_interval=10**9, reset_num_timesteps=False)
    return one * updates / (clock() - begun)


if __name__ == "__main__":
    main()
