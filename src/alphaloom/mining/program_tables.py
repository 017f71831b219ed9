"""What every instruction does to units, depth and look-back, as arrays: legality is then a few comparisons.

The rules are the grammar's own; here they are asked once for every instruction and every unit that values can have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import OPERATORS, Expr
from alphaloom.factors.canonical import canonical
from alphaloom.factors.grammar import Exponents, Grammar
from alphaloom.mining.identity import is_constant

__all__ = ["Instruction", "Occupied", "Tables", "written"]

BY_NAME = {operator.name: operator for operator in OPERATORS}
REGISTERS = ("Reg0", "Reg1")
_NEVER = 99
# Beside these the same operand twice is another instruction in disguise, or a constant.
_TWINS_SAY_SOMETHING = ("add", "mul")


class Instruction(NamedTuple):
    """One line of a program: an operator and its operands, which are fields, numbers, windows or registers."""

    operator: str
    operands: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.operator, *self.operands))


class Occupied(NamedTuple):
    """What a register holds, without the formula: the number of its unit, its depth and its look-back."""

    unit: int
    depth: int
    reach: int


def written(grammar: Grammar) -> tuple[list[Instruction], list[Expr]]:
    """All instructions of a grammar and the form of each over names; one of those that mean the same.

    What gives a bare field, a number or a constant is left out.
    """
    series = [*grammar.features, *REGISTERS]
    numbers = [f"{value:g}" for value in grammar.constants]
    found: dict[Expr, Instruction] = {}
    for name in grammar.operators:
        kinds = [argument.kind for argument in BY_NAME[name].arguments]
        windows = [(str(window),) for window in grammar.windows_of(name)] if kinds[-1] == "window" else [()]
        binary, count = kinds == ["series", "series"], kinds.count("series")
        for operands in _operands(name, series, numbers if binary else [], count):
            for window in windows:
                made = Instruction(name, (*operands, *window))
                form = canonical(as_expr(made))
                # Prices and volumes are positive: their size is the same, and their sign a constant.
                positive = name in ("abs", "sign") and operands[0] in series[:-2]
                if positive and any(grammar.field_unit(operands[0])):
                    continue
                if form.op not in ("name", "number") and not is_constant(form):
                    found.setdefault(form, made)
    return list(found.values()), list(found)


def as_expr(instruction: Instruction) -> Expr:
    """An instruction as a formula over names."""
    args = [Expr.number(float(w)) if w[0] in "-.0123456789" else Expr.name(w) for w in instruction.operands]
    return Expr.call(instruction.operator, *args)


def _operands(name: str, series: list[str], numbers: list[str], count: int) -> Iterable[tuple[str, ...]]:
    if count == 1:
        yield from ((one,) for one in series)
        return
    every = [*series, *numbers]
    for left in every:
        for right in every:
            both_numbers = left in numbers and right in numbers
            if not both_numbers and (left != right or name in _TWINS_SAY_SOMETHING):
                yield left, right


class Tables:
    """The instructions of a grammar as arrays.

    Shape: `reach`, `first`, `second` (A,): rows before today that an instruction adds, and whether it reads Reg0, Reg1.
    Units are numbers into `units`; a result of -1 is forbidden.
    """

    def __init__(self, grammar: Grammar, instructions: Sequence[Instruction], deepest: int) -> None:
        self.grammar, self.deepest = grammar, min(grammar.max_depth, deepest)
        self._args = [self._read(instruction) for instruction in instructions]
        self._names = [instruction.operator for instruction in instructions]
        words = [instruction.operands for instruction in instructions]
        self.first = np.array(["Reg0" in w for w in words], dtype=np.bool_)
        self.second = np.array(["Reg1" in w for w in words], dtype=np.bool_)
        self.reach = np.array([_rows(instruction) for instruction in instructions], dtype=np.int64)
        self.units = self._closure()
        self._place = {unit: k for k, unit in enumerate(self.units)}
        self._fill(len(instructions))
        self.root = np.array([grammar.may_be_root(unit) for unit in self.units])
        self._needs()

    def _read(self, instruction: Instruction) -> tuple[str | Exponents | None, ...]:
        """Each operand's unit, None for a number, the register's name; windows left out."""
        kinds = BY_NAME[instruction.operator].arguments
        found: list[str | Exponents | None] = []
        for word, argument in zip(instruction.operands, kinds, strict=True):
            if argument.kind != "window":
                field = word in self.grammar.features
                found.append(self.grammar.field_unit(word) if field else word if word in REGISTERS else None)
        return tuple(found)

    def _after(self, number: int, reg0: Exponents | None, reg1: Exponents | None) -> Exponents | None:
        held = {"Reg0": reg0, "Reg1": reg1}
        args = [held[arg] if isinstance(arg, str) else arg for arg in self._args[number]]
        return self.grammar.unit_after(self._names[number], args)

    def _closure(self) -> list[Exponents]:
        """Every unit that values can have."""
        samples: dict[tuple[object, ...], int] = {}
        for number, args in enumerate(self._args):
            samples.setdefault((self._names[number], args), number)
        free = [k for k in samples.values() if not (self.first[k] or self.second[k])]
        alone = [k for k in samples.values() if self.first[k] and not self.second[k]]
        both = [k for k in samples.values() if self.first[k] and self.second[k]]
        units: dict[Exponents, None] = dict.fromkeys(u for k in free if (u := self._after(k, None, None)) is not None)
        while True:
            found = {self._after(k, u, None) for k in alone for u in units}
            found |= {self._after(k, u, v) for k in both for u in units for v in units}
            fresh = sorted(u for u in found if u is not None and u not in units)
            if not fresh:
                return list(units)
            units |= dict.fromkeys(fresh)

    def _fill(self, count: int) -> None:
        """Results by unit: `free` (A,), `one` (U, A) of the one register that is read, `two` (U, U, A)."""
        U = len(self.units)
        self.free = np.full(count, -1, np.int16)
        self.one = np.full((U, count), -1, np.int16)
        self.two = np.full((U, U, count), -1, np.int16)
        for number in range(count):
            if not self.first[number] and not self.second[number]:
                self.free[number] = self._number(self._after(number, None, None))
            elif self.first[number] and self.second[number]:
                for i, u in enumerate(self.units):
                    for j, v in enumerate(self.units):
                        self.two[i, j, number] = self._number(self._after(number, u, v))
            else:
                for i, u in enumerate(self.units):
                    self.one[i, number] = self._number(self._after(number, u, u))

    def _number(self, unit: Exponents | None) -> int:
        return -1 if unit is None else self._place[unit]

    def _needs(self) -> None:
        """How many instructions, the end included, some way to the end takes that reads no further back.

        Shape: `need1` (U, D + 2) by unit and depth of Reg0; `need2` (U, D + 2, U, D + 2) by those of both registers.
        """
        U, D = len(self.units), self.deepest
        quick = self.reach == 0
        turns = [sorted(set(self.one[u, quick]) - {-1}) for u in range(U)]
        need1 = np.full((U, D + 2), _NEVER, np.int16)
        for depth in range(D, -1, -1):
            for u in range(U):
                ways = [1 + int(need1[r, depth + 1]) for r in turns[u]]
                need1[u, depth] = 1 if self.root[u] else min([*ways, _NEVER])
        need2 = np.full((U, D + 2, U, D + 2), _NEVER, np.int16)
        deeper = np.minimum(np.maximum.outer(np.arange(D + 2), np.arange(D + 2)) + 1, D + 1)
        for u in range(U):
            for v in range(U):
                for r in sorted(set(self.two[u, v, quick]) - {-1}):
                    need2[u, :, v, :] = np.minimum(need2[u, :, v, :], 1 + need1[r][deeper])
        need2[:, D + 1], need2[:, :, :, D + 1] = _NEVER, _NEVER
        for _ in range(D):
            before = need2.copy()
            for u in range(U):
                for r in turns[u]:
                    need2[u, : D + 1] = np.minimum(need2[u, : D + 1], 1 + need2[r, 1:])
                    need2[:, :, u, : D + 1] = np.minimum(need2[:, :, u, : D + 1], 1 + need2[:, :, r, 1:])
            if np.array_equal(before, need2):
                break
        self.need1, self.need2 = np.minimum(need1, _NEVER), np.minimum(need2, _NEVER)

    def result(self, held: Sequence[Occupied]) -> NDArray[np.int16]:
        """The unit of every instruction's result, -1 where it cannot stand.   Shape: (A,)."""
        if not held:
            return self.free
        zero = held[0].unit
        if len(held) == 1:
            return np.where(self.second, np.int16(-1), np.where(self.first, self.one[zero], self.free))
        one = held[1].unit
        lone = np.where(self.first, self.one[zero], np.where(self.second, self.one[one], np.int16(-1)))
        return np.where(self.first & self.second, self.two[zero, one], lone)

    def mask(self, held: Sequence[Occupied], left: int) -> NDArray[np.bool_]:
        """Which instructions may come, where `left` may still come, the end included.   Shape: (A,)."""
        unit = self.result(held)
        depth, reach = np.ones(len(unit), np.int64), self.reach.copy()
        for register, reads in zip(held, (self.first, self.second), strict=False):
            depth = np.where(reads, np.maximum(depth, register.depth + 1), depth)
        below = np.zeros(len(unit), np.int64)
        for register, reads in zip(held, (self.first, self.second), strict=False):
            below = np.where(reads, np.maximum(below, register.reach), below)
        sound = (unit >= 0) & (depth <= self.deepest) & (reach + below <= self.grammar.max_lookback)
        u, d = np.maximum(unit, 0), np.minimum(depth, self.deepest + 1)
        need = self.need1[u, d]
        if len(held) == 1:
            zero = held[0]
            need = np.where(self.first, need, self.need2[zero.unit, zero.depth, u, d])
        elif len(held) == 2:
            zero, one = held
            need = np.where(self.second, need, self.need2[u, d, one.unit, one.depth])
            need = np.where(self.first, need, self.need2[zero.unit, zero.depth, u, d])
            both = self.first & self.second
            need = np.where(both, self.need1[u, d], need)
        return np.asarray(sound & (need <= left - 1))


def _rows(instruction: Instruction) -> int:
    operator = BY_NAME[instruction.operator]
    pairs = zip(instruction.operands, operator.arguments, strict=True)
    literals = tuple(float(word) for word, argument in pairs if argument.kind == "window")
    return operator.reach_rule(literals)
