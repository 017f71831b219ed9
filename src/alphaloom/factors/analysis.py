"""What can be said of a formula before any data is touched: look-back, names, units, split safety."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from alphaloom.errors import UnitError
from alphaloom.factors.dimension import Dimension
from alphaloom.factors.expr import Expr
from alphaloom.factors.ops import BY_NAME, WINDOW_CAP
from alphaloom.factors.options import PLAIN, Options
from alphaloom.units import Unit, standard_unit

__all__ = [
    "definition",
    "fields_of",
    "groups_of",
    "is_boolean",
    "lookback",
    "node_count",
    "split_safe",
    "unit_faults",
    "unit_of",
    "uses_cross_section",
]

Faults = list[tuple[Expr, UnitError]]
_BOOLEAN = frozenset(
    (
        *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"),
        *("logical_and", "logical_or", "logical_not", "isnan"),
    )
)
_ADV = re.compile(r"adv([1-9][0-9]{0,4})\Z")


@lru_cache(maxsize=1024)
def definition(name: str, options: Options = PLAIN) -> Expr | None:
    """What a shorthand stands for: `returns` and `adv{d}`; None for any other name."""
    if name == "returns":
        close = Expr.name("close")
        return close / Expr.call("delay", close, 1) - 1.0
    match = _ADV.match(name)
    if match and int(match[1]) <= WINDOW_CAP:
        traded = Expr.name("volume")
        if options.adv == "money":
            traded = traded * Expr.name("vwap")
        return Expr.call("ts_mean", traded, float(match[1]))
    return None


def _nodes(expr: Expr, options: Options = PLAIN) -> Iterator[Expr]:
    """Every distinct node, shorthands opened, groups left out of the names."""
    seen: set[Expr] = set()
    stack = [expr]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        if node.op == "name":
            meaning = definition(str(node.value), options)
            if meaning is not None:
                stack.append(meaning)
        elif node.op != "number":
            kinds = BY_NAME[node.op].arguments
            stack.extend(arg for arg, kind in zip(node.args, kinds, strict=True) if kind.kind == "series")


def fields_of(expr: Expr, options: Options = PLAIN) -> tuple[str, ...]:
    """The fields and series of the panel that a formula reads, sorted."""
    names = {str(node.value) for node in _nodes(expr, options) if node.op == "name"}
    return tuple(sorted(name for name in names if definition(name) is None))


def groups_of(expr: Expr) -> tuple[str, ...]:
    """The labels of the panel that a formula groups by, sorted."""
    names: set[str] = set()
    for node in _nodes(expr):
        if node.op in BY_NAME:
            kinds = BY_NAME[node.op].arguments
            names.update(str(a.value) for a, kind in zip(node.args, kinds, strict=True) if kind.kind == "group")
    return tuple(sorted(names))


def uses_cross_section(expr: Expr) -> bool:
    """True when a formula compares the assets of one day with each other."""
    return any(node.op in BY_NAME and BY_NAME[node.op].family == "cross" for node in _nodes(expr))


def lookback(expr: Expr) -> int:
    """How many rows before today a formula reads: exact, so a slice with these rows gives the same numbers."""
    reaches: dict[Expr, int] = {}

    def reach(node: Expr) -> int:
        if node in reaches:
            return reaches[node]
        found = 0
        if node.op == "name":
            meaning = definition(str(node.value))
            found = 0 if meaning is None else reach(meaning)
        elif node.op != "number":
            operator = BY_NAME[node.op]
            pairs = list(zip(node.args, operator.arguments, strict=True))
            literals = tuple(float(arg.value or 0) for arg, kind in pairs if kind.kind in ("window", "constant"))
            below = max((reach(arg) for arg, kind in pairs if kind.kind == "series"), default=0)
            found = below + operator.reach_rule(literals)
        reaches[node] = found
        return found

    return reach(expr)


def dimension_of(
    expr: Expr, units: Mapping[str, Unit] | None = None, *, options: Options = PLAIN, faults: Faults | None = None
) -> Dimension:
    """How a formula answers to a re-basing of prices and shares.

    Raises: UnitError naming the sub-formula; where `faults` is given, every fault goes there instead.
    """
    known: dict[Expr, Dimension] = {}

    def infer(node: Expr) -> Dimension:
        if node in known:
            return known[node]
        if node.op == "number":
            found = Dimension(literal=float(node.value or 0.0))
        elif node.op == "name":
            name = str(node.value)
            meaning = definition(name, options)
            unit = units[name] if units is not None and name in units else standard_unit(name)
            found = Dimension(unit) if meaning is None else infer(meaning)
        else:
            operator = BY_NAME[node.op]
            series = zip(node.args, operator.arguments, strict=True)
            args = [infer(arg) for arg, kind in series if kind.kind != "group"]
            try:
                found = operator.unit_rule(args)
            except UnitError as error:
                fault = UnitError(error.rule, found=error.found, where=str(node), fix=error.fix)
                if faults is None:
                    raise fault from None
                faults.append((node, fault))
                # Go on as if a number came out, so that one fault does not hide the next.
                found = Dimension(safe=False)
        known[node] = found
        return found

    return infer(expr)


def unit_of(expr: Expr, units: Mapping[str, Unit] | None = None, *, options: Options = PLAIN) -> Unit:
    """The unit of a formula's values; names that `units` lacks have their standard unit.

    Unit: the logarithm of a price is a number (a shift, not a factor, so it has no exponents).
    Raises: UnitError where units are mixed, with the sub-formula.
    """
    found = dimension_of(expr, units, options=options)
    return Unit() if found.shifts else found.unit


def unit_faults(expr: Expr, units: Mapping[str, Unit] | None = None, *, options: Options = PLAIN) -> Faults:
    """Every place where a formula mixes units, innermost first; none where it keeps them."""
    faults: Faults = []
    dimension_of(expr, units, options=options, faults=faults)
    return faults


def node_count(expr: Expr, *, options: Options = PLAIN) -> int:
    """What a formula costs: its distinct operators, shorthands opened."""
    return sum(node.op in BY_NAME for node in _nodes(expr, options))


def is_boolean(expr: Expr) -> bool:
    """True when a formula gives 1 or 0: its outermost operator is a comparison or a logical one."""
    return expr.op in _BOOLEAN


def split_safe(expr: Expr, units: Mapping[str, Unit] | None = None, *, options: Options = PLAIN) -> bool:
    """True when no later split or dividend adjustment of an asset's history can change a formula's values.

    A price ratio or a `ts_rank(close, 20)` is safe; `rank(close)`, `close < 5` and `rank(log(close))` are not. A
    formula that mixes units is never safe.
    """
    try:
        return dimension_of(expr, units, options=options).invariant
    except UnitError:
        return False
