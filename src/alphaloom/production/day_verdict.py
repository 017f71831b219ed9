"""Between a signal and the broker: the weights of a policy with what it counted, and the guards' ruling on orders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import ConfigError, Fault
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.production.day_files import FACTS
from alphaloom.production.day_models import Model
from alphaloom.production.guards import Guards
from alphaloom.production.orders import Order
from alphaloom.roles import Policy
from alphaloom.signal import Signal
from alphaloom.study import Study

__all__ = ["Decision", "Refused", "Ruling", "decide", "ruled"]


@dataclass(frozen=True, eq=False)
class Decision:
    """Weights (N,), what the policy counted while it made them (solves, fallbacks, ...), and what it said."""

    weights: NDArray[np.float64]
    counts: Mapping[str, int]
    notes: tuple[str, ...]


def decide(study: Study, model: Model, view: Panel, *, book: Book, signal: Signal | None) -> Decision:
    """Ask today's policy; a book without money holds, as it does in a back-test.

    Raises: ConfigError for a model that does not suit the allocator.
    """
    policy: Any = model.made if signal is None or study.allocator is None else study.allocator.policy(signal)
    if not isinstance(policy, Policy):
        raise ConfigError("the run", [Fault("study.allocator", "is needed with a forecaster", type(policy).__name__)])
    if not book.history.equity[-1] > 0.0:
        return Decision(np.full(len(view.assets), np.nan), {}, ("the book has no money left: nothing is ordered",))
    before = _counted(policy)
    weights = policy.decide(view, book)
    counts = {name: number - before.get(name, 0) for name, number in _counted(policy).items()}
    notes = tuple(str(note) for note in getattr(policy, "notes", ()))
    return Decision(np.array(weights, dtype=np.float64), counts, notes)


def _counted(policy: object) -> dict[str, int]:
    return {str(name): int(number) for name, number in dict(getattr(policy, "counts", {})).items()}


@dataclass(frozen=True)
class Refused:
    """An order that a guard stopped, and why."""

    order: Order
    guard: str
    reason: str


@dataclass(frozen=True)
class Ruling:
    """What may be sent, what not, and why the whole day is stopped ("" when it is not)."""

    allowed: tuple[Order, ...]
    refused: tuple[Refused, ...]
    stopped: str
    guards: Mapping[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """The ruling as plain values for the file of the day."""
        refused = [[one.order.client_id, one.guard, one.reason] for one in self.refused]
        return {"guards": dict(self.guards), "stopped": self.stopped, "refused": refused}


def ruled(
    orders: Sequence[Order],
    book: Book,
    view: Panel,
    *,
    guards: Guards,
    today: np.datetime64 | None,
    kept: Mapping[str, bytes] | None,
) -> Ruling:
    """The guards' ruling on today's orders; a day that was run before keeps the ruling that it had.

    A kill switch that is gone, or a later clock, must not change what a day in the past did.
    """
    before = None if kept is None else _kept_ruling(orders, kept)
    if before is not None:
        return before
    verdict = guards.check(orders, book, view, today=today)
    refused = tuple(Refused(one.order, one.guard, one.reason) for one in verdict.refused)
    settings = {name: _plain(value) for name, value in vars(guards).items()}
    return Ruling(tuple(verdict.allowed), refused, verdict.stopped, settings)


def _kept_ruling(orders: Sequence[Order], kept: Mapping[str, bytes]) -> Ruling | None:
    try:
        facts = json.loads(kept[FACTS])
        told = {client_id: (guard, reason) for client_id, guard, reason in facts["refused"]}
        stopped, guards = str(facts["stopped"]), dict(facts["guards"])
    except (KeyError, TypeError, ValueError):
        return None
    refused = tuple(Refused(one, *told[one.client_id]) for one in orders if one.client_id in told)
    return Ruling(tuple(one for one in orders if one.client_id not in told), refused, stopped, guards)


def _plain(value: Any) -> Any:
    return "inf" if isinstance(value, float) and np.isinf(value) else value
