"""Do experts speak the same language? How far their values and scores lie apart, and whom that favours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.agents.dqn_alignment import Alignment
from alphaloom.agents.dqn_brain import CrossSectionBrain
from alphaloom.agents.observation import Observed
from alphaloom.errors import DataError

__all__ = ["DriftReport", "drift_report", "side_by_side"]

_SHARES = (0.05, 0.5, 0.95)
_GRID = 512
_LEAST = 3  # assets that a rank correlation across them needs
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DriftReport:
    """How K experts differ under one alignment.

    Shape: every array (K,), the two distances (K, K).
    Unit: `value_*` discounted returns, `score_*` as they are ranked; `distance` and `value_distance` are the largest
    gap between two experts' distributions (Kolmogorov-Smirnov, to 1 part in 512) of scores and of values of holding;
    `share` is each expert's part of all selections, `fair` its part of all usable cells.
    Missing: NaN for an expert without a usable cell; `inside` and `across`, the rank correlation of score and next
    return in one expert over time and over the assets of a row on average, are NaN where nothing varies.
    """

    alignment: Alignment
    experts: tuple[str, ...]
    value_mean: Floats
    value_deviation: Floats
    value_quantiles: Floats
    score_mean: Floats
    score_deviation: Floats
    score_quantiles: Floats
    value_distance: Floats
    distance: Floats
    share: Floats
    fair: Floats
    inside: Floats
    across: float

    @property
    def pull(self) -> Floats:
        """Selections over the fair share: 1 favours nobody.   Shape: (K,)."""
        known = self.fair > 0.0
        return np.where(known, self.share / np.where(known, self.fair, 1.0), np.nan)

    def rows(self) -> list[dict[str, float | str]]:
        """One row of plain numbers for each expert, the furthest from its fair share first."""
        order = np.argsort(-np.abs(np.nan_to_num(self.pull, nan=1.0) - 1.0), kind="stable")
        names = ("value_mean", "value_deviation", "score_mean", "score_deviation", "share", "fair", "pull", "inside")
        off = self.distance.copy()
        np.fill_diagonal(off, -1.0)
        return [
            {
                "expert": self.experts[k],
                **{name: float(getattr(self, name)[k]) for name in names},
                "furthest": self.experts[int(np.nanargmax(off[k]))] if len(off) > 1 else "",
                "distance": float(np.nanmax(off[k])) if len(off) > 1 else 0.0,
            }
            for k in order
        ]


def drift_report(
    brain: CrossSectionBrain,
    observed: Observed,
    returns: ArrayLike,
    *,
    rows: ArrayLike | None = None,
    names: Sequence[str] = (),
    member: int = 0,
) -> DriftReport:
    """How the experts of one member differ, and what that does to who is selected.

    Where one net serves all assets, each asset is looked at as an expert of its own.
    Shape: returns (T, N), what holding earns after each row; `rows` the rows that are looked at, all that can be
    observed if not given; `names` those of the experts.
    Time: nothing is held on any of the rows, so that what was held before favours nobody.
    Raises: DataError where no cell is usable.
    """
    T, N, _ = observed.shape
    paid = np.asarray(returns, dtype=np.float64)
    at = np.arange(observed.first, T) if rows is None else np.asarray(rows, dtype=np.int64)
    group = brain.expert if brain.expert.size else np.arange(N)
    K = int(group.max()) + 1
    alone = replace(brain, members=(brain.members[member],))
    free = np.zeros((len(at), N), np.bool_)
    value = alone.values(observed, at, free)[..., 1]
    gain, order = alone.scores(observed, at, free)
    held = alone.choose(gain, order, observed.usable[at]) > 0.0
    able = np.isfinite(order)
    if not able.any():
        raise DataError("a report of drift needs a usable cell", found="none", where="drift_report(rows)")
    value = np.where(able, value, np.nan)
    values, scores = ([part[:, group == k][able[:, group == k]] for k in range(K)] for part in (value, order))
    counts = np.array([held[:, group == k].sum() for k in range(K)], dtype=np.float64)
    cells = np.array([len(part) for part in scores], dtype=np.float64)
    pairs = [(order[:, group == k].ravel(), paid[at][:, group == k].ravel()) for k in range(K)]
    rowwise = [_spearman(order[b], paid[row], least=_LEAST) for b, row in enumerate(at)]
    known = np.array([found for found in rowwise if np.isfinite(found)])
    return DriftReport(
        brain.alignment,
        tuple(names) if names else tuple(str(k) for k in range(K)),
        *_moments(values),
        *_moments(scores),
        _distances(values),
        _distances(scores),
        counts / max(counts.sum(), 1.0),
        cells / cells.sum(),
        np.array([_spearman(*pair, least=_LEAST) for pair in pairs]),
        float(known.mean()) if len(known) else np.nan,
    )


def side_by_side(
    brain: CrossSectionBrain, observed: Observed, returns: ArrayLike, *, rows: ArrayLike | None = None
) -> Mapping[Alignment, DriftReport]:
    """The report without alignment, with the advantage alone, and as the brain is aligned.

    An alignment that makes experts equal also takes away real differences between assets, so look at all of them.
    """
    kinds: list[Alignment] = ["none", "advantage", brain.alignment]
    return {
        kind: drift_report(replace(brain, alignment=kind), observed, returns, rows=rows)
        for kind in dict.fromkeys(kinds)
    }


def _moments(parts: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
    """Mean, deviation and quantiles of each sample.   Shape: (K,), (K,), (K, 3)."""
    nothing = np.full(len(_SHARES), np.nan)
    mean = np.array([part.mean() if len(part) else np.nan for part in parts])
    deviation = np.array([part.std() if len(part) else np.nan for part in parts])
    quantiles = np.array([np.quantile(part, _SHARES) if len(part) else nothing for part in parts])
    return mean, deviation, quantiles


def _distances(parts: Sequence[Floats]) -> Floats:
    """The largest gap between each two empirical distributions.   Shape: (K, K)."""
    pool = np.sort(np.concatenate(list(parts)))
    grid = pool[np.unique(np.linspace(0, len(pool) - 1, min(_GRID, len(pool))).astype(np.int64))]
    below = np.array(
        [
            np.searchsorted(np.sort(part), grid, side="right") / len(part) if len(part) else np.full(len(grid), np.nan)
            for part in parts
        ]
    )
    return np.array([np.abs(below - one).max(axis=1) for one in below])


def _spearman(score: Floats, paid: Floats, *, least: int) -> float:
    """The rank correlation of what is known of both; NaN where there is too little or nothing varies."""
    from scipy.stats import rankdata

    known = np.isfinite(score) & np.isfinite(paid)
    if int(known.sum()) < least:
        return float("nan")
    a, b = (rankdata(part[known]) for part in (score, paid))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0.0 else float("nan")
