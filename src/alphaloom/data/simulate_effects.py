"""The planted effects: what each asset may be expected to earn in the session after next morning's open.

Each score reads only what a reader of the panel could know at the close: past closes, past volume, filed accounts,
the tone of published headlines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alphaloom.data.simulate_draws import Grid
from alphaloom.data.simulate_path import Clock, Path

if TYPE_CHECKING:
    from alphaloom.data.simulate import EmbeddedMarket

__all__ = ["expected_returns"]

_BARS, _VOLUME_BARS = 5, 20

# What turns each strength into about that rank correlation: the other effects blur each score differently.
_SCALE = {"reversal": 1.35, "value": 0.9, "volume": 1.1, "news": 1.13}


def expected_returns(path: Path, market: EmbeddedMarket, *, clock: Clock, t: int) -> Grid:
    """The planted part of the next session's return, with mean zero over the assets that have one.

    Shape: (N,).   Unit: a fraction.   Time: rows t - 20..t and the accounts filed by row t.
    """
    known = path.listed[t] & ~path.halted[t]
    score = np.zeros(known.shape)
    if market.reversal:
        score += market.reversal * _SCALE["reversal"] * _standard(_fall(path, t), known)
    if market.value:
        score += market.value * _SCALE["value"] * _standard(_cheapness(path, clock, t), known)
    if market.volume:
        score += market.volume * _SCALE["volume"] * _standard(_push(path, t), known)
    if market.news:
        score += market.news * _SCALE["news"] * _standard(np.where(known, path.mood[t], np.nan), known)
    dispersion = float(np.sqrt(np.mean(path.vol[t][known] ** 2))) if known.any() else 0.0
    return dispersion * score


def _fall(path: Path, t: int) -> Grid:
    """How far the last five bars took the price down."""
    if t < _BARS:
        return np.full(path.close.shape[1], np.nan)
    return -_ratio(_seen(path, t), _seen(path, t - _BARS)) + 1.0


def _cheapness(path: Path, clock: Clock, t: int) -> Grid:
    """Logarithm of filed book equity over market value."""
    quarter = clock.known[t]
    book = path.book[np.maximum(quarter, 0), np.arange(len(quarter))]
    cap = path.shares[t] * path.close[t] / path.growth[t]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(quarter >= 0, np.log(book / cap), np.nan)


def _push(path: Path, t: int) -> Grid:
    """The last bar's direction times how unusual its volume was against the twenty bars before it."""
    if t < _VOLUME_BARS + 1:
        return np.full(path.close.shape[1], np.nan)
    rows = slice(t - _VOLUME_BARS, t)
    traded = np.where(path.halted[rows], 0.0, path.turnover[rows] * path.shares[rows] / path.split[rows])
    usual = np.where(path.listed[rows].all(axis=0), traded.mean(axis=0), np.nan)
    unusual = _ratio(path.turnover[t] * path.shares[t] / path.split[t], usual) - 1.0
    return np.sign(_ratio(_seen(path, t), _seen(path, t - 1)) - 1.0) * unusual


def _seen(path: Path, t: int) -> Grid:
    return np.where(path.halted[t], np.nan, path.close[t])


def _ratio(above: Grid, below: Grid) -> Grid:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(above / below)


def _standard(score: Grid, known: Grid) -> Grid:
    """Deviations from the mean of those that have a score, cut at three; zero for the others."""
    has = known & np.isfinite(score)
    if has.sum() < 2:
        return np.zeros(len(score))
    inside = score[has]
    spread = float(inside.std())
    out = np.zeros(len(score))
    if spread > 0.0:
        cut = np.clip((inside - inside.mean()) / spread, -3.0, 3.0)
        out[has] = cut - cut.mean()
    return out
