"""Several forecasters as one, weighted by what each was worth on bars that it had not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.forecast.inputs import cross_rank
from alphaloom.forecast.sharing import shared_factors
from alphaloom.forecast.storage import from_state, to_state
from alphaloom.forecast.stored_inputs import check_parts
from alphaloom.market import Market
from alphaloom.metrics import ranking
from alphaloom.panel import Panel
from alphaloom.roles import Forecaster, Learner
from alphaloom.signal import Signal, forward_returns

__all__ = ["Blend", "BlendForecaster", "BlendWeighting"]

BlendWeighting = Literal["ic", "equal"]


@dataclass(frozen=True)
class Blend:
    """Learns several forecasters and how much to trust each.

    Each learner is fitted on the first part of the training slice and judged by its mean rank IC on the last, the
    fraction `holdout`; weights are proportional to that where it is positive and zero elsewhere. What has a weight is
    then fitted again on the whole slice. If nothing was positive all weigh the same, and a note says so. "equal" skips
    the judging.
    Time: the first part is a slice, so its labels end before the bars on which it is judged.
    Raises: SolveError if the slice is too short to judge; DataError for a learner that makes no forecaster.
    """

    learners: tuple[Learner, ...]
    holdout: float = 0.2
    weighting: BlendWeighting = "ic"

    def __post_init__(self) -> None:
        object.__setattr__(self, "learners", tuple(self.learners))
        if not self.learners:
            raise DataError("a blend needs at least one learner", found=0, where="Blend.learners")
        if not 0.0 < self.holdout < 1.0:
            raise DataError("a part of the time is between 0 and 1", found=self.holdout, where="Blend.holdout")
        if self.weighting not in get_args(BlendWeighting):
            raise DataError("a blend is weighted by ic or equal", found=self.weighting, where="Blend.weighting")

    def fit(self, train: Panel, market: Market) -> BlendForecaster:
        """The forecasters that earned a weight, fitted on the whole slice."""
        with shared_factors(train):
            return self._fit(train, market)

    def _fit(self, train: Panel, market: Market) -> BlendForecaster:
        count = len(self.learners)
        weights, notes = np.full(count, 1.0 / count), []
        if self.weighting == "ic" and count > 1:
            earned = np.array([self._judged(learner, train, market) for learner in self.learners])
            positive = np.maximum(earned, 0.0)
            said = ", ".join(f"{_name(x)} {ic:.4f}" for x, ic in zip(self.learners, earned, strict=True))
            notes.append(f"rank IC on the held-out bars: {said}")
            if positive.sum() > 0.0:
                weights = positive / positive.sum()
            else:
                notes.append("no learner had a positive rank IC on the held-out bars; all weigh the same")
        chosen = [k for k in range(count) if weights[k] > 0.0]
        forecasters = tuple(_fitted(self.learners[k], train, market) for k in chosen)
        for forecaster in forecasters:
            notes += [note for note in getattr(forecaster, "notes", ()) if note not in notes]
        return BlendForecaster(forecasters, tuple(float(weights[k]) for k in chosen), tuple(notes))

    def _judged(self, learner: Learner, train: Panel, market: Market) -> float:
        """Mean rank IC on the last part of a forecaster that was fitted on the first."""
        cut = len(train) - max(1, round(len(train) * self.holdout))
        forecaster = _fitted(learner, train[:cut], market)
        start = max(0, cut - forecaster.lookback)
        signal = forecaster.predict(train[start:])[cut - start :]
        target = forward_returns(train, market, horizon=signal.horizon)[cut:]
        pairs = min(10, max(3, train.shape[1] // 2))
        daily = ranking.rank_ic(signal.values, target.values, min_pairs=pairs)
        known = np.isfinite(daily)
        if known.any():
            return float(daily[known].mean())
        if np.isfinite(target.values).any():
            return 0.0  # labels but no view that varies: worth nothing
        raise SolveError(
            "a blend judges its learners on held-out bars that have labels",
            found=f"{len(train) - cut} bars, horizon {signal.horizon}",
            where="Blend.holdout",
            fix="train on more bars, hold out more, or use weighting='equal'",
        )


@dataclass(frozen=True)
class BlendForecaster:
    """The weighted mean of the members' ranks on each date; an asset that only some know is judged by those."""

    forecasters: tuple[Forecaster, ...]
    weights: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def lookback(self) -> int:
        """Rows before today that a prediction reads: the longest of the members'."""
        return max(forecaster.lookback for forecaster in self.forecasters)

    @property
    def importance(self) -> Mapping[str, float]:
        """The members' importances by factor, weighted; members without one are left out."""
        total: dict[str, float] = {}
        for forecaster, weight in zip(self.forecasters, self.weights, strict=True):
            for name, share in getattr(forecaster, "importance", {}).items():
                total[name] = total.get(name, 0.0) + weight * share
        return total

    def predict(self, panel: Panel) -> Signal:
        """Mean ranks, from -0.5 to 0.5.   Shape: (T, N)."""
        with shared_factors(panel):
            signals = [forecaster.predict(panel) for forecaster in self.forecasters]
        values = _mean_rank([signal.values for signal in signals], self.weights)
        return Signal(panel.times, panel.assets, values, "score", max(s.horizon for s in signals), "blend")

    def state(self) -> dict[str, Any]:
        """The stored form."""
        members = [to_state(member) for member in self.forecasters]
        return {"members": members, "weights": list(self.weights), "notes": list(self.notes)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> BlendForecaster:
        """The forecaster that `state` described.   Raises: DataError where its parts do not fit."""
        members = tuple(from_state(member) for member in state["members"])
        weights = tuple(float(weight) for weight in state["weights"])
        check_parts(len(weights), len(members), "weights")
        return cls(members, weights, tuple(state.get("notes", ())))


def _mean_rank(grids: Sequence[NDArray[np.float64]], weights: Sequence[float]) -> NDArray[np.float64]:
    total, weight = np.zeros(grids[0].shape), np.zeros(grids[0].shape)
    for values, share in zip(grids, weights, strict=True):
        rank = cross_rank(values)
        known = np.isfinite(rank)
        total += np.where(known, share * rank, 0.0)
        weight += share * known
    return np.where(weight > 0.0, total / np.where(weight > 0.0, weight, 1.0), np.nan)


def _fitted(learner: Learner, train: Panel, market: Market) -> Forecaster:
    forecaster = learner.fit(train, market)
    if not isinstance(forecaster, Forecaster):
        raise DataError(
            "a blend is made of learners that fit forecasters",
            found=f"{_name(learner)} fits a {type(forecaster).__name__}",
            where="Blend.learners",
        )
    return forecaster


def _name(learner: Learner) -> str:
    return type(learner).__name__
