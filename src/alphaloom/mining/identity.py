"""When two formulas are one: the form of a formula at the root of a search, and the fingerprint of its values."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import Expr, fields_of
from alphaloom.factors.canonical import canonical
from alphaloom.mining.signs import settle_signs

__all__ = ["Fingerprints", "fixed_cells", "is_constant", "root_form", "root_sign"]

CELLS = 256
# Cosine of two fingerprints from which on they are one: values that differ by rounding alone agree far better.
_SAME = 1.0 - 1e-5
# Duplicates have the same coefficient but for rounding; only neighbours by it are compared.
_BUCKET = 1e-4


def root_form(expr: Expr) -> Expr:
    """The canonical form without what a pool's weight or a standardisation undoes at the root.

    A sign, a factor other than 0 and an added constant go, and so does what a positive value makes idle inside: its
    sign, its size, the larger of it and a negative number.
    """
    return _rooted(expr)[0]


def root_sign(expr: Expr) -> float:
    """1 where a formula rises with its root form, -1 where it falls."""
    return _rooted(expr)[1]


@lru_cache(maxsize=1 << 15)
def _rooted(expr: Expr) -> tuple[Expr, float]:
    found, sign = canonical(settle_signs(expr)), 1.0
    while True:
        inner = _stripped(found)
        if inner is None:
            return found, sign
        sign *= _turn(found)
        found = canonical(inner)


def is_constant(expr: Expr) -> bool:
    """True for a formula that reads no field, or that subtracts, divides or correlates a value with itself."""
    if not fields_of(expr):
        return True
    return expr.op in ("sub", "div", "ts_corr") and expr.args[0] is expr.args[1]


class Fingerprints:
    """What has been seen, by standardised values at fixed random cells; the sign does not count.

    Shape: a fingerprint is 256 numbers, of length 1.
    """

    def __init__(self, shape: tuple[int, int], seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self._cells = random.integers(0, shape[0], CELLS), random.integers(0, shape[1], CELLS)
        self._prints: list[NDArray[np.float32]] = []
        self._ics: list[float] = []
        self._buckets: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._prints)

    def of(self, z: NDArray[Any]) -> NDArray[np.float32]:
        """The fingerprint of standardised values.   Shape: (S, N) -> (256,)."""
        taken = np.asarray(z[self._cells], dtype=np.float32)
        length = float(np.sqrt(taken.astype(np.float64) @ taken))
        return taken / np.float32(length) if length > 0.0 else taken

    def find(self, mark: NDArray[np.float32], ic: float) -> int | None:
        """The number of an earlier formula with the same values up to sign; None where there is none."""
        place = int(abs(ic) / _BUCKET) if np.isfinite(ic) else -9
        for near in (place - 1, place, place + 1):
            for number in self._buckets.get(near, ()):
                if abs(float(self._prints[number] @ mark)) >= _SAME:
                    return number
        return None

    def add(self, mark: NDArray[np.float32], ic: float) -> int:
        """Remember a fingerprint and return its number."""
        self._prints.append(mark)
        self._ics.append(ic)
        self._buckets.setdefault(int(abs(ic) / _BUCKET) if np.isfinite(ic) else -9, []).append(len(self._prints) - 1)
        return len(self._prints) - 1

    @property
    def coefficients(self) -> tuple[float, ...]:
        """The coefficient that came with each fingerprint.   Shape: (M,)."""
        return tuple(self._ics)

    def rows(self, start: int) -> list[NDArray[np.float32]]:
        """The fingerprints from a number on, in their order."""
        return self._prints[start:]

    def table(self) -> NDArray[np.float32]:
        """All fingerprints in their order.   Shape: (M, 256)."""
        return np.stack(self._prints) if self._prints else np.zeros((0, CELLS), np.float32)


def _turn(expr: Expr) -> float:
    """-1 where a root that `_stripped` opens turns its argument's sign."""
    if expr.op == "neg":
        return -1.0
    left, right = expr.args
    if expr.op in ("mul", "div"):
        factor = right if right.op == "number" else left
        return -1.0 if float(factor.value or 0.0) < 0.0 else 1.0
    return -1.0 if expr.op == "sub" and left.op == "number" else 1.0


def _stripped(expr: Expr) -> Expr | None:
    """The argument that carries the information, where the root only scales, shifts or turns it."""
    if expr.op == "neg":
        return expr.args[0]
    if expr.op not in ("add", "sub", "mul", "div"):
        return None
    left, right = expr.args
    if right.op == "number" and left.op != "number" and (expr.op in ("add", "sub") or right.value):
        return left
    if (
        left.op == "number"
        and right.op != "number"
        and (expr.op in ("add", "sub") or (expr.op == "mul" and left.value))
    ):
        return right
    return None


def fixed_cells(target: NDArray[Any], count: int) -> NDArray[np.intp]:
    """The flat numbers of at most so many cells that have a target, ascending; the same in every search.

    Similarities to many formulas are measured on them alone, at a fraction of the time.
    """
    known = np.flatnonzero(np.isfinite(target))
    return known if len(known) <= count else np.sort(np.random.default_rng(0).choice(known, count, False))
