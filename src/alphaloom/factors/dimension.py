"""What a later split or dividend does to a value: the rules by which units pass through operators.

A re-basing multiplies one asset's whole history of prices by a and its history of shares by b. A value is either
multiplied by a^p b^s (its unit), or, being the logarithm of such a value, shifted by p log a + s log b. Whatever is
neither is marked as not split-safe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from alphaloom.errors import UnitError
from alphaloom.units import ONE, Unit

__all__ = ["Dimension", "UnitRule"]


@dataclass(frozen=True)
class Dimension:
    """How a value answers to re-basing: by a factor (`unit`), by a shift (`shifts`), or unpredictably (not `safe`)."""

    unit: Unit = ONE
    shifts: bool = False
    safe: bool = True
    literal: float | None = None

    @property
    def invariant(self) -> bool:
        """True when no later split or dividend adjustment changes the value."""
        return self.safe and not self.shifts and self.unit.scale_free

    def __str__(self) -> str:
        return f"log({self.unit})" if self.shifts else str(self.unit)


UnitRule = Callable[[Sequence[Dimension]], Dimension]


def _value(unit: Unit, *sources: Dimension, safe: bool = True) -> Dimension:
    return Dimension(unit, safe=safe and all(source.safe for source in sources))


def _shift(unit: Unit, *sources: Dimension) -> Dimension:
    # The logarithm of a scale-free value is an ordinary number.
    return replace(_value(unit, *sources), shifts=not unit.scale_free)


def _tied(*args: Dimension) -> Dimension:
    """The common dimension of values that are set side by side; a literal 0 fits every unit."""
    real = [arg for arg in args if arg.literal is None]
    literals = [arg.literal for arg in args if arg.literal is not None]
    if not real:
        return Dimension()
    if any(arg.shifts for arg in real):
        if any(not arg.shifts and not arg.unit.scale_free for arg in real):
            raise UnitError("values of different units cannot be set side by side", found=" and ".join(map(str, real)))
        # Logarithms of one unit shift together; beside anything else the outcome depends on the shift.
        alike = not literals and all(arg.shifts and arg.unit == real[0].unit for arg in real)
        return _shift(real[0].unit, *real) if alike else _value(ONE, *real, safe=False)
    if any(arg.unit != real[0].unit for arg in real):
        raise UnitError("values of different units cannot be set side by side", found=" and ".join(map(str, real)))
    if any(literals) and not real[0].unit.scale_free:
        raise UnitError(
            "a number other than 0 has no unit and does not fit a value that has one",
            found=f"{real[0]} and {next(x for x in literals if x):g}",
            fix="divide the value by another one of the same unit",
        )
    return _value(real[0].unit, *real)


def _added(left: Dimension, right: Dimension, sign: float) -> Dimension:
    if not (left.shifts or right.shifts):
        return _tied(left, right)
    for one, other in ((left, right), (right, left)):
        if one.shifts and not other.shifts and not other.unit.scale_free:
            raise UnitError("values of different units cannot be added", found=f"{one} and {other}")
    share = left.unit if left.shifts else ONE
    other_share = right.unit**sign if right.shifts else ONE
    return _shift(share * other_share, left, right)


def add(args: Sequence[Dimension]) -> Dimension:
    """Sums need equal units; the sum of two logarithms is the logarithm of a product."""
    return _added(args[0], args[1], 1.0)


def subtract(args: Sequence[Dimension]) -> Dimension:
    """Differences need equal units; the difference of two logarithms is the logarithm of a ratio."""
    return _added(args[0], args[1], -1.0)


def multiply(args: Sequence[Dimension]) -> Dimension:
    """Units multiply; a logarithm times a number is the logarithm of a power."""
    left, right = args
    for one, other in ((left, right), (right, left)):
        if one.shifts:
            if other.literal is None:
                return _value(ONE if other.shifts else other.unit, left, right, safe=False)
            return _shift(one.unit**other.literal, one)
    return _value(left.unit * right.unit, left, right)


def divide(args: Sequence[Dimension]) -> Dimension:
    """Units divide; a logarithm divided by a number is the logarithm of a root."""
    left, right = args
    if right.shifts or (left.shifts and not right.literal):
        return _value((ONE if left.shifts else left.unit) / (ONE if right.shifts else right.unit), *args, safe=False)
    if left.shifts:
        return _shift(left.unit ** (1.0 / float(right.literal or 1.0)), left)
    return _value(left.unit / right.unit, left, right)


def negate(args: Sequence[Dimension]) -> Dimension:
    """A change of sign keeps the unit."""
    return _shift(args[0].unit ** -1, args[0]) if args[0].shifts else _value(args[0].unit, args[0])


def power(args: Sequence[Dimension]) -> Dimension:
    """A literal exponent multiplies the exponents of the unit; any other needs a plain number below it."""
    below, exponent = args
    if exponent.literal is None:
        _require_number(exponent, "an exponent")
        _require_number(below, "the base of an exponent that varies")
        return _value(ONE, below, exponent, safe=not (below.shifts or exponent.shifts))
    if below.shifts:
        return _value(ONE, below, safe=False)
    return _value(below.unit**exponent.literal, below)


def root(args: Sequence[Dimension]) -> Dimension:
    """A square root halves the exponents of the unit."""
    return power((args[0], Dimension(literal=0.5)))


def logarithm(args: Sequence[Dimension]) -> Dimension:
    """The logarithm of a price is a value that a re-basing shifts."""
    x = args[0]
    return _value(ONE, x, safe=False) if x.shifts else _shift(x.unit, x)


def exponential(args: Sequence[Dimension]) -> Dimension:
    """The exponential gives back what the logarithm took."""
    x = args[0]
    if not x.shifts:
        _require_number(x, "an exponent")
    return _value(x.unit, x)


def number(args: Sequence[Dimension]) -> Dimension:
    """Plain numbers in, a plain number out."""
    for arg in args:
        _require_number(arg, "the argument")
    return _value(ONE, *args, safe=not any(arg.shifts for arg in args))


def magnitude(args: Sequence[Dimension]) -> Dimension:
    """The unit stays; a shifted value has no zero to be measured from."""
    x = args[0]
    return _value(ONE if x.shifts else x.unit, x, safe=not x.shifts)


def direction(args: Sequence[Dimension]) -> Dimension:
    """A plain number that no factor changes, but a shift would."""
    return _value(ONE, args[0], safe=not args[0].shifts)


def free(args: Sequence[Dimension]) -> Dimension:
    """A plain number that neither a factor nor a shift changes."""
    return _value(ONE, *args)


def tied(args: Sequence[Dimension]) -> Dimension:
    """All arguments share one unit, which is the result's."""
    return _tied(*args)


def trailing(args: Sequence[Dimension]) -> Dimension:
    """A price and the bands around it have one unit; the window has none."""
    return _tied(*args[:3])


def compare(args: Sequence[Dimension]) -> Dimension:
    """Both sides share one unit (or one is a literal 0); the answer is a plain 1 or 0."""
    return _value(ONE, _tied(*args))


def choose(args: Sequence[Dimension]) -> Dimension:
    """The condition is a plain number; both branches share one unit."""
    _require_number(args[0], "a condition")
    both = _tied(args[1], args[2])
    return replace(both, safe=both.safe and args[0].safe and not args[0].shifts)


def keep(args: Sequence[Dimension]) -> Dimension:
    """The first argument's unit, shifts included."""
    return replace(args[0], literal=None)


def difference(args: Sequence[Dimension]) -> Dimension:
    """The first argument's unit; a shift common to all days cancels."""
    return _value(ONE if args[0].shifts else args[0].unit, args[0])


def total(args: Sequence[Dimension]) -> Dimension:
    """A sum over d days; d logarithms shift d times."""
    x, d = args
    return _shift(x.unit ** float(d.literal or 0), x) if x.shifts else _value(x.unit, x)


def product(args: Sequence[Dimension]) -> Dimension:
    """A product over d days has the d-th power of the unit."""
    x, d = args
    return _value(ONE if x.shifts else x.unit ** float(d.literal or 0), x, safe=not x.shifts)


def square(args: Sequence[Dimension]) -> Dimension:
    """The square of the unit; shifts cancel."""
    return difference(args) if args[0].shifts else _value(args[0].unit ** 2, args[0])


def covariance(args: Sequence[Dimension]) -> Dimension:
    """The product of two units; shifts cancel."""
    x, y = difference(args[:1]), difference(args[1:2])
    return _value(x.unit * y.unit, x, y)


def slope(args: Sequence[Dimension]) -> Dimension:
    """The first unit divided by the second; shifts cancel."""
    y, x = difference(args[:1]), difference(args[1:2])
    return _value(y.unit / x.unit, y, x)


def residual(args: Sequence[Dimension]) -> Dimension:
    """The first argument's unit; shifts of either side cancel."""
    return _value(difference(args[:1]).unit, args[0], args[1])


def cross_keep(args: Sequence[Dimension]) -> Dimension:
    """Assets are compared with each other: safe for values without unit only; the unit stays."""
    x = args[0]
    return _value(ONE if x.shifts else x.unit, x, safe=x.invariant)


def cross_free(args: Sequence[Dimension]) -> Dimension:
    """Assets are compared with each other: safe for values without unit only; a plain number comes out."""
    return _value(ONE, args[0], safe=args[0].invariant)


def cross_residual(args: Sequence[Dimension]) -> Dimension:
    """Assets are compared with each other: safe where every series is; the first one's unit stays."""
    y = args[0]
    return _value(ONE if y.shifts else y.unit, safe=all(arg.invariant for arg in args))


def _require_number(arg: Dimension, role: str) -> None:
    if not arg.shifts and not arg.unit.scale_free:
        raise UnitError(
            f"{role} must be a number without unit", found=str(arg), fix="divide by a value of the same unit"
        )
