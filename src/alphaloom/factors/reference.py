"""The reference kernels of the operator table, applied to whole float64 arrays: right for every option, not fast."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alphaloom.factors.ops import BY_NAME
from alphaloom.factors.options import Options
from alphaloom.panel import Panel

__all__ = ["apply", "finite", "kernel"]


def apply(op: str, inputs: Sequence[Any], literals: Sequence[Any], panel: Panel, options: Options) -> Any:
    """One operator on its series, given in order; `literals` are its windows, constants and groups, in order.

    Missing: a cross-sectional operator sees members only; a result that is not finite is NaN.
    """
    operator = BY_NAME[op]
    series, rest = iter(inputs), iter(literals)
    given: list[Any] = []
    for argument in operator.arguments:
        if argument.kind == "series":
            given.append(_prepared(next(series), operator.family, panel))
        elif argument.kind == "group":
            given.append(panel.labels[str(next(rest))])
        elif argument.kind == "window":
            given.append(int(next(rest)))
        else:
            given.append(float(next(rest)))
    chosen = {name: getattr(options, name) for name in operator.options}
    path = operator.kernel
    if chosen.pop("min_periods", "full") != "full":
        # Windows with holes are a subject of their own; there every window kernel has a namesake.
        path, chosen["min_periods"] = f"partial.{operator.name}", options.min_periods
    with np.errstate(all="ignore"):
        return finite(kernel(path)(*given, **chosen))


def finite(values: Any) -> Any:
    """The values with every inf made NaN, so that none is carried on."""
    bad = np.isinf(values)
    return np.where(bad, np.nan, values) if bad.any() else values


def kernel(path: str) -> Callable[..., Any]:
    """The function "module.name" of this room, loaded at first use."""
    module, name = path.split(".")
    found: Callable[..., Any] = getattr(importlib.import_module(f"alphaloom.factors.{module}"), name)
    return found


def _prepared(values: Any, family: str, panel: Panel) -> Any:
    if family == "elementwise":
        return np.asarray(values, np.float64)
    grid = np.broadcast_to(np.asarray(values, np.float64), panel.shape)
    # The one place where the universe enters: a cross-section sees members only.
    return np.where(panel.member, grid, np.nan) if family == "cross" else np.ascontiguousarray(grid)
