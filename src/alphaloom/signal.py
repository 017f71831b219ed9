"""What a forecaster says (Signal), what came true (Target), and what a model reads (Features)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import AxisError, DataError
from alphaloom.market import Fill, Market
from alphaloom.panel import Panel, last_known

__all__ = ["Features", "Kind", "Signal", "Target", "forward_returns"]

Kind = Literal["score", "return", "probability"]


@dataclass(frozen=True, eq=False)
class Signal:
    """A view on every asset at every bar; higher is better.

    Shape: values (T, N), float64.   Time: row t was made from rows <= t.   Missing: NaN = no view.
    `kind`: "score" orders assets and has no scale, "return" is an expected return over `horizon` bars,
    "probability" is the chance of a positive one.
    """

    times: NDArray[np.datetime64]
    assets: tuple[str, ...]
    values: NDArray[np.float64]
    kind: Kind = "score"
    horizon: int = 1
    name: str = "signal"

    def __post_init__(self) -> None:
        _check_grid(self, "signal")
        if self.kind not in get_args(Kind):
            raise DataError("a signal is a score, a return or a probability", found=self.kind, where="signal.kind")
        if self.horizon < 1:
            raise DataError("a horizon counts bars, at least one", found=self.horizon, where="signal.horizon")

    def __getitem__(self, rows: slice) -> Signal:
        return Signal(self.times[rows], self.assets, self.values[rows], self.kind, self.horizon, self.name)

    def row_at(self, when: np.datetime64) -> NDArray[np.float64]:
        """The view of the bar `when`; all NaN where the signal has no such bar."""
        at = int(np.searchsorted(self.times, when))
        if at == len(self.times) or self.times[at] != when:
            return np.full(len(self.assets), np.nan)
        row: NDArray[np.float64] = self.values[at]
        return row


@dataclass(frozen=True, eq=False)
class Target:
    """Returns that were earned after each bar: for fitting and for judging, never for predicting.

    Shape: values (T, N).   Time: row t is the return from the fill that follows a decision on row t over `horizon`
    bars.   Missing: NaN where the rows that the label needs are not there, or where entry or exit could not trade.
    """

    times: NDArray[np.datetime64]
    assets: tuple[str, ...]
    values: NDArray[np.float64]
    horizon: int
    fill: Fill

    def __post_init__(self) -> None:
        _check_grid(self, "target")

    def __getitem__(self, rows: slice) -> Target:
        return Target(self.times[rows], self.assets, self.values[rows], self.horizon, self.fill)


@dataclass(frozen=True, eq=False)
class Features:
    """Named model inputs.

    Shape: values (T, N, F), float32 or float64; may be memory-mapped.   Time: row t was made from rows <= t.
    """

    times: NDArray[np.datetime64]
    assets: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[Any]

    def __post_init__(self) -> None:
        expected = (len(self.times), len(self.assets), len(self.names))
        if self.values.shape != expected:
            raise AxisError(
                "features are one grid for each name",
                found=f"shape {self.values.shape}, not {expected}",
                where="features.values",
            )

    def __getitem__(self, rows: slice) -> Features:
        return Features(self.times[rows], self.assets, self.names, self.values[rows])


def forward_returns(panel: Panel, market: Market, *, horizon: int = 1) -> Target:
    """The return of each asset from the next fill over the following `horizon` bars.

    Shape: (T, N).   Unit: a fraction.
    Time: row t reads rows t + lag and t + lag + horizon, where lag is 0 for `same_close` and 1 otherwise; the last
    rows are NaN because their outcome lies outside the panel, which is how a training slice purges itself.
    Missing: NaN unless the asset is listed at t, could be bought at the entry and sold at the exit. An asset that is
    delisted on the way leaves at its last close less `market.delist_loss`.
    """
    if horizon < 1:
        raise DataError("a horizon counts bars, at least one", found=horizon, where="forward_returns")
    T, N = panel.shape
    lag = 0 if market.fill == "same_close" else 1
    price = np.asarray(panel["open" if market.fill == "next_open" else "close"], dtype=np.float64)
    values = np.full((T, N), np.nan)
    rows = T - lag - horizon
    if rows > 0:
        enter, leave = slice(lag, lag + rows), slice(lag + horizon, T)
        last = last_known(np.asarray(panel["close"], dtype=np.float64))
        with np.errstate(invalid="ignore", divide="ignore"):
            free = np.where(panel.sellable[leave], price[leave] / price[enter] - 1.0, np.nan)
            settled = last[leave] * (1.0 - market.delist_loss) / price[enter] - 1.0
        gone = panel.listed[enter] & ~panel.listed[leave]
        entered = panel.listed[:rows] & panel.buyable[enter]
        earned = np.where(entered, np.where(gone, settled, free), np.nan)
        values[:rows] = np.where(np.isfinite(earned), earned, np.nan)
    return Target(panel.times, panel.assets, values, horizon, market.fill)


def _check_grid(value: Signal | Target, where: str) -> None:
    grid = np.ascontiguousarray(value.values, dtype=np.float64)
    expected = (len(value.times), len(value.assets))
    if grid.shape != expected:
        raise AxisError(
            "values are one row for each time and one column for each asset",
            found=f"shape {grid.shape}, not {expected}",
            where=f"{where}.values",
        )
    view = grid.view()
    view.flags.writeable = False
    object.__setattr__(value, "values", view)
