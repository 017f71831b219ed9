"""From a path of returns back to whole bars: the shapes of past bars around new closes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.corpus import Corpus
from alphaloom.errors import DataError
from alphaloom.panel import Panel, last_known
from alphaloom.units import PRICE

__all__ = ["rebuilt"]

# Fields that stand in the prices of the bar before, and those that follow today's close though they are no prices.
_OF_THE_BAR_BEFORE = ("limit_up", "limit_down", "preclose")
_OF_TODAY = ("cap",)
_KEPT = ("adj_factor",)
_MADE = ("open", "high", "low", "close", "vwap", "volume", "amount")


def rebuilt(train: Panel, steps: NDArray[np.float64], rows: NDArray[np.intp], note: str) -> Panel:
    """The slice with prices that took `steps`, each bar with the shape of the bar `rows` of its asset.

    Shape: steps, rows (T, N). Every asset starts at its first known close, with the bar that it had then, and has
    its own gaps. Limits and capitalisation keep their distance from the price; accounts, masks, labels and the other
    series stay, the series "index" follows the synthetic members, the texts of the days are left out.
    """
    real = np.asarray(train["close"], dtype=np.float64)
    known = np.isfinite(real)
    first = known & (np.cumsum(known, axis=0) == 1)
    start = np.log(np.where(first, real, 1.0)).sum(axis=0)
    path = start + np.cumsum(np.where(known & ~first, steps, 0.0), axis=0)
    close = np.exp(path)
    before = np.exp(np.vstack([start[None], path[:-1]]))
    bars = _bars(train, close, before, rows)
    fields: dict[str, NDArray[Any]] = {}
    last = last_known(real)
    ratio = np.where(np.isfinite(last), close / last, 1.0)  # 1 before the first close
    ratio_before = np.vstack([np.ones((1, close.shape[1])), ratio[:-1]])
    for name, values in train.fields.items():
        if name in bars:
            made = np.where(first, values, bars[name])
        elif name in _OF_THE_BAR_BEFORE:
            made = np.where(first, values, values * ratio_before)
        elif name in _OF_TODAY or (train.units[name] == PRICE and name not in _KEPT):
            made = values * ratio
        else:
            made = values
        fields[name] = np.where(np.isfinite(values), made, np.nan).astype(values.dtype)
    _check_bars(fields, ~first)
    series = dict(train.series)
    if "index" in series:
        series["index"] = _index(series["index"], np.where(known, close, np.nan), train.member)
    return train.replace(fields=fields, series=series, corpus=Corpus.empty(), notes=(note,))


def _bars(
    train: Panel, close: NDArray[np.float64], before: NDArray[np.float64], rows: NDArray[np.intp]
) -> Mapping[str, NDArray[np.float64]]:
    """Open, high, low, vwap, volume and amount around the new closes.   Shape: (T, N) each."""
    past = {name: np.asarray(train[name], dtype=np.float64) for name in _MADE if name in train.fields}
    column = np.arange(close.shape[1])

    def shape(values: NDArray[np.float64], middle: float) -> NDArray[np.float64]:
        found = values[rows, column]
        return np.where(np.isfinite(found), found, middle)

    with np.errstate(invalid="ignore", divide="ignore"):
        out = {"close": close}
        real_before = np.vstack([np.full((1, len(column)), np.nan), past["close"][:-1]])
        real_open = past.get("open", past["close"])
        open_ = before * shape(real_open / real_before, 1.0) if "open" in past else before
        top, bottom = np.maximum(open_, close), np.minimum(open_, close)
        real_top, real_bottom = np.maximum(real_open, past["close"]), np.minimum(real_open, past["close"])
        high = top * np.maximum(shape(past["high"] / real_top, 1.0), 1.0) if "high" in past else top
        low = bottom * np.minimum(shape(past["low"] / real_bottom, 1.0), 1.0) if "low" in past else bottom
        out |= {"open": open_, "high": high, "low": low}
        if "vwap" in past:
            real_high, real_low = past.get("high", real_top), past.get("low", real_bottom)
            place = np.clip((past["vwap"] - real_low) / (real_high - real_low), 0.0, 1.0)
            out["vwap"] = low + (high - low) * shape(place, 0.5)
        if "volume" in past:
            seen = np.isfinite(past["volume"])
            mean = np.where(seen, past["volume"], 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
            out["volume"] = mean * shape(past["volume"] / mean, 1.0)
            out["amount"] = out["volume"] * out.get("vwap", close)
    return out


def _check_bars(fields: Mapping[str, NDArray[Any]], made: NDArray[np.bool_]) -> None:
    """Raise DataError where a synthetic bar's high or low does not contain its open and close."""
    for side, name in ((1.0, "high"), (-1.0, "low")):
        for inner in ("open", "close"):
            if name in fields and inner in fields:
                wrong = made & (side * fields[name] < side * fields[inner])
                if wrong.any():
                    raise DataError(
                        f"a bar's {name} contains its {inner}", found=f"{int(wrong.sum())} bars", where="synthetic bars"
                    )


def _index(real: NDArray[np.float64], close: NDArray[np.float64], member: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The equal-weighted level of the members, from the real index's first value.   Shape: (T,)."""
    with np.errstate(invalid="ignore"):
        returns = close[1:] / close[:-1] - 1.0
    use = np.isfinite(returns) & member[1:] & member[:-1]
    mean = np.where(use, returns, 0.0).sum(axis=1) / np.maximum(use.sum(axis=1), 1)
    known = real[np.isfinite(real)]
    level = (known[0] if len(known) else 1.0) * np.concatenate([[1.0], np.cumprod(1.0 + mean)])
    return np.where(np.isfinite(real), level, np.nan)
