"""Every asset, or every group of assets, bears the same part of the portfolio's risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.covariance import RiskKind, check_risk, rows_needed
from alphaloom.portfolio.mandate import Tally, measured
from alphaloom.portfolio.rows import check_cash, check_count, hold

__all__ = ["RiskParity"]

_WORDS = {"fallbacks": "no weights with the wanted contributions to risk were found, and what was held was kept"}


@dataclass(frozen=True)
class RiskParity:
    """Long-only weights with equal contributions to the predicted variance.

    With `label`, a label of the panel such as "sector", every group has the same budget of risk and shares it equally
    among its assets; assets without a label are a group of their own. `risk`, `window`, `half_life` and `factors` say
    how covariances are measured, see `portfolio.covariance.estimate`. `cash` is kept free.
    Time: rows t - lookback..t; decided on the first of every `every` closes of the book; the first `window` bars hold.
    Missing: assets without an estimate get no weight; a holding that does not trade keeps its weight, the others share
    what is left; a failed optimisation holds. `counts` tells how often.
    Raises: DataError for a setting out of range, or a label that the panel lacks.
    Source: Maillard, Roncalli and Teiletche 2010, J. Portfolio Management 36(4).
    """

    window: int = 252
    risk: RiskKind = "ledoit_wolf"
    every: int = 21
    label: str = ""
    cash: float = 0.01
    half_life: float = 63.0
    factors: int = 15

    def __post_init__(self) -> None:
        check_risk(self.risk, self.window, "RiskParity", half_life=self.half_life, factors=self.factors)
        check_count(self.every, "RiskParity.every")
        check_cash(self.cash, "RiskParity.cash")
        object.__setattr__(self, "_tally", Tally("solves", "fallbacks"))

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return rows_needed(self.risk, self.window)

    @property
    def counts(self) -> Mapping[str, int]:
        """Decisions since the book was opened: solves and fallbacks (held)."""
        return self._told.counts

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about the decisions so far."""
        return self._told.notes("risk parity", _WORDS)

    @property
    def _told(self) -> Tally:
        told: Tally = self.__dict__["_tally"]
        return told

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """Weights of equal contributions.   Shape: (N,)."""
        from alphaloom.portfolio.budgets import budgeted

        due = measured(self, view, book)
        if due is None:
            return hold(len(view.assets))
        risk, places = due
        self._told.add("solves")
        found = budgeted(risk.part(places.columns), self._budgets(view, places.columns), total=places.total)
        if found is None:
            self._told.add("fallbacks")
            return hold(len(view.assets))
        return places.filled(found[0])

    def _budgets(self, view: Panel, columns: NDArray[np.intp]) -> NDArray[np.float64]:
        """The part of the risk that each asset may bear.   Shape: (M,)."""
        if not self.label:
            return np.full(len(columns), 1.0 / len(columns))
        if self.label not in view.labels:
            raise DataError(
                "groups of equal risk are a label of the panel",
                found=self.label,
                where="RiskParity.label",
                fix=f'one of: {", ".join(view.labels)}; or ""',
            )
        _, group, size = np.unique(view.labels[self.label][-1][columns], return_inverse=True, return_counts=True)
        return np.asarray(1.0 / (len(size) * size[group]))
