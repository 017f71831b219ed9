"""The bias-correction chain: from raw factors to one honest score, each step a value that can be left out.

Mask untradable cells before anything is computed (`mask_first`), then lag, winsorise, fill, standardise, neutralise,
standardise again, orient, drop duplicates, weigh. Parameters are fitted on training dates alone; steps that treat each
date by itself fit nothing. `ablate` and `mask_ablation` say what each step is worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors.chain_blocks import LEAST_PAIRS, Evidence, Fitted, Step, check_axes, gather, measured, through
from alphaloom.factors.chain_learned import Choice, Orient, Redundancy, Signs, Weight, Weighted, ledoit_wolf
from alphaloom.factors.chain_steps import AvailabilityLag, FillMissing, Late, Neutralise, Standardise, Winsorize
from alphaloom.factors.evaluate import evaluate
from alphaloom.factors.library import FactorSet
from alphaloom.factors.neutralise import Design, Neutralised, design, neutralise, regress_out
from alphaloom.factors.tradability import mask_first, masked_share, post_hoc, tradable
from alphaloom.panel import Panel
from alphaloom.signal import Features, Signal, Target

__all__ = [
    "AvailabilityLag",
    "Chain",
    "Choice",
    "Design",
    "FillMissing",
    "FittedChain",
    "Late",
    "Neutralise",
    "Neutralised",
    "Orient",
    "Redundancy",
    "Signs",
    "Standardise",
    "Weight",
    "Winsorize",
    "ablate",
    "design",
    "ledoit_wolf",
    "mask_ablation",
    "mask_first",
    "masked_share",
    "measured",
    "neutralise",
    "post_hoc",
    "regress_out",
    "tradable",
]

Table = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Chain:
    """Steps in order; `Chain.standard()` is the usual order, `without(k)` leaves one out."""

    steps: tuple[Step, ...]

    @staticmethod
    def standard(
        *,
        label: str = "sector",
        exposures: tuple[str, ...] = ("size", "beta"),
        lag: int = 0,
        weigh: Weight | None = None,
    ) -> Chain:
        """Every step once, with its usual parameters."""
        late: tuple[Step, ...] = (AvailabilityLag(lag),) if lag else ()
        steps: tuple[Step, ...] = (
            *late,
            Winsorize(),
            FillMissing(label),
            Standardise(),
            Neutralise(label, exposures),
            Standardise(),
            Orient(),
            Redundancy(),
            weigh or Weight(),
        )
        return Chain(steps)

    def without(self, place: int) -> Chain:
        """The chain with the step at `place` left out."""
        return Chain(self.steps[:place] + self.steps[place + 1 :])

    def fit(self, features: Features, target: Target, panel: Panel) -> FittedChain:
        """Learn every step's parameters from training dates; each step sees what the steps before it left.

        Time: give the training rows alone. The last horizon + 1 rows of the target are not used, whatever they hold.
        Raises: AxisError unless all three have the same axes.
        """
        check_axes(features, panel, target)
        fitted: list[Fitted] = []
        evidence: Evidence | None = None
        for step in self.steps:
            if isinstance(step, Orient | Redundancy | Weight):
                # Directions and choices change the evidence in a known way: one walk over the features serves all.
                evidence = evidence or gather(fitted, features, target, panel)
                learned = step.learn(evidence)
                evidence = None if isinstance(learned, Weighted) else learned.carry(evidence)
                fitted.append(learned)
            else:
                # The house's other steps learn names at most; only somebody's own step needs the values.
                own = not isinstance(step, AvailabilityLag | Winsorize | FillMissing | Standardise | Neutralise)
                seen = through(fitted, features, panel) if own else _named_after(fitted, features)
                fitted.append(step.fit(seen, target, panel))
                evidence = None
        return FittedChain(tuple(fitted), target.horizon)


@dataclass(frozen=True)
class FittedChain:
    """A chain that knows its parameters and keeps no data."""

    steps: tuple[Fitted, ...]
    horizon: int = 1

    @property
    def lookback(self) -> int:
        """Rows before today that the steps read of features and panel together."""
        return sum(step.lookback for step in self.steps)

    def transform(self, features: Features, panel: Panel, *, out: NDArray[Any] | None = None) -> Features:
        """The features after every step, a block of dates at a time.

        Shape: (T, N, F) -> (T, N, F'), into `out` (which may be memory-mapped) if it is given.
        Time: row t reads rows t - lookback..t; give enough rows before the first that matters.
        """
        return through(self.steps, features, panel, out=out)

    def score(self, features: Features, panel: Panel, *, name: str = "chain") -> Signal:
        """One score for every asset: the weighted sum, or the plain mean where the chain has no weights.

        Shape: (T, N).   Missing: NaN for non-members, and where half of the weight is not known.
        """
        steps = self.steps
        names = features.names
        for step in steps:
            names = step.names(names)
        if len(names) > 1:
            steps = (*steps, Weighted(Weight("equal"), (1.0 / len(names),) * len(names), self.horizon, "next_open"))
        values = through(steps, features, panel).values[:, :, 0].astype(np.float64)
        values[~panel.member] = np.nan
        return Signal(features.times, features.assets, values, "score", self.horizon, name)


def ablate(chain: Chain, features: Features, target: Target, panel: Panel, *, split: int) -> Table:
    """What each step is worth: the whole chain, the chain without each step, and the bare mean of the factors.

    Each variant is fitted on the rows before `split` and judged on the rows from there on.
    Shape: arrays (V,): variant, rank_ic (mean), ic_ir (mean / deviation), t (Newey-West, lag horizon - 1), coverage
    (share of member cells with a score), dates; `trials` (1,) counts the variants, for the deflated Sharpe ratio.
    Raises: DataError unless rows lie on both sides of `split`.
    """
    if not 0 < split < len(panel):
        raise DataError(
            "training and judging need rows each", found=f"{split} of {len(panel)}", where="ablate(split=...)"
        )
    variants = {"whole chain": chain}
    for k, step in enumerate(chain.steps):
        kind = type(step).__name__
        twice = sum(type(other).__name__ == kind for other in chain.steps[:k])
        variants[f"without {kind}" + (f" {twice + 1}" if twice else "")] = chain.without(k)
    variants["no step"] = Chain(())
    rows = []
    for variant in variants.values():
        fitted = variant.fit(features[:split], target[:split], panel[:split])
        score = fitted.score(features, panel)
        rows.append(_judged(score.values[split:, :, None], target[split:], panel[split:]))
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {"variant": np.array(list(variants)), **table, "trials": np.array([len(variants)])}


def mask_ablation(
    factors: FactorSet, panel: Panel, target: Target, *, mask: NDArray[np.bool_], first: int = 0
) -> Table:
    """What untradable cells do to each factor: unmasked, masked afterwards, masked first.

    "common" compares both maskings on the cells that both know, so that the values differ and not the sample;
    `agreement` is their mean rank correlation there, `spoiled` the share of the cells known after masking afterwards
    that a window or a rank with untradable cells went into (masking first leaves them unknown).
    Shape: arrays (F,): factor, rank_ic.{none, post_hoc, mask_first}, rank_ic_common.{post_hoc, mask_first}, agreement,
    spoiled; `masked` (1,) is the share of the members' cells that are masked. Rows from `first` on count.
    """
    open_values = evaluate(factors, panel)
    late = post_hoc(open_values, mask).values
    early = evaluate(factors, mask_first(panel, mask=mask)).values
    shared = np.isfinite(early) & np.isfinite(late)
    variants = {
        "rank_ic.none": open_values.values,
        "rank_ic.post_hoc": late,
        "rank_ic.mask_first": early,
        "rank_ic_common.post_hoc": np.where(shared, late, np.nan),
        "rank_ic_common.mask_first": np.where(shared, early, np.nan),
    }
    rows = slice(first, None)
    table = {name: _mean_ics(values[rows], target[rows], panel[rows]) for name, values in variants.items()}
    member = panel.member[rows, :, None]
    known = (np.isfinite(late[rows]) & member).sum(axis=(0, 1))
    lost = (np.isfinite(late[rows]) & ~np.isfinite(early[rows]) & member).sum(axis=(0, 1))
    return {
        "factor": np.array(factors.names),
        **table,
        "agreement": _agreement(early[rows], late[rows], panel[rows]),
        "spoiled": lost / np.maximum(known, 1),
        "masked": np.array([masked_share(panel[rows], mask[rows])]),
    }


def _named_after(fitted: list[Fitted], features: Features) -> Features:
    names = features.names
    for step in fitted:
        names = step.names(names)
    if names == features.names:
        return features
    empty = np.broadcast_to(np.float32(np.nan), (*features.values.shape[:2], len(names)))
    return Features(features.times, features.assets, names, empty)


def _judged(score: NDArray[Any], target: Target, panel: Panel) -> dict[str, float]:
    from alphaloom.factors.chain_kernels import rank_ics

    ics = rank_ics(score, panel.member, np.asarray(target.values), LEAST_PAIRS)[:, 0]
    known = ics[np.isfinite(ics)]
    n = len(known)
    mean = float(known.mean()) if n else math.nan
    spread = float(known.std(ddof=1)) if n > 1 else math.nan
    error = _error(known, target.horizon - 1)
    seen = panel.member & np.isfinite(panel["close"])
    coverage = (np.isfinite(score[:, :, 0]) & seen).sum() / max(1, seen.sum())
    return {
        "rank_ic": mean,
        "ic_ir": mean / spread if spread and spread > 0 else math.nan,
        "t": mean / error if error and error > 0 else math.nan,
        "coverage": float(coverage),
        "dates": float(n),
    }


def _error(x: NDArray[np.float64], lag: int) -> float:
    """Newey-West standard error of a mean with Bartlett weights."""
    n = len(x)
    if n < 2:
        return math.nan
    d = x - x.mean()
    variance = float(d @ d)
    for j in range(1, min(lag, n - 1) + 1):
        variance += 2.0 * (1.0 - j / (lag + 1.0)) * float(d[j:] @ d[:-j])
    return math.sqrt(max(variance, 0.0) / n / (n - 1))


def _mean_ics(values: NDArray[Any], target: Target, panel: Panel) -> NDArray[np.float64]:
    from alphaloom.factors.chain_kernels import rank_ics

    ics = rank_ics(np.ascontiguousarray(values), panel.member, np.asarray(target.values), LEAST_PAIRS)
    return _column_means(ics)


def _agreement(first: NDArray[Any], second: NDArray[Any], panel: Panel) -> NDArray[np.float64]:
    from alphaloom.factors.chain_kernels import rank_ics

    alike = []
    for k in range(first.shape[2]):
        one, other = np.ascontiguousarray(first[:, :, k : k + 1]), second[:, :, k].astype(np.float64)
        alike.append(rank_ics(one, panel.member, other, LEAST_PAIRS)[:, 0])
    return _column_means(np.stack(alike, axis=1))


def _column_means(table: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(table)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, table, 0.0).sum(axis=0) / known.sum(axis=0))
