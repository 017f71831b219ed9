"""What a directional model has to beat: always long, yesterday's sign, momentum's, a line through the macro."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.signal import Signal, forward_returns

__all__ = ["AlwaysLong", "MacroForecaster", "MacroLogistic", "MomentumSign", "PreviousSign"]

Floats = NDArray[np.float64]
_INDEX = ("index", "benchmark")


@dataclass(frozen=True)
class AlwaysLong:
    """Says up about every member, always."""

    horizon: int = 5

    def __post_init__(self) -> None:
        _check(self.horizon, "AlwaysLong.horizon")

    @property
    def lookback(self) -> int:
        """Rows before today that a prediction reads: none."""
        return 0

    def state(self) -> dict[str, Any]:
        """All settings, for `save_model`."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> AlwaysLong:
        """The forecaster that `state` described."""
        return cls(int(state["horizon"]))

    def predict(self, panel: Panel) -> Signal:
        """1 for every member with a close.   Shape: (T, N)."""
        return _spoken(panel, np.ones(panel.shape), self.horizon, "always_long")


@dataclass(frozen=True)
class MomentumSign:
    """Says that the direction of the last `window` bars goes on."""

    window: int = 20
    horizon: int = 5

    def __post_init__(self) -> None:
        _check(self.window, "MomentumSign.window")
        _check(self.horizon, "MomentumSign.horizon")

    @property
    def lookback(self) -> int:
        """Rows before today that a prediction reads."""
        return self.window

    def state(self) -> dict[str, Any]:
        """All settings, for `save_model`."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MomentumSign:
        """The forecaster that `state` described."""
        return cls(int(state["window"]), int(state["horizon"]))

    def predict(self, panel: Panel) -> Signal:
        """The sign of the return over the window.   Shape: (T, N).   Missing: NaN without both closes."""
        return _spoken(panel, _past_sign(panel, self.window), self.horizon, "momentum_sign")


@dataclass(frozen=True)
class PreviousSign:
    """Says that the direction of the last bar comes again."""

    horizon: int = 1

    def __post_init__(self) -> None:
        _check(self.horizon, "PreviousSign.horizon")

    @property
    def lookback(self) -> int:
        """Rows before today that a prediction reads: one."""
        return 1

    def state(self) -> dict[str, Any]:
        """All settings, for `save_model`."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PreviousSign:
        """The forecaster that `state` described."""
        return cls(int(state["horizon"]))

    def predict(self, panel: Panel) -> Signal:
        """The sign of today's return.   Shape: (T, N).   Missing: NaN without both closes."""
        return _spoken(panel, _past_sign(panel, 1), self.horizon, "previous_sign")


@dataclass(frozen=True)
class MacroLogistic:
    """Learns the chance that the average member rises from what the economy looks like; one view for all assets.

    Reads, as far as the panel has such series: the index's return over `window` bars, the level of `volatility`,
    and the levels of `term` (10-year less 2-year yield), `credit` (a credit spread) and `dollar`, and the change of
    each over the window. Without an index the members' mean return stands in.
    Missing: a series that is not known on half of the training bars is left out, with a note.
    Time: inputs are standardised on the training slice; the label is the sign of the members' mean outcome over
    `horizon` bars.
    Raises: SolveError when the training slice holds no rise or no fall.
    """

    horizon: int = 5
    window: int = 20
    volatility: str = "vix"
    term: str = "term_spread"
    credit: str = "credit_spread"
    dollar: str = "dollar"
    strength: float = 1.0

    def __post_init__(self) -> None:
        _check(self.horizon, "MacroLogistic.horizon")
        _check(self.window, "MacroLogistic.window")
        if not self.strength > 0.0:
            raise DataError("a strength of the fit is positive", found=self.strength, where="MacroLogistic.strength")

    @property
    def series(self) -> tuple[str, ...]:
        """The panel's series that are looked for, besides the index."""
        return (self.volatility, self.term, self.credit, self.dollar)

    def fit(self, train: Panel, market: Market) -> MacroForecaster:
        """The line that the training slice gives."""
        from sklearn.linear_model import LogisticRegression

        used = tuple(name for name in self.series if name in train.series and _mostly_known(train.series[name]))
        x = _macro(train, used, self.window)
        earned = forward_returns(train, market, horizon=self.horizon).values
        counted = np.isfinite(earned) & train.member
        count = counted.sum(axis=1)
        mean = np.where(count > 0, np.where(counted, earned, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
        rows = np.isfinite(x).all(axis=1) & np.isfinite(mean)
        rose = mean[rows] > 0.0
        if not rose.any() or rose.all():
            raise SolveError(
                "a logistic line needs rises and falls",
                found=f"{int(rose.sum())} rises in {int(rows.sum())} bars",
                where="the training slice",
                fix="train on more bars, or on a span where the series are known",
            )
        centre, spread = x[rows].mean(axis=0), x[rows].std(axis=0)
        spread = np.where(spread > 1e-12, spread, 1.0)
        fitted = LogisticRegression(C=self.strength, max_iter=1000).fit((x[rows] - centre) / spread, rose)
        absent = [name for name in self.series if name not in used]
        said = f"macro series not known on half of the training bars, left out: {', '.join(absent)}"
        notes = (said,) if absent else ()
        slopes = fitted.coef_[0] / spread
        intercept = float(fitted.intercept_[0] - slopes @ centre)
        return MacroForecaster(used, self.window, tuple(map(float, slopes)), intercept, self.horizon, notes)


@dataclass(frozen=True)
class MacroForecaster:
    """A fitted line through macro series."""

    series: tuple[str, ...]
    window: int
    slopes: tuple[float, ...]
    intercept: float
    horizon: int
    notes: tuple[str, ...] = ()

    @property
    def lookback(self) -> int:
        """Rows before today that a prediction reads."""
        return self.window

    def state(self) -> dict[str, Any]:
        """All numbers, for `save_model`."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> MacroForecaster:
        """The forecaster that `state` described.   Raises: DataError where slopes and series do not fit."""
        series, slopes = tuple(map(str, state["series"])), tuple(map(float, state["slopes"]))
        if len(slopes) != 1 + 2 * len(series):
            raise DataError("a line has a slope for each input", found=len(slopes), where="slopes")
        numbers = int(state["window"]), slopes, float(state["intercept"]), int(state["horizon"])
        return cls(series, *numbers, tuple(map(str, state["notes"])))

    def predict(self, panel: Panel) -> Signal:
        """Twice the chance of a rise less one, the same for every member.   Shape: (T, N)."""
        said = np.tanh(0.5 * (_macro(panel, self.series, self.window) @ np.array(self.slopes) + self.intercept))
        return _spoken(panel, np.broadcast_to(said[:, None], panel.shape), self.horizon, "macro_logistic")


def _mostly_known(series: Floats) -> bool:
    return bool(np.isfinite(series).mean() >= 0.5)


def _macro(panel: Panel, used: tuple[str, ...], window: int) -> Floats:
    """Index return over the window, then each series' level and change.   Shape: (T, 1 + 2 * series)."""
    name = next((name for name in _INDEX if name in panel.series), None)
    columns = [_past_move(panel.series[name], window) if name is not None else _mean_move(panel, window)]
    for series in used:
        level = panel.series[series]
        change = np.full(len(level), np.nan)
        change[window:] = level[window:] - level[:-window]
        columns += [level, change]
    return np.stack(columns, axis=1)


def _past_move(level: Floats, window: int) -> Floats:
    out = np.full(level.shape, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        out[window:] = level[window:] / level[:-window] - 1.0
    return np.where(np.isfinite(out), out, np.nan)


def _mean_move(panel: Panel, window: int) -> Floats:
    moves = np.where(panel.member, _past_move(np.asarray(panel["close"], np.float64), window), np.nan)
    known = np.isfinite(moves)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, moves, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _past_sign(panel: Panel, window: int) -> Floats:
    return np.sign(_past_move(np.asarray(panel["close"], dtype=np.float64), window))


def _spoken(panel: Panel, values: Floats, horizon: int, name: str) -> Signal:
    seen = panel.member & np.isfinite(panel["close"])
    return Signal(panel.times, panel.assets, np.where(seen, values, np.nan), "score", horizon, name)


def _check(value: int, where: str) -> None:
    if value < 1:
        raise DataError("a horizon or window counts bars, at least one", found=value, where=where)
