"""From long tables to the arrays of a panel: integer scatter, masks, derived fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alphaloom.data.adjust import adjustment_factors
from alphaloom.data.knowledge import Axes
from alphaloom.units import ONE, Unit, standard_unit

__all__ = ["HIDDEN", "Grids", "grids_of", "listed_grid", "with_factors"]

# Fields that only served the adjustment; a panel holds them when they are asked for by name.
HIDDEN = ("adj_close", "preclose", "split", "dividend")
_PRICE_LIKE = ("dividend", "adj_close")
_NEVER = np.datetime64("NaT", "ns")


@dataclass(frozen=True)
class Grids:
    """The fields of a panel, their units, the two trading masks and sentences about what was derived."""

    axes: Axes
    fields: dict[str, NDArray[Any]]
    units: dict[str, Unit]
    buyable: NDArray[np.bool_]
    sellable: NDArray[np.bool_]
    notes: list[str]


def with_factors(frame: pl.DataFrame, method: str, *, splits_in_close: bool) -> pl.DataFrame:
    """The table with the price factor and the share factor of every bar, as of its last row."""
    factor, shares = adjustment_factors(frame, method, splits_in_close=splits_in_close)
    return frame.with_columns(adj_factor=pl.Series(factor), _shares=pl.Series(shares))


def grids_of(frame: pl.DataFrame, *, names: Sequence[str] | None, dtype: Any) -> Grids:
    """Scatters a table that bears its factors onto (T, N) grids of adjusted values.

    `names` are the wanted fields; None takes all but those that only served the adjustment.
    """
    times = frame["time"].unique().sort()
    assets = frame["asset"].unique().sort()
    axes = Axes(times.to_numpy().astype("datetime64[ns]"), assets.to_list())
    rows = times.search_sorted(frame["time"]).to_numpy().astype(np.int64)
    columns = frame["asset"].cast(pl.Enum(assets)).to_physical().to_numpy().astype(np.int64)
    place = rows * len(assets) + columns
    table, notes = _derived(frame)
    wanted = _wanted(table.columns, names)
    fields, units = {}, {}
    for name in wanted:
        unit = standard_unit(name) if name not in _PRICE_LIKE else standard_unit("close")
        fields[name] = _scatter(_scaled(table, name, unit), place, axes.shape, dtype)
        units[name] = ONE if name == "adj_factor" else unit
    buyable, sellable = (_scatter_mask(mask, place, axes.shape) for mask in _tradable(table))
    return Grids(axes, fields, units, buyable, sellable, notes)


def _wanted(columns: list[str], names: Sequence[str] | None) -> list[str]:
    own = [name for name in columns if name not in ("asset", "time", "_shares")]
    if names is None:
        return [name for name in own if name not in HIDDEN]
    needed = {"open", "close", *names}
    return [name for name in own if name in needed]


def _derived(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Adds vwap where the source has none: amount/volume, or a stand-in that is named in a note."""
    if "vwap" in frame.columns:
        return frame, []
    proxy = (pl.col("high") + pl.col("low") + pl.col("close")) / 3
    if "amount" not in frame.columns:
        return frame.with_columns(vwap=proxy), ["vwap is a stand-in, (high + low + close)/3: the source has none."]
    ratio = pl.when(pl.col("volume") > 0).then(pl.col("amount") / pl.col("volume"))
    fit = frame.select((ratio / pl.col("close")).median()).item()
    if fit is None or not 0.8 < fit < 1.25:
        return frame.with_columns(vwap=proxy), [
            "vwap is a stand-in, (high + low + close)/3: amount/volume is no price "
            f"(median {fit or float('nan'):.3g} times the close), so volume or amount has another unit."
        ]
    return frame.with_columns(vwap=pl.coalesce(ratio, proxy)), ["vwap is amount/volume."]


def _scaled(table: pl.DataFrame, name: str, unit: Unit) -> NDArray[np.float64]:
    values: NDArray[np.float64] = table[name].to_numpy()
    if name == "adj_factor":
        return values
    if unit.price and not unit.share:
        values = values * table["adj_factor"].to_numpy()
    elif unit.share and not unit.price:
        values = values * table["_shares"].to_numpy()
    return values


def _scatter(values: NDArray[Any], place: NDArray[np.int64], shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    flat = np.full(shape[0] * shape[1], np.nan, dtype=dtype)
    flat[place] = values
    return flat.reshape(shape)


def _scatter_mask(values: NDArray[np.bool_], place: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    flat = np.zeros(shape[0] * shape[1], dtype=bool)
    flat[place] = values
    return flat.reshape(shape)


def _tradable(table: pl.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether an order at the open can be filled: an open, some trade that day, no halt, no price limit at the open.

    Prices and limits are compared as traded, to the digits of a float32; the close of the day plays no part.
    """
    trades = pl.col("open").is_not_null() & pl.col("close").is_not_null() & (pl.col("volume").fill_null(0) > 0)
    if "tradestatus" in table.columns:
        trades &= pl.col("tradestatus").fill_null(1) != 0
    at_top = (
        (pl.col("open") >= pl.col("limit_up") * (1 - 1e-6)).fill_null(False)
        if "limit_up" in table.columns
        else pl.lit(False)
    )
    at_floor = (
        (pl.col("open") <= pl.col("limit_down") * (1 + 1e-6)).fill_null(False)
        if "limit_down" in table.columns
        else pl.lit(False)
    )
    masks = table.select(buy=trades & ~at_top, sell=trades & ~at_floor)
    return masks["buy"].to_numpy(), masks["sell"].to_numpy()


def listed_grid(lives: pl.DataFrame, axes: Axes) -> NDArray[np.bool_]:
    """True from an asset's first bar to its last one in the whole store; the last day of the data ends nothing.

    Shape: (T, N).   Time: a halt inside the life stays listed.
    """
    first = dict(lives.select("asset", "first").iter_rows())
    last = dict(lives.select("asset", "last").iter_rows())
    begin = np.array([first.get(name, _NEVER) for name in axes.assets], dtype="datetime64[ns]")
    end = np.array([last.get(name, _NEVER) for name in axes.assets], dtype="datetime64[ns]")
    return np.asarray((axes.times[:, None] >= begin) & (axes.times[:, None] <= end))
