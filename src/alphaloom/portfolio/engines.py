"""The solvers, each called with the problem's canonical form: Clarabel, OSQP, and HiGHS through scipy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from alphaloom.portfolio.canonical import Form, assemble

if TYPE_CHECKING:
    from alphaloom.portfolio.problem import Engine, Problem

__all__ = ["Raw", "run_clarabel", "run_engine"]

Floats = NDArray[np.float64]
Status = Literal["solved", "infeasible", "failed"]


@dataclass(frozen=True, eq=False)
class Raw:
    """A solver's answer in the units of the form: columns x, and the duals z of the rows."""

    form: Form
    x: Floats
    z: Floats
    status: Status
    iterations: int
    reason: str


def run_engine(problem: Problem, engine: Engine, *, power: float = 0.5) -> Raw:
    """Assemble and solve.   A solver is made anew each time, so that equal problems give equal bits."""
    form = assemble(problem, power=power)
    if not form.columns["weight"].stop:
        return _nothing_to_choose(problem, form)
    if engine == "osqp":
        return _run_osqp(form)
    return _run_highs(form) if engine == "highs" else run_clarabel(form)


def _nothing_to_choose(problem: Problem, form: Form) -> Raw:
    """Every weight is fixed: they satisfy the limits or nothing does."""
    from alphaloom.portfolio.optimality import violation

    fits = violation(problem, form.fixed) <= 1e-9
    status: Status = "solved" if fits else "infeasible"
    return Raw(form, np.zeros(form.A.shape[1]), np.zeros(len(form.b)), status, 0, "every weight is fixed")


def run_clarabel(form: Form) -> Raw:
    """An interior-point solve of the form, to tolerances of 1e-8 or below."""
    import clarabel

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    settings.presolve_enable = False
    # Cones end with a polish that doubles the digits; without them the solver gets there by itself.
    tolerance = 1e-8 if form.cones else 1e-9
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tolerance
    cones: list[Any] = [clarabel.ZeroConeT(form.equalities), clarabel.NonnegativeConeT(form.inequalities)]
    cones += [clarabel.SecondOrderConeT(size) for size in form.cones]
    found = clarabel.DefaultSolver(form.P, form.q, form.A, form.b, cones, settings).solve()
    said = str(found.status)
    # What stops short of 1e-8 is judged by its own residual afterwards, not by the solver's word.
    usable = said in ("Solved", "AlmostSolved", "InsufficientProgress", "MaxIterations", "NumericalError")
    infeasible = said in ("PrimalInfeasible", "AlmostPrimalInfeasible")
    status: Status = "solved" if usable else "infeasible" if infeasible else "failed"
    x, z = np.asarray(found.x), np.asarray(found.z)
    if usable and not (np.isfinite(x).all() and np.isfinite(z).all()):
        status = "failed"
    return Raw(form, x, z, status, int(found.iterations), f"clarabel: {said}")


def _run_osqp(form: Form) -> Raw:
    """First-order splitting with a polish: tolerances far below its defaults, which stop at a worse objective."""
    import osqp

    low = np.concatenate([form.b[: form.equalities], np.full(form.inequalities, -np.inf)])
    solver = osqp.OSQP()
    solver.setup(
        P=form.P,
        q=form.q,
        A=form.A,
        l=low,
        u=form.b,
        verbose=False,
        eps_abs=1e-8,
        eps_rel=1e-8,
        max_iter=50_000,
        polishing=True,
        polish_refine_iter=10,
        # Adapting the step by the clock would make equal problems end in different bits.
        adaptive_rho_interval=50,
    )
    found = solver.solve(raise_error=False)
    said = str(found.info.status)
    usable = said in ("solved", "solved inaccurate", "maximum iterations reached")
    infeasible = said.startswith("primal infeasible")
    status: Status = "solved" if usable else "infeasible" if infeasible else "failed"
    return Raw(form, np.asarray(found.x), np.asarray(found.y), status, int(found.info.iter), f"osqp: {said}")


def _run_highs(form: Form) -> Raw:
    """The simplex method, for problems without a quadratic term."""
    from scipy.optimize import linprog

    cut = form.equalities
    rows = form.A.tocsr()
    found = linprog(
        form.q,
        A_ub=rows[cut:] if form.inequalities else None,
        b_ub=form.b[cut:] if form.inequalities else None,
        A_eq=rows[:cut] if cut else None,
        b_eq=form.b[:cut] if cut else None,
        bounds=(None, None),
        method="highs",
    )
    status: Status = "solved" if found.status == 0 else "infeasible" if found.status == 2 else "failed"
    x, z = np.zeros(form.A.shape[1]), np.zeros(len(form.b))
    if status == "solved":
        x = found.x
        z = -np.concatenate([found.eqlin.marginals, found.ineqlin.marginals])
    return Raw(form, x, z, status, int(getattr(found, "nit", 0)), f"highs: {found.message}")
