"""What the plain baselines say of each asset: crossings of an average, lots, and forecasts of an autoregression.

Everything here reads a finite window of each asset and an absolute calendar, so a row says the same whatever bars stand
before its window, and an asset the same whatever other assets stand beside it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.panel import Panel

__all__ = [
    "Signs",
    "autoregressions",
    "blocks",
    "closes",
    "crossings",
    "draws",
    "forecasts",
    "quarter_ends",
]

Floats = NDArray[np.float64]
Signs = NDArray[np.int8]


def closes(panel: Panel) -> Floats:
    """Closes of listed assets, NaN elsewhere.   Shape: (T, N)."""
    close = np.asarray(panel["close"], dtype=np.float64)
    return np.where(panel.listed & (close > 0.0) & (close < np.inf), close, np.nan)


def crossings(close: Floats, window: int, start: int) -> Signs:
    """1 where the close has risen above its average of `window` bars since the last bar, -1 where it has fallen below.

    Shape: (T, N) -> (T, N), zero before `start`.   Time: row t reads rows t - window..t.
    Missing: a window with an unknown close says 0.
    """
    out = np.zeros(close.shape, dtype=np.int8)
    first = max(start, window)
    if len(close) <= first:
        return out
    # Each mean is a sum of its own window: a running sum would carry the bars before it in its last digits.
    frames = np.lib.stride_tricks.sliding_window_view(close[first - window :], window, axis=0)
    mean = np.ascontiguousarray(frames).mean(axis=-1)
    above = close[first - 1 :] - mean
    with np.errstate(invalid="ignore"):
        out[first:] = ((above[1:] > 0.0) & (above[:-1] <= 0.0)).astype(np.int8)
        out[first:] -= ((above[1:] < 0.0) & (above[:-1] >= 0.0)).astype(np.int8)
    return out


def draws(panel: Panel, seed: int) -> Floats:
    """One number of [0, 1) for each asset and bar, made from the seed, the asset's name and the bar's time alone.

    Shape: (T, N).
    """
    names = [hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest() for name in panel.assets]
    keys = np.frombuffer(b"".join(names), dtype="<u8").astype(np.uint64)
    mixed = _mixed(_mixed(panel.times.astype(np.int64).view(np.uint64))[:, None] ^ keys)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64: neighbouring numbers become unrelated ones."""
    out = number + np.uint64(0x9E3779B97F4A7C15)
    out = (out ^ (out >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    out = (out ^ (out >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = out ^ (out >> np.uint64(31))
    return mixed


def quarter_ends(times: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    """The bars at which a calendar quarter is taken to be over, as far as the bars up to them can tell.

    Shape: (T,) -> (T,).
    Time: a day is the last of its quarter when the next weekday belongs to another one; where a holiday deceives that
    rule, the first bar of the new quarter stands in. Row t reads rows t - 1 and t.
    """
    days = times.astype("datetime64[D]")
    last = _quarter(np.busday_offset(days, 1, roll="backward")) != _quarter(days)
    missed = np.zeros(len(days), dtype=np.bool_)
    missed[1:] = (_quarter(days[1:]) != _quarter(days[:-1])) & ~last[:-1]
    return np.asarray(last | missed)


def _quarter(days: NDArray[np.datetime64]) -> NDArray[np.int64]:
    return days.astype("datetime64[M]").astype(np.int64) // 3


def blocks(times: NDArray[np.datetime64], length: int) -> NDArray[np.int64]:
    """The number of the block of `length` weekdays that each bar falls in, counted from 1970.   Shape: (T,).

    Raises: DataError for a panel with several bars a day.
    """
    days = times.astype("datetime64[D]")
    twice = np.flatnonzero(days[1:] == days[:-1])
    if len(twice):
        raise DataError(
            "autoregressions are refitted by the calendar of daily bars",
            found=f"two bars on {days[twice[0]]}",
            where="panel.times",
            fix="give a panel of daily bars",
        )
    return np.asarray(np.busday_count(np.datetime64("1970-01-01"), days) // length, dtype=np.int64)


def forecasts(close: Floats, block: NDArray[np.int64], *, lags: int, window: int, start: int) -> Floats:
    """The expected next close of each asset: an autoregression of its moves, fitted once a block, fed every bar.

    Shape: (T, N) -> (T, N).
    Time: the first bar of a block fits on the last `window` closes; the other bars of the block append their closes to
    the fitted process without a new fit.
    Missing: NaN before `start`, and where a close of the fit or one of the last `lags` moves is unknown.
    """
    T, N = close.shape
    moves = np.full(close.shape, np.nan)
    moves[1:] = np.diff(close, axis=0)
    said = np.full(close.shape, np.nan)
    firsts = [int(row) for row in np.flatnonzero(np.diff(block, prepend=block[:1] - 1))]
    for at, stop in zip(firsts, [*firsts[1:], T], strict=True):
        if stop <= start or at + 1 < window:
            continue
        for asset in range(N):
            known = close[at + 1 - window : at + 1, asset]
            if np.isfinite(known).all():
                weights = autoregressions(known.tobytes(), lags)
                for row in range(max(at, start), stop):
                    said[row, asset] = close[row, asset] + weights @ moves[row : row - lags : -1, asset]
    return said


@lru_cache(maxsize=8192)
def autoregressions(known: bytes, lags: int) -> Floats:
    """The coefficients of ARIMA(lags, 1, 0) by exact maximum likelihood, newest move first.

    `known` are the bytes of the closes. A policy asks for the same closes at every bar of a block: the answer depends
    on them alone and is kept.
    Missing: closes that never move forecast no move.
    Raises: DataError where statsmodels is missing.
    """
    try:
        from statsmodels.tsa.arima.model import ARIMA
    except ModuleNotFoundError as missing:
        raise DataError(
            "the autoregressive baseline needs statsmodels",
            found=f"no {missing.name}",
            where="ArimaSignals",
            fix="pip install 'alphaloom[rl]'",
        ) from None
    import warnings

    close = np.frombuffer(known, dtype=np.float64)
    # In percent of the last close: coefficients of moves have no unit, and the optimiser meets numbers near one.
    moves = np.diff(close) / close[-1] * 100.0
    if moves.std() < 1e-9:
        return _frozen(np.zeros(lags))
    with warnings.catch_warnings():
        # A search that stops short of its tolerance says so; its coefficients are those of a stationary process.
        warnings.simplefilter("ignore")
        try:
            fitted = ARIMA(moves, order=(lags, 0, 0), trend="n").fit(method="innovations_mle")
        except (np.linalg.LinAlgError, ValueError):
            return _frozen(np.zeros(lags))
    weights = np.array(fitted.params[:lags], dtype=np.float64)
    return _frozen(weights if np.isfinite(weights).all() else np.zeros(lags))


def _frozen(weights: Floats) -> Floats:
    weights.flags.writeable = False
    return weights
