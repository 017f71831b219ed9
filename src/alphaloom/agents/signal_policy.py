"""From a rule that says buy, sell or hold of each asset to a policy that any back-test runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.signal_rules import Signs
from alphaloom.agents.trading import Trading, target_weights
from alphaloom.errors import DataError
from alphaloom.market import Book, Market
from alphaloom.panel import Panel

__all__ = ["Rule", "SignalPolicy", "Sizing", "ordered", "sized", "tradable"]

Sizing = Literal["fraction", "full"]

# Where a stored rule is read: a kind, its module and class.
_RULES: dict[str, tuple[str, str]] = {
    "random": ("alphaloom.agents.signals", "RandomSignals"),
    "moving_average": ("alphaloom.agents.signals", "MovingAverageSignals"),
    "arima": ("alphaloom.agents.signals", "ArimaSignals"),
    "net": ("alphaloom.agents.signal_nets", "NetRule"),
}


class Rule(Protocol):
    """Says buy (1), sell (-1) or hold (0) of each asset at each bar.

    Shape: signals -> (T, N) int8, zero on the rows before `start`, which need not be worked out.
    Time: row t reads rows t - lookback..t.
    """

    @property
    def lookback(self) -> int: ...

    def signals(self, panel: Panel, start: int = 0) -> Signs: ...

    def state(self) -> dict[str, Any]: ...


def sized(sizing: Sizing, *, cash: float = 10_000.0) -> Trading:
    """What a signal is worth: "fraction" buys for 20 % of the cash and sells half, "full" is all in and all out.

    Raises: DataError for another word.
    """
    if sizing not in get_args(Sizing):
        raise DataError("a signal trades a fraction or all", found=sizing, where="sizing", fix="fraction or full")
    parts = (0.2, 0.5) if sizing == "fraction" else (1.0, 1.0)
    return Trading(mode="discrete", buy=parts[0], sell=parts[1], cash=cash)


@dataclass(frozen=True, eq=False)
class SignalPolicy:
    """Trades what a rule says: every buyer spends the same part of the cash, every seller sells the same part.

    `market` is the one of the training, whose costs a purchase must leave room for.
    Time: decided at the close of the view's last row.
    Missing: of an asset without a close today nothing is said; what is held of an asset that left the universe is sold.
    """

    rule: Rule
    trading: Trading
    market: Market
    notes: tuple[str, ...] = ()

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return self.rule.lookback

    def signals(self, panel: Panel, start: int = 0) -> Signs:
        """What the rule says of tradable assets.   Shape: (T, N) of -1, 0, 1; zero before `start`."""
        said = self.rule.signals(panel, start)
        return np.where(tradable(panel), said, np.int8(0))

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """The weights that the orders lead to; where nothing is said, those that are held.   Shape: (N,)."""
        rows = view[max(0, len(view) - 1 - self.lookback) :]
        return ordered(self.signals(rows, len(rows) - 1)[-1], view, book, trading=self.trading, market=self.market)

    def state(self) -> dict[str, Any]:
        """The stored form; the weights of a net are arrays."""
        kinds = {place: kind for kind, place in _RULES.items()}
        found = kinds.get((type(self.rule).__module__, type(self.rule).__name__))
        if found is None:
            raise DataError("only this room's rules have a stored form", found=type(self.rule).__name__, where="rule")
        settings = {"trading": asdict(self.trading), "market": asdict(self.market), "notes": list(self.notes)}
        return {"rule": {"kind": found, "settings": self.rule.state()}, **settings}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SignalPolicy:
        """The policy that `state` described.   Raises: DataError for an unknown rule."""
        kind = state["rule"]["kind"]
        if kind not in _RULES:
            raise DataError(f"a stored rule is one of {', '.join(_RULES)}", found=kind, where="rule.kind")
        module, name = _RULES[kind]
        rule = getattr(import_module(module), name).from_state(state["rule"]["settings"])
        return cls(rule, Trading(**state["trading"]), Market(**state["market"]), tuple(state["notes"]))


def ordered(said: Signs, view: Panel, book: Book, *, trading: Trading, market: Market) -> NDArray[np.float64]:
    """The weights that buying (1), selling (-1) and holding (0) lead to.   Shape: (N,) -> (N,)."""
    usable = tradable(view[len(view) - 1 :])[0]
    return target_weights((said + 1).astype(np.int8), book, trading, market, usable, view=view)


def tradable(panel: Panel) -> NDArray[np.bool_]:
    """Members that are listed and have a close.   Shape: (T, N)."""
    close = np.asarray(panel["close"])
    return np.asarray(panel.member & panel.listed & (close > 0.0) & (close < np.inf))
