"""The portfolio whose bad days, or bad stretches, were least bad: linear programs over the returns that were seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.covariance import bar_returns
from alphaloom.portfolio.mandate import Places, Tally, check_cap, find_places
from alphaloom.portfolio.rows import check_cash, check_count, hold

__all__ = ["Measure", "TailRisk", "least_tail", "scenarios", "tail_mean"]

Grid = NDArray[np.float64]
Measure = Literal["cvar", "cdar"]
_WORDS = {
    "infeasible": "the caps left less room than there was money, and the rest stayed in cash",
    "fallbacks": "the linear program found no weights, and what was held was kept",
}


@dataclass(frozen=True)
class TailRisk:
    """Long-only weights with the smallest mean of the worst losses of the last `window` bars.

    "cvar": the mean of the worst `1 - level` of the losses of single bars. "cdar": the same of drawdowns, measured on
    the sum of returns from its running peak, the start included. `cap` is the most that one asset may weigh, `cash` is
    kept free. Several portfolios may be equally good; the solver's choice is the same on every run.
    Time: rows t - window..t; decided on the first of every `every` closes of the book; the first `window` bars hold.
    Missing: an unknown return counts as the asset's mean, and the bar that ends a halt bears its whole move; assets
    with fewer than half of the returns get no weight. A holding that does not trade keeps its weight and is part of
    every scenario; where caps leave less room than there is money the rest stays in cash; a failed program holds.
    `counts` tells how often.
    Raises: DataError for a setting out of range.
    Source: Rockafellar and Uryasev 2000, Journal of Risk 2(3); Chekhlov, Uryasev and Zabarankin 2005, Int. J.
    Theoretical and Applied Finance 8(1) (drawdown).
    """

    window: int = 252
    measure: Measure = "cvar"
    level: float = 0.95
    every: int = 21
    cap: float = 1.0
    cash: float = 0.01

    def __post_init__(self) -> None:
        check_count(self.window, "TailRisk.window", least=2)
        check_count(self.every, "TailRisk.every")
        check_cap(self.cap, "TailRisk.cap")
        check_cash(self.cash, "TailRisk.cash")
        if self.measure not in get_args(Measure):
            raise DataError("a tail is one of losses or of drawdowns", found=self.measure, where="TailRisk.measure")
        if not 0.0 <= self.level < 1.0:
            raise DataError(
                "a level is the fraction of bars that are not in the tail, from 0 to below 1",
                found=self.level,
                where="TailRisk.level",
            )
        object.__setattr__(self, "_tally", Tally("solves", "infeasible", "fallbacks"))

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return self.window

    @property
    def counts(self) -> Mapping[str, int]:
        """Decisions since the book was opened: solves, infeasible (caps), fallbacks (held)."""
        return self._told.counts

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about the decisions so far."""
        return self._told.notes("tail risk", _WORDS)

    @property
    def _told(self) -> Tally:
        told: Tally = self.__dict__["_tally"]
        return told

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """Weights of the least tail.   Shape: (N,)."""
        if not self._told.due(book, self.every) or len(view) <= self.window:
            return hold(len(view.assets))
        returns = scenarios(view, self.window)
        places = find_places(view, book, self.cash).among(np.isfinite(returns[0]))
        if not len(places.columns):
            return hold(len(view.assets))
        return self._solved(places, returns)

    def _solved(self, places: Places, returns: Grid) -> NDArray[np.float64]:
        self._told.add("solves")
        still = np.flatnonzero((places.fixed != 0.0) & np.isfinite(returns[0]))
        room = self.cap * len(places.columns)
        if room < places.total * (1.0 - 1e-9):
            self._told.add("infeasible")
        found = least_tail(
            returns[:, places.columns],
            self.measure,
            level=self.level,
            total=min(places.total, room),
            cap=self.cap,
            besides=returns[:, still] @ places.fixed[still],
        )
        if found is None:
            self._told.add("fallbacks")
            return hold(len(places.fixed))
        return places.filled(found)


def scenarios(view: Panel, window: int) -> Grid:
    """The last returns with unknown ones at the asset's mean.   Shape: (window, N).

    Missing: all NaN for an asset with fewer than half of its returns.
    """
    returns = bar_returns(view, window)
    seen = np.isfinite(returns)
    count = seen.sum(axis=0)
    mean = np.where(seen, returns, 0.0).sum(axis=0) / np.maximum(count, 1)
    return np.where(2 * count >= len(returns), np.where(seen, returns, mean), np.nan)


def tail_mean(losses: Grid, level: float) -> float:
    """The mean of the worst `1 - level` of some losses; a loss on the border counts in part.   Shape: (T,)."""
    size = (1.0 - level) * len(losses)
    worst = np.sort(losses)[::-1]
    share = np.clip(size - np.arange(len(worst)), 0.0, 1.0)
    return float(share @ worst / size)


def least_tail(
    returns: Grid, measure: Measure, *, level: float, total: float, cap: float, besides: Grid | None = None
) -> Grid | None:
    """Weights whose losses, or drawdowns, have the smallest tail mean; None where the solver finds none.

    min a + sum u_t / ((1 - level) T)  such that  u_t >= x_t - a, u_t >= 0, sum w = total, 0 <= w <= cap; x_t is the
    loss -(r_t' w + besides_t), or the distance of the sum of returns from its peak h_t.
    Shape: returns (T, M), besides (T,) -> (M,).
    """
    from scipy.optimize import linprog

    T, M = returns.shape
    other = np.zeros(T) if besides is None else besides
    rows, right = _program(returns, other, measure)
    peaks = rows.shape[1] - M - 1 - T
    cost = np.concatenate([np.zeros(M), [1.0], np.full(T, 1.0 / ((1.0 - level) * T)), np.zeros(peaks)])
    budget = np.concatenate([np.ones(M), np.zeros(1 + T + peaks)])[None, :]
    bounds = [(0.0, cap)] * M + [(None, None)] + [(0.0, None)] * (T + peaks)
    done = linprog(cost, A_ub=rows, b_ub=right, A_eq=budget, b_eq=[total], bounds=bounds, method="highs-ds")
    return np.clip(np.asarray(done.x[:M]), 0.0, cap) if done.status == 0 else None


def _program(returns: Grid, other: Grid, measure: Measure) -> tuple[Any, Grid]:
    """The inequalities of the program in (w, a, u) and, for drawdowns, the peaks h."""
    from scipy import sparse

    T, _ = returns.shape
    eye, one = sparse.identity(T, format="csr"), -np.ones((T, 1))
    if measure == "cvar":
        return sparse.csr_matrix(sparse.hstack([-returns, one, -eye])), other.copy()
    summed, others = returns.cumsum(axis=0), other.cumsum()
    # h_t - c_t - a <= u_t;  c_t <= h_t;  h_{t-1} <= h_t; and h_t >= 0, the level of the start.
    later = sparse.csr_matrix(eye - sparse.eye(T, k=-1))
    rows = [
        [sparse.csr_matrix(-summed), one, -eye, eye],
        [sparse.csr_matrix(summed), np.zeros((T, 1)), sparse.csr_matrix((T, T)), -eye],
        [sparse.csr_matrix(returns.shape), np.zeros((T, 1)), sparse.csr_matrix((T, T)), -later],
    ]
    return sparse.csr_matrix(sparse.bmat(rows)), np.concatenate([others, -others, np.zeros(T)])
