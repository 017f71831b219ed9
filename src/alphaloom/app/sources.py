"""Where a study takes its panel from, as a configuration says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaloom.errors import DataError
from alphaloom.panel import Panel

__all__ = ["StoreView", "load_panel"]


@dataclass(frozen=True)
class StoreView:
    """A span of a store, of all its assets or of those named.

    Time: dates as YYYY-MM-DD, both ends included; `as_of` dates the price adjustment.
    """

    path: str
    start: str | None = None
    end: str | None = None
    as_of: str | None = None
    assets: tuple[str, ...] = ()


def load_panel(source: Any) -> Panel:
    """Make the panel that a configuration names.   Raises: DataError."""
    from alphaloom.data import EmbeddedMarket, Store, simulate

    if isinstance(source, EmbeddedMarket):
        return simulate(source)
    if not isinstance(source, StoreView):
        raise DataError("a study reads a store or the embedded market", found=source, where="data")
    if not Path(source.path).is_dir():
        raise DataError(
            "a store is a directory that `alphaloom data import` made",
            found=source.path,
            where="data.path",
            fix="alphaloom data import PRICES --store DIR",
        )
    return Store(Path(source.path)).panel(
        start=source.start, end=source.end, as_of=source.as_of, assets=source.assets or None
    )
