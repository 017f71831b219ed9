"""How good the signal was: does it order the assets, for how long, and could that be luck?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.market import Market
from alphaloom.metrics import inference, ranking
from alphaloom.panel import Panel
from alphaloom.signal import Signal, Target, forward_returns

__all__ = ["DRAWS", "Scores", "score", "shuffled_summary"]

DRAWS = 1000  # resamples of every interval
_HORIZONS = (1, 2, 3, 5, 10, 20)
_BUCKETS = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """The judgement of one signal: the tables and the numbers of a StudyResult, and the target it was held against."""

    target: Target | None
    ic: Mapping[str, NDArray[Any]]
    quantiles: Mapping[str, NDArray[Any]]
    decay: Mapping[str, NDArray[Any]]
    summary: Mapping[str, Any]

    @classmethod
    def none(cls) -> Scores:
        """A study of pure policies has no signal to judge."""
        kinds = ("mean", "ir", "t")
        names = [f"{kind}_{part}" for kind in ("ic", "rank_ic") for part in kinds]
        return cls(None, {}, {}, {}, dict.fromkeys((*names, "monotonicity")))


def score(signal: Signal, panel: Panel, *, market: Market, horizon: int, seed: int) -> Scores:
    """Hold a signal against what came true.

    Shape: `panel` holds the bars of the signal and no earlier ones.
    Time: a return reaches into later rows of the panel; nothing of this goes back into a decision. Quintiles earn the
    return of one bar, so that their curves can be compounded whatever the horizon.
    """
    target = forward_returns(panel, market, horizon=horizon)
    views, later = signal.values, target.values
    columns = {
        "time": panel.times,
        "ic": ranking.ic(views, later),
        "rank_ic": ranking.rank_ic(views, later),
        "breadth": (np.isfinite(views) & np.isfinite(later)).sum(axis=1).astype(np.int64),
        "rank_autocorrelation": ranking.rank_autocorrelation(views),
    }
    one_bar = later if horizon == 1 else forward_returns(panel, market).values
    buckets = ranking.quantile_returns(views, one_bar, quantiles=_BUCKETS)
    quantiles = {"time": panel.times, **{f"q{k + 1}": buckets[:, k] for k in range(_BUCKETS)}}
    known = {horizon: later, 1: one_bar}

    def reach(bars: int) -> Floats:
        return known[bars] if bars in known else forward_returns(panel, market, horizon=bars).values

    decay = ranking.ic_decay(views, reach, horizons=_HORIZONS)
    kept = {name: decay[name] for name in ("ic", "rank_ic", "rank_ic_se")}
    numbers = {"monotonicity": ranking.monotonicity(buckets)}
    for kind in ("ic", "rank_ic"):
        numbers |= _strength(kind, columns[kind], periods_per_year=panel.periods_per_year, horizon=horizon, seed=seed)
    return Scores(target, columns, quantiles, {"horizon": decay["horizon"].astype(np.int64), **kept}, numbers)


def _strength(kind: str, values: Floats, *, periods_per_year: float, horizon: int, seed: int) -> dict[str, Any]:
    facts = ranking.ic_summary(values, periods_per_year=periods_per_year, horizon=horizon)
    # Returns over h bars overlap, so a block shorter than h would cut the memory that they share.
    block = max(inference.block_length(values), float(horizon))
    interval = inference.bootstrap_interval(_mean, values, seed=seed, draws=DRAWS, block=block)
    return {f"{kind}_mean": interval._asdict(), f"{kind}_ir": facts["ir"], f"{kind}_t": facts["t"]}


def _mean(series: Floats) -> Floats:
    return np.asarray(series.mean(axis=0))


def shuffled_summary(shuffled: Signal, target: Target) -> dict[str, float]:
    """The rank IC of the control: what the same scores show when they are dealt to other assets."""
    test = inference.newey_west(ranking.rank_ic(shuffled.values, target.values), lag=target.horizon - 1)
    return {"shuffled_rank_ic_mean": test.mean, "shuffled_rank_ic_t": test.t}
