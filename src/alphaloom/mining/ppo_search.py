"""The search of `PPO`: rollouts, their formulas judged together, updates, checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from alphaloom.mining.pool import Alpha
from alphaloom.mining.ppo_learning import Episode, learn, played
from alphaloom.mining.ppo_network import PolicyNet
from alphaloom.mining.session import Session

if TYPE_CHECKING:
    from alphaloom.mining.ppo import PPO

__all__ = ["Search"]

# A policy that writes nothing new in so many rollouts has settled.
_MOST_IDLE = 20


class Search:
    """Where a search stands: the network, its optimiser, how many rollouts were made. Torch is seeded by the caller."""

    def __init__(self, settings: PPO, session: Session) -> None:
        self.settings, self.session = settings, session
        self.net = PolicyNet(
            len(session.grammar.tokens), width=settings.width, layers=settings.layers, dropout=settings.dropout
        ).eval()
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=settings.learning_rate, eps=1e-5)
        self.rollouts = self.idle = 0
        state = session.restored()
        if state:
            self._recall(state)

    def run(self) -> None:
        """Rollouts until the budget is gone."""
        session = self.session
        while not session.spent and self.idle < _MOST_IDLE:
            before = session.evaluations
            self.once()
            self.idle = 0 if session.evaluations > before else self.idle + 1
            if self.rollouts % self.settings.keep_every == 0 or session.due:
                session.checkpoint(self.state())
        session.note()
        session.checkpoint(self.state())

    def once(self) -> None:
        """One rollout and, if the budget bore it whole, what is learnt of it."""
        settings, session = self.settings, self.session
        episodes = played(
            session.grammar, self.net, session.rng, environments=settings.environments, steps=settings.steps
        )
        for start in range(0, len(episodes), settings.batch_judged):
            part = episodes[start : start + settings.batch_judged]
            self._pay(part)
        if not session.spent:
            learn(self.net, self.optimiser, episodes, settings, session.rng)
        self.rollouts += 1

    def _pay(self, episodes: list[Episode]) -> None:
        for episode, alpha in zip(episodes, self.session.judge([_made(e) for e in episodes]), strict=True):
            episode.reward = self._reward(alpha)

    def _reward(self, alpha: Alpha) -> float:
        """What the formula is paid, offered to the pool if it is news."""
        pool, level = self.session.pool, self.settings.end_mode == "level"
        if alpha.valid and alpha.z is not None:
            done = self.session.offer(alpha)
            return done.after if level else done.after - done.before
        return pool.ic if level and alpha.fault in ("", "duplicate") else 0.0

    def state(self) -> dict[str, Any]:
        """All that the search needs to go on."""
        arrays = {f"net.{name}": values.numpy().copy() for name, values in self.net.state_dict().items()}
        for place, parts in self.optimiser.state_dict()["state"].items():
            arrays |= {f"optimiser.{place}.{name}": values.numpy().copy() for name, values in parts.items()}
        arrays["chance"] = torch.get_rng_state().numpy().copy()
        return {"rollouts": self.rollouts, "idle": self.idle, **arrays}

    def _recall(self, state: dict[str, Any]) -> None:
        self.rollouts, self.idle = state["rollouts"], state["idle"]
        tensors = {name: torch.from_numpy(np.array(v)) for name, v in state.items() if isinstance(v, np.ndarray)}
        self.net.load_state_dict({name[4:]: v for name, v in tensors.items() if name.startswith("net.")})
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, values in tensors.items():
            if name.startswith("optimiser."):
                _, place, part = name.split(".")
                moments.setdefault(int(place), {})[part] = values
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        torch.set_rng_state(tensors["chance"])


def _made(episode: Episode) -> Any:
    assert episode.expr is not None
    return episode.expr
