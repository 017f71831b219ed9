"""From a solver's answer to weights that hold the limits exactly, with residuals computed from the problem itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alphaloom.portfolio.engines import Raw
from alphaloom.portfolio.polish import polish

if TYPE_CHECKING:
    from alphaloom.portfolio.problem import Problem, Solution

__all__ = ["budgeted", "finish", "residuals", "violation"]

Floats = NDArray[np.float64]
_NEAR = 1e-4  # in units of the form: what is farther from a bound or a kink is never put on it


def finish(problem: Problem, raw: Raw) -> Solution:
    """Read the weights and prices, put the weights on what holds them, and measure the conditions."""
    from alphaloom.portfolio.problem import Solution

    duals = _duals(problem, raw)
    form = raw.form
    weights = form.fixed.copy()
    weights[form.free] = raw.x[form.columns["weight"]] / form.unit
    weights, pinned = _pinned(problem, weights, duals, unit=form.unit, slope=form.slope)
    better = polish(problem, weights, duals, pinned=pinned, unit=form.unit, slope=form.slope)
    weights = budgeted(problem, weights, pinned)
    kkt = residuals(problem, weights, duals)
    if better is not None:
        polished = budgeted(problem, better[0], pinned)
        found = residuals(problem, polished, better[1])
        if max(found.values()) < max(kkt.values()):
            weights, duals, kkt = polished, better[1], found
    return Solution(weights, "solved", problem.value(weights), duals, kkt, raw.iterations, raw.reason)


def _duals(problem: Problem, raw: Raw) -> dict[str, Floats]:
    """The prices of the limits in the problem's units, spread over all assets."""
    form, N = raw.form, problem.count

    def of(name: str, size: int, base: NDArray[np.intp] | None = None) -> Floats:
        full = np.zeros(size)
        if name in form.rows:
            rows, about = form.rows[name]
            full[about if base is None else base[about]] = form.slope * raw.z[rows]
        return full

    duals = {
        family: of(f"{family}=", len(low)) + of(f"{family}<", len(low)) - of(f"{family}>", len(low))
        for family, _, low, _ in problem.ranges
    }
    duals["upper"], duals["lower"] = of("bounds<", N, form.free), of("bounds>", N, form.free)
    duals["trade"] = of("bought", N, form.free) - of("sold", N, form.free)
    duals["turnover"], duals["gross"] = of("turnover", 1), of("gross", 1)
    size = of("long", N, form.free) - of("short", N, form.free)
    plain = np.ones(N, bool)
    if "long" in form.rows:
        plain[form.free[form.rows["long"][1]]] = False
    plain &= np.isin(np.arange(N), form.free)
    duals["size"] = np.where(plain, duals["gross"], size)
    duals["tracking"] = np.zeros(1)
    if "tracking" in form.rows:
        first = form.rows["tracking"][0].start
        duals["tracking"][0] = form.slope * raw.z[first] / (form.unit * problem.tracking)
    return duals


def _pinned(
    problem: Problem, weights: Floats, duals: dict[str, Floats], *, unit: float, slope: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Weights on their bounds and kinks where the price says so, and which these are.

    A limit holds a weight when the distance to it is below its price, both in the solver's own units: one of the two
    goes to zero.
    """
    low, high = problem.bounds
    near = _NEAR / unit

    def held_by(distance: Floats, price: Floats) -> NDArray[np.bool_]:
        return np.asarray((distance < near) & (unit * distance < price / slope))

    weights = np.clip(weights, low, high)
    trade = np.abs(weights - problem.held)
    # What is left of the price of trading when the slope stays below it.
    left = problem.fee + duals["turnover"] - np.abs(duals["trade"])
    stays = held_by(trade, left) & (problem.held >= low) & (problem.held <= high)
    zero = held_by(np.abs(weights), duals["gross"] - np.abs(duals["size"])) & (low < 0.0) & (high > 0.0)
    at_low, at_high = held_by(weights - low, duals["lower"]), held_by(high - weights, duals["upper"])
    weights = np.where(zero, 0.0, np.where(at_low, low, np.where(at_high, high, weights)))
    weights = np.where(stays & ~at_low & ~at_high, problem.held, weights)
    return weights, stays | zero | at_low | at_high | (high - low <= 1e-12)


def budgeted(problem: Problem, weights: Floats, pinned: NDArray[np.bool_]) -> Floats:
    """What the budget lacks, spread over the weights that nothing holds (or else over all) by their room."""
    low, high = problem.bounds
    least, most = problem.budget
    for movable in (~pinned, np.ones(problem.count, bool)):
        total = weights.sum()
        missing = min(max(total, least), most) - total
        if missing == 0.0:
            break
        room = np.where(movable, high - weights if missing > 0 else weights - low, 0.0)
        # An unlimited weight has as much room as the largest one is big.
        room = np.minimum(room, max(1.0, float(np.abs(weights).max())))
        if room.sum() > 0.0:
            share = min(abs(missing) / room.sum(), 1.0)
            weights = np.clip(weights + np.sign(missing) * share * room, low, high)
    return weights


def violation(problem: Problem, weights: Floats) -> float:
    """By how much the weights break the worst of the limits; 0 if they satisfy all."""
    low, high = problem.bounds
    parts = [float(np.maximum(low - weights, weights - high).max(initial=0.0))]
    for _, loads, least, most in problem.ranges:
        found = np.asarray(loads @ weights).ravel()
        parts.append(float(np.maximum(least - found, found - most).max(initial=0.0)))
    trade = np.abs(weights - problem.held)
    parts.append(float(trade.sum()) / 2.0 - problem.turnover)
    parts.append(float(np.abs(weights).sum()) - problem.gross)
    if np.isfinite(problem.tracking):
        parts.append(problem.deviation(weights - problem.reference) - problem.tracking)
    return max(0.0, *parts)


def residuals(problem: Problem, weights: Floats, duals: dict[str, Floats]) -> dict[str, float]:
    """How far weights and prices are from the optimality conditions (Karush, Kuhn, Tucker).

    Stationarity: the gradient of the cost plus all prices, for every asset that can be chosen. Dual: prices of
    inequalities are not negative, slopes do not exceed what makes them. Complementarity: what a limit costs times the
    room it leaves. All three relative to the largest gradient, the last to the gross weight too; primal in weights.
    """
    low, high = problem.bounds
    free = high - low > 1e-12
    trade = weights - problem.held
    smooth = problem.gradient(weights)
    pull = smooth.copy()
    bent = 1.5 * problem.impact * np.sqrt(np.abs(trade)) * np.sign(trade)
    slope = duals["trade"] - np.where(problem.fee + problem.impact + duals["turnover"] > 0.0, bent, 0.0)
    pull += duals["trade"] + duals["upper"] - duals["lower"] + duals["size"]
    gap = _limits_gap(problem, weights, duals, pull)
    if np.isfinite(problem.tracking):
        away = weights - problem.reference
        size = max(problem.deviation(away), 1e-300)
        pull += duals["tracking"][0] * problem.times(away) / size
        gap += float(duals["tracking"][0] * abs(problem.tracking - size))
    cost = problem.fee + duals["turnover"][0]
    gross = duals["gross"][0]
    scale = max(float(np.abs(smooth[free]).max(initial=0.0)), float(np.abs(problem.gain[free]).max(initial=0.0)), 1e-12)
    signs = [duals[name].min(initial=0.0) for name in ("upper", "lower", "turnover", "gross", "tracking")]
    excess = [np.abs(slope[free]) - cost[free], np.abs(duals["size"][free]) - gross]
    gap += _product(duals["upper"], high - weights)[free].sum() + _product(duals["lower"], weights - low)[free].sum()
    gap += float(np.abs(cost * np.abs(trade) - slope * trade)[free].sum())
    gap += float(np.abs(gross * np.abs(weights) - duals["size"] * weights)[free].sum())
    return {
        "stationarity": float(np.abs(pull[free]).max(initial=0.0)) / scale,
        "primal": violation(problem, weights),
        "dual": max(0.0, -float(min(signs)), *(float(part.max(initial=0.0)) for part in excess)) / scale,
        "complementarity": float(gap) / (scale * max(1.0, float(np.abs(weights).sum()))),
    }


def _limits_gap(problem: Problem, weights: Floats, duals: dict[str, Floats], pull: Floats) -> float:
    """Add the prices of all bands to the pull, and return what they cost times the room they leave."""
    gap = 0.0
    for family, loads, low, high in problem.ranges:
        price = duals[family]
        pull += np.asarray(price @ loads).ravel()
        found = np.asarray(loads @ weights).ravel()
        gap += float(_product(np.maximum(price, 0.0), high - found).sum())
        gap += float(_product(np.maximum(-price, 0.0), found - low).sum())
    gap += float(_product(duals["turnover"], problem.turnover - np.abs(weights - problem.held).sum() / 2.0).sum() * 2.0)
    gap += float(_product(duals["gross"], problem.gross - np.abs(weights).sum()).sum())
    return gap


def _product(price: Floats, room: Floats | float) -> Floats:
    """|price * room|, and 0 for a limit that is not there."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(price == 0.0, 0.0, np.abs(price * room)))
