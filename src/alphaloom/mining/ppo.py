"""A policy that writes formulas token by token and is paid by the pool: AlphaGen's proximal policy optimisation.

Source: AlphaGen, arXiv:2306.12964. Deviations: the grammar's masks let no episode end invalid, so nothing is ever paid
-1; padding has a number of its own; a formula that was judged before is not offered to the pool again; see the two
modules beside this one for the network's and the update's. What "safe" changes is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from alphaloom.errors import DataError
from alphaloom.mining.session import Session
from alphaloom.nn.torch_state import torch_state

__all__ = ["PPO"]

Profile = Literal["safe", "paper"]
EndMode = Literal["", "level", "increment"]


@dataclass(frozen=True)
class PPO:
    """Masked proximal policy optimisation over the tokens of the session's grammar.

    `end_mode` says what a finished formula is paid: "level", the composite coefficient of the pool after it was
    offered, as published; "increment", by how much it made that coefficient greater. Profile "paper" pays the level,
    "safe" the increment, since a level pays every usable formula alike for what others achieved; "" is as the profile
    says. Unusable formulas are paid 0. How long a formula may be is the grammar's matter: 15 tokens as
    published, 20 in later work.
    A rollout is about `steps` steps in `environments` at a time; `epochs` passes over it in minibatches of about
    `batch` steps. `threads` are those of the network's arithmetic. A checkpoint is written after every `keep_every`
    rollouts, and when the session's clock asks for one. `batch_judged` formulas have their values in memory at a time.
    """

    profile: Profile = "safe"
    end_mode: EndMode = ""
    steps: int = 2048
    environments: int = 16
    epochs: int = 10
    batch: int = 128
    learning_rate: float = 3e-4
    clip: float = 0.2
    discount: float = 1.0
    trace: float = 0.95
    entropy: float = 0.01
    value: float = 0.5
    most_gradient: float = 0.5
    width: int = 128
    layers: int = 2
    dropout: float = 0.1
    threads: int = 1
    keep_every: int = 4
    batch_judged: int = 64

    def __post_init__(self) -> None:
        if self.profile not in get_args(Profile):
            raise DataError("a profile is safe or paper", found=self.profile, where="PPO.profile")
        if not self.end_mode:
            object.__setattr__(self, "end_mode", "level" if self.profile == "paper" else "increment")
        if self.end_mode not in get_args(EndMode):
            raise DataError("the end pays level or increment", found=self.end_mode, where="PPO.end_mode")
        counts = ("steps", "environments", "epochs", "batch", "width", "layers", "threads", "keep_every")
        for name in (*counts, "batch_judged"):
            if getattr(self, name) < 1:
                raise DataError("a count is at least 1", found=getattr(self, name), where=f"PPO.{name}")
        for name in ("learning_rate", "clip", "most_gradient"):
            if not getattr(self, name) > 0.0:
                raise DataError("a rate is positive", found=getattr(self, name), where=f"PPO.{name}")
        for name in ("discount", "trace"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise DataError("a discount lies in [0, 1]", found=getattr(self, name), where=f"PPO.{name}")
        if not 0.0 <= self.dropout < 1.0 or self.entropy < 0.0 or self.value < 0.0:
            found = f"{self.dropout}, {self.entropy}, {self.value}"
            raise DataError("dropout lies in [0, 1), shares are not negative", found=found, where="PPO.dropout")

    def mine(self, session: Session) -> None:
        """Search until the budget is gone; goes on from the session's checkpoint.

        Raises: DataError where torch is not installed.
        """
        try:
            from alphaloom.mining.ppo_search import Search
        except ModuleNotFoundError as error:
            raise DataError(
                "this search needs the extra `deep`", found=str(error), where="PPO", fix="pip install alphaloom[deep]"
            ) from None
        with torch_state(session.seed, threads=self.threads):
            Search(self, session).run()
