"""Experts of stable-baselines3 on the exact environment; the library is imported when one learns, not when it acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from alphaloom.agents.baselines3_brain import LayeredBrain
from alphaloom.agents.observation import Observation
from alphaloom.agents.policy import AgentPolicy
from alphaloom.agents.trading import Trading
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.panel import Panel

if TYPE_CHECKING:
    from alphaloom.nn import Progress

__all__ = ["PUBLISHED", "Algorithm", "Expert", "LayeredBrain"]

Algorithm = Literal["a2c", "ppo", "sac", "ddpg", "td3"]
# Steps, then the arguments of the library's class, as published for experts on the thirty Dow stocks.
PUBLISHED: Mapping[Algorithm, tuple[int, Mapping[str, Any]]] = MappingProxyType(
    {
        "a2c": (50_000, {"n_steps": 5, "learning_rate": 7e-4, "ent_coef": 0.01, "gamma": 0.99}),
        "ppo": (200_000, {"n_steps": 2048, "batch_size": 128, "learning_rate": 2.5e-4, "ent_coef": 0.01}),
        "sac": (
            70_000,
            {
                "batch_size": 128,
                "buffer_size": 100_000,
                "learning_rate": 1e-4,
                "learning_starts": 100,
                "ent_coef": "auto_0.1",
            },
        ),
        "ddpg": (50_000, {"batch_size": 128, "buffer_size": 50_000, "learning_rate": 1e-3}),
        "td3": (50_000, {"batch_size": 100, "buffer_size": 1_000_000, "learning_rate": 1e-3}),
    }
)
_ORDERS = ("discrete", "joint")


@dataclass(frozen=True)
class Expert:
    """An agent trained by an algorithm of stable-baselines3, with the settings published for it.

    It sees the flat layout of the environment, whatever `trading.layout` says, and is bound to the number of assets and
    their order. `steps` None is the published number; `settings` are arguments of the library's class that go before
    the published ones; `hidden` are the widths of the layers, None those of the library (64, 64 for a2c and ppo;
    256, 256 for sac; 400, 300 for ddpg and td3). `copies` of the environment act side by side: what the library counts
    for each copy, as `n_steps`, is counted so.
    The steps are parted into `laps`; after each the net trades the last `validation` rows, which teach and scale
    nothing, and the one with the highest log return there is kept. With `validation` 0 it is the last one, as
    published. A reward of about 1 suits these algorithms: the default pays log returns in percent. Equal seeds give
    equal bytes with equal `threads`.
    Raises: DataError for settings out of range or unknown, a mode that the algorithm cannot act in, or too few training
    rows; SolveError where a net is no longer finite.
    Source: stable-baselines3 (Raffin et al., JMLR 2021); settings of arXiv:2411.17900's experts.
    """

    algorithm: Algorithm = "ppo"
    observation: Observation = field(default_factory=Observation)
    trading: Trading = field(default_factory=lambda: Trading(reward_scale=100.0, episode="random"))
    steps: int | None = None
    copies: int = 1
    hidden: tuple[int, ...] | None = None
    settings: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    validation: int = 252
    laps: int = 10
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        if self.hidden is not None:
            object.__setattr__(self, "hidden", tuple(self.hidden))
        if self.algorithm not in get_args(Algorithm):
            raise DataError(
                "an expert's algorithm is known",
                found=self.algorithm,
                where="Expert.algorithm",
                fix=f"one of: {', '.join(get_args(Algorithm))}",
            )
        counts = {"steps": 1, "copies": 1, "validation": 0, "laps": 1, "seed": 0, "threads": 1}
        for name, least in counts.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise DataError(f"a count is at least {least}", found=value, where=f"Expert.{name}")
        if self.validation == 1:
            raise DataError("a validation has a bar after its first", found=1, where="Expert.validation")
        if self.hidden is not None and (not self.hidden or min(self.hidden) < 1):
            raise DataError("layers have a width of at least 1", found=self.hidden, where="Expert.hidden")
        if self.trading.mode == "binary" or (self.trading.mode in _ORDERS and self.algorithm not in ("a2c", "ppo")):
            raise DataError(
                "an expert acts in a mode of its algorithm",
                found=f"{self.algorithm} with mode {self.trading.mode}",
                where="Expert.trading",
                fix='"weights" or "shares"; "discrete" and "joint" with a2c and ppo',
            )

    @property
    def steps_wanted(self) -> int:
        """Steps of all copies together."""
        return PUBLISHED[self.algorithm][0] if self.steps is None else self.steps

    @property
    def settings_wanted(self) -> dict[str, Any]:
        """The arguments for the library's class; a memory is no larger than what can be remembered."""
        wanted = {**PUBLISHED[self.algorithm][1], **self.settings}
        if "buffer_size" in wanted:
            wanted["buffer_size"] = max(min(int(wanted["buffer_size"]), self.steps_wanted + self.copies), self.copies)
        return wanted

    def fit(self, train: Panel, market: Market, *, progress: Progress | None = None) -> AgentPolicy:
        """The policy learned from the training rows.

        `progress` is told ("train", steps done, steps in all) after every step of all copies.
        Raises: DataError for too few rows, a setting that the library does not have, or without the library.
        """
        split = len(train) - self.validation
        observer = self.observation.fit(train[:split]) if split >= 2 else None
        observed = observer.observe(train) if observer is not None else None
        if observer is None or observed is None or observed.first + 2 > split:
            raise DataError(
                "training rows are left once the windows are full",
                found=f"{len(train)} rows, {self.validation} of them for validation"
                + ("" if observed is None else f", windows full on row {observed.first}"),
                where="Expert.fit",
                fix="a longer training slice, a shorter validation, or features with shorter windows",
            )
        self.trading.check(train.shape[1])
        try:
            from alphaloom.agents.baselines3_training import Arena, train_expert
        except ModuleNotFoundError as missing:
            if missing.name not in ("torch", "stable_baselines3", "gymnasium"):
                raise
            raise DataError(
                "an expert needs stable-baselines3",
                found=f"no {missing.name}",
                where="alphaloom.agents.baselines3",
                fix="pip install 'alphaloom[rl]'",
            ) from None
        brain, scores = train_expert(self, Arena(train, observed, market, split), progress=progress)
        note = f"{self.algorithm} of stable-baselines3, {self.steps_wanted} steps"
        if scores:
            best = max(range(len(scores)), key=scores.__getitem__)
            note += (
                f"; the net of lap {best + 1} of {len(scores)}, whose log return on the {self.validation} validation "
                f"rows was {scores[best]:.4f}"
            )
        return AgentPolicy(observer, brain, self.trading, market, train.assets, (note,))
