"""A panel as an agent sees it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError, DataError
from alphaloom.panel import Panel

__all__ = ["Observed", "first_row", "layout_hash", "throughout"]


@dataclass(frozen=True, eq=False)
class Observed:
    """A panel as an agent sees it; shared by all copies of an environment, never copied.

    Shape: features (T, N, F) float32, C-contiguous; market (T, M) float32; usable (T, N) bool.
    Time: row t was made from rows <= t. An agent that decides on row t reads the features of `window` rows, t last.
    Missing: features are 0 where they are not known. `usable[t, i]` says that asset i is a listed member with a close
    on row t, that all its features are known on all rows of the window, and that all of the market is known on row t;
    others are not to be looked at, and what is held of them is held. `first` is the first row with a usable asset; T
    if there is none.
    `spec` identifies the layout: what was trained on one cannot act on another.
    """

    features: NDArray[np.float32]
    market: NDArray[np.float32]
    usable: NDArray[np.bool_]
    first: int
    names: tuple[str, ...]
    market_names: tuple[str, ...]
    window: int
    spec: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, N, F)."""
        T, N, F = self.features.shape
        return T, N, F

    def windows(self, rows: ArrayLike) -> NDArray[np.float32]:
        """What the assets looked like up to some rows, oldest row first.

        Shape: rows (B,) -> (B, window, N, F).   Missing: 0 for an asset that is not usable on the row, and before the
        first row.
        """
        at: NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
        steps = at[:, None] + np.arange(1 - self.window, 1)
        out: NDArray[np.float32] = self.features[np.maximum(steps, 0)]
        out *= self.usable[at][:, None, :, None]
        if at.size and at.min() < self.window - 1:
            out[steps < 0] = 0.0
        return out

    @classmethod
    def of(
        cls,
        panel: Panel,
        features: ArrayLike,
        names: Sequence[str],
        *,
        market: ArrayLike | None = None,
        market_names: Sequence[str] = (),
        window: int = 1,
        usable: NDArray[np.bool_] | None = None,
    ) -> Observed:
        """Features of your own, already scaled, on a panel.

        Shape: features (T, N, F), market (T, M), usable (T, N): where an asset may be traded, by default every listed
        member with a close.
        Raises: AxisError where shapes do not fit; DataError for a usable cell whose features are not all known, with
        asset, date and feature.
        """
        values = np.array(features, dtype=np.float32, order="C")
        names = tuple(map(str, names))
        if values.shape != (*panel.shape, len(names)):
            raise AxisError(
                "features are one grid for each name",
                found=f"shape {values.shape}, not {(*panel.shape, len(names))}",
                where="Observed.of(features)",
            )
        tradable = _tradable(panel) if usable is None else np.asarray(usable, dtype=np.bool_) & _tradable(panel)
        _refuse_holes(values, tradable, panel, names)
        known = np.asarray(np.isfinite(values).all(axis=2))
        values[~known] = 0.0
        state, market_names = _own_market(panel, market, market_names)
        whole = np.asarray(np.isfinite(state).all(axis=1))
        ready = tradable & throughout(known, window) & whole[:, None]
        text = ["own", list(names), list(market_names), window]
        return cls(
            values,
            np.where(np.isfinite(state), state, 0.0).astype(np.float32),
            ready,
            first_row(ready),
            names,
            market_names,
            window,
            layout_hash(text),
        )


def _tradable(panel: Panel) -> NDArray[np.bool_]:
    return np.asarray(panel.member & panel.listed & np.isfinite(panel["close"]))


def throughout(known: NDArray[np.bool_], window: int) -> NDArray[np.bool_]:
    """Where the last `window` rows, this one included, are all known.   Shape: (T, N)."""
    if window > len(known):
        return np.zeros_like(known)
    count = np.cumsum(known, axis=0, dtype=np.int64)
    count[window:] = count[window:] - count[:-window]
    return np.asarray(count == window)


def first_row(usable: NDArray[np.bool_]) -> int:
    """The first row with a usable asset; T if there is none."""
    ready = np.asarray(usable.any(axis=1))
    return int(np.argmax(ready)) if ready.any() else len(ready)


def _own_market(
    panel: Panel, market: ArrayLike | None, names: Sequence[str]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    if market is None:
        return np.empty((len(panel), 0)), ()
    state = np.asarray(market, dtype=np.float64)
    names = tuple(map(str, names)) or tuple(f"market_{k}" for k in range(state.shape[-1]))
    if state.shape != (len(panel), len(names)):
        raise AxisError(
            "the market is one column for each name",
            found=f"shape {state.shape}, not {(len(panel), len(names))}",
            where="Observed.of(market)",
        )
    return state, names


def _refuse_holes(
    values: NDArray[np.float32], tradable: NDArray[np.bool_], panel: Panel, names: tuple[str, ...]
) -> None:
    holes = np.argwhere(~np.isfinite(values) & tradable[:, :, None])
    if len(holes):
        t, i, k = (int(place) for place in holes[0])
        raise DataError(
            "the features of an asset that may be traded are all known",
            found=f"{values[t, i, k]} in {len(holes)} cells",
            where=f"{names[k]} of {panel.assets[i]} at {str(panel.times[t])[:10]}",
            fix="fill it, begin later, or give `usable` that is False there",
        )


def layout_hash(parts: Any) -> str:
    """A short hash of what identifies a layout."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
