"""The training of an expert by stable-baselines3, judged in laps, its net taken out as plain arrays."""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.logger import Logger
from torch import nn

from alphaloom.agents.baselines3_brain import LayeredBrain
from alphaloom.agents.baselines3_env import SB3VecEnv
from alphaloom.agents.observed import Observed
from alphaloom.agents.simulator import Simulator
from alphaloom.agents.trading import Trading
from alphaloom.errors import DataError, SolveError
from alphaloom.market import Market
from alphaloom.nn import Progress
from alphaloom.nn.torch_state import torch_threads
from alphaloom.panel import Panel

if TYPE_CHECKING:
    from alphaloom.agents.baselines3 import Expert

__all__ = ["Arena", "train_expert"]

_OURS = ("self", "policy", "env", "seed", "device", "verbose", "policy_kwargs", "tensorboard_log")


@dataclass(frozen=True, eq=False)
class Arena:
    """What is learnt on: rows before `split` teach, those from it on judge."""

    panel: Panel
    observed: Observed
    market: Market
    split: int

    def copies(self, trading: Trading, count: int, rows: tuple[int, int], seed: int) -> Simulator:
        """An environment on some rows; a slice that is shorter than an episode is one."""
        if trading.episode == "random":
            trading = replace(trading, length=min(trading.length, rows[1] - rows[0] - 1))
        return Simulator(self.panel, self.observed, self.market, trading, count=count, seed=seed, rows=rows)


def train_expert(
    settings: Expert, arena: Arena, *, progress: Progress | None = None
) -> tuple[LayeredBrain, tuple[float, ...]]:
    """The brain of the best lap, and every lap's log return on the validation rows."""
    with _state_of_the_world(settings):
        env = SB3VecEnv(
            arena.copies(settings.trading, settings.copies, (arena.observed.first, arena.split), settings.seed),
            layout="flat",
        )
        model = _model(settings, env)
        kept: LayeredBrain | None = None
        scores: list[float] = []
        for lap in range(settings.laps if settings.validation else 1):
            whole = settings.steps_wanted
            share = whole * (lap + 1) // settings.laps if settings.validation else whole
            left = share - int(model.num_timesteps)
            if left <= 0:
                continue
            tell = _teller(model, whole, progress)
            try:
                model.learn(left, callback=tell, log_interval=whole, reset_num_timesteps=lap == 0)
            except ValueError:
                _taken_out(model, settings, arena)  # a net that is lost is told as such
                raise
            found = _taken_out(model, settings, arena)
            if settings.validation:
                scores.append(_judged(found, settings, arena))
            if kept is None or scores[-1] > max(scores[:-1]):
                kept = found
    if progress is not None:
        progress("train", whole, whole)
    assert kept is not None
    return kept, tuple(scores)


def _model(settings: Expert, env: SB3VecEnv) -> Any:
    kind = getattr(stable_baselines3, settings.algorithm.upper())
    legal = [name for name in inspect.signature(kind.__init__).parameters if name not in _OURS and name[0] != "_"]
    given = settings.settings_wanted
    unknown = [name for name in given if name not in legal]
    if unknown:
        raise DataError(
            f"a setting is one of {settings.algorithm}",
            found=", ".join(unknown),
            where="Expert.settings",
            fix=f"one of: {', '.join(legal)}",
        )
    arch = {} if settings.hidden is None else {"policy_kwargs": {"net_arch": list(settings.hidden)}}
    try:
        model = kind("MlpPolicy", env, seed=settings.seed, device="cpu", verbose=0, **arch, **given)
    except (AssertionError, TypeError, ValueError) as refused:
        raise DataError(
            "stable-baselines3 takes the settings", found=str(refused), where="Expert.settings", fix="see its manual"
        ) from refused
    # Its own logger would make a folder.
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def _teller(model: Any, whole: int, progress: Progress | None) -> Any:
    if progress is None:
        return None

    def tell(_locals: dict[str, Any], _globals: dict[str, Any]) -> bool:
        progress("train", min(int(model.num_timesteps), whole), whole)
        return True

    return tell


def _taken_out(model: Any, settings: Expert, arena: Arena) -> LayeredBrain:
    """The net of a model as arrays."""
    policy = model.policy
    squash = not hasattr(policy, "action_net")
    if not squash:  # actor and critic: a body of its own and a head
        parts = [*policy.mlp_extractor.policy_net, policy.action_net]
    elif hasattr(policy.actor, "latent_pi"):  # soft actor-critic: a body and the head of means
        parts = [*policy.actor.latent_pi, policy.actor.mu]
    else:  # deterministic gradients: one body whose tanh at the end is the squashing
        parts = list(policy.actor.mu)
    linear = [part for part in parts if isinstance(part, nn.Linear)]
    layers = tuple(
        (np.array(part.weight.detach().numpy(), np.float32), np.array(part.bias.detach().numpy(), np.float32))
        for part in linear
    )
    if not all(np.isfinite(values).all() for layer in layers for values in layer):
        raise SolveError(
            "the weights of a net are finite",
            found=f"not after {int(model.num_timesteps)} steps",
            where="Expert.fit",
            fix="a lower learning_rate, or a reward of about 1 (trading.reward_scale)",
        )
    activation = "relu" if any(isinstance(part, nn.ReLU) for part in parts) else "tanh"
    return LayeredBrain(
        settings.trading.mode,
        arena.observed.spec,
        layers,
        activation,  # type: ignore[arg-type]
        squash,
    )


def _judged(brain: LayeredBrain, settings: Expert, arena: Arena) -> float:
    """The log return of the validation rows, traded once through."""
    trading = replace(settings.trading, episode="full")
    copy = arena.copies(trading, 1, (arena.split, len(arena.panel)), settings.seed)
    equity = copy.trade_through(lambda: brain.act(arena.observed, copy.row, copy.portfolio))
    return math.log(equity / trading.cash) if equity > 0.0 else -math.inf


@contextmanager
def _state_of_the_world(settings: Expert) -> Iterator[None]:
    """stable-baselines3 seeds every generator there is: for the time of a training, what others set comes back."""
    plain = random.getstate()
    numbers = np.random.get_state()  # noqa: NPY002 - the library draws from it
    with torch.random.fork_rng(devices=[]), torch_threads(settings.threads):
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numbers)  # noqa: NPY002
