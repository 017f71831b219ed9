"""The operator table: one row for each operator of the factor language, read by everything else.

The parser takes names and argument kinds from here, the unit checker the unit rule, the look-back calculator the reach
rule, the evaluator the kernel, the tests and the documentation all of it. A new operator is a new row and its kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from alphaloom.factors import dimension as unit

__all__ = [
    "ALIASES",
    "BY_NAME",
    "BY_SYMBOL",
    "EMA_TAIL",
    "OPERATORS",
    "WINDOW_CAP",
    "Argument",
    "Operator",
    "ema_span",
    "ema_terms",
]

Kind = Literal["series", "window", "constant", "group"]
# The literal arguments in their order, windows and constants alike, give the rows before today that are read.
ReachRule = Callable[[tuple[float, ...]], int]

WINDOW_CAP = 10_000
# Weights of an exponential average beyond 8.1 * (span + 1) rows sum to less than exp(-16.2) = 1e-7 of the whole.
EMA_TAIL = 8.1


@dataclass(frozen=True)
class Argument:
    """One argument of an operator: its kind, its default where it may be left out, the bounds of a literal."""

    name: str
    kind: Kind
    default: float | None = None
    least: float = -math.inf
    most: float = math.inf


@dataclass(frozen=True)
class Operator:
    """One operator: what it takes, how units pass, how many rows before today it reads, what computes it.

    `kernel` is "module.function" inside this room, loaded at first use. `family` is elementwise, window or cross;
    members only are seen by a cross operator. `symbol` and `precedence` belong to infix and prefix notation. `options`
    names the options of a formula set that its kernel takes as keywords.
    """

    name: str
    arguments: tuple[Argument, ...]
    unit_rule: unit.UnitRule
    reach_rule: ReachRule
    kernel: str
    family: Literal["elementwise", "window", "cross"]
    meaning: str
    source: str = ""
    symbol: str = ""
    precedence: int = 0
    options: tuple[str, ...] = ()

    @property
    def required(self) -> int:
        """How many arguments cannot be left out."""
        return sum(argument.default is None for argument in self.arguments)

    @property
    def signature(self) -> str:
        """The operator as one writes it."""
        words = [
            argument.name if argument.default is None else f"{argument.name}={argument.default:g}"
            for argument in self.arguments
        ]
        return f"{self.name}({', '.join(words)})"


def ema_terms(span: float) -> int:
    """How many rows, today's included, an exponential average of this span reads."""
    return math.ceil(EMA_TAIL * (span + 1))


def ema_span(alpha: float) -> float:
    """The span whose exponential average has this weight on today."""
    return 2.0 / alpha - 1.0


def _none(_: tuple[float, ...]) -> int:
    return 0


def _lag(literals: tuple[float, ...]) -> int:
    return int(literals[0])


def _window(literals: tuple[float, ...]) -> int:
    return int(literals[0]) - 1


def _ema(literals: tuple[float, ...]) -> int:
    return ema_terms(literals[0]) - 1


def _ema_alpha(literals: tuple[float, ...]) -> int:
    # A weight of 1 on today leaves none for yesterday.
    return 0 if literals[0] == 1.0 else ema_terms(ema_span(literals[0])) - 1


_KINDS: dict[str, Kind] = {"g": "group", "d": "window"}
_BOUNDS = {"Q": (0.0, 1.0), "K": (0.0, math.inf), "TAIL": (0.0, 0.5), "ALPHA": (0.002, 1.0)}
_REACHES: dict[str, ReachRule] = {
    **dict.fromkeys(("delay", "delta", "ts_backfill"), _lag),
    "ema": _ema,
    "ema_alpha": _ema_alpha,
}
_OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"), ("nan_compare",)),
    **dict.fromkeys(("delay", "delta", "ts_backfill"), ()),
    "ts_corr": ("min_periods", "zero_variance_corr"),
    **dict.fromkeys(("ts_skew", "ts_kurt"), ("min_periods", "moments")),
}
_PAPER = "arXiv:1601.00991, appendix A"
_OF_THE_PAPER = (
    *("abs", "log", "sign", "signed_power", "minimum", "maximum", "rank", "scale", "indneutralize", "delay", "delta"),
    *("decay_linear", "ts_corr", "ts_cov", "ts_min", "ts_max", "ts_argmax", "ts_argmin", "ts_rank", "ts_sum"),
    *("ts_product", "ts_std"),
)


def _arguments(text: str, least: int = 1) -> tuple[Argument, ...]:
    """Read "x y d q=" notation: d is a window, g a group, a name in capitals a constant, name=1 has a default."""
    found = []
    for word in text.split():
        name, _, default = word.partition("=")
        kind: Kind = "constant" if name.isupper() else _KINDS.get(name, "series")
        low, high = (least, WINDOW_CAP) if kind == "window" else _BOUNDS.get(name, (-math.inf, math.inf))
        found.append(Argument(name.lower(), kind, float(default) if default else None, low, high))
    return tuple(found)


def _source(name: str) -> str:
    return _PAPER if name in _OF_THE_PAPER else ""


def _each(name: str, text: str, rule: unit.UnitRule, meaning: str, symbol: str = "", precedence: int = 0) -> Operator:
    kernel = f"elementwise.{name}"
    options = _OPTIONS.get(name, ())
    return Operator(
        name, _arguments(text), rule, _none, kernel, "elementwise", meaning, _source(name), symbol, precedence, options
    )


def _over(
    name: str, text: str, rule: unit.UnitRule, meaning: str, *, module: str = "rolling", least: int = 1
) -> Operator:
    reach, kernel = _REACHES.get(name, _window), f"{module}.{name}"
    options = _OPTIONS.get(name, ("min_periods",))
    arguments = _arguments(text, least)
    return Operator(name, arguments, rule, reach, kernel, "window", meaning, _source(name), options=options)


def _moment(name: str, text: str, rule: unit.UnitRule, meaning: str, *, least: int = 2) -> Operator:
    return _over(name, text, rule, meaning, module="moments", least=least)


def _across(name: str, text: str, rule: unit.UnitRule, meaning: str) -> Operator:
    return Operator(name, _arguments(text), rule, _none, f"cross.{name}", "cross", meaning, _source(name))


OPERATORS: tuple[Operator, ...] = (
    _each("logical_or", "a b", unit.number, "1 where either is true", "|", 1),
    _each("logical_and", "a b", unit.number, "1 where both are true", "&", 2),
    _each("less", "x y", unit.compare, "1 where x < y", "<", 3),
    _each("less_equal", "x y", unit.compare, "1 where x <= y", "<=", 3),
    _each("greater", "x y", unit.compare, "1 where x > y", ">", 3),
    _each("greater_equal", "x y", unit.compare, "1 where x >= y", ">=", 3),
    _each("equal", "x y", unit.compare, "1 where x equals y", "==", 3),
    _each("not_equal", "x y", unit.compare, "1 where x differs from y", "!=", 3),
    _each("add", "x y", unit.add, "sum", "+", 4),
    _each("sub", "x y", unit.subtract, "difference", "-", 4),
    _each("mul", "x y", unit.multiply, "product", "*", 5),
    _each("div", "x y", unit.divide, "quotient; NaN where y is 0", "/", 5),
    _each("neg", "x", unit.negate, "minus x", "-", 6),
    _each("logical_not", "a", unit.number, "1 where a is 0", "!", 6),
    _each("power", "x y", unit.power, "x to the power y; NaN for a negative x with a broken exponent"),
    _each("signed_power", "x y", unit.power, "sign(x) * abs(x)^y"),
    _each("abs", "x", unit.magnitude, "size without sign"),
    _each("sign", "x", unit.direction, "-1, 0 or 1"),
    _each("log", "x", unit.logarithm, "natural logarithm; NaN for x <= 0"),
    _each("log1p", "x", unit.number, "log(1 + x)"),
    _each("exp", "x", unit.exponential, "exponential"),
    _each("sqrt", "x", unit.root, "square root; NaN for x < 0"),
    _each("tanh", "x", unit.number, "hyperbolic tangent"),
    _each("normcdf", "x", unit.number, "share of a standard normal below x"),
    _each("minimum", "x y", unit.tied, "the smaller of two"),
    _each("maximum", "x y", unit.tied, "the larger of two"),
    _each("clip", "x LOW HIGH", unit.tied, "x held between two constants"),
    _each("where", "c x y", unit.choose, "x where c is not 0, else y; NaN where c is NaN"),
    _each("isnan", "x", unit.free, "1 where x is not known"),
    _each("fillna", "x VALUE", unit.tied, "x, or a constant where x is not known"),
    _over("delay", "x d", unit.keep, "the value d rows ago"),
    _over("delta", "x d", unit.difference, "x minus its value d rows ago"),
    _over("ts_sum", "x d", unit.total, "sum of the last d values"),
    _over("ts_mean", "x d", unit.keep, "mean of the last d values"),
    _over("ts_product", "x d", unit.product, "product of the last d values"),
    _over("ts_min", "x d", unit.keep, "least of the last d values"),
    _over("ts_max", "x d", unit.keep, "largest of the last d values"),
    _over("ts_median", "x d", unit.keep, "median of the last d values", module="ordered"),
    _over("ts_quantile", "x d Q", unit.keep, "quantile q of the last d values, linear", module="ordered"),
    _moment("ts_std", "x d", unit.difference, "standard deviation, d - 1 degrees of freedom"),
    _moment("ts_var", "x d", unit.square, "variance, d - 1 degrees of freedom"),
    _moment("ts_cov", "x y d", unit.covariance, "covariance, d - 1 degrees of freedom"),
    _moment("ts_corr", "x y d", unit.free, "Pearson correlation; NaN where a side is constant"),
    _moment("ts_skew", "x d", unit.free, "bias-adjusted skewness; NaN for a constant", least=3),
    _moment("ts_kurt", "x d", unit.free, "bias-adjusted excess kurtosis; NaN for a constant", least=4),
    _over("ts_mad", "x d", unit.difference, "mean absolute deviation from the window's mean", module="averages"),
    _over("ts_rank", "x d", unit.free, "average-tie percentile of today's value in the window", module="ordered"),
    _over("ts_argmax", "x d", unit.free, "place of the largest, oldest = 1, earliest of ties"),
    _over("ts_argmin", "x d", unit.free, "place of the least, oldest = 1, earliest of ties"),
    _over("ts_days_since_max", "x d", unit.free, "rows since the largest, today = 0"),
    _over("ts_days_since_min", "x d", unit.free, "rows since the least, today = 0"),
    _moment("ts_zscore", "x d", unit.free, "today's distance from the mean in standard deviations"),
    _over("ts_count", "c d", unit.free, "how many of the last d values are not 0"),
    _over("decay_linear", "x d", unit.keep, "mean with weights d (today) to 1 (oldest)", module="averages"),
    _over(
        "ema",
        "x d",
        unit.keep,
        "exponential mean of a span, weights cut where the rest is below 1e-7",
        module="averages",
    ),
    _over("ema_alpha", "x ALPHA", unit.keep, "exponential mean of weight alpha on today", module="averages"),
    _over("ema_cut", "x d", unit.keep, "exponential mean of a span over the last d values alone", module="averages"),
    _over(
        "supertrend",
        "c upper lower d",
        unit.trailing,
        "the band that c trails: lower in a rise, upper in a fall, replayed over the last d values",
        module="trailing",
    ),
    _moment("ts_slope", "x d", unit.difference, "slope of the line through the last d values"),
    _moment("ts_rsquare", "x d", unit.free, "fit of the line through the last d values", least=3),
    _moment("ts_resi", "x d", unit.difference, "today's distance from the line through the last d values"),
    _moment("ts_beta", "y x d", unit.slope, "slope of y on x over d rows"),
    _moment("ts_resid", "y x d", unit.residual, "today's residual of y on x over d rows"),
    _over("ts_backfill", "x d", unit.keep, "the last known value, at most d rows old"),
    _across("rank", "x", unit.cross_free, "average-tie percentile among the day's members"),
    _across("zscore", "x", unit.cross_free, "mean 0 and population deviation 1 each day; 0 where all are equal"),
    _across("demean", "x", unit.cross_keep, "x minus the day's mean"),
    _across("scale", "x A=1", unit.cross_free, "a * x / sum of abs(x) each day"),
    _across("winsorize", "x K=5", unit.cross_keep, "held within median +- k * 1.4826 * MAD each day"),
    _across("winsorize_sigma", "x K=3", unit.cross_keep, "held within mean +- k population deviations each day"),
    _across(
        "winsorize_quantile", "x TAIL=0.01", unit.cross_keep, "held within the quantiles tail and 1 - tail each day"
    ),
    _across("indneutralize", "x g", unit.cross_keep, "x minus the mean of its group that day"),
    _across("group_mean", "x g", unit.cross_keep, "mean of the asset's group that day"),
    _across("group_zscore", "x g", unit.cross_free, "z-score inside the asset's group that day"),
    _across("group_rank", "x g", unit.cross_free, "percentile inside the asset's group that day"),
    _across("cs_mean", "x", unit.cross_keep, "the day's mean over members, given to every asset"),
    _across("cs_std", "x", unit.cross_keep, "the day's population deviation over members, given to every asset"),
    _across("cs_frac", "c", unit.cross_free, "the day's share of members where c is not 0, given to every asset"),
    _across(
        "regress_out",
        "y x1 x2=0 x3=0 w=1",
        unit.cross_residual,
        "residual of y on up to three series, weighted, each day",
    ),
)

# Other spellings of an operator.
ALIASES: Mapping[str, str] = MappingProxyType({"ts_med": "ts_median"})
BY_NAME: Mapping[str, Operator] = MappingProxyType({row.name: row for row in OPERATORS})
# A symbol with two operands and one with a single operand may look alike: `-`.
BY_SYMBOL: Mapping[tuple[str, int], Operator] = MappingProxyType(
    {(row.symbol, len(row.arguments)): row for row in OPERATORS if row.symbol}
)
