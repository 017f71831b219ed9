"""From a score, which only orders assets, to an expected return, which an optimiser can weigh against risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.factors import Factor, FactorSet, evaluate, parse
from alphaloom.factors.options import Options
from alphaloom.forecast.inputs import cross_zscore
from alphaloom.forecast.sharing import shared_factors
from alphaloom.forecast.storage import from_state, to_state
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.roles import Forecaster, Learner
from alphaloom.signal import Signal, forward_returns

__all__ = ["ReturnScale", "ScaledForecaster"]


@dataclass(frozen=True)
class ReturnScale:
    """Learns how much return a score is worth: slope * standardised score * volatility.

    The learner is fitted on the first part of the training slice; the slope is the least-squares line of the returns
    on the last part, the fraction `holdout`, over the standardised score times the volatility of `window` bars, both
    against the mean of their date. The learner is then fitted again on the whole slice. A slope that is not positive
    counts as zero: all expected returns are then 0, and a note says so.
    Unit: a fraction over the learner's horizon.   Time: the first part is a slice, so its labels end before the last.
    Raises: SolveError if the slice is too short to judge; DataError for a learner that makes no forecaster.
    Source: Grinold (1994), "Alpha is volatility times IC times score", Journal of Portfolio Management 20(4).
    """

    learner: Learner
    holdout: float = 0.2
    window: int = 63

    def __post_init__(self) -> None:
        if not 0.0 < self.holdout < 1.0:
            raise DataError("a part of the time is between 0 and 1", found=self.holdout, where="ReturnScale.holdout")
        if self.window < 2:
            raise DataError("a volatility needs at least two bars", found=self.window, where="ReturnScale.window")

    def fit(self, train: Panel, market: Market) -> ScaledForecaster:
        """The learner's forecaster with what its scores are worth."""
        with shared_factors(train):
            slope, error, horizon = self._slope(train, market)
            forecaster = _fitted(self.learner, train, market)
        notes = [*getattr(forecaster, "notes", ())]
        notes.append(f"one standardised score is worth {slope:.4f} (standard error {error:.4f}) volatilities")
        if slope <= 0.0:
            notes.append(f"the score earned nothing on the held-out bars: expected returns over {horizon} bars are 0")
        return ScaledForecaster(forecaster, max(slope, 0.0), self.window, tuple(notes))

    def _slope(self, train: Panel, market: Market) -> tuple[float, float, int]:
        """The slope on the held-out bars, its standard error over dates, and the horizon."""
        cut = len(train) - max(1, round(len(train) * self.holdout))
        forecaster = _fitted(self.learner, train[:cut], market)
        start = max(0, cut - max(forecaster.lookback, self.window))
        view = train[start:]
        signal = forecaster.predict(view)
        x = _unscaled(signal, view, self.window)[cut - start :]
        y = forward_returns(train, market, horizon=signal.horizon).values[cut:]
        both = np.isfinite(x) & np.isfinite(y)
        both &= both.sum(axis=1, keepdims=True) > 1
        if not both.any():
            raise SolveError(
                "a score is scaled on held-out bars that have scores and labels",
                found=f"{len(train) - cut} bars, horizon {signal.horizon}",
                where="ReturnScale.holdout",
                fix="train on more bars, or hold out more",
            )
        x, y = _centred(x, both), _centred(y, both)
        cross, square = (x * y).sum(axis=1), (x * x).sum(axis=1)
        slope = float(cross.sum() / square.sum()) if square.sum() > 0.0 else 0.0
        error = float(np.sqrt(((cross - slope * square) ** 2).sum()) / square.sum()) if square.sum() > 0.0 else 0.0
        return slope, error, signal.horizon


@dataclass(frozen=True)
class ScaledForecaster:
    """A forecaster whose scores became expected returns: slope * standardised score * volatility over its horizon."""

    forecaster: Forecaster
    slope: float
    window: int
    notes: tuple[str, ...] = ()

    @property
    def lookback(self) -> int:
        """Rows before today that a prediction reads."""
        return max(self.forecaster.lookback, self.window)

    @property
    def importance(self) -> Mapping[str, float]:
        """The importance of each factor for the score."""
        found: Mapping[str, float] = getattr(self.forecaster, "importance", {})
        return found

    def predict(self, panel: Panel) -> Signal:
        """Expected returns of the members over the horizon.   Shape: (T, N)."""
        signal = self.forecaster.predict(panel)
        values = self.slope * _unscaled(signal, panel, self.window)
        return Signal(panel.times, panel.assets, values, "return", signal.horizon, signal.name)

    def state(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "forecaster": to_state(self.forecaster),
            "slope": self.slope,
            "window": self.window,
            "notes": list(self.notes),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ScaledForecaster:
        """The forecaster that `state` described."""
        return cls(from_state(state["forecaster"]), float(state["slope"]), int(state["window"]), tuple(state["notes"]))


def _unscaled(signal: Signal, panel: Panel, window: int) -> NDArray[np.float64]:
    """Standardised score times volatility over the signal's horizon.   Shape: (T, N)."""
    step = FactorSet(
        "volatility", (Factor("volatility", parse(f"ts_std(returns, {window})")),), Options(min_periods=window // 2 + 1)
    )
    volatility = evaluate(step, panel).values[:, :, 0].astype(np.float64) * np.sqrt(signal.horizon)
    values: NDArray[np.float64] = cross_zscore(signal.values) * volatility
    return values


def _centred(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Differences from the mean of each date's known cells; 0 elsewhere."""
    mean = np.where(known, values, 0.0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.where(known, values - mean, 0.0)


def _fitted(learner: Learner, train: Panel, market: Market) -> Forecaster:
    forecaster = learner.fit(train, market)
    if not isinstance(forecaster, Forecaster):
        raise DataError(
            "only scores of a forecaster can be scaled",
            found=f"{type(learner).__name__} fits a {type(forecaster).__name__}",
            where="ReturnScale.learner",
        )
    return forecaster
