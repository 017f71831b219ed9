"""From a trained rule that acts on observations to a policy that any back-test runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.observation import Observed, Observer
from alphaloom.agents.shuffled import ShuffledAgent
from alphaloom.agents.trading import Trading, target_weights
from alphaloom.errors import AxisError, DataError
from alphaloom.market import Book, Market
from alphaloom.panel import Panel

__all__ = ["BRAINS", "AgentPolicy", "Brain", "Constant", "portfolio_of"]

# Where a stored brain is read: a kind, its module and class. A class has `state()` and the class method `from_state`.
BRAINS: dict[str, tuple[str, str]] = {
    "constant": ("alphaloom.agents.policy", "Constant"),
    "cross_section_dqn": ("alphaloom.agents.dqn_brain", "CrossSectionBrain"),
    "actor": ("alphaloom.agents.a2c_brain", "ActorBrain"),
    "layered": ("alphaloom.agents.baselines3_brain", "LayeredBrain"),
}


@runtime_checkable
class Brain(Protocol):
    """A fitted decision rule: what to do, given what is seen and what is held.

    `spec` is that of the observations it was trained on.
    Shape: rows (B,), portfolio (B, N + 1) fractions of equity, cash first -> one action of the mode for each row:
    weights (B, N + 1), shares (B, N), discrete (B, N), joint (B,) or (B, 1), binary (B, 1).
    Time: row b is decided at the close of `rows[b]`. `act` is deterministic.
    """

    @property
    def spec(self) -> str: ...

    def act(self, observed: Observed, rows: NDArray[np.int64], portfolio: NDArray[np.float32]) -> NDArray[Any]: ...

    def state(self) -> dict[str, Any]: ...


@dataclass(frozen=True, eq=False)
class Constant:
    """The brain that never looks: one action whatever is seen.   Shape: action (A,), as one row of the mode."""

    action: NDArray[Any]
    spec: str

    def act(self, observed: Observed, rows: NDArray[np.int64], portfolio: NDArray[np.float32]) -> NDArray[Any]:
        """The action, once for each row.   Shape: (B, A)."""
        return np.repeat(np.asarray(self.action)[None], len(rows), axis=0)

    def state(self) -> dict[str, Any]:
        """The stored form."""
        return {"action": np.asarray(self.action), "spec": self.spec}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Constant:
        """The brain that `state` described."""
        return cls(np.asarray(state["action"]), str(state["spec"]))


@dataclass(frozen=True, eq=False)
class AgentPolicy:
    """A brain with its eyes and hands: the observer of its training, and what its actions mean.

    `market` is the one of the training, whose costs a purchase must leave room for. `assets` names the assets of the
    training where the brain knows them by their place; it is empty for a brain that takes any.
    Time: decided at the close of the view's last row. The risk switch of `trading` reads the view's series.
    Missing: before the observer's windows are full, what is held is held.
    Raises: DataError for a brain that was trained on another layout, with both.
    """

    observer: Observer
    brain: Brain
    trading: Trading
    market: Market
    assets: tuple[str, ...] = ()
    training_notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.brain.spec != self.observer.spec:
            raise DataError(
                "a brain acts on observations of the layout it was trained on",
                found=f"layout {self.observer.spec}, trained on {self.brain.spec}",
                where="agent.observer",
                fix="the observer of the training",
            )

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return self.observer.lookback

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noted when the observer and the brain were fitted."""
        return (*self.observer.notes, *self.training_notes)

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """The weights that the brain's action leads to.   Shape: (N,).   Raises: AxisError for other assets."""
        self._check(view)
        tail = view[max(0, len(view) - 1 - self.lookback) :]
        observed = self.observer.observe(tail, since=len(tail) - 1)
        return self.decided(observed, len(tail) - 1, view, book)

    def on(self, panel: Panel) -> ObservedAgent:
        """The same policy for one panel, which it looks at once instead of bar by bar: the same weights, sooner.

        Raises: AxisError for other assets.
        """
        self._check(panel)
        return ObservedAgent(self, panel, self.observer.observe(panel))

    def _check(self, panel: Panel) -> None:
        if self.assets and panel.assets != self.assets:
            raise AxisError(
                "an agent that knows its assets by their place trades the assets of its training",
                found=f"{len(panel.assets)} assets, from {panel.assets[0]}",
                where="panel.assets",
                fix=f"the {len(self.assets)} of the training, from {self.assets[0]}, in their order",
            )

    def shuffled(self, seed: int) -> ShuffledAgent:
        """The same brain before the observations of other days: a control without sight."""
        return ShuffledAgent(self, seed)

    def decided(
        self, observed: Observed, row: int, view: Panel, book: Book, *, usable: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """The weights for what is seen on a row; `usable`, what may be traded now, is that row's if not given."""
        if row < observed.first:
            return np.full(view.shape[1], np.nan)
        action = self.brain.act(observed, np.array([row]), portfolio_of(book)[None])[0]
        able = observed.usable[row] if usable is None else usable
        return target_weights(action, book, self.trading, self.market, able, view=view)

    def state(self) -> dict[str, Any]:
        """The stored form; a brain's arrays stay arrays.   Raises: DataError for a brain without a stored form."""
        kinds = {place: kind for kind, place in BRAINS.items()}
        kind = kinds.get((type(self.brain).__module__, type(self.brain).__name__))
        if kind is None:
            raise DataError(
                "only this room's brains have a stored form", found=type(self.brain).__name__, where="agent.brain"
            )
        return {
            "observer": self.observer.state(),
            "brain": {"kind": kind, "parts": self.brain.state()},
            "trading": asdict(self.trading),
            "market": asdict(self.market),
            "assets": list(self.assets),
            "notes": list(self.training_notes),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> AgentPolicy:
        """The policy that `state` described.   Raises: DataError for an unknown brain or parts that do not fit."""
        kind = state["brain"]["kind"]
        if kind not in BRAINS:
            raise DataError(f"a stored brain is one of {', '.join(BRAINS)}", found=kind, where="brain.kind")
        module, name = BRAINS[kind]
        brain = getattr(import_module(module), name).from_state(state["brain"]["parts"])
        return cls(
            Observer.from_state(state["observer"]),
            brain,
            Trading(**state["trading"]),
            Market(**state["market"]),
            tuple(map(str, state["assets"])),
            tuple(map(str, state["notes"])),
        )


@dataclass(frozen=True, eq=False)
class ObservedAgent:
    """An agent with a whole panel before it, made by `AgentPolicy.on`: for many back-tests of one agent.

    It decides from rows up to the view's last, whose observations are the same bits as those made from the view.
    Raises: DataError for a bar that the panel does not have.
    """

    agent: AgentPolicy
    panel: Panel
    observed: Observed

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return self.agent.lookback

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """The weights that the brain's action leads to.   Shape: (N,)."""
        return self.agent.decided(self.observed, self.row_at(view), view, book)

    def row_at(self, view: Panel) -> int:
        """The panel's row of the view's last bar.   Raises: DataError for a bar that the panel does not have."""
        row = self.panel.row_of(view.times[-1])
        if row == len(self.panel) or self.panel.times[row] != view.times[-1]:
            raise DataError("an agent decides on bars of the panel it looked at", found=view.times[-1], where="view")
        return row

    def shuffled(self, seed: int) -> ShuffledAgent:
        """The same brain before the observations of other days, which were made already."""
        return ShuffledAgent(self.agent, seed, self)


def portfolio_of(book: Book) -> NDArray[np.float32]:
    """What a brain is told of a book: the shares of cash and of each asset in equity.   Shape: (N + 1,)."""
    equity = book.equity
    cash = book.cash / equity if equity > 0.0 else 1.0
    return np.append(cash, book.weights).astype(np.float32)
