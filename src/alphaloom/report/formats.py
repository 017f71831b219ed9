"""How numbers are written: the one place that rounds, for the page, the terminal and the figures' sentences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

__all__ = ["MISSING", "date_text", "interval_text", "number_text", "plain_text"]

MISSING: Final = "n/a"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _basis(value: float) -> str:
    return f"{10_000 * value:.1f} bp"


FORMS: Final[dict[str, Callable[[float], str]]] = {
    "percent": _percent,
    "basis": _basis,
    "tenth": lambda value: f"{value:.1f}",
    "ratio": lambda value: f"{value:.2f}",
    "correlation": lambda value: f"{value:.3f}",
    "probability": lambda value: f"{value:.3f}",
    "count": lambda value: f"{value:,.0f}",
    "money": lambda value: f"{value:,.0f}",
}


def number_text(value: object, form: str) -> str:
    """A number as the report prints it: percent with one decimal, ratios with two, `n/a` where there is none.

    Missing: None, NaN and infinity are written `n/a`.
    """
    number = number_of(value)
    if number is None:
        return MISSING
    text = FORMS[form](number)
    # A tiny negative number must not be printed as minus zero.
    return text[1:] if text.startswith("-") and not any(digit in text for digit in "123456789") else text


def number_of(value: object) -> float | None:
    """A finite float, or None for whatever is not one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def interval_text(low: object, high: object, form: str) -> str:
    """An interval as `[low, high]`, or nothing where either end is missing."""
    if number_of(low) is None or number_of(high) is None:
        return ""
    return f"[{number_text(low, form)}, {number_text(high, form)}]"


def date_text(time: object) -> str:
    """A time as an ISO date, with hours and minutes only where they are not midnight."""
    stamp = time.astype("datetime64[m]") if isinstance(time, np.datetime64) else np.datetime64(str(time), "m")
    if np.isnat(stamp):
        return MISSING
    day, clock = str(stamp).split("T")
    return day if clock == "00:00" else f"{day} {clock}"


def plain_text(value: object) -> str:
    """Any cell of a table whose meaning the report does not know: short, and the same every time."""
    if value is None:
        return MISSING
    if isinstance(value, np.datetime64):
        return date_text(value)
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.4g}" if math.isfinite(value) else MISSING
    if isinstance(value, (list, tuple)):
        return ", ".join(plain_text(item) for item in value)
    return str(value)
