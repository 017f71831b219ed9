"""What an agent may do and what it is paid; how orders are filled and what they cost stays with the market."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book, Market
from alphaloom.panel import Panel

__all__ = ["MODES", "PRESETS", "REWARDS", "CashRule", "Layout", "Mode", "Reward", "Trading", "target_weights"]

Mode = Literal["weights", "shares", "discrete", "joint", "binary"]
CashRule = Literal["prorata", "greedy"]
Reward = Literal["log", "delta", "simple", "diff_sharpe", "log_minus_risk", "alternative", "shaped"]
Layout = Literal["flat", "dict", "rows", "finrl"]
MODES: tuple[Mode, ...] = get_args(Mode)
REWARDS: tuple[Reward, ...] = get_args(Reward)
# 2 ** 12 joint actions are the most that a net can tell apart one by one.
JOINT_ASSETS = 12


@dataclass(frozen=True)
class Trading:
    """What an agent's actions mean, how its cash is shared out, what it is paid, and how long an episode lasts.

    Actions. "weights": a point of the simplex, cash first. "shares": numbers in [-1, 1], `hmax` shares each, cut to
    whole shares. "discrete": 0 sell, 1 hold, 2 buy, an asset each. "joint": one number whose bit i says buy (1) or
    sell (0). "binary": all money in one asset (1) or in cash (0). In "discrete" and "joint" a sale is the fraction
    `sell` of a position, and a purchase spends the fraction `buy` of the cash that is there after all sales.
    Cash. When purchases need more than there is, "prorata" cuts all by one factor; "greedy" serves the largest action
    first (of equals the last asset), each as far as the money goes.
    Pay, with V the equity at consecutive closes and r = V'/V - 1. "log": ln(V'/V). "delta": V' - V. "simple": r.
    "diff_sharpe": the differential Sharpe ratio with rate `eta`. "log_minus_risk": ln(V'/V) - `risk_aversion` * r^2 -
    `turnover_price` * traded value / V. "alternative" (binary only): the return of the asset less the cost of entering
    it, or the mean return of the others. "shaped": growth and realised profit with bonuses and fines (see the guide).
    All times `reward_scale`, less `invalid_penalty` * orders that cannot be done / N.
    Risk. Where the panel's series `risk` is at or above `risk_threshold`, everything is sold and nothing bought.
    Unit: `cash` money; `hmax` shares; `buy`, `sell` fractions; `length` bars of a "random" episode.
    Raises: DataError for a choice or number that has no meaning.
    Source: arXiv 2508.20467 (discrete), 2402.15994 (binary), FinRL's stock environment (shares, greedy, delta);
    Moody and Saffell 2001 (differential Sharpe ratio).
    """

    mode: Mode = "weights"
    cash: float = 1e6
    cash_rule: CashRule = "prorata"
    hmax: float = 100
    buy: float = 0.2
    sell: float = 0.5
    reward: Reward = "log"
    reward_scale: float = 1.0
    eta: float = 0.01
    risk_aversion: float = 0.0
    turnover_price: float = 0.0
    invalid_penalty: float = 0.0
    episode: Literal["full", "random"] = "full"
    length: int = 252
    risk_threshold: float | None = None
    risk: str = ""
    layout: Layout = "flat"

    def __post_init__(self) -> None:
        choices = {
            "mode": MODES,
            "cash_rule": get_args(CashRule),
            "reward": REWARDS,
            "episode": ("full", "random"),
            "layout": get_args(Layout),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise DataError(
                    "trading is described by known words",
                    found=getattr(self, name),
                    where=f"trading.{name}",
                    fix=f"one of: {', '.join(known)}",
                )
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, (int, float)) and item.name != "risk_threshold" and not 0 <= value < np.inf:
                raise DataError("a number of trading is not negative", found=value, where=f"trading.{item.name}")
        if not (self.cash > 0 and self.hmax > 0 and self.buy <= 1 and self.sell <= 1 and self.length >= 1):
            raise DataError(
                "an agent has cash, and sells or spends at most all of it",
                found=f"cash {self.cash:g}, hmax {self.hmax:g}, buy {self.buy:g}, sell {self.sell:g}, "
                f"length {self.length}",
                where="trading",
            )
        if (self.risk_threshold is None) != (not self.risk):
            raise DataError(
                "a risk switch is a series of the panel and its threshold",
                found=f"risk {self.risk!r}, risk_threshold {self.risk_threshold}",
                where="trading.risk",
                fix='both, as risk = "vix" and risk_threshold = 70, or neither',
            )
        if self.reward == "alternative" and self.mode != "binary":
            raise DataError(
                "the return of the alternative is a pay for one asset or cash",
                found=f"mode {self.mode}",
                where="trading.reward",
                fix='mode = "binary"',
            )

    @staticmethod
    def preset(name: str) -> tuple[Trading, Market]:
        """A published setting: the trading and its market.   Raises: DataError naming the known ones."""
        if name not in PRESETS:
            raise DataError(
                "a preset is one of the known ones", found=name, where="preset", fix=f"one of: {', '.join(PRESETS)}"
            )
        return PRESETS[name]

    def check(self, N: int) -> None:
        """Whether these actions exist for N assets.   Raises: DataError."""
        if self.mode == "joint" and N > JOINT_ASSETS:
            raise DataError(
                "joint actions are numbered one by one",
                found=f"{N} assets, 2 ** {N} actions",
                where="trading.mode",
                fix=f'at most {JOINT_ASSETS} assets, or mode = "discrete"',
            )


_PAPER = Market(commission=0.0005, slippage=0.0, fill="same_close")
_QTMRL = Trading(mode="discrete", cash=10_000.0)
PRESETS: Mapping[str, tuple[Trading, Market]] = MappingProxyType(
    {
        "weights": (Trading(), Market(commission=0.001, slippage=0.0)),
        "finrl": (
            Trading(mode="shares", cash_rule="greedy", reward="delta", reward_scale=1e-4, layout="finrl"),
            Market(commission=0.001, slippage=0.0, lot=1.0, fill="same_close"),
        ),
        "qtmrl": (_QTMRL, _PAPER),
        "qtmrl_shaped": (Trading(mode="discrete", cash=10_000.0, reward="shaped"), _PAPER),
        "dqn_single": (
            Trading(mode="binary", reward="alternative"),
            Market(commission=0.001, slippage=0.0, fill="same_close"),
        ),
    }
)


def target_weights(
    action: object,
    book: Book,
    trading: Trading,
    market: Market,
    usable: NDArray[np.bool_],
    *,
    view: Panel,
) -> NDArray[np.float64]:
    """The weights that an action means for a book: what a policy hands to the back-test, as the environment does.

    Shape: action as `trading.mode` has it, for one book; `usable` (N,) -> (N,), fractions of equity, the rest cash.
    Time: `view` ends at the close of the decision; its last row gives lots, impact, the risk series and who left the
    universe (what is held of those is sold).
    Missing: an asset that is not usable keeps what is held of it.
    Raises: DataError for an action outside the space.
    """
    from alphaloom.agents.actions import decided_weights

    return decided_weights(action, book, trading, market, usable, view=view)
