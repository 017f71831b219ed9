"""An agent that sees other days than today's: the control that keeps its habits and takes away its sight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alphaloom.market import Book
from alphaloom.panel import Panel

if TYPE_CHECKING:
    from alphaloom.agents.policy import AgentPolicy, ObservedAgent

__all__ = ["PAST", "ShuffledAgent"]

PAST = 252  # rows before today among which the row that is seen is drawn


@dataclass(frozen=True, eq=False)
class ShuffledAgent:
    """The agent's brain before the observations of a row of the last year, drawn anew at every decision.

    What is held and what may be traded are today's. Equal seeds and bars draw equal rows, wherever a back-test starts.
    Time: rows <= t.   Missing: before the windows are full, what is held is held.
    """

    agent: AgentPolicy
    seed: int
    seen: ObservedAgent | None = None

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return self.agent.lookback + PAST

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noted when the agent was made."""
        return self.agent.notes

    def on(self, panel: Panel) -> ShuffledAgent:
        """The same for one panel, which it looks at once: the same weights, sooner."""
        return ShuffledAgent(self.agent, self.seed, self.agent.on(panel))

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """The weights of an action that some other day called for.   Shape: (N,)."""
        if self.seen is None:
            tail = view[max(0, len(view) - 1 - self.lookback) :]
            seen, now = self.agent.observer.observe(tail), len(tail) - 1
        else:
            seen, now = self.seen.observed, self.seen.row_at(view)
        if now < seen.first:
            return np.full(view.shape[1], np.nan)
        draw = np.random.default_rng([self.seed, int(view.times[-1].astype("datetime64[s]").astype(np.int64))])
        row = now - int(draw.integers(min(PAST, now - seen.first) + 1))
        return self.agent.decided(seen, row, view, book, usable=seen.usable[now])
