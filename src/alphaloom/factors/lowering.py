"""Formulas as a graph of distinct operations, simplified where the values stay the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from alphaloom.factors.analysis import definition
from alphaloom.factors.expr import Expr
from alphaloom.factors.ops import BY_NAME
from alphaloom.factors.options import Options, needed

__all__ = ["Graph", "Node"]

Place = Literal["leaf", "tile", "row", "whole"]
Literal_ = float | str

_UNARY = ("neg", "abs", "sign", "sqrt", "logical_not", "isnan", "log", "log1p", "exp", "tanh")
_BINARY = (
    *("add", "sub", "mul", "div", "minimum", "maximum", "less", "less_equal", "equal", "not_equal"),
    *("logical_and", "logical_or", "power", "signed_power"),
)
# What an operation with a known number on its right, or on its left, is called.
_RIGHT = {name: name for name in ("mul", "div", "minimum", "maximum", "less", "less_equal", "equal", "not_equal")}
_RIGHT |= {"add": "add", "power": "power", "signed_power": "signed_power"}
_LEFT = {"add": "add", "mul": "mul", "div": "rdiv", "minimum": "minimum", "maximum": "maximum"}
_LEFT |= {"less": "greater", "less_equal": "greater_equal", "equal": "equal", "not_equal": "not_equal"}
# Over one row these give the row itself.
_SELF = ("ts_sum", "ts_mean", "ts_product", "ts_min", "ts_max", "decay_linear")
_FULL_ONLY = ("ts_skew", "ts_kurt", "ts_product")
# Windows kept in order cost as many steps as they have rows.
_ORDERED_ROWS = 500
_WINDOWS = (
    *("ts_sum", "ts_mean", "decay_linear", "ts_rank", "ts_var", "ts_std", "ts_zscore", "ts_cov", "ts_corr"),
    *("ts_beta", "ts_resid", "ts_min", "ts_max", "ts_slope", "ts_rsquare", "ts_resi", *_FULL_ONLY),
)
_AGES = ("ts_argmax", "ts_argmin", "ts_days_since_max", "ts_days_since_min")
_ROWS = ("rank", "scale", "demean", "zscore", "cs_mean", "cs_std", "indneutralize", "group_mean", "group_zscore")


@dataclass(frozen=True)
class Node:
    """One operation: its operands are places in the graph, its literals numbers and group names.

    `place` says where it runs: over tiles of columns, over rows, or over whole arrays by the reference kernel.
    """

    op: str
    args: tuple[int, ...] = ()
    literals: tuple[Literal_, ...] = ()
    place: Place = "tile"


def _folded(op: str, x: float, y: float) -> float:
    """The value of an operation on two known numbers."""
    from alphaloom.factors import elementwise

    with np.errstate(all="ignore"):
        value = float(getattr(elementwise, op)(np.float64(x), np.float64(y)))
    return value if math.isfinite(value) else math.nan


class Graph:
    """The distinct operations of some formulas under a set's options, operands before their users."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.nodes: list[Node] = []
        self.batches: list[int] = []
        self._batch = 0
        self._meanings: list[int] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self._places: dict[tuple[int, int], int] = {}
        self._seen: dict[Expr, int] = {}

    def begin(self, batch: int) -> None:
        """Start another batch: what works on tiles is entered anew, so that nothing has to be kept for it."""
        self._batch = batch
        self._seen.clear()

    def add(self, expr: Expr) -> int:
        """The place of a formula's value; everything it needs is entered first."""
        if expr in self._seen:
            return self._seen[expr]
        if expr.op == "number":
            found = self._put(Node("constant", (), (float(expr.value or 0.0),), "leaf"))
        elif expr.op == "name":
            meaning = definition(str(expr.value), self.options)
            field = Node("field", (), (str(expr.value),), "leaf")
            found = self._put(field) if meaning is None else self.add(meaning)
        else:
            found = self._operation(expr)
        self._seen[expr] = found
        return found

    def _put(self, node: Node) -> int:
        key = (node.op, tuple(self._meanings[arg] for arg in node.args), node.literals)
        meaning = self._known.setdefault(key, len(self._known))
        # A comparison of assets is dear and cheap to keep: it is done once for all batches.
        place = (self._batch if node.place == "tile" else -1, meaning)
        if place not in self._places:
            self._places[place] = len(self.nodes)
            self.nodes.append(node)
            self.batches.append(self._batch)
            self._meanings.append(meaning)
        return self._places[place]

    def _operation(self, expr: Expr) -> int:
        args: list[int] = []
        literals: list[Literal_] = []
        for argument, arg in zip(BY_NAME[expr.op].arguments, expr.args, strict=True):
            if argument.kind == "series":
                args.append(self.add(arg))
            elif argument.kind == "group":
                literals.append(str(arg.value))
            else:
                literals.append(float(arg.value or 0.0))
        return self._simplest(expr.op, tuple(args), tuple(literals))

    def _simplest(self, op: str, args: tuple[int, ...], literals: tuple[Literal_, ...]) -> int:
        first = self.nodes[args[0]]
        if op == "neg" and first.op == "neg":
            return first.args[0]
        if op in _SELF and literals == (1.0,):
            return args[0]
        if op == "rank" and first.op == "rank":
            return args[0]
        if op == "delay" and first.op == "delay":
            return self._put(Node(op, first.args, (float(first.literals[0]) + float(literals[0]),)))
        if op == "scale" and first.op == "scalar" and first.literals[0] == "mul" and float(first.literals[1]) > 0.0:
            args = first.args
        if op in ("greater", "greater_equal"):
            op, args = {"greater": "less", "greater_equal": "less_equal"}[op], args[::-1]
        if op in _BINARY:
            return self._cell(op, args)
        if op == "clip":
            low = self._put(Node("scalar", args, ("maximum", literals[0])))
            return self._put(Node("scalar", (low,), ("minimum", literals[1])))
        if op == "fillna":
            return self._put(Node("scalar", args, ("fillna", literals[0])))
        if op in (*_UNARY, "where", "delay", "delta", "ts_backfill"):
            return self._put(Node(op, args, literals))
        if op in _ROWS:
            return self._put(Node(op, args, literals, "row"))
        return self._window(op, args, literals)

    def _cell(self, op: str, args: tuple[int, ...]) -> int:
        """An operation of two values, one of which may be a known number."""
        left, right = self.nodes[args[0]], self.nodes[args[1]]
        if left.op == right.op == "constant":
            value = _folded(op, float(left.literals[0]), float(right.literals[0]))
            return self._put(Node("constant", (), (value,), "leaf"))
        if right.op == "constant" and op == "sub":
            return self._put(Node("scalar", args[:1], ("add", -float(right.literals[0]))))
        if left.op == "constant" and op == "sub":
            turned = self._put(Node("neg", args[1:]))
            return self._put(Node("scalar", (turned,), ("add", left.literals[0])))
        if right.op == "constant" and op in _RIGHT:
            return self._put(Node("scalar", args[:1], (_RIGHT[op], right.literals[0])))
        if left.op == "constant" and op in _LEFT:
            return self._put(Node("scalar", args[1:], (_LEFT[op], left.literals[0])))
        return self._put(Node(op, args))

    def _window(self, op: str, args: tuple[int, ...], literals: tuple[Literal_, ...]) -> int:
        """A window operator: by its fast kernel where the set's options allow it."""
        whole = Node(op, args, literals, "whole")
        if op not in (*_WINDOWS, *_AGES, "ts_count", "ts_quantile", "ts_median"):
            return self._put(whole)
        d = int(literals[0])
        least = needed(self.options.min_periods, d)
        if op in ("ts_quantile", "ts_median"):
            q = literals[1] if op == "ts_quantile" else 0.5
            return self._put(whole if d > _ORDERED_ROWS else Node("ts_quantile", args, (d, least, q)))
        if op == "ts_count":
            told = self._put(Node("scalar", args, ("told", 0.0)))
            return self._put(Node("ts_sum", (told,), (d, least)))
        if op in _FULL_ONLY and least < d:
            return self._put(whole)
        if op in ("ts_min", "ts_max", *_AGES) and 1 < least < d:
            enough = self._put(Node("counted", args, (d, least)))
            best = self._put(Node(op, args, (d, 1)))
            return self._put(Node("mul", (best, enough)))
        return self._put(Node(op, args, (d, least)))
