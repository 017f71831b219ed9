"""Text to formula and back: a tokenizer, a precedence parser and a printer over the operator table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from alphaloom.errors import FormulaError, GrammarError, LookaheadError
from alphaloom.factors.expr import MAX_DEPTH, Expr, nearest
from alphaloom.factors.ops import BY_NAME, BY_SYMBOL, Operator

__all__ = ["parse", "printed"]

MAX_LENGTH = 100_000
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<symbol><=|>=|==|!=|[-+*/<>&|!(),]))",
    re.ASCII,
)
_OPERAND = "a name, a number, a function call, '-', '!' or '('"


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


def parse(text: str) -> Expr:
    """Read one formula, such as `rank(ts_mean(close, 20) / close)`.

    Precedence from loose to tight: `|`, `&`, comparisons (which do not chain), `+ -`, `* /`, unary `- !`.
    Raises: GrammarError with the column, the text found there and what is legal; LookaheadError for a window that
    would read the future.
    """
    if not isinstance(text, str):
        raise GrammarError("a formula is text", found=type(text).__name__)
    if len(text) > MAX_LENGTH:
        raise GrammarError(f"a formula has at most {MAX_LENGTH} characters", found=f"{len(text)} characters")
    return _Parser(_tokens(text)).formula()


def _tokens(text: str) -> list[_Token]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise GrammarError(
                "a formula is made of names, numbers, operators, commas and brackets",
                found=repr(text[start]),
                where=f"column {start + 1}",
                fix="use power(x, y) for powers" if text[start] == "^" else "remove the character",
            )
        found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup) + 1))
        at = match.end()
    found.append(_Token("end", "the end of the formula", end + 1))
    return found


class _Parser:
    """One pass over the tokens; `depth` guards Python's own recursion limit."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def fail(self, token: _Token, legal: str) -> GrammarError:
        return GrammarError(
            f"here a formula needs {legal}", found=token.text, where=f"column {token.column}", fix=f"write {legal}"
        )

    def formula(self) -> Expr:
        result = self.infix(0)
        if self.next.kind != "end":
            raise self.fail(self.next, "an infix operator or the end of the formula")
        return result

    def infix(self, floor: int) -> Expr:
        left = self.prefix()
        compared = False
        while True:
            token = self.next
            operator = BY_SYMBOL.get((token.text, 2)) if token.kind == "symbol" else None
            if operator is None or operator.precedence <= floor:
                return left
            if operator.precedence == 3:
                if compared:
                    raise GrammarError(
                        "comparisons do not chain",
                        found=token.text,
                        where=f"column {token.column}",
                        fix="join two comparisons with &",
                    )
                compared = True
            self.take()
            right = self.infix(operator.precedence)
            left = self.build(operator, (left, right), token)

    def prefix(self) -> Expr:
        self.depth += 1
        if self.depth > MAX_DEPTH + 4:
            raise GrammarError(
                f"a formula is at most {MAX_DEPTH} levels deep",
                found=f"level {self.depth}",
                where=f"column {self.next.column}",
                fix="split the formula",
            )
        token = self.next
        operator = BY_SYMBOL.get((token.text, 1)) if token.kind == "symbol" else None
        if operator is None:
            result = self.operand()
        else:
            self.take()
            if token.text == "-" and self.next.kind == "number":
                result = self.number(self.take(), -1.0)
            else:
                result = self.build(operator, (self.prefix(),), token)
        self.depth -= 1
        return result

    def operand(self) -> Expr:
        token = self.take()
        if token.kind == "number":
            return self.number(token, 1.0)
        if token.kind == "word":
            if self.next.text == "(" and self.next.kind == "symbol":
                return self.function(token)
            if token.text in ("true", "false"):
                return Expr.number(float(token.text == "true"))
            return Expr.name(token.text)
        if token.text == "(" and token.kind == "symbol":
            inner = self.infix(0)
            if self.next.text != ")":
                raise self.fail(self.next, "an infix operator or ')'")
            self.take()
            return inner
        raise self.fail(token, _OPERAND)

    def number(self, token: _Token, sign: float) -> Expr:
        try:
            return Expr.number(sign * float(token.text))
        except FormulaError as error:
            raise _placed(error, token) from None

    def function(self, token: _Token) -> Expr:
        operator = BY_NAME.get(token.text)
        if operator is None:
            raise GrammarError(
                "a function must be an operator of the factor language",
                found=token.text,
                where=f"column {token.column}",
                fix=nearest(token.text, tuple(BY_NAME), "operator"),
            )
        self.take()
        args: list[Expr] = []
        while self.next.text != ")" or args:
            args.append(self.infix(0))
            if self.next.text == ")":
                break
            if self.next.text != ",":
                raise self.fail(self.next, "an infix operator, ',' or ')'")
            self.take()
        self.take()
        return self.build(operator, tuple(args), token)

    def build(self, operator: Operator, args: tuple[Expr, ...], token: _Token) -> Expr:
        try:
            return Expr.call(operator.name, *args)
        except (FormulaError, LookaheadError) as error:
            raise _placed(error, token) from None


def _placed(error: FormulaError | LookaheadError, token: _Token) -> FormulaError | LookaheadError:
    if error.where.startswith("column"):
        return error
    where = f"column {token.column}" + (f", {error.where}" if error.where else "")
    return type(error)(error.rule, found=error.found, where=where, fix=error.fix)


_TIGHTEST = 9


def printed(expr: Expr) -> str:
    """The formula as text that `parse` reads back as the same formula."""
    return _printed(expr)[0]


def _printed(expr: Expr) -> tuple[str, int]:
    """The text and how tightly its outermost operator binds."""
    if expr.op == "name":
        return str(expr.value), _TIGHTEST
    if expr.op == "number":
        value = float(expr.value or 0.0)
        text = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        # A negative literal is a prefix form of its own: it never needs brackets as an operand.
        return text, _TIGHTEST
    operator = BY_NAME[expr.op]
    parts = [_printed(arg) for arg in expr.args]
    if not operator.symbol:
        return f"{operator.name}({', '.join(text for text, _ in parts)})", _TIGHTEST
    tight = operator.precedence
    if len(parts) == 1:
        text, inner = parts[0]
        # `-2` is a number and `-(2)` an operation on one: brackets keep them apart.
        bare = inner >= tight and expr.args[0].op != "number"
        return f"{operator.symbol}{text if bare else f'({text})'}", tight
    (left, left_tight), (right, right_tight) = parts
    # Operators of one precedence group to the left; comparisons do not group at all.
    left = left if left_tight > tight or (left_tight == tight and tight != 3) else f"({left})"
    right = right if right_tight > tight else f"({right})"
    return f"{left} {operator.symbol} {right}", tight
