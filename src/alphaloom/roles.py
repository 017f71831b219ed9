"""The five roles. Anything that has the method plays the role; nothing needs to be inherited or registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from alphaloom.market import Book, Market
from alphaloom.panel import Panel
from alphaloom.signal import Signal

__all__ = ["Allocator", "Executor", "Forecaster", "Learner", "Policy", "ScheduledPolicy"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@runtime_checkable
class Forecaster(Protocol):
    """Turns a panel into a signal.   Time: row t of the signal depends on rows t - lookback..t only."""

    @property
    def lookback(self) -> int: ...

    def predict(self, panel: Panel) -> Signal: ...


@runtime_checkable
class Policy(Protocol):
    """Turns what is known and what is held into weights.

    Shape: decide -> (N,), fractions of equity, the rest is cash. A row of NaN holds what is held.
    Time: `view` ends at the bar of the decision. `decide` is pure: equal arguments give equal weights.
    """

    @property
    def lookback(self) -> int: ...

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]: ...


@runtime_checkable
class ScheduledPolicy(Policy, Protocol):
    """A policy whose weights do not depend on the book, so that the back-test can loop inside its kernel.

    Shape: weights -> (T, N); a row of NaN holds.   Time: row t depends on rows <= t, as `decide` on that row does.
    """

    def weights(self, panel: Panel) -> NDArray[np.float64]: ...


@runtime_checkable
class Learner(Protocol):
    """Studies a panel; a frozen dataclass that is its own configuration.

    Time: `train` ends where knowledge ends, so a label that needs later rows is missing by itself.
    """

    def fit(self, train: Panel, market: Market) -> Forecaster | Policy: ...


@runtime_checkable
class Allocator(Protocol):
    """Turns any signal into a policy."""

    def policy(self, signal: Signal) -> Policy: ...


@runtime_checkable
class Executor(Protocol):
    """Maps work over items, here or elsewhere; results come in the order of the items."""

    def map(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]: ...
