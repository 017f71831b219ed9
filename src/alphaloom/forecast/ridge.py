"""A line through the factors, with its slopes held back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.factors import FactorSet
from alphaloom.forecast.augmentation import Augmentation
from alphaloom.forecast.correction import Correction
from alphaloom.forecast.inputs import Inputs, Scale, Table, TargetKind, check_recipe, learn
from alphaloom.forecast.stored_inputs import check_parts, inputs_of, state_of_inputs
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.signal import Kind, Signal

__all__ = ["Ridge", "RidgeForecaster"]

_ROWS = 8192


@dataclass(frozen=True)
class Ridge:
    """Learns one slope for each factor by least squares, the slopes held back by `alpha`.

    `alpha` counts in units of the mean sum of squares of a factor, so its meaning depends neither on the number of
    rows nor on the scale: 0.01 hardly touches independent factors and calms factors that say nearly the same.
    `target` is the rank, the z-score or the plain value of the return over `horizon` bars from the next fill.
    Time: labels that need bars after the training slice are missing, so the slice purges itself.
    Source: Hoerl and Kennard (1970), Technometrics 12(1).
    """

    factors: FactorSet | str = "classic"
    horizon: int = 5
    target: TargetKind = "rank"
    scale: Scale = "rank"
    every: int = 1
    known: float = 0.5
    alpha: float = 0.01
    correction: Correction | None = None
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        check_recipe(self, "Ridge")
        if not 0.0 <= self.alpha < np.inf:
            raise DataError("a penalty is not negative", found=self.alpha, where="Ridge.alpha")

    def fit(self, train: Panel, market: Market) -> RidgeForecaster:
        """The line that fits the training slice best."""
        inputs, table, notes = learn(self, train, market)
        slopes, intercept = _solved(table, self.alpha)
        kind: Kind = "return" if self.target == "return" else "score"
        return RidgeForecaster(inputs, tuple(slopes.tolist()), intercept, self.horizon, kind, notes)


@dataclass(frozen=True)
class RidgeForecaster:
    """A fitted line: a score is the intercept plus slope times factor, summed."""

    inputs: Inputs
    slopes: tuple[float, ...]
    intercept: float
    horizon: int
    kind: Kind = "score"
    notes: tuple[str, ...] = ()

    @property
    def lookback(self) -> int:
        """Rows before today that a prediction reads."""
        return self.inputs.lookback

    @property
    def importance(self) -> Mapping[str, float]:
        """The share of each factor in the sum of absolute slopes."""
        size = np.abs(self.slopes)
        shares = size / (size.sum() or 1.0)
        return dict(zip(self.inputs.names, shares.tolist(), strict=True))

    def predict(self, panel: Panel) -> Signal:
        """Scores of the members.   Shape: (T, N)."""
        slopes = np.array(self.slopes)

        def line(x: NDArray[np.float32]) -> NDArray[np.float64]:
            # einsum adds along each row alone: no score depends on which other rows are predicted with it.
            return np.asarray(np.einsum("rf,f->r", x.astype(np.float64), slopes) + self.intercept)

        return Signal(panel.times, panel.assets, self.inputs.scores(panel, line), self.kind, self.horizon, "ridge")

    def state(self) -> dict[str, Any]:
        """The stored form."""
        own = {"slopes": list(self.slopes), "intercept": self.intercept, "horizon": self.horizon, "kind": self.kind}
        return {**own, "notes": list(self.notes), "inputs": state_of_inputs(self.inputs)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RidgeForecaster:
        """The forecaster that `state` described.   Raises: DataError where its parts do not fit."""
        inputs, slopes = inputs_of(state["inputs"]), tuple(float(slope) for slope in state["slopes"])
        check_parts(len(slopes), len(inputs.names), "slopes")
        notes = tuple(state.get("notes", ()))
        return cls(inputs, slopes, float(state["intercept"]), int(state["horizon"]), state["kind"], notes)


def _solved(table: Table, alpha: float) -> tuple[NDArray[np.float64], float]:
    """Slopes and intercept from the normal equations, gathered in blocks of rows."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    R, F = table.x.shape
    weight = table.weight if table.weighted else None
    mean_x = _mean(table.x, weight)
    mean_y = float(table.y.mean()) if weight is None else float(weight @ table.y / weight.sum())
    square, cross = np.zeros((F, F)), np.zeros(F)
    # One thread: how a product is cut among threads would otherwise show in its last digits.
    with threadpool_limits(limits=1):
        for start in range(0, R, _ROWS):
            x = table.x[start : start + _ROWS] - mean_x
            y = table.y[start : start + _ROWS] - mean_y
            if weight is not None:  # the root on both sides keeps the product symmetric, which halves its work
                root = np.sqrt(weight[start : start + _ROWS])
                x, y = x * root[:, None], y * root
            square += x.T @ x
            cross += x.T @ y
        size = float(np.trace(square)) / F
        if size <= 0.0:
            raise SolveError("a fit needs a factor that varies", found=f"{R} rows, {F} factors", where="Ridge.fit")
        # lstsq also answers when alpha is 0 and factors repeat each other: with the shortest slopes.
        slopes = np.linalg.lstsq(square + alpha * size * np.eye(F), cross, rcond=None)[0]
    return slopes, mean_y - float(mean_x @ slopes)


def _mean(x: NDArray[np.float32], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Mean of every factor over the rows, weighted where weights are given.   Shape: (R, F) -> (F,)."""
    if weight is None:
        return np.asarray(x.mean(axis=0, dtype=np.float64))
    total = np.zeros(x.shape[1])
    for start in range(0, len(x), _ROWS):
        total += np.einsum("r,rf->f", weight[start : start + _ROWS], x[start : start + _ROWS].astype(np.float64))
    return np.asarray(total / weight.sum())
