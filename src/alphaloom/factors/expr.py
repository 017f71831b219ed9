"""Expr: one immutable formula; equal formulas are equal keys."""

from __future__ import annotations

import difflib
import math
import re
from typing import Any, NoReturn, SupportsFloat
from weakref import WeakValueDictionary

from alphaloom.errors import FormulaError, GrammarError, LookaheadError
from alphaloom.factors.ops import BY_NAME, Argument, Operator

__all__ = ["MAX_DEPTH", "Expr", "nearest"]

# Every walk over a formula is recursive; this keeps all of them far from Python's own limit.
MAX_DEPTH = 200
# A formula that repeats itself doubles with every step when written out; this keeps its text and its walks short.
MAX_SIZE = 20_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_KNOWN: WeakValueDictionary[tuple[Any, ...], Expr] = WeakValueDictionary()


class Expr:
    """One formula of the factor language: a name, a number, or an operator with its arguments.

    Build one with `parse`, with Python operators on another Expr, or with `Expr.call`. `==` compares structure; the
    formula "x equals y" is `Expr.call("equal", x, y)`. `str` prints what `parse` reads back as the same formula.
    Raises: GrammarError or LookaheadError at construction.
    """

    __slots__ = ("__weakref__", "_hash", "args", "depth", "op", "size", "value")
    op: str
    args: tuple[Expr, ...]
    value: float | str | None
    depth: int
    size: int
    _hash: int

    # Without this, `np.float64(2) * expr` would make an array of one object.
    __array_ufunc__ = None

    def __new__(cls, *_: object) -> Expr:
        raise FormulaError("a formula is made by parse(text), Expr.call, Expr.name or Expr.number", found="Expr(...)")

    @staticmethod
    def name(name: str) -> Expr:
        """A field, a series, a label or a shorthand by its name."""
        if not isinstance(name, str) or not _NAME.match(name) or name in ("true", "false"):
            raise GrammarError("a name is letters, digits and underscores and starts with no digit", found=repr(name))
        return _interned("name", (), name)

    @staticmethod
    def number(value: float) -> Expr:
        """A finite number."""
        if not math.isfinite(value):
            raise GrammarError("a number must be finite", found=value)
        return _interned("number", (), float(value) + 0.0)  # -0.0 + 0.0 is 0.0: equal numbers print alike

    @staticmethod
    def call(name: str, *args: Expr | float | str) -> Expr:
        """An operator of the table with its arguments; numbers become literals, text becomes a name."""
        operator = BY_NAME.get(name)
        if operator is None:
            raise GrammarError(
                "an operator must be in the operator table", found=name, fix=nearest(name, tuple(BY_NAME), "operator")
            )
        if not operator.required <= len(args) <= len(operator.arguments):
            raise GrammarError(
                f"{name} is written {operator.signature}", found=f"{len(args)} arguments", where=f"{name}(...)"
            )
        given = (*args, *(argument.default for argument in operator.arguments[len(args) :]))
        pairs = zip(operator.arguments, given, strict=True)
        return _interned(name, tuple(_checked(operator, argument, value) for argument, value in pairs), None)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("an Expr is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("an Expr is immutable")

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Expr):
            return NotImplemented
        same = (self._hash, self.op, self.value) == (other._hash, other.op, other.value)
        return same and self.args == other.args

    def __reduce__(self) -> tuple[Any, ...]:
        from alphaloom.factors.parse import parse

        return (parse, (str(self),))

    def __str__(self) -> str:
        from alphaloom.factors.parse import printed

        return printed(self)

    def __repr__(self) -> str:
        return f"parse({str(self)!r})"

    def __bool__(self) -> NoReturn:
        raise FormulaError(
            "a formula has no truth value", found=str(self), fix="combine conditions with & | ~, not with and, or, not"
        )

    def __add__(self, other: Expr | float) -> Expr:
        return Expr.call("add", self, other)

    def __radd__(self, other: float) -> Expr:
        return Expr.call("add", other, self)

    def __sub__(self, other: Expr | float) -> Expr:
        return Expr.call("sub", self, other)

    def __rsub__(self, other: float) -> Expr:
        return Expr.call("sub", other, self)

    def __mul__(self, other: Expr | float) -> Expr:
        return Expr.call("mul", self, other)

    def __rmul__(self, other: float) -> Expr:
        return Expr.call("mul", other, self)

    def __truediv__(self, other: Expr | float) -> Expr:
        return Expr.call("div", self, other)

    def __rtruediv__(self, other: float) -> Expr:
        return Expr.call("div", other, self)

    def __pow__(self, other: Expr | float) -> Expr:
        return Expr.call("power", self, other)

    def __rpow__(self, other: float) -> Expr:
        return Expr.call("power", other, self)

    def __neg__(self) -> Expr:
        return Expr.call("neg", self)

    def __invert__(self) -> Expr:
        return Expr.call("logical_not", self)

    def __and__(self, other: Expr | float) -> Expr:
        return Expr.call("logical_and", self, other)

    def __or__(self, other: Expr | float) -> Expr:
        return Expr.call("logical_or", self, other)

    def __lt__(self, other: Expr | float) -> Expr:
        return Expr.call("less", self, other)

    def __le__(self, other: Expr | float) -> Expr:
        return Expr.call("less_equal", self, other)

    def __gt__(self, other: Expr | float) -> Expr:
        return Expr.call("greater", self, other)

    def __ge__(self, other: Expr | float) -> Expr:
        return Expr.call("greater_equal", self, other)


def _interned(op: str, args: tuple[Expr, ...], value: float | str | None) -> Expr:
    """The one object that stands for this formula, so that shared parts compare and hash at no cost."""
    # The entry's own value holds the arguments, so their ids stay valid as long as the entry lives.
    key = (op, tuple(map(id, args)), value)
    known = _KNOWN.get(key)
    if known is not None:
        return known
    depth = 1 + max((arg.depth for arg in args), default=0)
    size = 1 + sum(arg.size for arg in args)
    if depth > MAX_DEPTH:
        raise GrammarError(f"a formula is at most {MAX_DEPTH} operators deep", found=depth, fix="split the formula")
    if size > MAX_SIZE:
        raise GrammarError(f"a formula has at most {MAX_SIZE} parts", found=size, fix="split the formula")
    made: Expr = object.__new__(Expr)
    slots = {"op": op, "args": args, "value": value, "depth": depth, "size": size, "_hash": hash((op, args, value))}
    for name, content in slots.items():
        object.__setattr__(made, name, content)
    return _KNOWN.setdefault(key, made)


def nearest(found: str, known: tuple[str, ...], what: str) -> str:
    """The way out for an unknown name: the nearest ones that exist."""
    close = difflib.get_close_matches(found, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"use a known {what}: {', '.join(sorted(known)[:12])}{', ...' if len(known) > 12 else ''}"


def _checked(operator: Operator, argument: Argument, given: Expr | float | str | None) -> Expr:
    place = f"argument {argument.name} of {operator.name}"
    if isinstance(given, Expr):
        expr = given
    elif isinstance(given, str):
        expr = Expr.name(given)
    elif isinstance(given, float | int | SupportsFloat):  # the cheap questions first: the last one walks a protocol
        expr = Expr.number(float(given))
    else:
        raise GrammarError("an argument is a formula, a number or a name", found=type(given).__name__, where=place)
    if argument.kind == "series":
        return expr
    if argument.kind == "group":
        if expr.op != "name":
            raise GrammarError("a group is the name of one of the panel's labels", found=_short(expr), where=place)
        return expr
    if expr.op != "number":
        raise GrammarError(f"a {argument.kind} must be a literal number", found=_short(expr), where=place)
    return _checked_literal(operator, argument, expr)


def _checked_literal(operator: Operator, argument: Argument, expr: Expr) -> Expr:
    place = f"argument {argument.name} of {operator.name}"
    value = float(expr.value or 0.0)
    if argument.kind == "window":
        value = math.floor(value)
        if value < 0:
            raise LookaheadError("a window reaches back, never forward", found=value, where=place)
    if not argument.least <= value <= argument.most:
        rule = f"the {argument.kind} {argument.name} of {operator.name} is {argument.least:g} to {argument.most:g}"
        raise GrammarError(rule, found=value, where=place)
    return Expr.number(value)


def _short(expr: Expr) -> str:
    return str(expr.value) if expr.value is not None else f"{expr.op}(...)"
