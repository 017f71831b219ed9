"""An actor-critic that learns to trade in the exact environment; torch is imported when it learns or acts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from alphaloom.agents.a2c_brain import ActorBrain, Kind
from alphaloom.agents.observation import Observation
from alphaloom.agents.policy import AgentPolicy
from alphaloom.agents.trading import Trading
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.panel import Panel

if TYPE_CHECKING:
    from alphaloom.nn import Progress

__all__ = ["ActorBrain", "ActorCritic"]


@dataclass(frozen=True)
class ActorCritic:
    """Advantage actor-critic over many copies of the environment, judged on the last training rows.

    `copies` accounts act `rollout` bars between two steps of Adam, `steps` bars in all. What an action was worth is the
    sum of its rewards, each later one times `gamma`, and what the critic expects after the last; an episode that the
    data or its length ends is worth what the critic expects there. The loss is that of the actor, plus `value` times
    the critic's squared error, less `entropy` times the entropy of the actions, its gradient no longer than `gradient`.
    `standardise` counts rewards in the deviation of the first rollout's, and advantages in that of their batch.
    `net` "attention" shares one encoder among the assets and takes any number of them; "mlp" lays everything out flat.
    The training is parted into `laps`; after each the likeliest actions trade the last `validation` rows, which teach
    nothing and scale nothing, and the weights of the lap with the highest log return there are kept (with
    `validation` 0 the last ones). Each lap begins with fresh episodes, so that a checkpoint is a net, its optimiser and
    a number; where episodes are full a lap is at least one episode long. `device` is "cpu" or "cuda"; on a processor
    equal seeds and `threads` give equal bytes.
    Raises: DataError for settings out of range, a mode of trading that is not orders, weights or shares, or too few
    training rows; SolveError where the loss is no number.
    Source: Mnih et al., arXiv:1602.01783, in the synchronous form.
    """

    observation: Observation = field(default_factory=lambda: Observation(window=20))
    trading: Trading = field(default_factory=lambda: Trading(mode="discrete", cash=10_000.0, episode="random"))
    net: Kind = "attention"
    rate: float = 3e-4
    steps: int = 1_000_000
    rollout: int = 50
    gamma: float = 0.96
    entropy: float = 0.05
    value: float = 0.5
    gradient: float = 0.5
    copies: int = 16
    validation: int = 252
    standardise: bool = True
    laps: int = 20
    seed: int = 0
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        counts = {"steps": 1, "rollout": 1, "copies": 1, "validation": 0, "laps": 1, "seed": 0, "threads": 1}
        for name, least in counts.items():
            if getattr(self, name) < least:
                raise DataError(f"a count is at least {least}", found=getattr(self, name), where=f"ActorCritic.{name}")
        if self.validation == 1:
            raise DataError("a validation has a bar after its first", found=1, where="ActorCritic.validation")
        for name in ("rate", "entropy", "value", "gradient"):
            found = getattr(self, name)
            if not 0.0 <= found < float("inf") or (name in ("rate", "gradient") and found == 0.0):
                raise DataError("a weight or rate is finite and not negative", found=found, where=f"ActorCritic.{name}")
        if not 0.0 <= self.gamma <= 1.0:
            raise DataError("what comes later counts at most as much", found=self.gamma, where="ActorCritic.gamma")
        if self.net not in get_args(Kind):
            raise DataError("a net is attention or mlp", found=self.net, where="ActorCritic.net")
        if self.trading.mode not in ("discrete", "weights", "shares"):
            raise DataError(
                "an actor-critic trades in orders, weights or shares",
                found=self.trading.mode,
                where="ActorCritic.trading.mode",
                fix='mode = "discrete", "weights" or "shares"',
            )
        if self.device.split(":")[0] not in ("cpu", "cuda"):
            raise DataError("a device is cpu or cuda", found=self.device, where="ActorCritic.device")

    def fit(
        self,
        train: Panel,
        market: Market,
        *,
        checkpoint: str | Path | None = None,
        progress: Progress | None = None,
    ) -> AgentPolicy:
        """The actor that traded the last training rows best.

        `checkpoint` is a file that keeps the state of the training after each lap: where it exists the training goes on
        from it, and on a processor ends in the bytes of one that was never stopped. `progress` is told ("train", steps
        done, steps in all) after every update.
        Raises: DataError for a checkpoint of another training, a missing device or torch.
        """
        split = len(train) - self.validation
        if split < 2:
            raise DataError(
                "rows are left to learn from",
                found=f"{len(train)} rows, of which {self.validation} validate",
                where="ActorCritic.validation",
                fix="a longer training slice, or a shorter validation",
            )
        observer = self.observation.fit(train[:split])
        observed = observer.observe(train)
        if observed.first + 2 > split:
            raise DataError(
                "training rows are left once the windows are full",
                found=f"full on row {observed.first}, while the validation begins on row {split}",
                where="ActorCritic.fit",
                fix="a longer training slice, a shorter validation, or features with shorter windows",
            )
        try:
            from alphaloom.agents.a2c_training import Ground, train_actor
        except ModuleNotFoundError as missing:
            if missing.name not in ("torch", "safetensors"):
                raise
            raise DataError(
                "an actor-critic needs torch and safetensors",
                found=f"no {missing.name}",
                where="alphaloom.agents.a2c",
                fix="pip install 'alphaloom[deep]'",
            ) from None
        ground = Ground(train, observed, market, split)
        brain = train_actor(self, ground, checkpoint=Path(checkpoint) if checkpoint else None, progress=progress)
        note = f"{self.net}: {len(brain.history['reward'])} laps"
        if self.validation:
            note += (
                f"; the weights of lap {brain.best + 1}, whose log return on the {self.validation} validation rows was "
                f"{brain.history['held'][brain.best]:.4f}"
            )
        assets = train.assets if self.net == "mlp" else ()
        return AgentPolicy(observer, brain, self.trading, market, assets, (note,))
