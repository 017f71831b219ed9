"""Torch window kernels by doubling whole arrays: windows of 2k rows are made from two windows of k rows.

The same fixed tree of operations as the kernels in `rolling`: no unfolded window, about 2 log2(d) passes, no drift,
and an unknown value spoils its own windows only. Where windows may be partial (`min_periods`), blocks begin with d - 1
unknown rows and every state carries its number of known values.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from alphaloom.factors.ops import ema_span, ema_terms
from alphaloom.factors.rolling import doubled
from alphaloom.factors.torch_blocks import Setting, State, Window, spoiled

__all__ = ["ROLLING", "known_counts", "shifted"]


def _folded(x: Tensor, d: int, join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return doubled((x,), d, lambda newer, older, _a, _b: (join(newer[0], older[0]),))[0]


def known_counts(x: Tensor, d: int) -> Tensor:
    """How many values of each window are known."""
    return _folded(torch.isnan(x).logical_not_().to(torch.int16), d, torch.add)


def _folding(join: Callable[[Tensor, Tensor], Tensor], nothing: float) -> Callable[..., Tensor]:
    """A kernel that joins values pair by pair; `nothing` is what an unknown value counts as in a partial window."""

    def kernel(setting: Setting, state: State, d: int) -> Tensor:
        (x,) = state
        if setting.full:
            return _folded(x, d, join)
        few = known_counts(x, d) < setting.least(d)
        return spoiled(_folded(torch.nan_to_num(x, nan=nothing), d, join), few)

    return kernel


_sum = _folding(torch.add, 0.0)


def _mean(setting: Setting, state: State, d: int) -> Tensor:
    total = _sum(setting, state, d)
    return total / d if setting.full else total / known_counts(state[0], d)


def _count(setting: Setting, state: State, d: int) -> Tensor:
    (c,) = state
    return _sum(setting, ((c != 0).to(c.dtype).add_(c, alpha=0),), d)


def _decay_linear(setting: Setting, state: State, d: int) -> Tensor:
    def merge(newer: State, older: State, _a: int, b: int) -> State:
        # Weights count up from the oldest row, so the newer part is heavier by the older part's length.
        return newer[0] + older[0], torch.add(newer[1], newer[0], alpha=b).add_(older[1])

    (x,) = state
    if setting.full:
        return doubled((x, x), d, merge)[1].div_(d * (d + 1) / 2.0)
    seen = torch.isnan(x).logical_not_().to(x.dtype)
    values = torch.nan_to_num(x, nan=0.0)
    count, weight = doubled((seen, seen), d, merge)
    return spoiled(doubled((values, values), d, merge)[1].div_(weight), count < setting.least(d))


def _ema(setting: Setting, state: State, d: int) -> Tensor:
    return _faded(state[0], 1.0 - 2.0 / (d + 1.0), ema_terms(d), setting.least(d))


def _ema_alpha(setting: Setting, state: State, alpha: float) -> Tensor:
    span = ema_span(alpha)
    return _faded(state[0], 1.0 - alpha, 1 if alpha == 1.0 else ema_terms(span), setting.least(math.ceil(span)))


def _faded(x: Tensor, fade: float, terms: int, least: int) -> Tensor:
    """Mean of the known ones of the last `terms` values, each weighing `fade` times the next younger one."""

    def merge(newer: State, older: State, a: int, _b: int) -> State:
        part = fade**a
        return (
            torch.add(newer[0], older[0], alpha=part),
            torch.add(newer[1], older[1], alpha=part),
            newer[2] + older[2],
        )

    # Rows before the first one are not known, just as holes are: both are skipped.
    seen = shifted(torch.isnan(x).logical_not_().to(x.dtype), terms - 1)
    values = shifted(torch.nan_to_num(x, nan=0.0), terms - 1)
    top, weight, count = doubled((values, seen, seen), terms, merge)
    return spoiled(top.div_(weight).add_(x, alpha=0), count < least)


def _ema_cut(setting: Setting, state: State, d: int) -> Tensor:
    fade = 1.0 - 2.0 / (d + 1.0)

    def merge(newer: State, older: State, a: int, _b: int) -> State:
        return (torch.add(newer[0], older[0], alpha=fade**a),)

    (x,) = state
    if setting.full:
        return doubled((x,), d, merge)[0].div_(sum(fade**k for k in range(d)))
    weight = doubled((torch.isnan(x).logical_not_().to(x.dtype),), d, merge)[0]
    few = known_counts(x, d) < setting.least(d)
    return spoiled(doubled((torch.nan_to_num(x, nan=0.0),), d, merge)[0].div_(weight), few)


def _mad(setting: Setting, state: State, d: int) -> Tensor:
    (x,) = state
    mean = _mean(setting, state, d)
    total = torch.zeros_like(mean)
    for k in range(d):
        gap = torch.sub(x[k : k + len(mean)], mean).abs_()
        total += gap if setting.full else torch.nan_to_num_(gap, nan=0.0)
    return total.div_(d if setting.full else known_counts(x, d)).add_(mean, alpha=0)


def _supertrend(setting: Setting, state: State, d: int) -> Tensor:
    c, upper, lower = state
    known = torch.isnan(c + upper + lower).logical_not_()
    rows = len(c) - d + 1
    count = torch.zeros((rows, c.shape[1]), dtype=torch.int32, device=c.device)
    high, low, last = (torch.zeros_like(c[:rows]) for _ in range(3))
    rising = torch.zeros_like(known[:rows])
    for k in range(d):
        price, up, down, seen = (x[k : k + rows] for x in (c, upper, lower, known))
        first = count == 0
        new_high = torch.where(first | (up < high) | (last > high), up, high)
        new_low = torch.where(first | (down > low) | (last < low), down, low)
        goes_on = torch.where(rising, price >= new_low, price > new_high)
        now = torch.where(first, price - down >= up - price, goes_on)
        high, low = torch.where(seen, new_high, high), torch.where(seen, new_low, low)
        rising, last = torch.where(seen, now, rising), torch.where(seen, price, last)
        count += seen
    return spoiled(torch.where(rising, low, high), count < setting.least(d))


def shifted(x: Tensor, rows: int, fill: float = 0.0) -> Tensor:
    """X under `rows` rows of a constant."""
    ahead = torch.full((rows, x.shape[1]), fill, dtype=x.dtype, device=x.device)
    return torch.cat((ahead, x))


def _merge_largest(newer: State, older: State, a: int, _b: int) -> State:
    """The largest value and how many rows ago; the older row wins a tie."""
    late = (newer[0] > older[0]).to(newer[1].dtype)
    aged = older[1] + a
    # Ages are small whole numbers, so this choice by arithmetic is exact, and much faster than `where`.
    return torch.maximum(newer[0], older[0]), torch.lerp(aged, newer[1], late)


def _age(x: Tensor, d: int) -> Tensor:
    value, age = doubled((x, torch.zeros_like(x)), d, _merge_largest)
    return age.add_(value, alpha=0)


def _age_of(sign: float) -> Callable[..., Tensor]:
    def kernel(setting: Setting, state: State, d: int) -> Tensor:
        x = state[0] if sign > 0 else -state[0]
        if setting.full:
            return _age(x, d)
        few = known_counts(x, d) < setting.least(d)
        values = torch.nan_to_num(x, nan=-math.inf)
        return spoiled(doubled((values, torch.zeros_like(x)), d, _merge_largest)[1], few)

    return kernel


def _place_of(sign: float) -> Callable[..., Tensor]:
    days_since = _age_of(sign)

    def kernel(setting: Setting, state: State, d: int) -> Tensor:
        age = days_since(setting, state, d)
        if setting.full:
            return d - age
        # The first rows of the history have windows of fewer rows.
        rows = torch.arange(1, len(age) + 1, device=age.device, dtype=age.dtype).clamp_(max=d)
        return rows[:, None] - age

    return kernel


def _delay(_: Setting, state: State, d: int) -> Tensor:
    x = state[0]
    return x[: max(len(x) - d, 0)]


def _delta(_: Setting, state: State, d: int) -> Tensor:
    x = state[0]
    return x[d:] - x[: max(len(x) - d, 0)]


def _backfill(_: Setting, state: State, d: int) -> Tensor:
    (x,) = state
    rows = torch.arange(len(x), device=x.device)[:, None]
    seen = torch.isnan(x).logical_not_()
    last = torch.cummax(torch.where(seen, rows, -1), dim=0).values
    taken = x.gather(0, last.clamp(min=0))
    return spoiled(taken, (last < 0) | (rows - last > d))


ROLLING: dict[str, Window] = {
    "delay": Window(_delay, wide=False, temporaries=2, padded=False),
    "delta": Window(_delta, wide=False, temporaries=3, padded=False),
    "ts_backfill": Window(_backfill, wide=False, temporaries=9, padded=False),
    "ts_sum": Window(_sum, temporaries=6),
    "ts_mean": Window(_mean, temporaries=6),
    "ts_product": Window(_folding(torch.mul, 1.0), temporaries=6),
    "ts_min": Window(_folding(torch.minimum, math.inf), wide=False, temporaries=6),
    "ts_max": Window(_folding(torch.maximum, -math.inf), wide=False, temporaries=6),
    "ts_count": Window(_count, temporaries=7),
    "ts_argmax": Window(_place_of(1.0), wide=False, temporaries=9),
    "ts_argmin": Window(_place_of(-1.0), wide=False, temporaries=9),
    "ts_days_since_max": Window(_age_of(1.0), wide=False, temporaries=9),
    "ts_days_since_min": Window(_age_of(-1.0), wide=False, temporaries=9),
    "decay_linear": Window(_decay_linear, temporaries=9),
    "ema": Window(_ema, temporaries=12, padded=False),
    "ema_alpha": Window(_ema_alpha, temporaries=12, padded=False),
    "ema_cut": Window(_ema_cut, temporaries=7),
    "ts_mad": Window(_mad, temporaries=6),
    "supertrend": Window(_supertrend, wide=False, temporaries=16),
}
