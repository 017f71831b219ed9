"""Which cells of a panel could have been traded at the day's close, and factors that never see the others.

A close at a price limit is a quotation at which nobody could deal. If such cells enter rolling windows and ranks, and
rows are filtered afterwards, every mean, correlation and rank that touched them is contaminated: so the mask comes
first. `Panel.buyable` and `sellable` speak of the open of a bar and serve the ledger; this mask speaks of its close
and serves what is computed after it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphaloom.errors import AxisError
from alphaloom.panel import Panel
from alphaloom.signal import Features

__all__ = ["mask_first", "masked_share", "post_hoc", "tradable"]

Mask = NDArray[np.bool_]
# A limit is met when the close is this near to it: prices are stored as float32 after adjustment.
_NEAR = 1e-6


def tradable(panel: Panel, *, limit_pct: ArrayLike | None = None, seasoning: int = 0) -> Mask:
    """Where the close of the bar was a price at which one could deal.

    False where the asset is not listed, has no close or no volume, closes at or beyond its price limit, or has been
    listed for fewer than `seasoning` bars. The limits are the fields `limit_up` and `limit_down` where these are known;
    elsewhere a return beyond `limit_pct`, a fraction given for all assets, for each, or for each cell, counts as a
    limit (the field `limit_pct` is used if the panel has one and none is given).
    Shape: (T, N).   Time: row t uses the closes up to t. An asset that is listed on the panel's first row counts as
    seasoned.   Raises: AxisError where `limit_pct` does not fit the panel.
    """
    close = np.asarray(panel["close"], dtype=np.float64)
    mask = panel.listed & np.isfinite(close)
    if "volume" in panel.fields:
        mask &= panel["volume"] > 0
    known = np.zeros(panel.shape, dtype=bool)
    if {"limit_up", "limit_down"} <= set(panel.fields):
        up, down = (np.asarray(panel[name], dtype=np.float64) for name in ("limit_up", "limit_down"))
        known = np.isfinite(up) & np.isfinite(down)
        with np.errstate(invalid="ignore"):
            mask &= ~(known & ((close >= up * (1.0 - _NEAR)) | (close <= down * (1.0 + _NEAR))))
    bound = panel.fields.get("limit_pct") if limit_pct is None else np.asarray(limit_pct, dtype=np.float64)
    if bound is not None:
        with np.errstate(invalid="ignore"):
            mask &= known | ~(np.abs(_moves(close)) > _fitting(bound, panel))
    if seasoning:
        mask &= _seasoned(panel.listed, seasoning)
    return np.asarray(mask)


def mask_first(
    panel: Panel, *, mask: Mask | None = None, limit_pct: ArrayLike | None = None, seasoning: int = 0
) -> Panel:
    """The panel as honest factors may see it: every field is NaN where the cell could not be traded.

    Give `mask`, or what `tradable` needs to make it. Labels, series and the masks for orders stay as they are. Make
    targets and back-tests from the panel itself, which knows the prices of all cells.
    """
    keep = tradable(panel, limit_pct=limit_pct, seasoning=seasoning) if mask is None else _checked(mask, panel.shape)
    hidden = {}
    for name, values in panel.fields.items():
        hidden[name] = np.where(keep, values, values.dtype.type(np.nan))
    return panel.replace(fields=hidden)


def post_hoc(features: Features, mask: Mask) -> Features:
    """The wrong way round, for comparison: factors of all cells, with the rows of untradable cells dropped afterwards.

    Shape: (T, N, F), (T, N) -> (T, N, F).
    """
    keep = _checked(mask, features.values.shape[:2])
    values = features.values.copy()
    values[~keep] = np.nan
    return Features(features.times, features.assets, features.names, values)


def masked_share(panel: Panel, mask: Mask) -> float:
    """The share of the members' listed cells that the mask hides."""
    seen = panel.member & panel.listed
    return float((seen & ~_checked(mask, panel.shape)).sum() / max(1, seen.sum()))


def _moves(close: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return since the last known close; NaN on an asset's first.   Shape: (T, N)."""
    rows = np.where(np.isfinite(close), np.arange(len(close))[:, None], -1)
    last = np.maximum.accumulate(rows, axis=0)
    before = np.concatenate([np.full_like(last[:1], -1), last[:-1]])
    price = np.take_along_axis(close, np.maximum(before, 0), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(before >= 0, close / price - 1.0, np.nan)


def _seasoned(listed: Mask, bars: int) -> Mask:
    age = np.cumsum(listed, axis=0)
    return np.asarray((age > bars) | (listed[:1] if len(listed) else listed))


def _fitting(bound: NDArray[np.float64], panel: Panel) -> NDArray[np.float64]:
    try:
        return np.broadcast_to(np.asarray(bound, dtype=np.float64), panel.shape)
    except ValueError as error:
        raise AxisError(
            "a limit is one fraction, one for each asset, or one for each cell",
            found=f"shape {np.shape(bound)}",
            where="tradable(limit_pct=...)",
            fix=f"() or ({panel.shape[1]},) or {panel.shape}",
        ) from error


def _checked(mask: Mask, shape: tuple[int, ...]) -> Mask:
    if mask.shape != shape or mask.dtype != np.bool_:
        raise AxisError(
            "a mask is boolean and has a cell for each time and asset",
            found=f"{mask.dtype} {mask.shape}, not bool {shape}",
            where="mask",
        )
    return mask
