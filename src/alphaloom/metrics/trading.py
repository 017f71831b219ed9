"""How much was traded and what it cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError
from alphaloom.metrics.columns import Numbers
from alphaloom.metrics.performance import cagr

__all__ = ["cost_drag", "drift", "turnover"]


def drift(weights: ArrayLike, returns: ArrayLike) -> NDArray[np.float64]:
    """What weights have become by the end of the next period, before any trade: w * (1 + r) / (1 + sum w * r).

    Shape: weights (T, N) held from the close of row t, asset returns (T, N) of row t -> (T, N): row t is what the
    weights of row t - 1 have become at the close of row t. Row 0 is zero: everything begins in cash.
    Missing: a NaN weight is nothing held, a NaN return is no move. A ruined account has NaN weights.
    """
    held = np.nan_to_num(np.asarray(weights, dtype=np.float64), nan=0.0)
    moves = np.nan_to_num(np.asarray(returns, dtype=np.float64), nan=0.0)
    if held.ndim != 2 or held.shape != moves.shape:
        raise AxisError("weights and returns are both (T, N)", found=f"{held.shape}, {moves.shape}", where="drift")
    out = np.zeros_like(held)
    growth = 1.0 + (held[:-1] * moves[1:]).sum(axis=1, keepdims=True)
    alive = growth > 0
    out[1:] = np.where(alive, held[:-1] * (1.0 + moves[1:]) / np.where(alive, growth, 1.0), np.nan)
    return out


def turnover(weights: ArrayLike, drifted: ArrayLike) -> float:
    """The share of the portfolio that is exchanged in a mean period, one way: mean of 0.5 * sum |w - drifted w|.

    Shape: weights (T, N) after the trade of each row, drifted (T, N) before it.
    Missing: a row of NaN weights trades nothing and counts as zero; a single NaN weight is nothing held.
    """
    after, before = np.asarray(weights, dtype=np.float64), np.asarray(drifted, dtype=np.float64)
    if after.ndim != 2 or after.shape != before.shape:
        raise AxisError("both weights are (T, N)", found=f"{after.shape}, {before.shape}", where="turnover")
    if not len(after):
        return float("nan")
    hold = np.isnan(after).all(axis=1)
    traded = 0.5 * np.abs(np.nan_to_num(after) - np.nan_to_num(before)).sum(axis=1)
    return float(np.where(hold, 0.0, traded).mean())


def cost_drag(gross: ArrayLike, net: ArrayLike, *, periods_per_year: float) -> Numbers:
    """The yearly growth that costs took away: growth before costs minus growth after them.

    Shape: both (T,) or (T, K), in returns per period.
    """
    return cagr(gross, periods_per_year=periods_per_year) - cagr(net, periods_per_year=periods_per_year)
