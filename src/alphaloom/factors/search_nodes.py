"""One operation of a formula at a time, so that the values of every part can be kept and shared.

Two ways to compute the same: `FastNodes` runs the compiled kernels on whole float32 arrays, which are tiles as wide as
the panel; `ExactNodes` runs the reference kernels in float64. A part is known by a key that equal parts share. Arrays
are shared too: nobody who gets one may write to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import FormulaError
from alphaloom.factors import machine
from alphaloom.factors import row_kernels as row
from alphaloom.factors import search_windows as windows
from alphaloom.factors.analysis import definition, fields_of, groups_of
from alphaloom.factors.expr import Expr, nearest
from alphaloom.factors.lowering import Graph, Node
from alphaloom.factors.ops import BY_NAME, ema_terms
from alphaloom.factors.options import Options
from alphaloom.factors.plan import Step
from alphaloom.factors.reference import apply, finite
from alphaloom.factors.search_cache import Slots
from alphaloom.panel import Panel

__all__ = ["ExactNodes", "FastNodes", "Nodes", "nodes_for"]

Grid = NDArray[Any]
Key = Any
Values = Callable[[Key], Grid]
# A graph of this many parts is left to the garbage collector, so that a search of days does not fill the memory.
_MOST_PARTS = 100_000


class Nodes(Protocol):
    """Keys of formulas, and the values of a key from those of the keys that it is made of."""

    def key(self, expr: Expr) -> Key: ...

    def field(self, key: Key) -> Grid | None: ...

    def compute(self, key: Key, values: Values) -> Grid: ...

    def empty(self) -> Grid: ...


def nodes_for(panel: Panel, options: Options, dtype: np.dtype[Any]) -> Nodes:
    """The fast way for float32, the exact way for float64."""
    return FastNodes(panel, options) if dtype == np.float32 else ExactNodes(panel, options)


class FastNodes:
    """Parts in the machine's own terms, after its simplifications."""

    def __init__(self, panel: Panel, options: Options) -> None:
        self._panel, self._options = panel, options
        self._graph = Graph(options)
        # The search's own windows ask for every value; with fewer the engine's kernels do the work.
        self._quick = options.min_periods == "full"
        self._lock = threading.Lock()
        self._slots = Slots(panel.shape, np.float32)
        self._member = np.ascontiguousarray(panel.member)
        self._fields: dict[str, Grid] = {}
        self._groups: dict[str, tuple[Grid, int]] = {}

    def key(self, expr: Expr) -> Key:
        """Where a formula stands in the present graph.   Raises: FormulaError for a name that the panel lacks."""
        with self._lock:
            if len(self._graph.nodes) > _MOST_PARTS:
                # Keys hold their graph: what is kept under the old one goes when nobody asks for it.
                self._graph = Graph(self._options)
            check_names(expr, self._panel, self._options)
            return self._graph, self._graph.add(expr)

    def field(self, key: Key) -> Grid | None:
        """The values of a key that is a field or a series of the panel; None for any other."""
        node = _node(key)
        if node.op != "field":
            return None
        name = str(node.literals[0])
        if name not in self._fields:
            with np.errstate(over="ignore"):
                grid = _loaded(name, self._panel).astype(np.float32)
            self._fields[name] = np.where(np.isfinite(grid), grid + np.float32(0.0), np.float32(np.nan))
        return self._fields[name]

    def empty(self) -> Grid:
        """An array for values; its memory is used again as soon as nobody holds it."""
        return self._slots.take()

    def compute(self, key: Key, values: Values) -> Grid:
        """The values of a part.   Shape: (T, N), float32."""
        graph, _ = key
        node = _node(key)
        inputs = [values((graph, arg)) for arg in node.args]
        out = self._slots.take()
        if self._quick and self._quickly(node, inputs, out):
            return out
        if node.place == "whole":
            self._whole(node, inputs, out)
        elif node.place == "row":
            self._row(node, inputs[0], out)
        else:
            flat = [grid.reshape(-1) for grid in inputs]
            kernel, args = machine._call(Step(node.op, node.literals), flat, out.shape[1], self._options)
            kernel(*args, out.reshape(-1))
        return out

    def _quickly(self, node: Node, inputs: list[Grid], out: Grid) -> bool:
        """What a search computes in its own way; False for all others."""
        flat, to, width = [grid.reshape(-1) for grid in inputs], out.reshape(-1), out.shape[1]
        if node.op in windows.SINGLES:
            population = self._options.moments == "population"
            windows.single(node.op, flat[0], width=width, d=int(node.literals[0]), population=population, out=to)
        elif node.op in windows.PAIRS:
            zero = self._options.zero_variance_corr == "zero"
            windows.paired(node.op, flat[0], flat[1], width=width, d=int(node.literals[0]), zero=zero, out=to)
        elif node.op in ("ts_median", "ts_quantile"):
            share = 0.5 if node.op == "ts_median" else float(node.literals[-1])
            windows.quantile(flat[0], width, int(node.literals[0]), share, to)
        elif node.op == "ema":
            d = int(node.literals[0])
            windows.averaged(flat[0], width, d, ema_terms(d), to)
        elif node.op == "log":
            # The engine takes logarithms in float64; a search takes those of float32, many at a time.
            with np.errstate(invalid="ignore", divide="ignore"):
                np.log(flat[0], out=to)
            to[~np.isfinite(to)] = np.nan
            to += np.float32(0.0)
        else:
            return False
        return True

    def _row(self, node: Node, x: Grid, out: Grid) -> None:
        rows = (0, len(out))
        if node.op == "rank":
            row.ranked_rows(x, self._member, out, *rows)
        elif node.op == "scale":
            row.scaled_rows(x, self._member, float(node.literals[0]), out, *rows)
        elif node.op in row.SPREAD:
            row.spread_rows(row.SPREAD.index(node.op), x, self._member, out, *rows)
        else:
            name = str(node.literals[0])
            if name not in self._groups:
                codes = np.ascontiguousarray(self._panel.labels[name])
                self._groups[name] = (codes, int(codes.max(initial=-1)) + 1)
            row.grouped(row.GROUPED.index(node.op), x, self._member, *self._groups[name], out, *rows)

    def _whole(self, node: Node, inputs: list[Grid], out: Grid) -> None:
        wide = [grid.astype(np.float64) for grid in inputs]
        with np.errstate(over="ignore"):
            out[...] = apply(node.op, wide, node.literals, self._panel, self._options)
        out[~np.isfinite(out)] = np.nan
        out += np.float32(0.0)


class ExactNodes:
    """Parts as they are written, by the reference kernels."""

    def __init__(self, panel: Panel, options: Options) -> None:
        self._panel, self._options = panel, options
        self._fields: dict[str, Grid] = {}

    def key(self, expr: Expr) -> Key:
        """The formula that a shorthand stands for, any other as it is.   Raises: FormulaError for an unknown name."""
        check_names(expr, self._panel, self._options)
        return self._meant(expr)

    def _meant(self, expr: Expr) -> Expr:
        meaning = definition(str(expr.value), self._options) if expr.op == "name" else None
        return expr if meaning is None else meaning

    def field(self, key: Key) -> Grid | None:
        """The values of a key that is a field or a series of the panel; None for any other."""
        if key.op != "name":
            return None
        name = str(key.value)
        if name not in self._fields:
            self._fields[name] = _loaded(name, self._panel)
        return self._fields[name]

    def empty(self) -> Grid:
        """An array for values."""
        return np.empty(self._panel.shape)

    def compute(self, key: Key, values: Values) -> Grid:
        """The values of a part.   Shape: (T, N), float64."""
        if key.op == "number":
            return np.full(self._panel.shape, float(key.value))
        pairs = list(zip(key.args, BY_NAME[key.op].arguments, strict=True))
        # A number stays one number: it is not spread over the panel before it must be.
        operands = [
            np.float64(arg.value) if arg.op == "number" else values(self._meant(arg))
            for arg, argument in pairs
            if argument.kind == "series"
        ]
        literals = [arg.value for arg, argument in pairs if argument.kind != "series"]
        found = apply(key.op, operands, literals, self._panel, self._options)
        return np.array(np.broadcast_to(found, self._panel.shape), np.float64)


def check_names(expr: Expr, panel: Panel, options: Options) -> None:
    """Refuse a formula that the panel has no names for.   Raises: FormulaError."""
    _demand("field", fields_of(expr, options), (*panel.fields, *panel.series), expr)
    _demand("label", groups_of(expr), tuple(panel.labels), expr)


def _demand(what: str, names: tuple[str, ...], held: tuple[str, ...], expr: Expr) -> None:
    for name in names:
        if name not in held:
            raise FormulaError(
                f"a formula's names are each a {what} of the panel",
                found=name,
                where=str(expr),
                fix=nearest(name, held, what),
            )


def _node(key: Key) -> Node:
    graph, place = key
    found: Node = graph.nodes[place]
    return found


def _loaded(name: str, panel: Panel) -> Grid:
    grid = panel.fields[name] if name in panel.fields else np.broadcast_to(panel.series[name][:, None], panel.shape)
    return np.asarray(finite(np.array(grid, np.float64)))
