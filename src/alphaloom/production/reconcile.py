"""Reconciliation: what the desk intended and heard against what the broker says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphaloom.production.orders import Action, Broker, Order, Report

__all__ = ["Desk", "Reconciliation"]


@dataclass(frozen=True)
class Reconciliation:
    """What one pass found; client ids, and for positions a sentence each.

    `resent` were intended and unknown to the broker; `adopted` ended without our hearing of it; `retracted` we had
    heard of and the broker takes back; `lapsed` came too late to be sent again; `foreign` are orders and `positions`
    holdings that this desk never ordered; `silent` says why the broker gave no answer. `agreed`: both sides now say
    the same about every order and every position.
    """

    agreed: bool
    resent: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    retracted: tuple[str, ...] = ()
    lapsed: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    silent: str = ""


class Desk:
    """What we intended and what we heard, in a journal of our own; intentions are written before they are sent."""

    @classmethod
    def open(cls, path: Path) -> Desk:
        """Begin a desk, or go on with the one whose journal stands at `path`."""
        raise NotImplementedError

    def intend(self, orders: Sequence[Order]) -> None:
        """Write down orders that are about to be sent; those already written are left alone."""
        raise NotImplementedError

    def refuse(self, orders: Sequence[Order], reasons: Sequence[str]) -> None:
        """Write down orders that a guard stopped, with the reason of each."""
        raise NotImplementedError

    def send(self, broker: Broker) -> tuple[Report, ...]:
        """Submit every intended order that has not been answered; a broker that is silent is left to reconcile()."""
        raise NotImplementedError

    def hear(self, messages: Iterable[Report | Action]) -> None:
        """Take in what the broker says, in any order and any number of times."""
        raise NotImplementedError

    def reconcile(self, broker: Broker) -> Reconciliation:
        """One pass: ask for a statement, adopt what we did not hear, resend what the broker does not know."""
        raise NotImplementedError

    def report(self, client_id: str) -> Report | None:
        """The last that was heard about an order; None for one that nobody intended or answered."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the journal."""
        raise NotImplementedError
