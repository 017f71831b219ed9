"""What every policy of this room asks first: which row of the signal, and which assets can be held today."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import AxisError, DataError
from alphaloom.panel import Panel
from alphaloom.signal import Signal

__all__ = [
    "check_cash",
    "check_choice",
    "check_count",
    "held_still",
    "hold",
    "schedule",
    "signal_row",
    "tradable",
    "tradable_now",
]


def hold(N: int) -> NDArray[np.float64]:
    """The row that trades nothing.   Shape: (N,)."""
    return np.full(N, np.nan)


def tradable(panel: Panel) -> NDArray[np.bool_]:
    """Members with a known close: the only assets that may be given a weight.   Shape: (T, N)."""
    return np.asarray(panel.member & np.isfinite(panel["close"]))


def tradable_now(view: Panel) -> NDArray[np.bool_]:
    """The last row of `tradable`.   Shape: (N,)."""
    return np.asarray(view.member[-1] & np.isfinite(view["close"][-1]))


def held_still(view: Panel, shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Holdings that did not trade on the last bar; they keep their weight, for no order could change it.

    Shape: (N,).
    """
    return np.asarray((shares != 0.0) & ~np.isfinite(view["close"][-1]))


def signal_row(signal: Signal, view: Panel) -> int:
    """The row of the signal that belongs to the last bar of the view; -1 if it has no such bar.

    Raises: AxisError if the signal is about other assets than the panel.
    """
    check_assets(signal, view)
    now = view.times[-1]
    at = int(signal.times.searchsorted(now))
    return at if at < len(signal.times) and signal.times[at] == now else -1


def schedule(signal: Signal, panel: Panel, *, every: int) -> NDArray[np.intp]:
    """For each bar of the panel the row of the signal to act on; -1 where nothing is due.

    Shape: (T,).   Time: `every` is counted on the signal's own bars, so that a panel that starts later gives the same
    days.
    """
    check_assets(signal, panel)
    rows = np.full(len(panel), -1, dtype=np.intp)
    if len(signal.times):
        at = np.minimum(signal.times.searchsorted(panel.times), len(signal.times) - 1)
        due = (signal.times[at] == panel.times) & (at % every == 0)
        rows[due] = at[due]
    return rows


def check_assets(signal: Signal, panel: Panel) -> None:
    """The signal and the panel must speak of the same assets in the same order."""
    if signal.assets is not panel.assets and signal.assets != panel.assets:
        raise AxisError(
            "a signal must be about the panel's assets, in the panel's order",
            found=f"{len(signal.assets)} assets in the signal, {len(panel.assets)} in the panel",
            where=f"signal {signal.name}",
        )


def check_count(value: int, where: str, *, least: int = 1) -> None:
    """A number of bars or assets must be whole and not too small."""
    if value < least or value != int(value):
        raise DataError(f"a number of bars or assets is whole and at least {least}", found=value, where=where)


def check_cash(value: float, where: str) -> None:
    """A cash reserve is a fraction of equity."""
    if not 0.0 <= value < 1.0:
        raise DataError("a cash reserve is a fraction of equity, from 0 to below 1", found=value, where=where)


def check_choice(value: str, legal: tuple[str, ...], where: str) -> None:
    """A word that chooses a method is one of the known ones; `where` ends with the setting's name."""
    if value not in legal:
        name = where.rpartition(".")[2]
        raise DataError(f"a {name} is one of these", found=value, where=where, fix=", ".join(legal))
