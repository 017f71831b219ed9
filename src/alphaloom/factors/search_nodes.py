"""One node of a formula at a time, so that the values of every sub-formula can be kept and shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import FormulaError
from alphaloom.factors.analysis import definition, fields_of, groups_of
from alphaloom.factors.evaluate import evaluate_one
from alphaloom.factors.expr import Expr, nearest
from alphaloom.factors.ops import BY_NAME
from alphaloom.factors.options import Options
from alphaloom.panel import Panel

__all__ = ["Nodes"]

Grid = NDArray[Any]


class Nodes:
    """Computes single nodes of formulas on one panel, with one set of options, into one dtype."""

    def __init__(self, panel: Panel, options: Options, dtype: np.dtype[Any]) -> None:
        self._panel, self._options, self._dtype = panel, options, dtype
        self._legal: set[Expr] = set()
        self._fields: dict[str, Grid] = {}

    def check(self, expr: Expr) -> None:
        """Refuse a formula that the panel has no names for.   Raises: FormulaError."""
        if expr in self._legal:
            return
        _demand("field", fields_of(expr, self._options), (*self._panel.fields, *self._panel.series), expr)
        _demand("label", groups_of(expr), tuple(self._panel.labels), expr)
        self._legal.add(expr)

    def compute(self, expr: Expr, values: Callable[[Expr], Grid]) -> Grid:
        """The values of a formula from those of its operands, which `values` gives.   Shape: (T, N), read-only."""
        out = self._applied(expr, values)
        out.flags.writeable = False
        return out

    def held(self, name: str) -> Grid | None:
        """The values of a field or series in this dtype; None for a name that stands for a formula."""
        if definition(name, self._options) is not None:
            return None
        if name not in self._fields:
            self._fields[name] = self.compute(Expr.name(name), _nothing)
        return self._fields[name]

    def _applied(self, expr: Expr, values: Callable[[Expr], Grid]) -> Grid:
        """The one place that computes: the engine runs the node with its operands given as fields."""
        if expr.op == "number" or (expr.op == "name" and self._is_held(expr)):
            return self._narrow(evaluate_one(expr, self._panel, options=self._options))
        if expr.op == "name":
            return values(definition(str(expr.value), self._options))  # type: ignore[arg-type]
        operands: dict[Expr, str] = {}
        args: list[Expr] = []
        for arg, argument in zip(expr.args, BY_NAME[expr.op].arguments, strict=True):
            leaf = argument.kind == "series" and arg.op != "number"
            args.append(Expr.name(operands.setdefault(arg, f"x{len(operands)}")) if leaf else arg)
        panel = self._panel
        stage = Panel(
            times=panel.times,
            assets=panel.assets,
            fields={name: values(operand) for operand, name in operands.items()},
            labels={name: panel.labels[name] for name in groups_of(expr)},
            member=panel.member,
            listed=panel.listed,
            buyable=panel.buyable,
            sellable=panel.sellable,
            periods_per_year=panel.periods_per_year,
            source="stage",
        )
        return self._narrow(evaluate_one(Expr.call(expr.op, *args), stage, options=self._options))

    def _is_held(self, expr: Expr) -> bool:
        return definition(str(expr.value), self._options) is None

    def _narrow(self, values: Grid) -> Grid:
        if values.dtype == self._dtype:
            return values
        with np.errstate(over="ignore"):
            out = values.astype(self._dtype)
        out[np.isinf(out)] = np.nan
        return out


def _nothing(expr: Expr) -> Grid:
    raise AssertionError(f"{expr} has no operands")


def _demand(what: str, names: tuple[str, ...], held: tuple[str, ...], expr: Expr) -> None:
    for name in names:
        if name not in held:
            raise FormulaError(
                f"a formula's names are each a {what} of the panel",
                found=name,
                where=str(expr),
                fix=nearest(name, held, what),
            )
