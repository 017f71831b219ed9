"""Options: the conventions of a formula set, which belong to the set and never to global state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from alphaloom.errors import FormulaError

__all__ = ["PLAIN", "MinPeriods", "Moments", "NanCompare", "Options", "ZeroVariance", "needed"]

ZeroVariance = Literal["nan", "zero"]
Moments = Literal["sample", "population"]
Adv = Literal["shares", "money"]
WindowRounding = Literal["floor", "round"]
NanCompare = Literal["nan", "false"]
MinPeriods = Literal["full"] | int

_LEGAL: Mapping[str, tuple[str, ...]] = {
    "zero_variance_corr": get_args(ZeroVariance),
    "moments": get_args(Moments),
    "adv": get_args(Adv),
    "window_rounding": get_args(WindowRounding),
    "nan_compare": get_args(NanCompare),
}


@dataclass(frozen=True)
class Options:
    """How a set of formulas is meant where the literature reads them in more than one way.

    `zero_variance_corr`: what `ts_corr` gives where a side is constant. `moments`: bias-adjusted (as pandas) or plain
    population ratios in `ts_skew` and `ts_kurt`. `adv`: whether `adv20` averages shares or money. `window_rounding`:
    what happens to a window such as 8.93 when the text is read. `nan_compare`: what a comparison with an unknown value
    gives. `min_periods`: "full" asks for every value of a window, a number k for at least k known ones among the rows
    that exist.
    Raises: FormulaError for a value that is not legal.
    """

    zero_variance_corr: ZeroVariance = "nan"
    moments: Moments = "sample"
    adv: Adv = "shares"
    window_rounding: WindowRounding = "floor"
    nan_compare: NanCompare = "nan"
    min_periods: MinPeriods = "full"

    def __post_init__(self) -> None:
        for name, legal in _LEGAL.items():
            if getattr(self, name) not in legal:
                raise FormulaError(
                    f"the option {name} is {' or '.join(legal)}", found=repr(getattr(self, name)), where="options"
                )
        least = self.min_periods
        if least != "full" and (not isinstance(least, int) or isinstance(least, bool) or least < 1):
            raise FormulaError(
                'the option min_periods is "full" or a whole number from 1', found=repr(least), where="options"
            )

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> Options:
        """The options that a TOML table states.   Raises: FormulaError for an unknown key or an illegal value."""
        legal = tuple(field.name for field in fields(cls))
        for key in table:
            if key not in legal:
                raise FormulaError("an option must be known", found=key, where="options", fix=f"use {', '.join(legal)}")
        return cls(**table)

    @property
    def stated(self) -> dict[str, str | int]:
        """The options that differ from the defaults."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value != getattr(PLAIN, name)}


PLAIN = Options()


def needed(min_periods: MinPeriods, d: int) -> int:
    """How many known values a window of d rows must hold."""
    return d if min_periods == "full" else min(int(min_periods), d)
