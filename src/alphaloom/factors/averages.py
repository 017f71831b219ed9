"""Window kernels of weighted means, and of the distance from the plain mean."""

from __future__ import annotations

import math

import numpy as np

from alphaloom.factors.ops import ema_span, ema_terms
from alphaloom.factors.options import MinPeriods, needed
from alphaloom.factors.rolling import Grid, State, doubled, ts_mean, windowed

__all__ = ["decay_linear", "ema", "ema_alpha", "ema_cut", "ts_mad"]


def decay_linear(x: Grid, d: int) -> Grid:
    """Mean with weights d (today) to 1 (oldest)."""

    def merge(newer: State, older: State, _a: int, b: int) -> State:
        # Weights count up from the oldest row, so the newer part is heavier by the older part's length.
        return newer[0] + older[0], newer[1] + b * newer[0] + older[1]

    return windowed((x,), d, lambda block: doubled((block[0], block[0]), d, merge)[1] / (d * (d + 1) / 2.0))


def ema(x: Grid, d: int, *, min_periods: MinPeriods = "full") -> Grid:
    """Exponential mean of a span, weights cut where the rest is below 1e-7.

    Missing: holes are skipped; d values must be known, today's among them, or as many as `min_periods` says.
    """
    return _faded(x, 1.0 - 2.0 / (d + 1.0), ema_terms(d), needed(min_periods, d))


def ema_alpha(x: Grid, alpha: float, *, min_periods: MinPeriods = "full") -> Grid:
    """Exponential mean of weight alpha on today, as `ema` of the span 2 / alpha - 1."""
    span = ema_span(alpha)
    terms = 1 if alpha == 1.0 else ema_terms(span)
    return _faded(x, 1.0 - alpha, terms, needed(min_periods, math.ceil(span)))


def ema_cut(x: Grid, d: int) -> Grid:
    """Exponential mean of a span over the last d values alone."""
    fade = 1.0 - 2.0 / (d + 1.0)

    def merge(newer: State, older: State, a: int, _b: int) -> State:
        return (newer[0] + fade**a * older[0],)

    whole = sum(fade**k for k in range(d))
    return windowed((x,), d, lambda block: doubled(block, d, merge)[0] / whole)


def _faded(x: Grid, fade: float, terms: int, least: int) -> Grid:
    def merge(newer: State, older: State, a: int, _b: int) -> State:
        part = fade**a
        return newer[0] + part * older[0], newer[1] + part * older[1], newer[2] + older[2]

    def block(arrays: State) -> Grid:
        known = ~np.isnan(arrays[0])
        # Rows before the first one are not known, just as holes are: both are skipped.
        ahead = ((terms - 1, 0), (0, 0))
        seen = np.pad(known.astype(np.float64), ahead)
        values = np.pad(np.where(known, arrays[0], 0.0), ahead)
        top, weight, count = doubled((values, seen, seen), terms, merge)
        return np.where(known & (count >= least), top / weight, np.nan)

    return windowed((x,), 1, block)


def ts_mad(x: Grid, d: int) -> Grid:
    """Mean absolute deviation from the window's mean."""
    mean, out = ts_mean(x, d), np.zeros(x.shape)
    for k in range(d):
        # A window that reaches before the first row has no mean, so nothing is read that is not there.
        out[k:] += np.abs(x[: len(x) - k] - mean[k:]) if k < len(x) else 0.0
    return np.where(np.isnan(mean), np.nan, out / d)
