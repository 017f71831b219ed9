"""Formulas as programs for two registers: one instruction a move, legality by table, no game that ends invalid.

An instruction is an operator and up to three operands: fields, numbers, windows or registers. Its result goes to the
first empty register when it reads none, to the one that it reads, and to Reg0 when it reads both, which empties Reg1.
The result of a program is Reg0.

Source: Alpha2, arXiv:2406.16505. Deviation: the paper does not print where a result goes; the rule above is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import GrammarError
from alphaloom.factors import Expr
from alphaloom.factors.canonical import canonical
from alphaloom.factors.grammar import Grammar
from alphaloom.mining.identity import is_constant
from alphaloom.mining.program_tables import BY_NAME, REGISTERS, Instruction, Occupied, Tables, as_expr, written
from alphaloom.mining.signs import settle_signs

__all__ = ["Instruction", "Program", "Programs"]

# Masks are remembered for so many kinds of states.
_MOST_KEPT = 50_000


class Register(NamedTuple):
    """One value that a program holds: its formula, unit, depth and look-back."""

    expr: Expr
    held: Occupied


class Programs:
    """The programs that a search may write: all instructions of a grammar, at most `max_length` a program.

    Start and End count as instructions; Start stands before the first move, End is the last instruction's number.
    Raises: GrammarError where no program can end.
    """

    def __init__(self, grammar: Grammar, max_length: int = 9) -> None:
        if max_length < 3:
            raise GrammarError("a program has a start, an instruction and an end", found=max_length, where="Programs")
        self.grammar, self.max_length = grammar, max_length
        lines, self._forms = written(grammar)
        self.tables = Tables(grammar, lines, max_length - 2)
        self.instructions: tuple[Instruction, ...] = (*lines, Instruction("Start"), Instruction("End"))
        self._numbers = {line: number for number, line in enumerate(self.instructions)}
        self._args = [self._readable(line) for line in lines]
        self._memo: dict[Any, NDArray[np.bool_]] = {}
        if not self.start().legal().any():
            raise GrammarError(
                "some program must be able to end",
                found=f"units {grammar.units}, {len(grammar.operators)} operators, {max_length} instructions",
                where="Programs",
                fix="allow sign, div or longer programs, or units='off'",
            )

    def __len__(self) -> int:
        return len(self.instructions)

    @property
    def end(self) -> int:
        """The number of the end."""
        return len(self.instructions) - 1

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """Operator and three operands of every instruction as numbers, 0 for none.   Shape: (A, 4)."""
        operators = {name: k + 1 for k, name in enumerate(dict.fromkeys(line.operator for line in self.instructions))}
        operands = {word: k + 1 for k, word in enumerate(self._words())}
        table = np.zeros((len(self.instructions), 4), np.int64)
        for number, line in enumerate(self.instructions):
            table[number, 0] = operators[line.operator]
            kinds = BY_NAME[line.operator].arguments if line.operands else ()
            for place, (word, argument) in enumerate(zip(line.operands, kinds, strict=True)):
                table[number, 1 + place] = operands[f"window {word}" if argument.kind == "window" else word]
        return table

    def _words(self) -> list[str]:
        grammar = self.grammar
        numbers = [f"{value:g}" for value in grammar.constants]
        return [*grammar.features, *REGISTERS, *numbers, *(f"window {window}" for window in grammar.windows)]

    def start(self, limit: int | None = None) -> Program:
        """The program that holds nothing yet, of at most `limit` instructions where that is less."""
        return Program(self, (), (), (), limit=min(limit or self.max_length, self.max_length))

    @cached_property
    def shortest(self) -> int:
        """The instructions, Start and End included, that the shortest program takes."""
        return next(limit for limit in range(3, self.max_length + 1) if self.start(limit).legal().any())

    def decode(self, numbers: Iterable[int]) -> Expr:
        """The formula of a program, the end included or not.   Raises: GrammarError for one that cannot be run."""
        state = self.start()
        for number in numbers:
            if number == self.end:
                break
            state = state.push(int(number))
        if state.result is None:
            raise GrammarError("a program ends with one value, in Reg0", found=str(state), where="Programs.decode")
        return state.result

    def encode(self, expr: Expr) -> tuple[int, ...]:
        """The program of a formula, the end included.

        Operands of symmetric operators come in the table's order. Raises: GrammarError for a formula that needs more
        than two registers, more instructions, or what the grammar lacks.
        """
        numbers: list[int] = []
        self._compile(expr, 0, numbers)
        state = self.start()
        for number in numbers:
            state = state.push(number)
        if len(numbers) > self.max_length - 2 or state.result is None:
            raise GrammarError(
                f"a program has at most {self.max_length} instructions and a sound result", found=str(expr)
            )
        return (*numbers, self.end)

    def _compile(self, node: Expr, taken: int, numbers: list[int]) -> None:
        """Append what leaves a formula's value in the register `taken`."""
        kinds = BY_NAME[node.op].arguments if node.op in BY_NAME else ()
        series = [arg for arg, kind in zip(node.args, kinds, strict=True) if kind.kind == "series"]
        inner = [arg for arg in dict.fromkeys(series) if arg.op in BY_NAME]
        inner.sort(key=_registers, reverse=True)
        if _registers(node) + taken > 2 or not kinds:
            raise GrammarError("a program has two registers", found=str(node), where="Programs.encode")
        for offset, arg in enumerate(inner):
            self._compile(arg, taken + offset, numbers)
        places = {arg: REGISTERS[taken + offset] for offset, arg in enumerate(inner)}
        words = [
            places[arg] if arg in places else f"{arg.value:g}" if arg.op == "number" else str(arg.value)
            for arg in node.args
        ]
        for order in ((0, 1), (1, 0)) if len(series) == 2 else ((0,),):
            line = Instruction(node.op, (*(words[k] for k in order), *words[len(series) :]))
            # The other order is the same only where the table holds one of both: that of a symmetric operator.
            if line in self._numbers and (order[0] == 0 or canonical(as_expr(line)) == _named(node.op, words)):
                numbers.append(self._numbers[line])
                return
        raise GrammarError("a program is written with the grammar's instructions", found=f"{node.op} {words}")

    def _readable(self, line: Instruction) -> tuple[Expr | int, ...]:
        """The operands as formulas, registers by their number."""
        whole = as_expr(line)
        names = {Expr.name(name): k for k, name in enumerate(REGISTERS)}
        return tuple(names.get(arg, arg) for arg in whole.args)

    def _line(self, number: int) -> tuple[str, tuple[Expr | int, ...]]:
        return self.instructions[number].operator, self._args[number]


class Program:
    """A program so far and what its registers hold; `push` gives the next one.

    `repeated` says that the last result was already there, on this way or as a field, or says nothing at all: a search
    has no reason to go on from it. `forms` are the canonical forms of the results so far.
    """

    __slots__ = ("forms", "limit", "numbers", "programs", "registers", "repeated")

    def __init__(
        self,
        programs: Programs,
        numbers: tuple[int, ...],
        registers: tuple[Register, ...],
        forms: tuple[Expr, ...],
        repeated: bool = False,
        *,
        limit: int,
    ) -> None:
        self.programs, self.numbers, self.registers = programs, numbers, registers
        self.forms, self.repeated, self.limit = forms, repeated, limit

    @property
    def left(self) -> int:
        """How many instructions may still come, the end included."""
        return self.limit - 1 - len(self.numbers)

    @property
    def finished(self) -> bool:
        """True after the end."""
        return bool(self.numbers) and self.numbers[-1] == self.programs.end

    @property
    def sound(self) -> bool:
        """True where Reg0 holds what may be a result, whatever else is held."""
        return bool(self.registers) and bool(self.programs.tables.root[self.registers[0].held.unit])

    @property
    def result(self) -> Expr | None:
        """The formula, where Reg0 holds a sound one and Reg1 nothing."""
        return self.registers[0].expr if len(self.registers) == 1 and self.sound else None

    def legal(self) -> NDArray[np.bool_]:
        """Which instructions may come next; read-only.   Shape: (A,)."""
        programs, held = self.programs, tuple(register.held for register in self.registers)
        widest = programs.tables.reach.max(initial=0)
        near = programs.grammar.max_lookback - widest
        # Look-back matters where the widest window could pass the limit; elsewhere all are one.
        key = (self.finished, self.left, tuple((h.unit, h.depth, h.reach if h.reach > near else 0) for h in held))
        found = programs._memo.get(key)
        if found is None:
            if len(programs._memo) > _MOST_KEPT:
                programs._memo.clear()
            found = programs._memo[key] = self._allowed(held)
        twins = [number for number in self._twins() if found[number]]
        if not twins or np.count_nonzero(found) <= len(twins):
            return found
        found = found.copy()
        found[twins] = False
        return found

    def _allowed(self, held: tuple[Occupied, ...]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self.programs), np.bool_)
        if not self.finished and self.left > 0:
            mask[:-2] = self.programs.tables.mask(held, self.left)
            mask[-1] = self.result is not None
        mask.flags.writeable = False
        return mask

    def _twins(self) -> list[int]:
        """The instructions that would make both registers hold one formula."""
        numbers, exprs = self.programs._numbers, [register.expr for register in self.registers]
        if not exprs:
            return []
        free = len(exprs) == 1
        found = []
        for place, other in ((1, 0),) if free else ((0, 1), (1, 0)):
            twin, own = exprs[other], None if free else exprs[place]
            words = [
                REGISTERS[place] if arg is own else f"{arg.value:g}" if arg.op == "number" else str(arg.value)
                for arg in twin.args
            ]
            number = numbers.get(Instruction(twin.op, tuple(words)))
            if number is not None and (free or any(arg is own for arg in twin.args)):
                found.append(number)
        return found

    def push(self, number: int) -> Program:
        """The program with one more instruction.   Raises: GrammarError for one that cannot be run here."""
        programs, held = self.programs, [register.held for register in self.registers]
        if number == programs.end and self.result is not None and not self.finished:
            return Program(programs, (*self.numbers, number), self.registers, self.forms, limit=self.limit)
        tables = programs.tables
        unit = -1 if self.finished or number >= programs.end - 1 else int(tables.result(held)[number])
        reads = [] if unit < 0 else [k for k, read in enumerate((tables.first, tables.second)) if read[number]]
        depth = 1 + max((held[k].depth for k in reads), default=0)
        reach = int(tables.reach[number]) + max((held[k].reach for k in reads), default=0) if unit >= 0 else 0
        if unit < 0 or depth > tables.grammar.max_depth or reach > tables.grammar.max_lookback:
            line = programs.instructions[number]
            raise GrammarError("an instruction must be legal where it stands", found=str(line), where=str(self))
        name, args = programs._line(number)
        expr = Expr.call(name, *(self.registers[arg].expr if isinstance(arg, int) else arg for arg in args))
        made = Register(expr, Occupied(unit, depth, reach))
        registers = list(self.registers)
        if len(reads) == 1:
            registers[reads[0]] = made
        else:
            registers = [made] if reads else [*registers, made]
        form = canonical(settle_signs(expr))
        repeated = form.op in ("name", "number") or form in self.forms or is_constant(form)
        forms, numbers = (*self.forms, form), (*self.numbers, number)
        return Program(programs, numbers, tuple(registers), forms, repeated, limit=self.limit)

    def __str__(self) -> str:
        return "; ".join(str(self.programs.instructions[number]) for number in self.numbers) or "Start"


def _registers(node: Expr) -> int:
    """How many registers a formula's value takes to be made."""
    inner = [_registers(arg) for arg in dict.fromkeys(node.args) if arg.op in BY_NAME]
    if len(inner) == 2:
        return max(inner) if inner[0] != inner[1] else inner[0] + 1
    return max([*inner, 1])


def _named(op: str, words: list[str]) -> Expr:
    return canonical(as_expr(Instruction(op, tuple(words))))
