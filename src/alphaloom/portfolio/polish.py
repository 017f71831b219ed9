"""Newton steps on the limits that hold, after a solver's last digit.

Costs of power 3/2 have an infinite curvature at no trade, where a cone solver's last digits are worth little; and two
forms of one problem agree to rounding once both stand on the same limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from alphaloom.portfolio.problem import Problem

__all__ = ["polish"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
_STEPS, _ROUNDS = 12, 4
_EDGE = 1e-12  # a bound is reached when rounding alone is between


def polish(
    problem: Problem, weights: Floats, duals: dict[str, Floats], *, pinned: Mask, unit: float, slope: float
) -> tuple[Floats, dict[str, Floats]] | None:
    """Better weights and prices; None where the steps lead nowhere.

    A pinned weight whose price turns out to have the wrong sign, a trade too small for the solver to see, is set free
    and the steps are taken again.
    """
    found = None
    for _ in range(_ROUNDS):
        found = _settled(problem, weights, duals, pinned=pinned, unit=unit, slope=slope)
        if found is None:
            return None
        start, wrong = _released(problem, *found, pinned)
        if not wrong.any():
            break
        weights, pinned = start, pinned & ~wrong
    return found


def _released(problem: Problem, weights: Floats, duals: dict[str, Floats], pinned: Mask) -> tuple[Floats, Mask]:
    """Which pinned weights want to move and may, and all weights with a first small move of these."""
    pull = problem.gradient(weights) + duals["trade"] + duals["size"] + duals["upper"] - duals["lower"]
    for family, loads, *_ in problem.ranges:
        pull += np.asarray(duals[family] @ loads).ravel()
    if duals["tracking"][0] != 0.0:
        pull += duals["tracking"][0] / problem.tracking * problem.times(weights - problem.reference)
    low, high = problem.bounds
    room = np.where(pull < 0.0, high - weights, weights - low)
    scale = max(float(np.abs(problem.gradient(weights)).max(initial=0.0)), 1e-300)
    wrong = pinned & (np.abs(pull) > 1e-9 * scale) & (room > _EDGE)
    curve = 1.5 * problem.impact
    # Where only the power cost resists, the trade at which its slope balances the pull.
    first = np.where(curve > 0.0, (pull / np.where(curve > 0.0, curve, 1.0)) ** 2, 1e-6)
    return np.where(wrong, weights - np.sign(pull) * np.minimum(first, 0.1 * np.minimum(room, 1.0)), weights), wrong


def _settled(
    problem: Problem, weights: Floats, duals: dict[str, Floats], *, pinned: Mask, unit: float, slope: float
) -> tuple[Floats, dict[str, Floats]] | None:
    """Weights and prices for one set of limits that hold.

    `pinned` weights stay; the others are moved so that the gradient vanishes along the limits that hold. Prices of
    single assets follow from what is left of the gradient.
    """
    moving = np.flatnonzero(~pinned)
    names, rows, target = _holding(problem, weights, duals, moving, unit=unit, slope=slope)
    weights = weights.copy()
    prices = np.zeros(len(names))
    # The limit on tracking error as (w - r)'Sigma(w - r) / 2 <= limit^2 / 2 with the price `curve`, if it holds.
    tracked = float(duals["tracking"][0]) > 0.0 and ("tracking", 0) in names
    curve = float(duals["tracking"][0]) / problem.tracking if tracked else 0.0
    for _ in range(_STEPS if len(moving) else 0):
        trade = weights[moving] - problem.held[moving]
        side = np.sign(trade)
        gradient = problem.gradient(weights)[moving] + side * (
            problem.fee[moving] + 1.5 * problem.impact[moving] * np.sqrt(np.abs(trade))
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            bend = np.where(problem.impact[moving] > 0.0, 0.75 * problem.impact[moving] / np.sqrt(np.abs(trade)), 0.0)
        if tracked:
            away = weights - problem.reference
            rows[-1] = problem.times(away)
            target[-1] = rows[-1] @ weights + (problem.tracking**2 - away @ rows[-1]) / 2.0
        short = target - rows @ weights
        found = _step(
            problem, bend, gradient, short, moving=moving, rows=rows[:, moving], twice=2.0 * problem.aversion + curve
        )
        if found is None:
            return None
        step, prices = found
        curve = max(float(prices[-1]), 0.0) if tracked else 0.0
        weights[moving] = problem.held[moving] + _moved(trade, step, problem.impact[moving] > 0.0)
        if np.abs(step).max(initial=0.0) <= 1e-15:
            break
    low, high = problem.bounds
    if not np.isfinite(weights).all() or (weights < low - 1e-12).any() or (weights > high + 1e-12).any():
        return None
    return np.clip(weights, low, high), _prices(problem, weights, dict(zip(names, prices, strict=True)))


def _holding(
    problem: Problem, weights: Floats, duals: dict[str, Floats], moving: NDArray[np.intp], *, unit: float, slope: float
) -> tuple[list[tuple[str, int]], Floats, Floats]:
    """The limits that hold now as equations rows @ w = target, with the name of each."""
    names: list[tuple[str, int]] = []
    rows: list[Floats] = []
    target: list[float] = []

    def holds(price: float, room: float) -> bool:
        return unit * room < price / slope

    for family, loads, low, high in problem.ranges:
        found = np.asarray(loads @ weights).ravel()
        for k, price in enumerate(duals[family]):
            exact = high[k] - low[k] <= 1e-12
            up = exact or holds(price, abs(high[k] - found[k]))
            if up or holds(-price, abs(found[k] - low[k])):
                part = loads[k]
                row = part.toarray() if hasattr(part, "toarray") else part
                names.append((family, k))
                rows.append(np.asarray(row, dtype=np.float64).ravel())
                target.append(float(high[k] if up else low[k]))
    trade = weights - problem.held
    if holds(float(duals["turnover"][0]), abs(2.0 * problem.turnover - np.abs(trade).sum())):
        names.append(("turnover", 0))
        rows.append(np.sign(trade))
        target.append(2.0 * problem.turnover + float(np.sign(trade) @ problem.held))
    if holds(float(duals["gross"][0]), abs(problem.gross - np.abs(weights).sum())):
        names.append(("gross", 0))
        rows.append(np.sign(weights))
        target.append(problem.gross)
    if np.isfinite(problem.tracking):
        # In relative terms, as the solver sees this limit.
        size = float(duals["tracking"][0]) * problem.tracking * unit / slope
        if 1.0 - problem.deviation(weights - problem.reference) / problem.tracking < size:
            names.append(("tracking", 0))
            rows.append(np.zeros(problem.count))
            target.append(0.0)
    return names, np.array(rows).reshape(len(rows), problem.count), np.array(target)


def _step(
    problem: Problem,
    bend: Floats,
    gradient: Floats,
    short: Floats,
    *,
    moving: NDArray[np.intp],
    rows: Floats,
    twice: float,
) -> tuple[Floats, Floats] | None:
    """Solve H step + rows' price = -gradient, rows step = short, with H a diagonal plus few factors."""
    R = len(rows)
    if problem.covariance is not None:
        H = twice * problem.covariance[np.ix_(moving, moving)] + np.diag(bend)
        whole = np.block([[H, rows.T], [rows, np.zeros((R, R))]])
        found = np.linalg.lstsq(whole, np.concatenate([-gradient, short]), rcond=1e-14)[0]
        return found[: len(moving)], found[len(moving) :]
    diagonal = twice * problem.spread[moving] ** 2 + bend
    if not np.isfinite(diagonal).all() or diagonal.min() <= 1e-12 * diagonal.max():
        return None
    factors = np.sqrt(twice) * problem.root[moving].T
    K = len(factors)
    across = np.vstack([factors, rows])
    small = (across / diagonal) @ across.T
    small[np.arange(K), np.arange(K)] += 1.0
    right = -(across / diagonal) @ gradient
    right[K:] -= short
    found = np.linalg.lstsq(small, right, rcond=1e-14)[0]
    return (-gradient - found @ across) / diagonal, found[K:]


def _moved(trade: Floats, step: Floats, curved: Mask) -> Floats:
    """Trades after a step, none with another sign than before.

    What pays the power 3/2 moves in the root of its size: the slope of that cost is a straight line in it, so that
    even the smallest trades converge at once.
    """
    size = np.abs(trade)
    change = np.where(trade < 0.0, -step, step)
    root = np.sqrt(size)
    with np.errstate(divide="ignore", invalid="ignore"):
        bent = np.maximum(root + change / (2.0 * root), 0.1 * root) ** 2
    straight = np.where(trade == 0.0, change, np.maximum(size + change, 0.1 * size))
    return np.asarray(np.where(trade < 0.0, -1.0, 1.0) * np.where(curved & (size > 0.0), bent, straight))


def _prices(problem: Problem, weights: Floats, prices: dict[tuple[str, int], float]) -> dict[str, Floats]:
    """All duals: those of the limits as given, those of single assets from what is left of the gradient."""
    duals = {family: np.zeros(len(low)) for family, _, low, _ in problem.ranges}
    duals |= {name: np.zeros(1) for name in ("turnover", "gross", "tracking")}
    for (family, k), price in prices.items():
        duals[family][k] = price
    pull = problem.gradient(weights)
    if duals["tracking"][0] != 0.0:
        pull += duals["tracking"][0] * problem.times(weights - problem.reference)
        duals["tracking"] = duals["tracking"] * problem.tracking
    for family, loads, *_ in problem.ranges:
        pull += np.asarray(duals[family] @ loads).ravel()
    low, high = problem.bounds
    trade, cost, gross = weights - problem.held, problem.fee + duals["turnover"], duals["gross"][0]
    bent = cost + 1.5 * problem.impact * np.sqrt(np.abs(trade))
    duals["size"] = np.sign(weights) * gross
    duals["trade"] = np.where(
        np.abs(trade) > _EDGE, np.sign(trade) * bent, np.clip(-(pull + duals["size"]), -cost, cost)
    )
    left = pull + duals["trade"]
    zero = (weights == 0.0) & (low < 0.0)
    duals["size"] = np.where(weights != 0.0, duals["size"], np.where(zero, np.clip(-left, -gross, gross), gross))
    left = left + duals["size"]
    duals["upper"] = np.where(weights >= high - _EDGE, np.maximum(-left, 0.0), 0.0)
    duals["lower"] = np.where(weights <= low + _EDGE, np.maximum(left, 0.0), 0.0)
    return duals
