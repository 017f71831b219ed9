"""A portfolio problem as the solvers read it: one quadratic objective, linear rows and cones in fixed places.

Weights are multiplied by the root of their number and the objective is divided by its largest gradient, so that the
tolerances of a solver mean much the same for 30 assets and for 3,000. Names whose weight is fixed are taken out
beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from alphaloom.portfolio.problem import Problem

__all__ = ["FIXED", "Form", "assemble"]

FIXED = 1e-12  # bounds closer than this leave no choice

Floats = NDArray[np.float64]
Columns = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Form:
    """minimise x'Px/2 + q'x subject to Ax + s = b, s in {0} x R+ x second-order cones.

    `free` are the assets that have columns, `fixed` the weights of the others; `rows` says where each part of the
    problem stands; a weight is its column over `unit`, a dual its row times `slope`.
    """

    P: Any
    q: Floats
    A: Any
    b: Floats
    equalities: int
    inequalities: int
    cones: tuple[int, ...]
    free: Columns
    fixed: Floats
    rows: dict[str, tuple[slice, Columns]]
    columns: dict[str, slice]
    unit: float
    slope: float


class _Sheet:
    """Rows as they are written: triplets, right sides and a name for each group of rows."""

    def __init__(self) -> None:
        self.count = 0
        self.triplets: list[tuple[NDArray[Any], NDArray[Any], Floats]] = []
        self.right: list[Floats] = []
        self.names: dict[str, tuple[slice, Columns]] = {}

    def write(self, name: str, right: Floats, *entries: tuple[Any, Any, Any], of: Columns | None = None) -> None:
        """Rows `row, column, value` counted from the first of the group; `of` says what each row speaks of."""
        for row, column, value in entries:
            r, c, v = np.broadcast_arrays(np.asarray(row), np.asarray(column), np.asarray(value, dtype=np.float64))
            self.triplets.append((r.ravel() + self.count, c.ravel(), v.ravel()))
        self.right.append(right)
        self.names[name] = slice(self.count, self.count + len(right)), np.arange(len(right)) if of is None else of
        self.count += len(right)


@dataclass(frozen=True, eq=False)
class _Plan:
    """Which columns the problem needs, and where they stand."""

    free: Columns
    fixed: Floats
    traded: Columns  # free names (counted among the free) whose trade has a column
    pushed: Columns  # traded names (counted among the traded) that pay the 3/2 power
    signed: Columns  # free names that may be short while gross exposure is limited
    slack: tuple[str, ...]
    columns: dict[str, slice]

    @property
    def width(self) -> int:
        return int(self.columns["slack"].stop)


def assemble(problem: Problem, slack: tuple[str, ...] = (), *, power: float = 0.5) -> Form:
    """Write the problem down; with `slack`, minimise how far these families of limits must be relaxed instead.

    Weights are multiplied by their number to this `power`.
    """
    from scipy import sparse

    plan = _plan(problem, slack)
    unit = float(max(len(plan.free), 1)) ** power
    sheet = _Sheet()
    _write_equalities(problem, plan, sheet, unit)
    equalities = sheet.count
    _write_bounds(problem, plan, sheet, unit)
    _write_ranges(problem, plan, sheet, unit)
    _write_norms(problem, plan, sheet, unit)
    inequalities = sheet.count - equalities
    cones = _write_cones(problem, plan, sheet, unit)
    P, q, slope = _objective(problem, plan, unit)
    row, column, value = (np.concatenate(parts) for parts in zip(*sheet.triplets, strict=True))
    A = sparse.csc_matrix((value, (row, column)), shape=(sheet.count, plan.width))
    return Form(
        P=P,
        q=q,
        A=A,
        b=np.concatenate(sheet.right),
        equalities=equalities,
        inequalities=inequalities,
        cones=cones,
        free=plan.free,
        fixed=plan.fixed,
        rows=sheet.names,
        columns=plan.columns,
        unit=unit,
        slope=slope,
    )


def _plan(problem: Problem, slack: tuple[str, ...]) -> _Plan:
    low, high = problem.hard_bounds if slack else problem.bounds
    still = high - low <= FIXED
    free = np.flatnonzero(~still)
    fixed = np.where(still, low, 0.0)
    priced = (problem.fee[free] > 0.0) | (problem.impact[free] > 0.0)
    limited = np.isfinite(problem.turnover)
    traded = np.arange(len(free)) if limited else np.flatnonzero(priced & (not slack))
    pushed = np.flatnonzero(problem.impact[free[traded]] > 0.0) if not slack else np.empty(0, np.intp)
    shortable = low[free] < 0.0
    signed = np.flatnonzero(shortable) if np.isfinite(problem.gross) else np.empty(0, np.intp)
    risky = problem.covariance is None and not slack and problem.aversion > 0.0
    widths = {
        "weight": len(free),
        "factor": problem.root.shape[1] if risky else 0,
        "trade": len(traded),
        "power": len(pushed),
        "root": len(pushed),
        "size": len(signed),
        "slack": len(slack),
    }
    ends = np.cumsum([0, *widths.values()])
    columns = {name: slice(int(a), int(b)) for name, a, b in zip(widths, ends[:-1], ends[1:], strict=True)}
    return _Plan(free, fixed, traded, pushed, signed, slack, columns)


def _at(plan: _Plan, part: str) -> Columns:
    return np.arange(plan.columns[part].start, plan.columns[part].stop)


def _loosened(plan: _Plan, family: str, rows: Columns, size: float = 1.0) -> tuple[tuple[Any, Any, Any], ...]:
    """The entries that let these rows give way, if their family may."""
    if family not in plan.slack:
        return ()
    return ((rows, plan.columns["slack"].start + plan.slack.index(family), -size),)


def _write_equalities(problem: Problem, plan: _Plan, sheet: _Sheet, unit: float) -> None:
    factors = _at(plan, "factor")
    if len(factors):
        root = problem.root[plan.free]
        at = np.arange(len(factors))
        sheet.write(
            "factor",
            unit * (problem.root.T @ plan.fixed),
            (at, factors, 1.0),
            (at[:, None], np.arange(len(plan.free))[None, :], -root.T),
        )
    for family, loads, low, high in problem.ranges:
        exact = np.flatnonzero(high - low <= FIXED)
        if len(exact) and family not in plan.slack:
            row, column, value = _entries(loads, exact, plan.free)
            spent = np.asarray(loads[exact] @ plan.fixed).ravel()
            sheet.write(f"{family}=", unit * (low[exact] - spent), (row, column, value), of=exact)


def _entries(loads: Any, rows: Columns, free: Columns) -> tuple[NDArray[Any], NDArray[Any], Floats]:
    """The entries of some rows in the columns of the free assets; what is dense stays dense, zeros included."""
    part = loads[rows]
    if hasattr(part, "tocsc"):
        found = part.tocsc()[:, free].tocoo()
        return found.row, found.col, found.data
    block = np.asarray(part)[:, free]
    row, column = np.nonzero(block)
    return row, column, block[row, column]


def _write_ranges(problem: Problem, plan: _Plan, sheet: _Sheet, unit: float) -> None:
    for family, loads, low, high in problem.ranges:
        open_ = (high - low > FIXED) | (family in plan.slack)
        for sign, limit, mark in ((1.0, high, "<"), (-1.0, low, ">")):
            rows = np.flatnonzero(open_ & np.isfinite(limit))
            if not len(rows):
                continue
            row, column, value = _entries(loads, rows, plan.free)
            spent = np.asarray(loads[rows] @ plan.fixed).ravel()
            at = np.arange(len(rows))
            right = sign * unit * (limit[rows] - spent)
            gives = family != "budget" or sign < 0.0 or problem.shortable
            loosened = _loosened(plan, family, at) if gives else ()
            sheet.write(f"{family}{mark}", right, (row, column, sign * value), *loosened, of=rows)


def _write_bounds(problem: Problem, plan: _Plan, sheet: _Sheet, unit: float) -> None:
    families = problem.bound_families if plan.slack else {"bounds": problem.bounds}
    for family, (low, high) in families.items():
        for sign, limit, mark in ((1.0, high, "<"), (-1.0, low, ">")):
            at = np.flatnonzero(np.isfinite(limit[plan.free]))
            if len(at):
                rows = np.arange(len(at))
                right = sign * unit * limit[plan.free[at]]
                sheet.write(f"{family}{mark}", right, (rows, at, sign), *_loosened(plan, family, rows), of=at)
    if plan.slack:
        at = np.arange(len(plan.slack))
        sheet.write("slack", np.zeros(len(at)), (at, _at(plan, "slack"), -1.0))


def _write_norms(problem: Problem, plan: _Plan, sheet: _Sheet, unit: float) -> None:
    """|w - w0| <= trade, |w| <= size, and the limits on their sums."""
    if len(plan.traded):
        at, trade = np.arange(len(plan.traded)), _at(plan, "trade")
        held = unit * problem.held[plan.free[plan.traded]]
        sheet.write("bought", held, (at, plan.traded, 1.0), (at, trade, -1.0), of=plan.traded)
        sheet.write("sold", -held, (at, plan.traded, -1.0), (at, trade, -1.0), of=plan.traded)
    one = np.zeros(1, np.intp)
    if np.isfinite(problem.turnover):
        still = np.abs(plan.fixed - problem.held)
        still[plan.free] = 0.0
        right = np.array([unit * (2.0 * problem.turnover - still.sum())])
        sheet.write("turnover", right, (0, _at(plan, "trade"), 1.0), *_loosened(plan, "turnover", one, 2.0))
    if np.isfinite(problem.gross):
        at, size = np.arange(len(plan.signed)), _at(plan, "size")
        if len(at):
            sheet.write("long", np.zeros(len(at)), (at, plan.signed, 1.0), (at, size, -1.0), of=plan.signed)
            sheet.write("short", np.zeros(len(at)), (at, plan.signed, -1.0), (at, size, -1.0), of=plan.signed)
        plain = np.setdiff1d(np.arange(len(plan.free)), plan.signed)
        right = np.array([unit * (problem.gross - np.abs(plan.fixed).sum())])
        sheet.write("gross", right, (0, size, 1.0), (0, plain, 1.0), *_loosened(plan, "gross", one))


def _write_cones(problem: Problem, plan: _Plan, sheet: _Sheet, unit: float) -> tuple[int, ...]:
    """t^1.5 <= h as t^2 <= h r and r^2 <= t; and the tracking error as one long cone."""
    cones: list[int] = []
    count = len(plan.pushed)
    if count:
        trade, power, root = _at(plan, "trade")[plan.pushed], _at(plan, "power"), _at(plan, "root")
        row = 3 * np.arange(count)
        sheet.write(
            "power",
            np.zeros(3 * count),
            (row, power, -1.0),
            (row, root, -1.0),
            (row + 1, trade, -2.0),
            (row + 2, power, -1.0),
            (row + 2, root, 1.0),
        )
        sheet.write(
            "root",
            np.tile([1.0, 0.0, -1.0], count),
            (row, trade, -1.0),
            (row + 1, root, -2.0),
            (row + 2, trade, -1.0),
        )
        cones += [3] * (2 * count)
    if np.isfinite(problem.tracking):
        stack = problem.stack
        away = stack @ (problem.reference - plan.fixed)
        body = -stack[:, plan.free]
        row, column = np.nonzero(body)
        right = np.concatenate([[unit * problem.tracking], -unit * away])
        # Divided by the limit, so that the cone is of the size of the other rows.
        share = 1.0 / problem.tracking / unit
        loosened = _loosened(plan, "tracking", np.zeros(1, np.intp))
        sheet.write("tracking", right * share, (row + 1, column, body[row, column] * share), *loosened)
        cones.append(len(right))
    return tuple(cones)


def _objective(problem: Problem, plan: _Plan, unit: float) -> tuple[Any, Floats, float]:
    """P (upper triangle), q and the factor from a dual of the form to a dual of the problem."""
    from scipy import sparse

    q = np.zeros(plan.width)
    if plan.slack:
        q[plan.columns["slack"]] = [problem.slack_price(family) for family in plan.slack]
        return sparse.csc_matrix((plan.width, plan.width)), q, 1.0
    free, twice = plan.free, 2.0 * problem.aversion
    steepest = max(float(np.abs(problem.gradient(problem.held)[free]).max(initial=0.0)), float(problem.fee.max()))
    scale = 1.0 / steepest if steepest > 0.0 else 1.0
    q[plan.columns["weight"]] = -scale * problem.gain[free]
    priced = free[plan.traded]
    q[plan.columns["trade"]] = scale * problem.fee[priced]
    q[plan.columns["power"]] = scale * problem.impact[priced[plan.pushed]] / np.sqrt(unit)
    if problem.aversion <= 0.0:
        return sparse.csc_matrix((plan.width, plan.width)), q, 1.0 / scale
    if problem.covariance is not None:
        q[plan.columns["weight"]] += scale * twice * (problem.covariance[free] @ plan.fixed)
        block = scale * twice / unit * problem.covariance[np.ix_(free, free)]
        P = sparse.block_diag([sparse.csc_matrix(np.triu(block)), _empty(plan.width - len(free))], format="csc")
        return P, q, 1.0 / scale
    diagonal = np.zeros(plan.width)
    diagonal[plan.columns["weight"]] = scale * twice / unit * problem.spread[free] ** 2
    diagonal[plan.columns["factor"]] = scale * twice / unit
    return sparse.diags(diagonal, format="csc"), q, 1.0 / scale


def _empty(width: int) -> Any:
    from scipy import sparse

    return sparse.csc_matrix((width, width))
