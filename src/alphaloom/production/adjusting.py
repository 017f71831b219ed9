"""What a later panel changes about a past that was traded on: shares follow the adjustment of their prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import latest_values
from alphaloom.errors import DataError
from alphaloom.panel import Panel
from alphaloom.production.account import Account
from alphaloom.production.orders import day_text, time_text

__all__ = ["Marks", "columns_for", "marks_at", "rebasing", "row_of_now"]

FACTOR = "adj_factor"
_SAME = 1e-9  # two prices this close are one price; far below a tick


@dataclass(frozen=True, eq=False)
class Marks:
    """The last known closes at a row of a panel, and the factors that adjust them.

    Shape: `prices` (N,); `factors` (N,), 1 where none is known, or None where the panel has no field adj_factor.
    """

    prices: NDArray[np.float64]
    factors: NDArray[np.float64] | None

    def facts(self, column: int) -> tuple[float | None, float | None]:
        """The price and the factor of one asset, None where they are not known."""
        price = float(self.prices[column])
        return (None if np.isnan(price) else price), (None if self.factors is None else float(self.factors[column]))


def marks_at(panel: Panel, row: int) -> Marks:
    """The marks of every asset at a row."""
    factors = None
    if FACTOR in panel.fields:
        known = latest_values(panel[FACTOR], row)
        factors = np.where(np.isnan(known), 1.0, known)
    return Marks(latest_values(panel["close"], row), factors)


def row_of_now(account: Account, panel: Panel) -> int:
    """The row of the last bar that was played; -1 when the panel ends before it.

    Raises: DataError when a bar that was played is not in the panel, or one in it was never played.
    """
    now, last = account.times[-1], len(account.times)
    row = int(np.searchsorted(panel.times, now, side="right")) - 1
    if panel.times[-1] < now:
        last = int(np.searchsorted(np.array(account.times), panel.times[-1], side="right"))
    many = min(last, row + 1)
    played = np.array(account.times[last - many : last])
    given = panel.times[row + 1 - many : row + 1]
    if many == 0 or not np.array_equal(played, given):
        odd = np.flatnonzero(played != given)
        at = int(odd[-1]) if len(odd) else -1
        rule = "every bar that was played stands in the panel, and no other bar between them"
        found = "no bar in common" if many == 0 else f"{day_text(given[at])} where {day_text(played[at])} was played"
        raise DataError(rule, found=found, where="panel.times", fix="give the panel back the bar that it lost")
    return row if panel.times[-1] >= now else -1


def columns_for(account: Account, panel: Panel) -> dict[str, int]:
    """The panel's column of each asset.   Raises: DataError when an asset that is held has none."""
    place = {name: at for at, name in enumerate(panel.assets)}
    gone = [asset for asset, facts in account.held.items() if facts[0] and asset not in place]
    if gone:
        raise DataError(
            "an asset that is held stays in the panel",
            found=f"no {', '.join(sorted(gone)[:10])}",
            where="panel.assets",
            fix="keep it and let its mask `listed` fall to False, which pays the holding out",
        )
    return place


def rebasing(account: Account, panel: Panel, row: int, *, marks: Marks) -> dict[str, Any] | None:
    """What a new adjustment of the prices does to the account: the body of a record, or None when nothing changed.

    An adjusted share is a raw share / factor, so with a field adj_factor the shares of a holding are multiplied by
    old factor / new factor at the last bar played, and a price that changed while its factor stayed is a correction by
    the source: it is noted and shares stay. Without that field the two cannot be told apart.
    Raises: DataError for a price that changed without a factor.
    """
    place = columns_for(account, panel)
    factors: dict[str, float] = {}
    revised: dict[str, list[float | None]] = {}
    held: dict[str, list[float | None]] = {}
    for asset, (shares, price, factor) in account.held.items():
        if asset not in place:
            continue
        now_price, now_factor = marks.facts(place[asset])
        moved = not _equal(price, now_price)
        share = 1.0
        if factor is not None and now_factor is not None:
            share = factor / now_factor
        elif moved:
            raise DataError(
                "the price of a bar that was traded on stays, unless a field adj_factor says how it was adjusted",
                found=f"{asset} at {now_price}, was {price}",
                where=f"close at {day_text(panel.times[row])}",
                fix="give panels with adj_factor, or panels adjusted as of one day",
            )
        if share != 1.0:
            factors[asset] = share
        elif moved:
            revised[asset] = [price, now_price]
        held[asset] = [(shares or 0.0) * share, now_price, now_factor]
    if not factors and not revised:
        return None
    return {"time": time_text(panel.times[row]), "factors": factors, "revised": revised, "held": held}


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _SAME * abs(one)
