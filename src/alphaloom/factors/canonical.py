"""One form for formulas that mean the same: the basis of look-ups, of duplicate checks and of shared work."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from alphaloom.factors.analysis import definition
from alphaloom.factors.expr import Expr
from alphaloom.factors.ops import BY_NAME, WINDOW_CAP
from alphaloom.factors.options import PLAIN, Options

__all__ = ["canonical"]

_COMMUTATIVE = frozenset(
    ("add", "mul", "minimum", "maximum", "equal", "not_equal", "logical_and", "logical_or", "ts_corr", "ts_cov")
)
# Over a window of one row these give the row's own value.
_WINDOWS_OF_ONE = frozenset(
    (
        "ts_sum",
        "ts_mean",
        "ts_product",
        "ts_min",
        "ts_max",
        "ts_median",
        "ts_quantile",
        "decay_linear",
        "ema_cut",
        "ema",
    )
)
_SAME_TWICE = frozenset(("abs", "sign", "rank", "group_rank", "ts_backfill"))
# These answer to the order of values alone, so a positive factor is lost on them.
_ORDER_ONLY = frozenset(("rank", "group_rank", "sign", "ts_rank", "ts_argmax", "ts_argmin", "ts_days_since_max"))
_ANY_SCALE = _ORDER_ONLY | {"scale", "ts_days_since_min"}
# A factor outside these could carry a value over the edge of what float64 holds.
_MILD = (1e-6, 1e6)


def canonical(expr: Expr, *, options: Options = PLAIN) -> Expr:
    """The formula in the one form that all its value-preserving rewritings share.

    Constants are folded, arguments of symmetric operators sorted, nests of delay, ts_max and ts_min joined, repeated
    rank, abs and sign, windows of one row and neutral constants dropped, and positive factors that cannot matter.
    Values stay the same, bit for bit but for the last digit where a factor or a mean is concerned. What a formula
    reads never grows.   Missing: rewritings that strict windows alone allow are made under `min_periods = "full"`.
    """
    return _canonical(expr, options)


@lru_cache(maxsize=65_536)
def _canonical(node: Expr, options: Options) -> Expr:
    """Searches ask for the same parts again and again."""
    return _settled(node, tuple(_canonical(arg, options) for arg in node.args), options)


def _settled(node: Expr, args: tuple[Expr, ...], options: Options) -> Expr:
    """The node over canonical arguments, rewritten until no rule applies."""
    if node.op == "number":
        return node
    if node.op == "name":
        meaning = definition(str(node.value), options)
        # `returns` is the short form of its definition; adv20 depends on an option, so it is opened.
        return node if meaning is None or node.value == "returns" else canonical(meaning, options=options)
    made = Expr.call(node.op, *args)
    for rule in _RULES:
        better = rule(made, options)
        if better is not None and better != made:
            return better if better in made.args else canonical(better, options=options)
    return made


def _number(expr: Expr) -> float | None:
    return float(expr.value or 0.0) if expr.op == "number" else None


def _folded(node: Expr, _: Options) -> Expr | None:
    """An operator of literals alone is a literal, where its value is a finite number."""
    if BY_NAME[node.op].family != "elementwise" or any(arg.op != "number" for arg in node.args):
        return None
    import numpy as np

    from alphaloom.factors import elementwise

    kernel: Callable[..., object] = getattr(elementwise, node.op)
    with np.errstate(all="ignore"):
        value = float(np.asarray(kernel(*(np.asarray(_number(arg), np.float64) for arg in node.args))))
    return Expr.number(value) if math.isfinite(value) else None


def _turned(node: Expr, _: Options) -> Expr | None:
    """Comparisons point one way."""
    other = {"greater": "less", "greater_equal": "less_equal"}.get(node.op)
    return Expr.call(other, node.args[1], node.args[0]) if other else None


def _sorted(node: Expr, _: Options) -> Expr | None:
    """Arguments of a symmetric operator in one order, literals last."""
    if node.op not in _COMMUTATIVE:
        return None
    x, y, *rest = node.args
    if (x.op == "number", str(x)) > (y.op == "number", str(y)):
        return Expr.call(node.op, y, x, *rest)
    return None


def _signs(node: Expr, _: Options) -> Expr | None:
    """Double minus, minus under abs, minus beside plus."""
    x = node.args[0]
    y = node.args[-1]
    if node.op == "neg":
        if x.op == "neg":
            return x.args[0]
        return Expr.call("sub", x.args[1], x.args[0]) if x.op == "sub" else None
    if node.op == "abs" and x.op == "neg":
        return Expr.call("abs", x.args[0])
    if node.op == "add":
        if y.op == "neg":
            return Expr.call("sub", x, y.args[0])
        return Expr.call("sub", y, x.args[0]) if x.op == "neg" else None
    if node.op == "sub" and y.op == "neg":
        return Expr.call("add", x, y.args[0])
    if node.op in ("mul", "div") and x.op == "neg" and y.op == "neg":
        return Expr.call(node.op, x.args[0], y.args[0])
    return None


def _neutral(node: Expr, _: Options) -> Expr | None:
    """Neutral constants, equal operands and decided conditions."""
    x, y = node.args[0], node.args[-1]
    left, right = _number(x), _number(y)
    if node.op in ("minimum", "maximum") and x == y:
        return x
    if node.op == "where" and left is not None:
        return node.args[1] if left else node.args[2]
    if node.op in ("add", "sub") and right == 0.0:
        return x
    if node.op == "sub" and left == 0.0:
        return Expr.call("neg", y)
    if node.op in ("mul", "div", "power", "signed_power") and right == 1.0:
        return x
    if node.op in ("mul", "div") and right == -1.0:
        return Expr.call("neg", x)
    return None


def _nested(node: Expr, options: Options) -> Expr | None:
    """Nests of one operator that a single one can do."""
    if not node.args or node.args[0].op != node.op:
        return None
    inner = node.args[0]
    strict = options.min_periods == "full"
    if node.op in _SAME_TWICE and node.op != "ts_backfill":
        return inner if node.args[1:] == inner.args[1:] else None
    joins = {"delay": 0, "ts_backfill": 0, **({"ts_max": -1, "ts_min": -1} if strict else {})}
    if node.op not in joins:
        return None
    d = int((_number(node.args[1]) or 0) + (_number(inner.args[1]) or 0)) + joins[node.op]
    return Expr.call(node.op, inner.args[0], float(d)) if d <= WINDOW_CAP else None


def _short(node: Expr, options: Options) -> Expr | None:
    """Windows of one row, sums that are means, differences that are deltas, and the definition of returns."""
    x, y = node.args[0], node.args[-1]
    if node.op in _WINDOWS_OF_ONE and _number(node.args[1]) == 1.0:
        return x
    if node.op == "ema_alpha" and _number(y) == 1.0:
        return x
    if node.op == "sub" and y.op == "delay" and y.args[0] == x:
        return Expr.call("delta", x, y.args[1])
    strict = options.min_periods == "full"
    if strict and node.op == "div" and x.op == "ts_sum" and x.args[1] == y:
        return Expr.call("ts_mean", *x.args)
    return Expr.name("returns") if node == definition("returns") else None


def _unscaled(node: Expr, _: Options) -> Expr | None:
    """A positive factor inside an operator that does not see it."""
    if node.op not in _ANY_SCALE or node.args[0].op not in ("mul", "div"):
        return None
    inner, factor = node.args[0].args
    value = _number(factor)
    if value is None or not _MILD[0] <= value <= _MILD[1]:
        return None
    return Expr.call(node.op, inner, *node.args[1:])


_RULES: tuple[Callable[[Expr, Options], Expr | None], ...] = (
    _folded,
    _turned,
    _signs,
    _neutral,
    _nested,
    _short,
    _unscaled,
    _sorted,
)
