"""Allocators that optimise: expected returns and covariances to weights, under limits and with costs.

Units: a signal of returns speaks of `signal.horizon` bars; the covariance is scaled to as many bars, and a trade is
paid once for the return of that horizon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.covariance import RiskKind, check_risk, estimate, rows_needed
from alphaloom.portfolio.limits import MONEY_BARS, Limits, Situation, read_situation
from alphaloom.portfolio.mandate import Tally
from alphaloom.portfolio.problem import Engine, Problem, Solution, solve
from alphaloom.portfolio.rows import check_cash, check_count, hold, signal_row
from alphaloom.portfolio.sharpe_ratio import best_ratio
from alphaloom.signal import Signal

__all__ = ["Fallback", "Limits", "MaximumSharpe", "MeanVariance", "OptimisedPolicy", "ReferenceTracking"]

Fallback = Literal["hold", "relax", "equal"]
Floats = NDArray[np.float64]

_TOLD = 3  # so many diagnoses are told in full
_WORDS = {
    "infeasible": "no weights satisfied all limits",
    "failed": "the solver did not reach the required accuracy",
    "held": "what was held was kept instead",
    "relaxed": "the limits were relaxed by the least total that admits weights",
    "equal": "equal weights were taken instead",
}


@dataclass(frozen=True)
class MeanVariance:
    """Maximises expected return - aversion * variance - costs under `limits`.

    There is no half: with neither costs nor limits the weights are Sigma^-1 mu / (2 aversion). `cost` is the fraction
    of a trade's value that it costs, `impact` multiplies the power 3/2 of the change of weight; the whole cost of a
    trade is charged to the return of the signal's horizon (double it to count the way out). `risk`, `window`,
    `half_life` and `factors` say how covariances are measured. `cash` is kept free. `fallback`, where no weights
    satisfy the limits or the solver fails: "hold" what is held, "relax" the limits by the least total that admits
    weights, "equal" weights (long only).
    Time: rows t - lookback..t; decided every `every` bars, counted on the signal's own rows.
    Missing: see `portfolio.limits.read_situation`; a bar without any view holds.
    Raises: DataError for a setting out of range; SolveError for a signal that is not a return.
    Source: Markowitz 1952, Journal of Finance 7(1); costs: Boyd et al. 2017, Multi-Period Trading via Convex
    Optimization, Foundations and Trends in Optimization 3(1).
    """

    aversion: float = 10.0
    risk: RiskKind = "ledoit_wolf"
    window: int = 120
    limits: Limits = field(default_factory=Limits)
    cost: float = 0.0008
    impact: float = 0.0
    every: int = 1
    cash: float = 0.01
    solver: Engine = "clarabel"
    fallback: Fallback = "hold"
    half_life: float = 63.0
    factors: int = 15

    def __post_init__(self) -> None:
        _check(self, "MeanVariance")
        for name in ("aversion", "cost", "impact"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise DataError(
                    "aversion and costs are not negative", found=getattr(self, name), where=f"MeanVariance.{name}"
                )
        curved = self.impact > 0.0 or self.limits.tracking is not None
        if self.solver != "clarabel" and (curved or (self.solver == "highs" and self.aversion > 0.0)):
            raise DataError(
                "osqp solves quadratic programs, highs linear ones",
                found=self.solver,
                where="MeanVariance.solver",
                fix="clarabel",
            )

    def policy(self, signal: Signal) -> OptimisedPolicy:
        """The policy that follows this signal.   Raises: SolveError unless it is a signal of returns."""
        return OptimisedPolicy(self, _returns(signal))

    def find(self, today: Situation) -> Solution:
        """The best weights of a day."""
        return solve(self._priced(today.problem), self.solver)

    def loosen(self, today: Situation, amounts: Mapping[str, float]) -> Solution:
        """The best weights of a day whose limits have given way."""
        return solve(self._priced(today.problem).relaxed(amounts), self.solver, diagnose=False)

    def _priced(self, problem: Problem) -> Problem:
        fee, impact = (np.full(problem.count, value) for value in (self.cost, self.impact))
        return replace(problem, aversion=self.aversion, fee=fee, impact=impact)


@dataclass(frozen=True)
class MaximumSharpe:
    """Maximises expected return over deviation, long only, within cap, bands and beta; it knows no costs.

    The ratio is solved as one quadratic problem in weights over their sum. Without an asset whose expected return is
    positive there is no such portfolio, which counts as infeasible. Turnover, participation and tracking limits have
    no meaning in a ratio and are refused.
    Time, Missing, Raises: as `MeanVariance`.
    Source: Cornuejols and Tutuncu 2006, Optimization Methods in Finance, section 8.2.
    """

    risk: RiskKind = "ledoit_wolf"
    window: int = 120
    limits: Limits = field(default_factory=Limits)
    every: int = 5
    cash: float = 0.01
    fallback: Fallback = "hold"
    half_life: float = 63.0
    factors: int = 15

    def __post_init__(self) -> None:
        _check(self, "MaximumSharpe")
        limits = self.limits
        barred = [name for name in ("turnover", "participation", "tracking") if getattr(limits, name) is not None]
        if limits.sides != "long" or barred:
            raise DataError(
                "the best ratio is long only, within cap, bands and beta",
                found=", ".join([*barred, *(["both sides"] if limits.sides != "long" else [])]),
                where="MaximumSharpe.limits",
                fix="MeanVariance for the others",
            )

    def policy(self, signal: Signal) -> OptimisedPolicy:
        """The policy that follows this signal.   Raises: SolveError unless it is a signal of returns."""
        return OptimisedPolicy(self, _returns(signal))

    def find(self, today: Situation) -> Solution:
        """The best weights of a day."""
        return best_ratio(today.problem)

    def loosen(self, today: Situation, amounts: Mapping[str, float]) -> Solution:
        """The best weights of a day whose limits have given way."""
        return best_ratio(today.problem.relaxed(amounts))


@dataclass(frozen=True)
class ReferenceTracking:
    """Stays as near to the reference of `limits` (equal or value weights) as its limits and costs make worth while.

    A control: it reads of the signal only which assets have a view. Minimises the variance of the difference to the
    reference times `aversion`, plus costs.
    Time, Missing, Raises: as `MeanVariance`, but any kind of signal will do.
    """

    aversion: float = 100.0
    risk: RiskKind = "ledoit_wolf"
    window: int = 120
    limits: Limits = field(default_factory=lambda: Limits(cap=1.0))
    cost: float = 0.0008
    every: int = 5
    cash: float = 0.01
    fallback: Fallback = "hold"
    half_life: float = 63.0
    factors: int = 15

    def __post_init__(self) -> None:
        _check(self, "ReferenceTracking")
        if not 0.0 < self.aversion < np.inf or not 0.0 <= self.cost < np.inf:
            raise DataError("aversion is positive, costs are not negative", found=self, where="ReferenceTracking")

    def policy(self, signal: Signal) -> OptimisedPolicy:
        """The policy of the assets that this signal speaks of."""
        return OptimisedPolicy(self, signal)

    def find(self, today: Situation) -> Solution:
        """The nearest weights of a day."""
        return solve(self._aimed(today.problem))

    def loosen(self, today: Situation, amounts: Mapping[str, float]) -> Solution:
        """The nearest weights of a day whose limits have given way."""
        return solve(self._aimed(today.problem).relaxed(amounts), diagnose=False)

    def _aimed(self, problem: Problem) -> Problem:
        toward = 2.0 * self.aversion * problem.times(problem.reference)
        return replace(problem, gain=toward, aversion=self.aversion, fee=np.full(problem.count, self.cost))


@dataclass(frozen=True, eq=False)
class OptimisedPolicy:
    """An optimising allocator applied to one signal; it reads the book for what is held and what a trade costs.

    `counts` and `notes` tell how often it solved, found no solution and fell back; no decision reads them.
    """

    allocator: MeanVariance | MaximumSharpe | ReferenceTracking
    signal: Signal

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "_told", Tally("solves", "infeasible", "failed", "fallbacks", "held", "relaxed", "equal")
        )
        object.__setattr__(self, "_reasons", {})

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return max(rows_needed(self.allocator.risk, self.allocator.window), MONEY_BARS - 1)

    @property
    def counts(self) -> Mapping[str, int]:
        """Decisions so far: solves, of these infeasible and failed, and the fallbacks taken, by kind."""
        told: Tally = self.__dict__["_told"]
        return told.counts

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about the decisions so far."""
        told: Tally = self.__dict__["_told"]
        reasons: dict[str, str] = self.__dict__["_reasons"]
        name = type(self.allocator).__name__
        return told.notes(name, _WORDS) + tuple(f"{name}, {day}: {why}" for day, why in list(reasons.items())[:_TOLD])

    def decide(self, view: Panel, book: Book) -> Floats:
        """The best weights within the limits, or the declared fallback.   Shape: (N,)."""
        rule = self.allocator
        row = signal_row(self.signal, view)
        if row < 0 or row % rule.every or len(view) <= rule.window or not book.equity > 0.0:
            return hold(len(view.assets))
        risk = estimate(rule.risk, view, rule.window, half_life=rule.half_life, factors=rule.factors)
        gain = np.asarray(self.signal.values[row], dtype=np.float64)
        horizon = self.signal.horizon
        today = read_situation(rule.limits, view, book, gain=gain, risk=risk, horizon=horizon, cash=rule.cash)
        if today is None:
            return hold(len(view.assets))
        told: Tally = self.__dict__["_told"]
        told.add("solves")
        found = rule.find(today)
        if found.status == "solved":
            return today.filled(found.weights)
        told.add(found.status)
        self.__dict__["_reasons"].setdefault(str(view.times[-1])[:10], found.reason)
        return self._fall_back(today, found, told)

    def _fall_back(self, today: Situation, found: Solution, told: Tally) -> Floats:
        told.add("fallbacks")
        if self.allocator.fallback == "relax" and found.diagnosis is not None and found.diagnosis.together:
            # A little more than the least, for at the least itself there is nothing left to choose.
            amounts = {family: 1.001 * size + 1e-6 for family, size in found.diagnosis.together.items()}
            eased = self.allocator.loosen(today, amounts)
            if eased.status == "solved":
                told.add("relaxed")
                return today.filled(eased.weights)
        if self.allocator.fallback == "equal":
            problem = today.problem
            low, high = problem.bounds
            open_ = (problem.upper > 0.0) & (high > low)
            fixed = np.where(open_, 0.0, problem.held)
            part = max(problem.budget[1] - float(fixed.sum()), 0.0) / max(int(open_.sum()), 1)
            told.add("equal")
            return today.filled(np.where(open_, part, fixed))
        told.add("held")
        return hold(today.N)


def _returns(signal: Signal) -> Signal:
    if signal.kind != "return":
        raise SolveError(
            "an optimiser weighs expected returns against risk; it cannot read a bare score",
            found=f"a signal of kind {signal.kind!r}",
            where=f"signal {signal.name}",
            fix="wrap the learner in ReturnScale, which learns what a score is worth",
        )
    return signal


def _check(rule: MeanVariance | MaximumSharpe | ReferenceTracking, name: str) -> None:
    check_risk(rule.risk, rule.window, name, half_life=rule.half_life, factors=rule.factors)
    check_count(rule.every, f"{name}.every")
    check_cash(rule.cash, f"{name}.cash")
    if rule.fallback not in ("hold", "relax", "equal"):
        raise DataError(
            "a fallback is one of these", found=rule.fallback, where=f"{name}.fallback", fix="hold, relax, equal"
        )
    if rule.fallback == "equal" and rule.limits.sides == "both":
        raise DataError("equal weights are long only", found=rule.fallback, where=f"{name}.fallback", fix="hold, relax")
