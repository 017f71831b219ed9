"""Was the side right? Hit rates of longs and shorts, by horizon and by what the market was like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.market import Market
from alphaloom.metrics import inference, regimes
from alphaloom.panel import Panel
from alphaloom.signal import Signal, forward_returns
from alphaloom.study.curves import index_level

__all__ = ["Directions", "judge_directions", "two_sided"]

HORIZONS = tuple(range(1, 11))
SIDES = ("long", "short", "both")
_VOLATILITY = 21

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Directions:
    """The judgement of the sides of a signal: one row for each side and horizon, then for each side and regime.

    Rows of a regime name it and its bucket. `summary` holds coverage and the hit rates at the signal's own horizon.
    """

    rows: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any]
    notes: tuple[str, ...]


def two_sided(signal: Signal) -> bool:
    """Whether the signal's sign is a side: a score or a return with views of both signs."""
    return signal.kind != "probability" and bool((signal.values > 0.0).any() and (signal.values < 0.0).any())


def judge_directions(signal: Signal, panel: Panel, start: int, *, market: Market, horizon: int) -> Directions:
    """Hold the sides that the signal took against what came true.

    `hit_rate` is over all views of a side whose outcome is known; a move of exactly zero is a miss. Outcomes over h
    bars overlap, so `tries`, the Wilson interval and both p take every h-th bar alone. Assets of one bar rise and fall
    together, which makes even these p too small: `t` is the Newey-West t (lag h - 1) of the bars' hit rates less the
    share of all assets that moved that way on that bar, one observation a bar.
    Shape: the signal's rows are the panel's from `start` on; rows before serve regimes as their past.
    Time: a hindsight: nothing of this goes back into a decision.
    """
    span = panel[start:]
    table = [row for h in HORIZONS for row in _side_rows(signal, span, market=market, horizon=h)]
    own = {row["side"]: row for row in _side_rows(signal, span, market=market, horizon=horizon)}
    seen = span.member & np.isfinite(span["close"])
    able = max(int(seen.sum()), 1)
    summary: dict[str, Any] = {
        "coverage": float((seen & (np.nan_to_num(signal.values) != 0.0)).sum() / able),
        "coverage_long": float((seen & (signal.values > 0.0)).sum() / able),
        "coverage_short": float((seen & (signal.values < 0.0)).sum() / able),
    }
    for side in ("long", "short"):
        row = own[side]
        summary[f"hit_rate_{side}"] = {"value": row["independent_rate"], "low": row["low"], "high": row["high"]}
        summary[f"hit_t_{side}"] = row["t"]
    notes = (
        "directions: a hit is a move on the signal's side over the bars after the next fill; intervals and p count "
        "every h-th bar alone, since outcomes over h bars overlap, and still take the assets of a bar as independent, "
        "which they are not: such a p is too small, the t over bars is the safer figure",
    )
    table += _regime_rows(signal, panel, start, market=market, horizon=horizon)
    return Directions(tuple(table), summary, notes)


def _side_rows(signal: Signal, span: Panel, *, market: Market, horizon: int) -> Iterator[dict[str, Any]]:
    """Long, short and both at one horizon."""
    earned = forward_returns(span, market, horizon=horizon).values
    known = np.isfinite(earned) & span.member
    alone = np.zeros(len(span), np.bool_)
    alone[::horizon] = True
    for side in SIDES:
        said, hit, base = _tries(signal.values, earned, known, side)
        yield {"side": side, "horizon": horizon, **_rate(said, hit, base, alone, horizon)}


def _tries(
    values: Floats, earned: Floats, known: NDArray[np.bool_], side: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Floats]:
    """Which cells took the side, which of them were right, and each bar's share of assets that moved that way.

    For "both" the share is the one that a coin with the bar's own mix of sides would have hit.
    """
    with np.errstate(invalid="ignore"):
        up, down = known & (earned > 0.0), known & (earned < 0.0)
        long, short = known & (values > 0.0), known & (values < 0.0)
    count = np.maximum(known.sum(axis=1), 1)
    rise, fall = up.sum(axis=1) / count, down.sum(axis=1) / count
    if side == "long":
        return long, long & up, rise
    if side == "short":
        return short, short & down, fall
    longs, shorts = long.sum(axis=1), short.sum(axis=1)
    mixed = (longs * rise + shorts * fall) / np.maximum(longs + shorts, 1)
    return long | short, (long & up) | (short & down), mixed


def _rate(
    said: NDArray[np.bool_], hit: NDArray[np.bool_], base: Floats, alone: NDArray[np.bool_], horizon: int
) -> dict[str, Any]:
    views, right = said.sum(axis=1), hit.sum(axis=1)
    tries, hits = int(views[alone].sum()), int(right[alone].sum())
    chance = float((views[alone] * base[alone]).sum() / tries) if tries else np.nan
    wilson = inference.wilson_interval(hits, tries)
    spoken = views > 0
    excess = np.where(spoken, right / np.maximum(views, 1) - base, np.nan)
    test = inference.newey_west(excess, lag=horizon - 1)
    inside = 0.0 < chance < 1.0
    return {
        "views": int(views.sum()),
        "hit_rate": _number(right.sum() / views.sum()) if views.any() else None,
        "tries": tries,
        "independent_rate": _number(wilson.value),
        "low": _number(wilson.low),
        "high": _number(wilson.high),
        "p_half": _number(inference.binomial_p(hits, tries)) if tries else None,
        "base_rate": _number(chance),
        "p_base": _number(inference.binomial_p(hits, tries, chance=chance)) if tries and inside else None,
        "bars": int(spoken.sum()),
        "t": _number(test.t),
    }


def _regime_rows(signal: Signal, panel: Panel, start: int, *, market: Market, horizon: int) -> Iterator[dict[str, Any]]:
    """Hit rates of both sides where the index was far below its peak, by volatility, and by calendar quarter."""
    span = panel[start:]
    earned = forward_returns(span, market, horizon=horizon).values
    known = np.isfinite(earned) & span.member
    alone = np.arange(len(span)) % horizon == 0
    for sorting in _sortings(panel):
        codes = sorting.codes[start:]
        for code, bucket in enumerate(sorting.buckets):
            here = codes == code
            if not here.any():
                continue
            for side in ("long", "short"):
                said, hit, base = _tries(signal.values, earned, known, side)
                facts = _rate(said & here[:, None], hit & here[:, None], base, alone, horizon)
                if facts["views"]:
                    yield {"regime": sorting.name, "bucket": bucket, "side": side, "horizon": horizon, **facts}


def _sortings(panel: Panel) -> Iterator[regimes.Regime]:
    level = index_level(panel)
    if level is not None:
        yield regimes.drawdown_regime(level)
    if "vix" in panel.series:
        yield regimes.tercile_regime(panel.series["vix"], name="volatility index")
    elif level is not None:
        yield regimes.tercile_regime(_swing(level), name="index volatility")
    yield _quarters(panel.times)


def _swing(level: Floats) -> Floats:
    """Deviation of the index's last 21 returns; NaN before.   Shape: (T,)."""
    moves = np.full(len(level), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        moves[1:] = level[1:] / level[:-1] - 1.0
    out = np.full(len(level), np.nan)
    if len(level) >= _VOLATILITY:
        out[_VOLATILITY - 1 :] = np.lib.stride_tricks.sliding_window_view(moves, _VOLATILITY).std(axis=1, ddof=1)
    return out


def _quarters(times: NDArray[np.datetime64]) -> regimes.Regime:
    months = times.astype("datetime64[M]").astype(np.int64)
    found, codes = np.unique(months // 3, return_inverse=True)
    names = tuple(f"{1970 + quarter // 4} Q{quarter % 4 + 1}" for quarter in found.tolist())
    return regimes.Regime("quarter", names, codes.astype(np.int16))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
