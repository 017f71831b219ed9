"""Why a set of limits has no solution: how far each family, and all of them together, must give way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alphaloom.portfolio.canonical import assemble
from alphaloom.portfolio.engines import run_clarabel

if TYPE_CHECKING:
    from alphaloom.portfolio.problem import Diagnosis, Problem

__all__ = ["explain", "least_relaxation"]

_NONE = 1e-7  # a smaller relaxation is rounding


def explain(problem: Problem) -> Diagnosis:
    """Relax each family alone, then all together, by as little as possible."""
    from alphaloom.portfolio.problem import Diagnosis

    alone: dict[str, float | None] = {}
    for family in problem.families:
        amounts = least_relaxation(problem, (family,))
        alone[family] = None if amounts is None else amounts[family]
    together = least_relaxation(problem, problem.families) or {}
    return Diagnosis(alone, {family: size for family, size in together.items() if size > _NONE})


def least_relaxation(problem: Problem, families: tuple[str, ...]) -> dict[str, float] | None:
    """The least total by which these families must give way so that some weights satisfy all; None if none do."""
    low, high = problem.hard_bounds
    if (low > high).any():
        return None
    form = assemble(problem, families)
    raw = run_clarabel(form)
    if raw.status != "solved" or not np.isfinite(raw.x).all():
        return None
    found = raw.x[form.columns["slack"]]
    # Tracking is relative to its own limit; all others are in the form's unit of weight.
    sizes = {family: float(max(size, 0.0)) for family, size in zip(families, found, strict=True)}
    return {family: size if family == "tracking" else size / form.unit for family, size in sizes.items()}
