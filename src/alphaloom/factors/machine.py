"""The machine that runs a plan: compiled kernels over tiles and rows, on as many threads as asked for.

Every tile and every row is worked on by one thread from beginning to end and no sum crosses from one to another, so
the results do not depend on how many threads there are or how wide the tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import cell_kernels as cell
from alphaloom.factors import moment_kernels as moment
from alphaloom.factors import row_kernels as row
from alphaloom.factors import window_kernels as window
from alphaloom.factors.options import Options
from alphaloom.factors.plan import Full, Plan, Step
from alphaloom.factors.reference import apply
from alphaloom.panel import Panel

__all__ = ["run", "touched"]

Array = NDArray[np.float32]
Call = tuple[Callable[..., None], tuple[Any, ...]]
# Rows of one piece of work in a row phase.
ROWS = 64
PAGE = 4096


def touched(shape: tuple[int, ...]) -> Array:
    """An array whose memory is really there: pages asked for in order come many times faster than one by one."""
    array = np.empty(shape, np.float32)
    array.reshape(-1)[:: PAGE // 4] = 0.0
    return array


def run(plan: Plan, panel: Panel, results: Array) -> None:
    """Fill `results` (distinct formulas, T, N) by the plan's phases."""
    machine = _Machine(plan, panel, results)
    if plan.threads == 1:
        machine.run(map)
        return
    with ThreadPoolExecutor(plan.threads) as pool:
        machine.run(pool.map)


class _Machine:
    """The arrays of one run."""

    def __init__(self, plan: Plan, panel: Panel, results: Array) -> None:
        self.plan, self.panel, self.results = plan, panel, results
        T, N = plan.shape
        self.buffers = touched((plan.buffers, T, N))
        self.member = np.ascontiguousarray(panel.member)
        self.arenas = [
            [np.empty(T * plan.width, np.float32) for _ in range(plan.registers)] for _ in range(plan.threads)
        ]
        self.fields: dict[str, NDArray[Any]] = {}

    def run(self, each: Callable[..., Iterable[Any]]) -> None:
        """Do all phases; `each` maps a function over pieces of work."""
        T, N = self.plan.shape
        lefts = range(0, N, self.plan.width)
        shares = [lefts[k :: self.plan.threads] for k in range(self.plan.threads)]
        rows = [(start, min(T, start + ROWS)) for start in range(0, T, ROWS)]
        for phase in self.plan.phases:
            if phase.columns:
                list(each(lambda k, steps=phase.columns: self._tiles(steps, k, shares[k]), range(self.plan.threads)))
            for step in phase.rows:
                if step.place == "whole":
                    self._whole(step)
                else:
                    kernel, args, out = self._row_call(step)
                    list(each(lambda cut, f=kernel, a=args, o=out: f(*a, o, *cut), rows))

    def _array(self, full: Full) -> Array:
        array: Array = (self.results if full.kind == "result" else self.buffers)[full.index]
        return array

    def _field(self, name: str) -> NDArray[Any]:
        """A field, or a series given to every asset, as an array whose rows are contiguous."""
        if name not in self.fields:
            panel = self.panel
            grid = panel.fields[name] if name in panel.fields else _widened(panel.series[name], self.plan.shape)
            self.fields[name] = np.ascontiguousarray(grid)
        return self.fields[name]

    def _tiles(self, steps: tuple[Step, ...], worker: int, lefts: Iterable[int]) -> None:
        """All steps of a column phase, tile after tile."""
        registers, width = self.arenas[worker], self.plan.width
        calls = [self._column_call(step, registers) for step in steps]
        for left in lefts:
            for moves, kernel, args in calls:
                if moves == 0:
                    kernel(*args)
                elif moves == 1:
                    kernel(args[0], left, width, args[1])
                else:
                    kernel(args[1], left, width, args[0])

    def _column_call(self, step: Step, registers: list[Array]) -> tuple[int, Callable[..., None], tuple[Any, ...]]:
        inputs = [registers[k] for k in step.inputs]
        if step.op == "field":
            return 1, cell.gather, (self._field(str(step.literals[0])), registers[step.output])
        if step.op == "gather":
            return 1, cell.gather, (self._array(step.sources[0]), registers[step.output])
        if step.op == "spread" and step.target is not None:
            return 2, cell.spread, (self._array(step.target), inputs[0])
        kernel, args = _call(step, inputs, self.plan.width, self.plan.options)
        return 0, kernel, (*args, registers[step.output])

    def _row_call(self, step: Step) -> tuple[Callable[..., None], tuple[Any, ...], Array]:
        x = self._array(step.sources[0])
        out = self._array(step.target)  # type: ignore[arg-type]  # a row step has a target
        if step.op == "rank":
            return row.ranked_rows, (x, self.member), out
        if step.op == "scale":
            return row.scaled_rows, (x, self.member, float(step.literals[0])), out
        if step.op in row.SPREAD:
            return row.spread_rows, (row.SPREAD.index(step.op), x, self.member), out
        groups = np.ascontiguousarray(self.panel.labels[str(step.literals[0])])
        count = int(groups.max(initial=-1)) + 1
        return row.grouped, (row.GROUPED.index(step.op), x, self.member, groups, count), out

    def _whole(self, step: Step) -> None:
        inputs = [self._array(full).astype(np.float64) for full in step.sources]
        found = apply(step.op, inputs, step.literals, self.panel, self.plan.options)
        out = self._array(step.target)  # type: ignore[arg-type]  # a whole step has a target
        with np.errstate(over="ignore"):
            out[...] = found
        out[~np.isfinite(out)] = np.nan
        out += np.float32(0.0)


def _widened(series: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    return np.broadcast_to(series[:, None], shape)


def _call(step: Step, inputs: list[Array], width: int, options: Options) -> Call:
    """The kernel of a column step and its arguments but for the output."""
    op, literals = step.op, step.literals
    false = options.nan_compare == "false"
    if op in cell.BINARY:
        return cell.binary, (cell.BINARY.index(op), false, *inputs)
    if op in cell.UNARY:
        return cell.unary, (cell.UNARY.index(op), *inputs)
    if op == "scalar":
        name, value = str(literals[0]), float(literals[1])
        told = name == "told"
        code = cell.SCALAR.index("not_equal" if told else name)
        return cell.scalar, (code, false and not told, *inputs, value)
    if op == "constant":
        return cell.constant, (np.float32(literals[0]),)
    if op == "where":
        return cell.choose, (*inputs,)
    if op == "ts_quantile":
        d, least, q = literals
        return window.quantiles, (*inputs, width, int(d), int(least), float(q))
    return _window_call(op, inputs, width, [int(value) for value in literals], options)


def _window_call(op: str, inputs: list[Array], width: int, sizes: list[int], options: Options) -> Call:
    """The same for a window operator; `sizes` are its rows and how many of them must be known."""
    whole = (*inputs, width, *sizes)
    simple: dict[str, Callable[..., None]] = {
        "delay": window.delayed,
        "delta": window.differenced,
        "ts_backfill": window.filled,
    }
    simple |= {"decay_linear": window.decayed, "ts_rank": window.ranked, "counted": window.counted}
    if op in simple:
        return simple[op], whole
    if op in ("ts_sum", "ts_mean"):
        return window.summed, (*whole, op == "ts_mean")
    if op == "ts_product":
        return window.multiplied, whole[:-1]
    if op in ("ts_min", "ts_max"):
        return window.extreme, (*whole[:-1], sizes[1] < sizes[0], 1.0 if op == "ts_max" else -1.0)
    if op.startswith(("ts_argm", "ts_days")):
        sign = 1.0 if op.endswith("max") else -1.0
        return window.extreme_age, (*whole[:-1], sizes[1] < sizes[0], sign, op.startswith("ts_argm"))
    if op in moment.SINGLE:
        return moment.single, (moment.SINGLE.index(op), *whole)
    if op in moment.PAIR:
        return moment.paired, (moment.PAIR.index(op), *whole, options.zero_variance_corr == "zero")
    if op in moment.LINE:
        return moment.line, (moment.LINE.index(op), *whole)
    return moment.higher, (op == "ts_kurt", *whole[:-1], options.moments == "population")
