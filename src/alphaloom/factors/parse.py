"""Text to formula and back: a tokenizer, a precedence parser and a printer over the operator table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from alphaloom.errors import FormulaError, GrammarError, LookaheadError
from alphaloom.factors.expr import Expr, nearest
from alphaloom.factors.forms import CALLABLE, called
from alphaloom.factors.ops import BY_NAME, BY_SYMBOL, Operator
from alphaloom.factors.options import PLAIN, Options

__all__ = ["columns", "parse", "printed"]

MAX_LENGTH = 1_000_000
# A formula of the greatest depth needs fewer brackets than this.
MAX_NESTING = 1_000
_BLANK = " \t\n\r\f\v"
_COMPARISON = BY_NAME["less"].precedence
_TOKEN = re.compile(
    r"[ \t\n\r\f\v]*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<symbol><=|>=|==|!=|[-+*/<>&|!(),=]))",
    re.ASCII,
)
_OPERAND = "a name, a number, a function call, '-', '!' or '('"


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


def parse(text: str, *, let: Mapping[str, Expr] | None = None, options: Options = PLAIN) -> Expr:
    """Read one formula, such as `rank(ts_mean(close, 20) / close)`.

    Precedence from loose to tight: `|`, `&`, comparisons (which do not chain), `+ -`, `* /`, unary `- !`. Arguments may
    be given by name: `winsorize(x, k=3)`. A name in `let` stands for its formula; of the options, `window_rounding`
    says what becomes of a window such as 8.93.
    Raises: GrammarError with the column, the text found there and what is legal; LookaheadError for a window that
    would read the future.
    """
    return _parser(text, let, options).formula()


def columns(text: str, *, let: Mapping[str, Expr] | None = None, options: Options = PLAIN) -> Mapping[Expr, int]:
    """The column at which each part of a formula is first written: of its operator, or of its name or number."""
    parser = _parser(text, let, options)
    parser.formula()
    return parser.places


def _parser(text: str, let: Mapping[str, Expr] | None, options: Options) -> _Parser:
    if not isinstance(text, str):
        raise GrammarError("a formula is text", found=type(text).__name__)
    if len(text) > MAX_LENGTH:
        raise GrammarError(f"a formula has at most {MAX_LENGTH} characters", found=f"{len(text)} characters")
    return _Parser(_tokens(text), let or {}, options)


def _tokens(text: str) -> list[_Token]:
    found, at, end = [], 0, len(text.rstrip(_BLANK))
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            start = at + len(text[at:]) - len(text[at:].lstrip(_BLANK))
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


@dataclass(frozen=True)
class _Pending:
    """An operator, a bracket or a function whose operands are still being read."""

    kind: str  # "infix", "prefix", "bracket" or "function"
    token: _Token
    operator: Operator | None = None
    below: int = 0  # how many operands belong to what stands outside
    words: dict[str, int] = field(default_factory=dict)  # which operand is given by which name


class _Parser:
    """One pass over the tokens with stacks of its own, so that no nesting meets Python's recursion limit."""

    def __init__(self, tokens: list[_Token], let: Mapping[str, Expr], options: Options) -> None:
        self.tokens = tokens
        self.let = let
        self.options = options
        self.nesting = 0
        self.places: dict[Expr, int] = {}
        self.at = 0
        self.operands: list[Expr] = []
        self.pending: list[_Pending] = []

    def formula(self) -> Expr:
        wants_operand = True
        while True:
            token = self.take()
            if wants_operand:
                wants_operand = self.begin(token)
                continue
            infix = BY_SYMBOL.get((token.text, 2)) if token.kind == "symbol" else None
            if infix is not None:
                self.infix(infix, token)
                wants_operand = True
                continue
            self.reduce(0)
            if not self.pending:
                if token.kind == "end":
                    return self.operands[0]
                raise _illegal(token, "an infix operator or the end of the formula")
            wants_operand = self.close(token)

    def take(self) -> _Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def begin(self, token: _Token) -> bool:
        """Read what starts an operand; True while the operand itself is still to come."""
        following = self.tokens[self.at] if token.kind != "end" else token
        prefix = BY_SYMBOL.get((token.text, 1)) if token.kind == "symbol" else None
        if token.kind == "number":
            self.put(_number(token, 1.0), token)
        elif prefix is not None and token.text == "-" and following.kind == "number":
            self.put(_number(self.take(), -1.0), token)
        elif prefix is not None:
            self.pending.append(_Pending("prefix", token, prefix))
            return True
        elif token.kind == "symbol" and token.text == "(":
            self.nest(token)
            self.pending.append(_Pending("bracket", token, None, len(self.operands)))
            return True
        elif token.kind == "word" and following.text == "(":
            return self.open(token)
        elif token.kind == "word" and following.text == "=" and self.pending and self.pending[-1].kind == "function":
            return self.word(token)
        elif token.kind == "word":
            self.put(self.named(token.text), token)
        else:
            raise _illegal(token, _OPERAND)
        return False

    def open(self, name: _Token) -> bool:
        """Read `name(`; False where the function takes nothing, which is then refused by its arity."""
        if name.text not in CALLABLE:
            raise GrammarError(
                "a function must be an operator of the factor language",
                found=name.text,
                where=f"column {name.column}",
                fix=nearest(name.text, CALLABLE, "operator"),
            )
        self.nest(self.take())
        if self.tokens[self.at].text == ")":
            self.build(name.text, (), name)
        self.pending.append(_Pending("function", name, None, len(self.operands)))
        return True

    def nest(self, token: _Token) -> None:
        """Count one more open bracket."""
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise GrammarError(
                f"brackets stand at most {MAX_NESTING} deep",
                found=f"bracket {self.nesting}",
                where=f"column {token.column}",
                fix="take away the brackets that group nothing",
            )

    def word(self, name: _Token) -> bool:
        """Read `name=` before an argument."""
        group = self.pending[-1]
        if name.text in group.words:
            raise GrammarError("an argument is given once", found=name.text, where=f"column {name.column}")
        self.take()
        group.words[name.text] = len(self.operands)
        return True

    def named(self, name: str) -> Expr:
        """What a word stands for."""
        if name in ("true", "false"):
            return Expr.number(name == "true")
        return self.let[name] if name in self.let else Expr.name(name)

    def put(self, expr: Expr, token: _Token) -> None:
        """Take a finished part as an operand."""
        self.operands.append(expr)
        self.places.setdefault(expr, token.column)

    def infix(self, operator: Operator, token: _Token) -> None:
        comparison = operator.precedence == _COMPARISON
        self.reduce(operator.precedence + comparison)
        top = self.pending[-1].operator if self.pending and self.pending[-1].kind == "infix" else None
        if comparison and top is not None and top.precedence == _COMPARISON:
            raise GrammarError(
                "comparisons do not chain",
                found=token.text,
                where=f"column {token.column}",
                fix="join two comparisons with &",
            )
        self.pending.append(_Pending("infix", token, operator))

    def close(self, token: _Token) -> bool:
        """Read what ends an operand inside brackets; True after a comma, when another one follows."""
        group = self.pending[-1]
        if group.kind == "function" and token.text == ",":
            return True
        if token.text != ")":
            raise _illegal(
                token, "an infix operator, ',' or ')'" if group.kind == "function" else "an infix operator or ')'"
            )
        self.pending.pop()
        self.nesting -= 1
        if group.kind == "function":
            args = tuple(self.operands[group.below :])
            del self.operands[group.below :]
            words = {name: args[at - group.below] for name, at in group.words.items()}
            places = sorted(at - group.below for at in group.words.values())
            if places != list(range(len(args) - len(words), len(args))):
                raise GrammarError(
                    "arguments by name come after all others",
                    found=f"{group.token.text}(...)",
                    where=f"column {group.token.column}",
                    fix="give the last arguments by name as well",
                )
            self.build(group.token.text, args[: len(args) - len(words)], group.token, words)
        return False

    def reduce(self, floor: int) -> None:
        """Apply the pending operators that bind at least as tightly as `floor`."""
        while self.pending:
            top = self.pending[-1]
            if top.kind not in ("infix", "prefix") or top.operator is None or top.operator.precedence < floor:
                return
            self.pending.pop()
            count = len(top.operator.arguments)
            args = tuple(self.operands[-count:])
            del self.operands[-count:]
            self.build(top.operator.name, args, top.token)

    def build(
        self, name: str, args: tuple[Expr, ...], token: _Token, words: Mapping[str, Expr] = MappingProxyType({})
    ) -> None:
        try:
            self.put(called(name, args, words, options=self.options), token)
        except (FormulaError, LookaheadError) as error:
            raise _placed(error, token) from None


def _illegal(token: _Token, legal: str) -> GrammarError:
    return GrammarError(
        f"a formula needs {legal} here", found=token.text, where=f"column {token.column}", fix="complete the formula"
    )


def _number(token: _Token, sign: float) -> Expr:
    try:
        return Expr.number(sign * float(token.text))
    except FormulaError as error:
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
    left = left if left_tight > tight or (left_tight == tight and tight != _COMPARISON) else f"({left})"
    right = right if right_tight > tight else f"({right})"
    return f"{left} {operator.symbol} {right}", tight
