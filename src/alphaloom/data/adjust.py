"""Adjustment for splits and dividends: one factor per bar, seen from the last bar of the table.

An adjusted price is the raw price times `factor`; adjusted shares are raw shares times `shares`. Both are 1 on the
last bar of each asset, so cutting the table after a day gives the view that was possible on that day: events after it
are not in it, and the prices of that day are the prices that were paid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alphaloom.errors import DataError

__all__ = ["METHODS", "adjustment_factors", "choose_method", "with_events"]

Floats = NDArray[np.float64]

METHODS: Mapping[str, str] = {
    "adj_close": "prices times adj_close/close of the source",
    "chained": "adj_close/close of each bar taken as the step to the next bar, and chained",
    "events": "splits and dividends by ex-date (a split by k divides earlier prices by k, a dividend scales them by "
    "1 - dividend/previous close)",
    "preclose": "previous close against the reference price after ex-rights",
    "none": "prices as traded",
}


def choose_method(columns: list[str], wanted: str = "auto") -> str:
    """The way to adjust that the columns allow.   Raises: DataError if the wanted one lacks its column."""
    needs: dict[str, tuple[str, ...]] = {"adj_close": ("adj_close",), "chained": ("adj_close",)}
    needs |= {"preclose": ("preclose",), "events": ("split", "dividend")}
    if wanted == "auto":
        return next((name for name in ("adj_close", "preclose", "events") if _has(columns, needs[name])), "none")
    if wanted not in METHODS:
        raise DataError(
            "the adjustment must be a known one",
            found=wanted,
            where="adjustment",
            fix=f"one of: auto, {', '.join(METHODS)}",
        )
    if wanted != "none" and not _has(columns, needs[wanted]):
        raise DataError(
            f"the adjustment {wanted!r} needs a column {' or '.join(needs[wanted])}",
            found=f"the columns {', '.join(columns)}",
            where="adjustment",
        )
    return wanted


def _has(columns: list[str], wanted: tuple[str, ...]) -> bool:
    return any(name in columns for name in wanted)


def with_events(frame: pl.DataFrame, actions: pl.DataFrame | None) -> pl.DataFrame:
    """Puts each split and dividend of a separate table on the first bar at or after its ex-date.

    Several events that meet on one bar are combined; an event after the last bar of its asset has nothing to adjust.
    A kind of event that the table does not speak about stays as the prices have it.
    """
    whole = {"split": pl.col("split").fill_null(1.0).product(), "dividend": pl.col("dividend").fill_null(0.0).sum()}
    told = [name for name in whole if actions is not None and actions[name].is_not_null().any()]
    if actions is None or not told:
        return frame
    bars = frame.select("asset", "time", bar="time").sort("asset", "time")
    placed = actions.sort("asset", "time").join_asof(
        bars, on="time", by="asset", strategy="forward", check_sortedness=False
    )
    events = (
        placed.filter(pl.col("bar").is_not_null())
        .group_by("asset", "bar")
        .agg(*(whole[name] for name in told))
        .rename({"bar": "time"})
    )
    return frame.drop(*told, strict=False).join(events, on=["asset", "time"], how="left", maintain_order="left")


def adjustment_factors(frame: pl.DataFrame, method: str, *, splits_in_close: bool) -> tuple[Floats, Floats]:
    """The price factor and the share factor of every bar.

    `frame` is sorted by asset and time. `splits_in_close` says that the raw close jumps at a split (prices as traded);
    where it does not, the source has divided the split out of prices and volumes already.
    Shape: (rows,) each.   Time: row t of an asset depends on its rows t..last of the table.
    """
    close = _column(frame, "close")
    bounds = _bounds(frame)
    split = _column(frame, "split", 1.0)
    split = np.where((split > 0) & splits_in_close, split, 1.0)
    shares = 1.0 / _backward(1.0 / split, bounds)
    if method in ("adj_close", "chained"):
        ratio = _filled(_column(frame, "adj_close") / close, bounds)
        if method == "chained":
            return _backward(_moved(ratio, bounds), bounds), shares
        return _each(ratio, bounds, lambda part: part / part[-1]), shares
    previous = _previous(_filled(close, bounds, forward=True), bounds)
    if method == "preclose":
        step = _column(frame, "preclose") / previous
        # Equal prices that were stored in 32 bits must not count as an event.
        step = np.where(np.isfinite(step) & (np.abs(step - 1.0) > 1e-6), step, 1.0)
        return _backward(step, bounds), shares
    if method == "events":
        paid = 1.0 - _column(frame, "dividend", 0.0) / previous
        step = np.where(np.isfinite(paid) & (paid > 0), paid, 1.0) / split
        return _backward(step, bounds), shares
    return np.ones(len(close)), np.ones(len(close))


def measure_splits_in_close(frame: pl.DataFrame) -> bool:
    """True if the close jumps at the splits of the table, as traded prices do; judged by the median of its splits."""
    if "split" not in frame.columns:
        return True
    close = _column(frame, "close")
    split = _column(frame, "split", 1.0)
    ratio = close / _previous(close, _bounds(frame))
    at = np.isfinite(ratio) & (split > 0) & (np.abs(np.log(np.where(split > 0, split, 1.0))) > 0.2)
    if not at.any():
        return True
    as_traded = np.median(np.abs(np.log(ratio[at] * split[at])))
    divided_out = np.median(np.abs(np.log(ratio[at])))
    return bool(as_traded <= divided_out)


def _column(frame: pl.DataFrame, name: str, missing: float = np.nan) -> Floats:
    if name not in frame.columns:
        return np.full(frame.height, missing)
    values: Floats = frame[name].cast(pl.Float64).fill_null(missing).to_numpy()
    # Some vendors write 0 where nothing was split.
    return np.where(values == 0, 1.0, values) if name == "split" else values


def _bounds(frame: pl.DataFrame) -> NDArray[np.intp]:
    """Where each asset begins in a table sorted by asset, and the end of the table."""
    starts = frame.select((pl.col("asset") != pl.col("asset").shift(1)).fill_null(True)).to_series().arg_true()
    return np.append(starts.to_numpy().astype(np.intp), frame.height)


def _each(values: Floats, bounds: NDArray[np.intp], act: Callable[[Floats], Floats]) -> Floats:
    out = np.empty_like(values)
    for start, stop in pairwise(bounds):
        out[start:stop] = act(values[start:stop])
    return out


def _backward(step: Floats, bounds: NDArray[np.intp]) -> Floats:
    """The product of all later steps of the same asset: 1 on its last bar."""

    def act(part: Floats) -> Floats:
        return np.append(np.cumprod(part[:0:-1])[::-1], 1.0)

    return _each(step, bounds, act)


def _previous(values: Floats, bounds: NDArray[np.intp]) -> Floats:
    return _each(values, bounds, lambda part: np.append(np.nan, part[:-1]))


def _moved(ratio: Floats, bounds: NDArray[np.intp]) -> Floats:
    """The link of bar t-1 becomes the step into bar t."""
    return _each(ratio, bounds, lambda part: np.append(1.0, part[:-1]))


def _filled(values: Floats, bounds: NDArray[np.intp], *, forward: bool = False) -> Floats:
    """Gaps take the next known value of the asset, then the last known one; `forward` asks for the past only."""

    def act(part: Floats) -> Floats:
        known = np.isfinite(part)
        if known.all():
            return part
        places = np.arange(len(part))
        before = np.maximum.accumulate(np.where(known, places, -1))
        if forward:
            return np.where(before >= 0, part[before], np.nan)
        after = np.minimum.accumulate(np.where(known, places, len(part))[::-1])[::-1]
        pick = np.where(after < len(part), after, before)
        return np.where(pick >= 0, part[pick], 1.0)

    return _each(values, bounds, act)
