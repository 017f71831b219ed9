"""What is known of a value's sign without data, and the formulas that say nothing because of it.

Prices, volumes and money are positive wherever an asset trades. A random formula often takes the sign of such a value,
its size, or the larger of it and a negative number: each of these is a constant or the value itself.
"""

from __future__ import annotations

from functools import lru_cache

from alphaloom.factors import Expr

__all__ = ["settle_signs", "sign_of"]

_POSITIVE = frozenset(("open", "high", "low", "close", "vwap", "volume", "amount", "cap", "shares_out"))
_KEEP = frozenset(
    ("ts_sum", "ts_mean", "ts_median", "ts_max", "ts_min", "decay_linear", "ema", "ema_cut", "delay", "sign")
)
# Deviations are positive but for constant windows, percentiles always.
_ABOVE = frozenset(("rank", "ts_rank", "ts_std", "ts_var", "ts_mad"))


@lru_cache(maxsize=1 << 15)
def sign_of(expr: Expr) -> int:
    """1 for a value that is positive wherever its asset trades, -1 for a negative one, 0 where that is not known."""
    if expr.op == "number":
        value = float(expr.value or 0.0)
        return (value > 0) - (value < 0)
    if expr.op == "name":
        return 1 if expr.value in _POSITIVE else 0
    if expr.op in _ABOVE:
        return 1
    if expr.op in _KEEP:
        return sign_of(expr.args[0])
    signs = [sign_of(arg) for arg in expr.args]
    if expr.op == "neg":
        return -signs[0]
    if expr.op == "abs":
        return abs(signs[0])
    if expr.op in ("mul", "div"):
        return signs[0] * signs[1]
    if expr.op == "sub":
        signs[1] = -signs[1]
    if expr.op in ("add", "sub"):
        return signs[0] if signs[0] == signs[1] else 0
    if expr.op == "maximum":
        return 1 if 1 in signs else min(signs) if max(signs) < 0 else 0
    if expr.op == "minimum":
        return -1 if -1 in signs else max(signs) if min(signs) > 0 else 0
    return 0


@lru_cache(maxsize=1 << 15)
def settle_signs(expr: Expr) -> Expr:
    """The formula without signs, sizes and choices whose outcome is known; equal wherever its assets trade."""
    if expr.op in ("number", "name"):
        return expr
    args = tuple(settle_signs(arg) for arg in expr.args)
    made = expr if all(a is b for a, b in zip(args, expr.args, strict=True)) else Expr.call(expr.op, *args)
    if made.op in ("sign", "abs"):
        known = sign_of(made.args[0])
        if not known:
            return made
        if made.op == "sign":
            return Expr.number(float(known))
        return made.args[0] if known > 0 else Expr.call("neg", made.args[0])
    if made.op in ("maximum", "minimum"):
        left, right = sign_of(made.args[0]), sign_of(made.args[1])
        if left * right == -1:
            larger, smaller = made.args if left > 0 else made.args[::-1]
            return larger if made.op == "maximum" else smaller
    return made
