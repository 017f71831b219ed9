"""The trained cross-sectional DQN: an ensemble that scores every asset and holds the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.dqn_alignment import Alignment, Idle, Member, Rule, aligned, chosen
from alphaloom.agents.dqn_sight import Sight
from alphaloom.agents.observation import Observed
from alphaloom.errors import AxisError, DataError

__all__ = ["CrossSectionBrain"]

_HELD = 1e-6  # share of equity from which on an asset counts as held
_ROWS = 256
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CrossSectionBrain:
    """Values of holding and not holding each asset, made comparable, averaged over members, and who is then held.

    Shape: `expert` (N,) names each asset's expert, -1 where there is none; it is empty where one serves all assets.
    Time: what is decided on a row depends on that row's window and on what is held, on nothing else that was decided.
    """

    members: tuple[Member, ...]
    expert: NDArray[np.int64]
    alignment: Alignment
    rule: Rule
    k: int | None
    idle: Idle
    spec: str

    def act(self, observed: Observed, rows: NDArray[np.int64], portfolio: NDArray[np.float32]) -> Floats:
        """Equal weights of the assets that are better held.   Shape: rows (B,), portfolio (B, N + 1) -> (B, N + 1)."""
        held = np.asarray(portfolio)[:, 1:] > _HELD
        gain, order = self.scores(observed, np.asarray(rows, np.int64), held)
        weights = self.choose(gain, order, observed.usable[rows])
        return np.concatenate((1.0 - weights.sum(axis=1, keepdims=True), weights), axis=1).clip(0.0, 1.0)

    def choose(self, gain: Floats, order: Floats, usable: NDArray[np.bool_]) -> Floats:
        """The weights that scores lead to.   Shape: (B, N) each -> (B, N)."""
        return chosen(gain, order, usable, rule=self.rule, k=self.k, idle=self.idle)

    def scores(self, observed: Observed, rows: NDArray[np.int64], held: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """By how much holding is better, and the score that ranks, each the mean over members in deviations.

        Shape: rows (B,), held (B, N) -> (B, N) twice.   Missing: NaN where an asset is not usable or has no expert.
        """
        gain, order = np.zeros(held.shape), np.zeros(held.shape)
        for number in range(len(self.members)):
            values = self.values(observed, rows, held, member=number)
            mine = aligned(self.members[number], values, self.place(held), self.alignment)
            gain += mine[0] / len(self.members)
            order += mine[1] / len(self.members)
        blind = ~observed.usable[rows] | (self._experts(held.shape[1]) < 0)
        gain[blind] = order[blind] = np.nan
        return gain, order

    def values(
        self, observed: Observed, rows: NDArray[np.int64], held: NDArray[np.bool_], *, member: int = 0
    ) -> Floats:
        """What one member expects of not holding and of holding, as discounted returns, before any alignment.

        Shape: rows (B,), held (B, N) -> (B, N, 2).   Raises: AxisError for another number of assets or features.
        """
        one, sight = self.members[member], Sight(observed)
        experts = None if self.expert.size == 0 else np.maximum(self._experts(held.shape[1]), 0)
        if sight.inputs != one.inputs:
            raise AxisError(
                "a net sees as many numbers as in its training",
                found=sight.inputs,
                where="observed",
                fix=f"{one.inputs}",
            )
        parts = [
            one.values(sight.rows(rows[at : at + _ROWS], held[at : at + _ROWS]), experts)
            for at in range(0, len(rows), _ROWS)
        ]
        return np.concatenate(parts) if parts else np.empty((*held.shape, 2))

    def place(self, held: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Each asset's expert, 0 where there is none or one for all.   Shape: (N,)."""
        return np.maximum(self._experts(held.shape[1]), 0)

    @cached_property
    def count(self) -> int:
        """How many experts each member has."""
        return len(self.members[0].mean)

    def _experts(self, N: int) -> NDArray[np.int64]:
        if self.expert.size == 0:
            return np.zeros(N, np.int64)
        if len(self.expert) != N:
            raise AxisError(
                "experts of single assets answer for the assets of their training",
                found=f"{N} assets, trained on {len(self.expert)}",
                where="panel.assets",
                fix='the same assets, or experts = "shared"',
            )
        return self.expert

    def state(self) -> dict[str, Any]:
        """The stored form; arrays are leaves."""
        return {
            "members": {str(number): member.state() for number, member in enumerate(self.members)},
            "expert": np.array(self.expert),
            **{name: getattr(self, name) for name in ("alignment", "rule", "idle", "spec")},
            "k": self.k or 0,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CrossSectionBrain:
        """The brain that `state` described.   Raises: DataError for one without members."""
        parts = state["members"]
        if not parts:
            raise DataError("a stored brain has members", found="none", where="brain.members")
        members = tuple(Member.from_state(parts[name]) for name in sorted(parts, key=int))
        return cls(
            members,
            np.asarray(state["expert"], dtype=np.int64),
            state["alignment"],
            state["rule"],
            int(state["k"]) or None,
            state["idle"],
            str(state["spec"]),
        )
