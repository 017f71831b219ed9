"""The portfolio that was least likely to move: no view on returns, only on risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.covariance import Risk, RiskKind, check_risk, rows_needed
from alphaloom.portfolio.mandate import Places, Tally, check_cap, measured
from alphaloom.portfolio.rows import check_cash, check_count, hold

__all__ = ["MinimumVariance"]

_WORDS = {
    "infeasible": "the caps left less room than there was money, and the rest stayed in cash",
    "fallbacks": "the optimisation found no weights, and what was held was kept",
}


@dataclass(frozen=True)
class MinimumVariance:
    """Holds the weights of least predicted variance, at most `cap` of equity in one asset.

    With `gross` 1 it is long only; a larger `gross` allows shorts, with absolute weights that add up to it at most (the
    market must allow both). `risk`, `window`, `half_life` and `factors` say how covariances are measured, see
    `portfolio.covariance.estimate`. `cash` is kept free.
    Time: rows t - lookback..t; decided on the first of every `every` closes of the book; the first `window` bars hold.
    Missing: assets without an estimate get no weight; a holding that does not trade keeps its weight and counts with
    its covariances; where caps leave less room than there is money the rest stays in cash; a failed optimisation holds.
    `counts` tells how often.
    Raises: DataError for a setting out of range.
    Source: Markowitz 1952, Journal of Finance 7(1); Clarke, de Silva and Thorley 2011, J. Portfolio Management 37(3).
    """

    window: int = 252
    risk: RiskKind = "ledoit_wolf"
    every: int = 21
    cap: float = 1.0
    gross: float = 1.0
    cash: float = 0.01
    half_life: float = 63.0
    factors: int = 15

    def __post_init__(self) -> None:
        check_risk(self.risk, self.window, "MinimumVariance", half_life=self.half_life, factors=self.factors)
        check_count(self.every, "MinimumVariance.every")
        check_cap(self.cap, "MinimumVariance.cap")
        check_cash(self.cash, "MinimumVariance.cash")
        if not 1.0 <= self.gross < np.inf:
            raise DataError("gross exposure is 1 (long only) or more", found=self.gross, where="MinimumVariance.gross")
        object.__setattr__(self, "_tally", Tally("solves", "infeasible", "fallbacks", "interior"))

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return rows_needed(self.risk, self.window)

    @property
    def counts(self) -> Mapping[str, int]:
        """Decisions since the book was opened: solves, infeasible (caps), fallbacks (held), interior (by Clarabel)."""
        return self._told.counts

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about the decisions so far."""
        return self._told.notes("minimum variance", _WORDS)

    @property
    def _told(self) -> Tally:
        told: Tally = self.__dict__["_tally"]
        return told

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """Weights of least variance.   Shape: (N,)."""
        due = measured(self, view, book)
        if due is None:
            return hold(len(view.assets))
        risk, places = due
        return self._solved(places, risk)

    def _solved(self, places: Places, risk: Risk) -> NDArray[np.float64]:
        from alphaloom.portfolio.quadratic import least_variance, least_variance_long_short

        self._told.add("solves")
        still = np.flatnonzero((places.fixed != 0.0) & risk.known)
        part = risk.part(places.columns)
        pull = part.loadings @ (places.fixed[still] @ risk.part(still).loadings) if len(still) else None
        room = self.cap * len(places.columns)
        if room < places.total * (1.0 - 1e-9):
            self._told.add("infeasible")
        net = min(places.total, room)
        if self.gross > 1.0:
            gross = max(self.gross - float(np.abs(places.fixed).sum()), net)
            found = least_variance_long_short(part, net=net, gross=gross, cap=self.cap, pull=pull)
        else:
            found = least_variance(part, total=net, cap=self.cap, pull=pull)
        if found.way == "none":
            self._told.add("fallbacks")
            return hold(len(places.fixed))
        if found.way == "clarabel":
            self._told.add("interior")
        return places.filled(found.weights)
