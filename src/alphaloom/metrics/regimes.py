"""When did it work? Bars sorted by what could be known about the market on that bar.

No bucket is cut by thresholds of the whole sample: a calm that is only calm beside a later crisis was not known as
such, and such a table cannot be traded or repeated.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError, DataError
from alphaloom.metrics.performance import summary

__all__ = ["Regime", "drawdown_regime", "regime_table", "tercile_regime", "year_regime"]


@dataclass(frozen=True, eq=False)
class Regime:
    """A sorting of bars into named buckets.   Shape: codes (T,), -1 where the bucket is not known yet."""

    name: str
    buckets: tuple[str, ...]
    codes: NDArray[np.int16]


def drawdown_regime(index: ArrayLike, *, depth: float = 0.10, name: str = "index drawdown") -> Regime:
    """Bars on which an index stands more than `depth` below its highest level so far, and all others.

    Shape: index levels (T,).   Time: row t reads rows <= t.   Missing: -1 where the level is NaN.
    """
    level = _series(index, "index")
    if not 0.0 < depth < 1.0:
        raise DataError("a depth is a fraction in (0, 1)", found=depth, where="depth")
    known = np.isfinite(level)
    peak = np.maximum.accumulate(np.where(known, level, -np.inf))
    codes = np.where(known, np.where(known, level, 1.0) < (1.0 - depth) * np.where(np.isfinite(peak), peak, 1.0), -1)
    return Regime(name, (f"within {depth:.0%} of the peak", f"more than {depth:.0%} below"), codes.astype(np.int16))


def tercile_regime(series: ArrayLike, *, minimum: int = 252, name: str = "volatility") -> Regime:
    """Bars on which a series (a volatility, most often) is low, middling or high against its own past.

    Shape: (T,).   Time: row t is held against the terciles of the known values of rows 0..t.
    Missing: -1 where the value is NaN or fewer than `minimum` values are known.
    """
    values = _series(series, name)
    if minimum < 3:
        raise DataError("terciles need three known values", found=minimum, where="minimum")
    codes = np.full(len(values), -1, np.int16)
    past: list[float] = []
    for t, value in enumerate(values.tolist()):
        if not math.isfinite(value):
            continue
        insort(past, value)
        if len(past) >= minimum:
            codes[t] = int(value > _ordered_quantile(past, 1 / 3)) + int(value > _ordered_quantile(past, 2 / 3))
    return Regime(name, ("low", "middle", "high"), codes)


def year_regime(times: NDArray[np.datetime64], *, name: str = "year") -> Regime:
    """Bars by calendar year.   Shape: times (T,)."""
    years = np.asarray(times).astype("datetime64[Y]").astype(np.int64) + 1970
    found, codes = np.unique(years, return_inverse=True)
    return Regime(name, tuple(str(year) for year in found), codes.astype(np.int16))


def regime_table(
    returns: ArrayLike,
    regimes: Sequence[Regime],
    *,
    periods_per_year: float,
    rf: ArrayLike = 0.0,
    rank_ic: ArrayLike | None = None,
) -> list[dict[str, str | int | float]]:
    """How a strategy did in each bucket of each regime, one row a bucket.

    Shape: returns (T,), rank_ic (T,).
    Time: the returns of a bucket's bars are strung together; `return` is their yearly growth and `max_drawdown` that
    of the strung series. Bars of unknown bucket belong to no row.
    Missing: NaN returns are left out and do not count as days; an empty bucket has NaN measures.
    """
    values = _series(returns, "returns")
    rate = np.broadcast_to(np.asarray(rf, dtype=np.float64), values.shape)
    skill = np.full(len(values), np.nan) if rank_ic is None else _series(rank_ic, "rank_ic")
    rows: list[dict[str, str | int | float]] = []
    for regime in regimes:
        if not len(regime.codes) == len(values) == len(skill):
            raise AxisError("a regime has one code a return", found=regime.codes.shape, where=regime.name)
        for code, bucket in enumerate(regime.buckets):
            here = regime.codes == code
            measures = summary(values[here], periods_per_year=periods_per_year, rf=rate[here])
            known = skill[here][np.isfinite(skill[here])]
            rows.append(
                {
                    "regime": regime.name,
                    "bucket": bucket,
                    "days": int(np.isfinite(values[here]).sum()),
                    "return": measures["cagr"],
                    "volatility": measures["volatility"],
                    "sharpe": measures["sharpe"],
                    "max_drawdown": measures["max_drawdown"],
                    "rank_ic": float(known.mean()) if len(known) else math.nan,
                }
            )
    return rows


def _series(values: ArrayLike, where: str) -> NDArray[np.float64]:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1:
        raise AxisError("a regime reads one series (T,)", found=series.shape, where=where)
    return series


def _ordered_quantile(ordered: list[float], q: float) -> float:
    h = (len(ordered) - 1) * q
    i = int(h)
    j = min(i + 1, len(ordered) - 1)
    return ordered[i] + (ordered[j] - ordered[i]) * (h - i)
