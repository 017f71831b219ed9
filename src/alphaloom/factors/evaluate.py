"""The evaluator: every distinct sub-formula once, every buffer freed at its last use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from alphaloom.errors import FormulaError
from alphaloom.factors.analysis import definition, fields_of, groups_of
from alphaloom.factors.expr import Expr, nearest
from alphaloom.factors.library import FactorSet
from alphaloom.factors.ops import BY_NAME
from alphaloom.factors.options import PLAIN, Options
from alphaloom.factors.parse import parse
from alphaloom.factors.plan import plan
from alphaloom.factors.reference import apply, finite
from alphaloom.panel import Panel
from alphaloom.signal import Features

__all__ = ["evaluate", "evaluate_one"]

Grid = NDArray[np.float64]


def evaluate(factors: FactorSet, panel: Panel, *, dtype: DTypeLike = np.float32, threads: int = 1) -> Features:
    """The values of every factor on every bar, in the set's order.

    float32 is the fast way: compiled, stored as float32 from step to step, sums in float64. float64 is the reference:
    every step in float64, many times slower. Neither depends on `threads`.
    Shape: (T, N, F) of `dtype`, in memory factor by factor.   Time: row t uses rows t - lookback..t.
    Missing: NaN where a formula meets values that are not known; non-members are NaN inside every cross-sectional
    operator, and only there.   Raises: FormulaError for a name that the panel lacks.
    """
    kind = _checked_dtype(dtype)
    if threads < 1:
        raise FormulaError("work is done by at least one thread", found=threads, where="evaluate(threads=...)")
    for factor in factors.factors:
        _check_names(factor.expr, panel, factors.options)
    values = _compiled(factors, panel, threads) if kind == np.float32 else _exact(factors, panel)
    return Features(panel.times, panel.assets, factors.names, values.transpose(1, 2, 0))


def _compiled(factors: FactorSet, panel: Panel, threads: int) -> NDArray[Any]:
    """The set's values by the machine.   Shape: (F, T, N), float32."""
    from alphaloom.factors.machine import run, touched

    made = plan(factors, shape=panel.shape, threads=threads)
    values = touched((made.distinct, *panel.shape))
    run(made, panel, values)
    return values if made.distinct == len(made.results) else values[list(made.results)]


def _exact(factors: FactorSet, panel: Panel) -> NDArray[Any]:
    """The set's values by the reference kernels.   Shape: (F, T, N), float64."""
    out = np.empty((len(factors.factors), *panel.shape))
    roots: dict[Expr, list[int]] = {}
    for k, factor in enumerate(factors.factors):
        roots.setdefault(factor.expr, []).append(k)
    for expr, values in _evaluated(roots, panel, factors.options):
        out[roots[expr]] = values
    return out


def evaluate_one(expr: Expr | str, panel: Panel, *, options: Options = PLAIN) -> Grid:
    """The value of one formula on every bar.

    Shape: (T, N), float64.   Raises: FormulaError for a name that the panel lacks, GrammarError for faulty text.
    """
    root = parse(expr) if isinstance(expr, str) else expr
    (_, values), *_ = _evaluated([root], panel, options)
    return values


def _checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    if kind not in (np.float32, np.float64):
        raise FormulaError("factors are stored as float32 or float64", found=str(kind), where="evaluate(dtype=...)")
    return kind


def _evaluated(roots: Iterable[Expr], panel: Panel, options: Options) -> Iterable[tuple[Expr, Grid]]:
    """Each root with its values as soon as they exist, in an order that keeps few buffers alive."""
    roots = list(roots)
    for root in roots:
        _check_names(root, panel, options)
    uses = _use_counts(roots, options)
    buffers: dict[Expr, Any] = {}
    for root in roots:
        with np.errstate(all="ignore"):
            _compute(root, panel, options, buffers, uses)
        values = buffers[root]
        _release(root, buffers, uses)
        yield root, _plain(np.broadcast_to(np.asarray(values, np.float64), panel.shape))


def _plain(values: Grid) -> Grid:
    """A copy with one kind of NaN and one kind of zero.

    Which sign a NaN or a zero comes out with depends on how the processor walked the array: equal values would
    otherwise be stored as different bytes.
    """
    copy = values + 0.0
    copy[np.isnan(copy)] = np.nan
    return copy


def _operands(expr: Expr, options: Options) -> tuple[Expr, ...]:
    """What must be computed before this formula."""
    if expr.op == "name":
        meaning = definition(str(expr.value), options)
        return () if meaning is None else (meaning,)
    if expr.op == "number":
        return ()
    kinds = BY_NAME[expr.op].arguments
    return tuple(arg for arg, kind in zip(expr.args, kinds, strict=True) if kind.kind == "series")


def _use_counts(roots: list[Expr], options: Options) -> Counter[Expr]:
    uses: Counter[Expr] = Counter()

    def visit(expr: Expr) -> None:
        uses[expr] += 1
        if uses[expr] == 1:
            for operand in _operands(expr, options):
                visit(operand)

    for root in roots:
        visit(root)
    return uses


def _release(expr: Expr, buffers: dict[Expr, Any], uses: Counter[Expr]) -> None:
    uses[expr] -= 1
    if not uses[expr]:
        del buffers[expr]


def _compute(expr: Expr, panel: Panel, options: Options, buffers: dict[Expr, Any], uses: Counter[Expr]) -> None:
    if expr in buffers:
        return
    for operand in _operands(expr, options):
        _compute(operand, panel, options, buffers, uses)
    buffers[expr] = _value(expr, panel, options, buffers)
    for operand in _operands(expr, options):
        _release(operand, buffers, uses)


def _value(expr: Expr, panel: Panel, options: Options, buffers: dict[Expr, Any]) -> Any:
    if expr.op == "number":
        return expr.value
    if expr.op == "name":
        meaning = definition(str(expr.value), options)
        return _loaded(str(expr.value), panel) if meaning is None else buffers[meaning]
    operands = [buffers[operand] for operand in _operands(expr, options)]
    pairs = zip(expr.args, BY_NAME[expr.op].arguments, strict=True)
    literals = [arg.value for arg, argument in pairs if argument.kind != "series"]
    return apply(expr.op, operands, literals, panel, options)


def _loaded(name: str, panel: Panel) -> Grid:
    if name in panel.fields:
        values = panel.fields[name].astype(np.float64)
    else:
        values = np.array(np.broadcast_to(panel.series[name][:, None], panel.shape))
    return np.asarray(finite(values))


def _check_names(expr: Expr, panel: Panel, options: Options) -> None:
    known = (*panel.fields, *panel.series)
    for name in fields_of(expr, options):
        if name not in known:
            raise FormulaError(
                "a name must be a field or a series of the panel",
                found=name,
                where=str(expr),
                fix=nearest(name, known, "field"),
            )
    for name in groups_of(expr):
        if name not in panel.labels:
            raise FormulaError(
                "a group must be a label of the panel",
                found=name,
                where=str(expr),
                fix=nearest(name, tuple(panel.labels), "label"),
            )
