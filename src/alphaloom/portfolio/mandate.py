"""What every policy that optimises asks first: is it due, which assets may it weigh, how much money is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.covariance import Risk, RiskKind, estimate
from alphaloom.portfolio.rows import held_still, tradable_now

__all__ = ["Measured", "Places", "Tally", "check_cap", "find_places", "measured"]


@dataclass(frozen=True, eq=False)
class Places:
    """The assets that may be given a weight today, and the money for them.

    Shape: columns (M,) of the panel; fixed (N,), weights of holdings that do not trade today.
    Unit: `total` is the fraction of equity that is neither kept in cash nor held still.
    """

    columns: NDArray[np.intp]
    fixed: NDArray[np.float64]
    total: float

    def filled(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weights of all assets.   Shape: (M,) -> (N,)."""
        row = self.fixed.copy()
        row[self.columns] = weights
        return row

    def among(self, known: NDArray[np.bool_]) -> Places:
        """The places of assets that are known.   Shape: (N,)."""
        return Places(self.columns[known[self.columns]], self.fixed, self.total)


class Tally:
    """How often a policy did what since its book was opened; told in the result and read by no decision."""

    def __init__(self, *names: str) -> None:
        self._counts = dict.fromkeys(names, 0)

    def due(self, book: Book, every: int) -> bool:
        """Whether today is one of every `every` closes that the book has lived through; a new book counts from zero."""
        bars = len(book.history.times) - 1
        if bars == 0:
            self._counts = dict.fromkeys(self._counts, 0)
        return bars % every == 0

    def add(self, name: str) -> None:
        """One more."""
        self._counts[name] += 1

    @property
    def counts(self) -> Mapping[str, int]:
        """What has been counted so far."""
        return MappingProxyType(dict(self._counts))

    def notes(self, name: str, words: Mapping[str, str]) -> tuple[str, ...]:
        """A sentence for each count that is not zero and has words."""
        told = [(self._counts[key], text) for key, text in words.items()]
        return tuple(f"{name}: on {count} of {self._counts['solves']} dates {text}" for count, text in told if count)


class Measured(Protocol):
    """A policy that weighs assets by their risk: how it is measured, how often, and what is kept in cash."""

    @property
    def risk(self) -> RiskKind: ...
    @property
    def window(self) -> int: ...
    @property
    def half_life(self) -> float: ...
    @property
    def factors(self) -> int: ...
    @property
    def every(self) -> int: ...
    @property
    def cash(self) -> float: ...
    @property
    def _told(self) -> Tally: ...


def measured(policy: Measured, view: Panel, book: Book) -> tuple[Risk, Places] | None:
    """The risk and the places of a day on which the policy is due; None where it holds what is held."""
    if not policy._told.due(book, policy.every) or len(view) <= policy.window:
        return None
    risk = estimate(policy.risk, view, policy.window, half_life=policy.half_life, factors=policy.factors)
    places = find_places(view, book, policy.cash).among(risk.known)
    return (risk, places) if len(places.columns) else None


def find_places(view: Panel, book: Book, cash: float) -> Places:
    """The members that trade today and are held or can be bought; holdings that do not trade keep their weight."""
    halted = held_still(view, book.shares)
    fixed = np.where(halted, book.weights, 0.0)
    able = tradable_now(view) & ((book.shares != 0.0) | view.buyable[-1])
    return Places(np.flatnonzero(able), fixed, max(1.0 - cash - float(np.abs(fixed).sum()), 0.0))


def check_cap(value: float, where: str) -> None:
    """The most that one asset may weigh is a fraction of equity."""
    if not 0.0 < value <= 1.0:
        raise DataError("the largest weight of an asset is above 0 and at most 1", found=value, where=where)
