"""Spellings that the parser turns into rows of the operator table: names of arguments, other names, short forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from alphaloom.errors import GrammarError
from alphaloom.factors.expr import Expr, nearest
from alphaloom.factors.ops import ALIASES, BY_NAME, Operator
from alphaloom.factors.options import PLAIN, Options

__all__ = ["CALLABLE", "FORMS", "called"]

# What is written, and what it stands for. The parser prints the right side.
FORMS: Mapping[str, str] = MappingProxyType(
    {
        "sma(x, n, m)": "ema_alpha(x, m / n): the average of Chinese charting software",
        "ema(x, alpha=a)": "ema_alpha(x, a)",
        "sign(x, mode=step)": "x > 0",
        "winsorize(x, k, method=mad)": "winsorize(x, k)",
        "winsorize(x, k, method=sigma)": "winsorize_sigma(x, k)",
        "winsorize(x, tail, method=quantile)": "winsorize_quantile(x, tail)",
        "indneutralize(x, g, unknown=market)": "where(isnan(n), demean(x), n) with n = indneutralize(x, g)",
        "group_mean(x, g, unknown=market)": "the same with cs_mean(x)",
        "group_zscore(x, g, unknown=market)": "the same with zscore(x)",
        "group_rank(x, g, unknown=market)": "the same with rank(x)",
        **{f"{alias}(...)": f"{name}(...)" for alias, name in ALIASES.items()},
    }
)
# Every name that may stand before a bracket.
CALLABLE: tuple[str, ...] = (*BY_NAME, *ALIASES, "sma")
Words = dict[str, Expr]
_WINSORS = {"mad": "winsorize", "sigma": "winsorize_sigma", "quantile": "winsorize_quantile"}
_MARKETS = {"indneutralize": "demean", "group_mean": "cs_mean", "group_zscore": "zscore", "group_rank": "rank"}


def called(name: str, args: Sequence[Expr], words: Mapping[str, Expr], *, options: Options = PLAIN) -> Expr:
    """The formula that a call stands for, with its arguments by place and by name.

    Raises: GrammarError for a name of no argument, an argument given twice, or whatever the operator refuses.
    """
    left = dict(words)
    name = ALIASES.get(name, name)
    if name == "sma":
        return _sma(args, left, options)
    for word, make in _SHORT.get(name, {}).items():
        if word in left:
            return make(name, args, left, options)
    return Expr.call(name, *_placed(BY_NAME[name], args, left, options))


def _placed(operator: Operator, args: Sequence[Expr], words: Words, options: Options) -> list[Expr | float]:
    """The arguments in the operator's order, windows rounded as the options say."""
    names = [argument.name for argument in operator.arguments]
    for word in words:
        if word not in names:
            fix = nearest(word, tuple(names), "argument")
            raise GrammarError(f"{operator.name} is written {operator.signature}", found=f"{word}=", fix=fix)
        if names.index(word) < len(args):
            raise GrammarError("an argument is given once", found=word, where=operator.name)
    given: list[Expr | float] = list(args)
    for argument in operator.arguments[len(args) :]:
        if argument.name not in words and argument.default is None:
            if set(names[len(given) :]) & set(words):
                raise GrammarError(f"{operator.name} is written {operator.signature}", found=f"no {argument.name}")
            break
        given.append(words[argument.name] if argument.name in words else float(argument.default or 0.0))
    if options.window_rounding == "round":
        kinds = [argument.kind for argument in operator.arguments]
        pairs = zip(given, [*kinds, *["series"] * len(given)], strict=False)
        given = [_rounded(value) if kind == "window" else value for value, kind in pairs]
    return given


def _rounded(value: Expr | float) -> Expr | float:
    """A literal rounded to the nearest whole number, halves away from zero."""
    number = value.value if isinstance(value, Expr) and value.op == "number" else value
    if isinstance(number, Expr):
        return number
    exact = float(number or 0.0)
    return math.copysign(math.floor(abs(exact) + 0.5), exact)


def _literal(value: Expr, role: str) -> float:
    if value.op != "number":
        raise GrammarError(f"{role} must be a literal number", found=str(value)[:60])
    return float(value.value or 0.0)


def _choice(words: Words, word: str, legal: Sequence[str]) -> str:
    """The word that chooses between forms, taken out of `words`."""
    value = words.pop(word)
    if value.op != "name" or value.value not in legal:
        raise GrammarError(f"{word} is {' or '.join(legal)}", found=str(value)[:60])
    return str(value.value)


def _sma(args: Sequence[Expr], words: Words, options: Options) -> Expr:
    if words or len(args) != 3:
        raise GrammarError("sma is written sma(x, n, m)", found=f"{len(args) + len(words)} arguments")
    n, m = _literal(args[1], "n of sma"), _literal(args[2], "m of sma")
    if not 0 < m <= n:
        raise GrammarError("sma(x, n, m) has 0 < m <= n", found=f"n = {n:g}, m = {m:g}")
    return called("ema_alpha", (args[0], Expr.number(m / n)), {}, options=options)


def _ema(_: str, args: Sequence[Expr], words: Words, options: Options) -> Expr:
    return Expr.call("ema_alpha", *_placed(BY_NAME["ema_alpha"], args, words, options))


def _winsorized(_: str, args: Sequence[Expr], words: Words, options: Options) -> Expr:
    operator = BY_NAME[_WINSORS[_choice(words, "method", tuple(_WINSORS))]]
    return Expr.call(operator.name, *_placed(operator, args, words, options))


def _signed(_: str, args: Sequence[Expr], words: Words, options: Options) -> Expr:
    mode = _choice(words, "mode", ("plain", "step"))
    plain = Expr.call("sign", *_placed(BY_NAME["sign"], args, words, options))
    return Expr.call("greater", plain.args[0], 0.0) if mode == "step" else plain


def _grouped(name: str, args: Sequence[Expr], words: Words, options: Options) -> Expr:
    unknown = _choice(words, "unknown", ("nan", "market"))
    inside = Expr.call(name, *_placed(BY_NAME[name], args, words, options))
    if unknown == "nan":
        return inside
    return Expr.call("where", Expr.call("isnan", inside), Expr.call(_MARKETS[name], inside.args[0]), inside)


_SHORT: dict[str, dict[str, Callable[[str, Sequence[Expr], Words, Options], Expr]]] = {
    "ema": {"alpha": _ema},
    "winsorize": {"method": _winsorized},
    "sign": {"mode": _signed},
    **{name: {"unknown": _grouped} for name in _MARKETS},
}
