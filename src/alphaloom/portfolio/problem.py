"""One convex portfolio problem for one decision: what is wanted, what it costs, and every limit on it.

    maximise  gain'w - aversion * w'Sigma w - sum fee_i |w_i - held_i| - sum impact_i |w_i - held_i|^1.5

subject to a budget on sum w, bounds, bands on linear exposures, turnover, gross exposure, capacity, locks, and a
limit on tracking error. Gain, covariance and costs are numbers of the same period.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import AxisError, DataError
from alphaloom.portfolio.covariance import Risk

__all__ = ["Band", "Diagnosis", "Engine", "Problem", "Solution", "make_problem", "solve"]

Engine = Literal["clarabel", "osqp", "highs"]
Floats = NDArray[np.float64]
Bounds = tuple[Floats, Floats]

_ACCEPTED = 1e-6  # the largest residual that counts as solved


@dataclass(frozen=True, eq=False)
class Band:
    """Limits on linear exposures: low <= loads w <= high, one family of rows under one name.

    Shape: loads (R, N), dense or sparse; low, high (R,), infinite where there is no limit.
    """

    name: str
    loads: Any
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class Problem:
    """The numbers of one decision; `make_problem` fills in what is not asked for.

    Shape: gain, spread, held, lower, upper, fee, impact, room, reference (N,); root (N, K); covariance (N, N) or None;
    buyable, sellable (N,) bool.   Unit: weights are fractions of equity; gain, fee, impact and risk of one period.
    `root` and `spread` are the factor form, Sigma = root root' + diag(spread^2); a `covariance` replaces them.
    `budget` is the least and the most that the weights may add up to; `turnover` bounds half the sum of |w - held|,
    `gross` the sum of |w|, `room` each |w - held|, `tracking` the deviation of w - reference. What is not buyable may
    only shrink, what is not sellable only grow, and what is neither keeps its weight.
    Raises: AxisError, DataError.
    """

    gain: Floats
    root: Floats
    spread: Floats
    covariance: Floats | None
    aversion: float
    held: Floats
    fee: Floats
    impact: Floats
    lower: Floats
    upper: Floats
    budget: tuple[float, float]
    bands: tuple[Band, ...]
    turnover: float
    gross: float
    room: Floats
    buyable: NDArray[np.bool_]
    sellable: NDArray[np.bool_]
    reference: Floats
    tracking: float

    def __post_init__(self) -> None:
        _check(self)

    @property
    def count(self) -> int:
        """How many assets."""
        return len(self.gain)

    @cached_property
    def bounds(self) -> Bounds:
        """The least and the largest weight of each asset, from the box, the capacity and the locks together."""
        low, high = self.hard_bounds
        low = np.maximum(np.maximum(self.lower, low), self.held - self.room)
        high = np.minimum(np.minimum(self.upper, high), self.held + self.room)
        # Two limits that meet in one point may miss each other by a rounding error.
        touching = (low > high) & (low - high <= 1e-12)
        return np.where(touching, high, low), high

    @cached_property
    def hard_bounds(self) -> Bounds:
        """What no relaxation changes: locks, and weights that the box fixes and the rest permits."""
        low = np.where(self.sellable, -np.inf, self.held)
        high = np.where(self.buyable, np.inf, self.held)
        given = (self.lower == self.upper) & (low <= self.lower) & (self.lower <= high)
        given &= np.abs(self.lower - self.held) <= self.room
        low, high = np.where(given, self.lower, low), np.where(given, self.upper, high)
        # A side that nothing else limits is limited by the sign of the box.
        return np.where(np.isinf(low) & (self.lower >= 0.0), np.minimum(0.0, self.held), low), high

    @property
    def bound_families(self) -> dict[str, Bounds]:
        """The bounds of each kind by name, for finding out which of them is in the way."""
        parts = {"locks": self.hard_bounds, "box": (self.lower, self.upper)}
        if np.isfinite(self.room).any():
            parts["capacity"] = (self.held - self.room, self.held + self.room)
        return parts

    @cached_property
    def ranges(self) -> tuple[tuple[str, Any, Floats, Floats], ...]:
        """Every limit on a linear exposure, the budget first: (family, loads, low, high)."""
        low, high = self.budget
        parts: list[tuple[str, Any, Floats, Floats]] = []
        if np.isfinite(low) or np.isfinite(high):
            parts.append(("budget", np.ones((1, self.count)), np.array([low]), np.array([high])))
        return (*parts, *((band.name, band.loads, band.low, band.high) for band in self.bands))

    @property
    def families(self) -> tuple[str, ...]:
        """The kinds of limits that could be relaxed."""
        named = [family for family, *_ in self.ranges]
        limits = {"turnover": self.turnover, "gross": self.gross, "tracking": self.tracking}
        bounds = [family for family in self.bound_families if family != "locks"]
        return (*named, *bounds, *(name for name, limit in limits.items() if np.isfinite(limit)))

    @property
    def shortable(self) -> bool:
        """Whether a weight may be negative. A long-only budget gives way downwards only: to cash, not to debt."""
        return bool((self.lower < 0.0).any())

    @property
    def stack(self) -> Floats:
        """A matrix whose square is Sigma: norm2(stack w)^2 = w'Sigma w.   Shape: (K + N, N) or (N, N)."""
        if self.covariance is None:
            return np.vstack([self.root.T, np.diag(self.spread)])
        values, vectors = np.linalg.eigh(self.covariance)
        return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)

    def slack_price(self, family: str) -> float:
        """What a unit of relaxation costs: limits of single assets are as many as the assets."""
        return float(self.count) if family in ("box", "capacity") else 1.0

    def times(self, weights: Floats) -> Floats:
        """Sigma w.   Shape: (N,)."""
        if self.covariance is not None:
            return np.asarray(self.covariance @ weights)
        return np.asarray(self.root @ (weights @ self.root) + self.spread**2 * weights)

    def deviation(self, weights: Floats) -> float:
        """The square root of w'Sigma w."""
        return float(np.sqrt(max(float(weights @ self.times(weights)), 0.0)))

    def gradient(self, weights: Floats) -> Floats:
        """The gradient of the smooth part of the cost to minimise: 2 aversion Sigma w - gain.   Shape: (N,)."""
        return 2.0 * self.aversion * self.times(weights) - self.gain

    def value(self, weights: Floats) -> float:
        """The objective, to be maximised."""
        trade = np.abs(weights - self.held)
        risk = self.aversion * (weights @ self.times(weights)) if self.aversion else 0.0
        return float(self.gain @ weights - risk - self.fee @ trade - self.impact @ trade**1.5)

    def relaxed(self, amounts: Mapping[str, float]) -> Problem:
        """The same problem with these families of limits moved outwards."""
        more = {family: amounts.get(family, 0.0) for family in self.families}
        budget, box, room = more.get("budget", 0.0), more.get("box", 0.0), more.get("capacity", 0.0)
        low, high = self.hard_bounds
        widened = np.where(low == high, 0.0, box)
        # Relaxing the box of a long-only asset does not make it a short sale.
        least = np.where(self.lower >= 0.0, 0.0, -np.inf)
        return replace(
            self,
            budget=(self.budget[0] - budget, self.budget[1] + budget * self.shortable),
            lower=np.maximum(self.lower - widened, least),
            upper=self.upper + widened,
            room=self.room + room,
            bands=tuple(replace(b, low=b.low - more[b.name], high=b.high + more[b.name]) for b in self.bands),
            turnover=self.turnover + more.get("turnover", 0.0),
            gross=self.gross + more.get("gross", 0.0),
            tracking=self.tracking * (1.0 + more.get("tracking", 0.0)),
        )


def make_problem(gain: Floats, risk: Risk | Floats, *, aversion: float = 1.0, **limits: Any) -> Problem:
    """A problem with defaults: nothing held, no costs, long only, fully invested, no other limit.

    `risk` is a `Risk` (factor form) or a covariance matrix; `limits` are fields of `Problem`.
    Raises: AxisError, DataError.
    """
    gain = np.asarray(gain, dtype=np.float64)
    N = len(gain)
    factored = isinstance(risk, Risk)
    parts: dict[str, Any] = {
        "gain": gain,
        "root": risk.loadings if isinstance(risk, Risk) else np.zeros((N, 0)),
        "spread": risk.specific if isinstance(risk, Risk) else np.zeros(N),
        "covariance": None if factored else np.asarray(risk, dtype=np.float64),
        "aversion": float(aversion),
        "budget": (1.0, 1.0),
        "bands": (),
        "turnover": np.inf,
        "gross": np.inf,
        "tracking": np.inf,
    }
    fills = {"held": 0.0, "fee": 0.0, "impact": 0.0, "lower": 0.0, "upper": 1.0, "room": np.inf, "reference": 0.0}
    for name, default in fills.items():
        parts[name] = np.full(N, limits.pop(name, default), dtype=np.float64)
    for name in ("buyable", "sellable"):
        parts[name] = np.full(N, limits.pop(name, True), dtype=bool)
    unknown = set(limits) - set(parts)
    if unknown:
        raise DataError("a limit is one of the fields of Problem", found=", ".join(sorted(unknown)), where="problem")
    return Problem(**{**parts, **limits})


@dataclass(frozen=True)
class Diagnosis:
    """Why no weights satisfy all limits, and what would help.

    `alone` says for each family how far it must give way if it alone does (None: that does not suffice); `together`
    is the least total relaxation over all families; tracking is relative to its limit, all else in weights.
    """

    alone: Mapping[str, float | None] = field(default_factory=dict)
    together: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        enough = {name: size for name, size in self.alone.items() if size is not None}
        if enough:
            return "no weights satisfy all limits; relax " + " or ".join(f"{k} by {v:.3g}" for k, v in enough.items())
        if self.together:
            return "no weights satisfy all limits; relax " + " and ".join(
                f"{k} by {v:.3g}" for k, v in self.together.items()
            )
        return "locked weights contradict each other or a fixed weight; no relaxation of a limit helps"


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver found and how good it is.

    Shape: weights (N,); all NaN unless solved.   `status` is "solved", "infeasible" or "failed".
    `duals` are the prices of the limits: `budget` and each band (R,), `upper`, `lower` (N,), `trade` and `size` (N,)
    the slopes of the costs of trading and of gross exposure, `turnover`, `gross`, `tracking`.
    `kkt` holds the residuals of the optimality conditions, computed from the problem's own numbers and the returned
    weights: stationarity, primal, dual, complementarity, relative to the largest gradient.
    """

    weights: Floats
    status: Literal["solved", "infeasible", "failed"]
    objective: float
    duals: Mapping[str, Floats]
    kkt: Mapping[str, float]
    iterations: int
    reason: str = ""
    diagnosis: Diagnosis | None = None

    @property
    def residual(self) -> float:
        """The largest of the residuals."""
        return max(self.kkt.values(), default=float("nan"))


def solve(problem: Problem, engine: Engine = "clarabel", *, diagnose: bool = True) -> Solution:
    """The best weights, with proof: duals and residuals, or a diagnosis of what stands in the way.

    "clarabel" solves everything; "osqp" what has no 3/2 power and no tracking limit; "highs" what has no risk either.
    Afterwards weights that a bound or a kink of the costs holds (their distance is below its price) are put on it
    exactly, and what the budget then lacks is spread over the free ones in proportion to their room, so that budget
    and bounds hold to 1e-12 or so. Equal problems give equal bits: no solver state is carried over.
    An answer whose residual is above 1e-6 is no solution: it is tried once more, by clarabel in other units.
    Raises: DataError for an engine that cannot solve this kind of problem.
    """
    from alphaloom.portfolio.engines import run_engine
    from alphaloom.portfolio.optimality import finish

    _check_engine(problem, engine)
    low, high = problem.bounds
    crossed = bool((low > high).any())
    raw = None if crossed else run_engine(problem, engine)
    if raw is not None and raw.status == "solved":
        found = finish(problem, raw)
        if found.residual > _ACCEPTED:
            # Once more in other units, which takes the interior-point method along another path.
            again = run_engine(problem, "clarabel", power=1.0)
            second = finish(problem, again) if again.status == "solved" else found
            found = min(found, second, key=lambda each: each.residual)
        if found.residual <= _ACCEPTED:
            return found
        nothing = np.full(problem.count, np.nan)
        return replace(found, weights=nothing, status="failed", reason=f"{engine}: residual {found.residual:.2g}")
    infeasible = crossed or (raw is not None and raw.status == "infeasible")
    reason = "bounds cross" if crossed else "" if raw is None else raw.reason
    diagnosis = None
    if infeasible and diagnose:
        from alphaloom.portfolio.elastic import explain

        diagnosis = explain(problem)
        reason = str(diagnosis)
    nothing = np.full(problem.count, np.nan)
    status: Literal["infeasible", "failed"] = "infeasible" if infeasible else "failed"
    return Solution(nothing, status, float("nan"), {}, {}, 0 if raw is None else raw.iterations, reason, diagnosis)


def _check_engine(problem: Problem, engine: Engine) -> None:
    if engine not in get_args(Engine):
        raise DataError("a solver is one of these", found=engine, where="solver", fix=", ".join(get_args(Engine)))
    curved = bool((problem.impact > 0.0).any()) or np.isfinite(problem.tracking)
    if curved and engine != "clarabel":
        raise DataError(
            "costs of power 3/2 and a limit on tracking error are cones", found=engine, where="solver", fix="clarabel"
        )
    if engine == "highs" and problem.aversion > 0.0:
        raise DataError("a linear program has no risk term", found=engine, where="solver", fix="clarabel or osqp")


def _check(problem: Problem) -> None:
    N = problem.count
    for name in ("spread", "held", "fee", "impact", "lower", "upper", "room", "reference", "buyable", "sellable"):
        if getattr(problem, name).shape != (N,):
            raise AxisError("one number for each asset", found=getattr(problem, name).shape, where=f"problem.{name}")
    if problem.root.shape[0] != N or (problem.covariance is not None and problem.covariance.shape != (N, N)):
        raise AxisError("risk is about the same assets as the gain", found=problem.root.shape, where="problem.risk")
    for name in ("gain", "root", "spread", "held", "fee", "impact", "reference", "covariance"):
        values = getattr(problem, name)
        if values is not None and not np.isfinite(values).all():
            raise DataError(
                "an optimiser's numbers are finite",
                found=f"{int((~np.isfinite(values)).sum())} that are not",
                where=f"problem.{name}",
                fix="leave out the assets without a view or an estimate",
            )
    for name in ("lower", "upper", "room"):
        if np.isnan(getattr(problem, name)).any():
            raise DataError("a limit is a number or infinite", found="NaN", where=f"problem.{name}")
    costs = (problem.fee, problem.impact, problem.room)
    if problem.aversion < 0.0 or any((values < 0.0).any() for values in costs):
        raise DataError("aversion, costs and capacity are not negative", found=problem.aversion, where="problem")
