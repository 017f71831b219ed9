"""Window kernels over windows with holes: at least k known values among the rows that exist.

Plain code over whole windows, two passes in float64. An option of a formula set (`min_periods`) calls for these; every
kernel has the name of the operator whose strict form stands in `rolling`, `moments`, `averages` or `ordered`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors.averages import ema, ema_alpha
from alphaloom.factors.moments import FLAT
from alphaloom.factors.options import MinPeriods, Moments, ZeroVariance, needed
from alphaloom.factors.trailing import supertrend

__all__ = [
    "decay_linear",
    "ema",
    "ema_alpha",
    "ema_cut",
    "supertrend",
    "ts_argmax",
    "ts_argmin",
    "ts_beta",
    "ts_corr",
    "ts_count",
    "ts_cov",
    "ts_days_since_max",
    "ts_days_since_min",
    "ts_kurt",
    "ts_mad",
    "ts_max",
    "ts_mean",
    "ts_median",
    "ts_min",
    "ts_product",
    "ts_quantile",
    "ts_rank",
    "ts_resi",
    "ts_resid",
    "ts_rsquare",
    "ts_skew",
    "ts_slope",
    "ts_std",
    "ts_sum",
    "ts_var",
    "ts_zscore",
]

Grid = NDArray[np.float64]
# The windows of one block of columns fill about this many cells.
_CELLS = 4_000_000


class _Windows:
    """The windows of d rows of a block of columns, oldest first, with what is known in them."""

    def __init__(self, arrays: tuple[Grid, ...], d: int) -> None:
        padded = [np.pad(a, ((d - 1, 0), (0, 0)), constant_values=np.nan) for a in arrays]
        views = [np.lib.stride_tricks.sliding_window_view(a, d, axis=0) for a in padded]
        # A copy in C order, so that every window is summed in the same order whatever the block.
        self.values = [np.ascontiguousarray(view) for view in views]
        self.known = ~np.isnan(sum(self.values[1:], start=self.values[0]))
        self.count = self.known.sum(axis=-1).astype(np.float64)
        self.rows = np.minimum(np.arange(1, len(arrays[0]) + 1), d)[:, None]
        self.d = d

    def filled(self, value: float, which: int = 0) -> Grid:
        return np.where(self.known, self.values[which], value)

    def mean(self, which: int = 0) -> Grid:
        return np.asarray(self.filled(0.0, which).sum(axis=-1) / self.count)

    def centred(self, which: int = 0) -> Grid:
        return np.where(self.known, self.values[which] - self.mean(which)[..., None], 0.0)

    def today(self, which: int = 0) -> Grid:
        return np.where(self.known[..., -1], self.values[which][..., -1], np.nan)

    def power(self, n: int, which: int = 0) -> Grid:
        """Sum of the n-th power of the distances from the mean."""
        return np.asarray((self.centred(which) ** n).sum(axis=-1))

    def flat(self, which: int = 0) -> NDArray[np.bool_]:
        """True where the known values are equal but for rounding."""
        return np.asarray(self.power(2, which) / self.count <= FLAT * self.mean(which) ** 2)


def _over(arrays: tuple[Grid, ...], d: int, least: MinPeriods, make: Callable[[_Windows], Grid]) -> Grid:
    T, N = arrays[0].shape
    out = np.full((T, N), np.nan)
    step = max(1, _CELLS // max(T * d, 1))
    for left in range(0, N, step):
        cut = slice(left, left + step)
        seen = _Windows(tuple(a[:, cut] for a in arrays), d)
        out[:, cut] = np.where(seen.count >= needed(least, d), make(seen), np.nan)
    return out


def ts_sum(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Sum of the known values."""
    return _over((x,), d, min_periods, lambda w: w.filled(0.0).sum(axis=-1))


def ts_mean(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Mean of the known values."""
    return _over((x,), d, min_periods, lambda w: w.mean())


def ts_product(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Product of the known values."""
    return _over((x,), d, min_periods, lambda w: w.filled(1.0).prod(axis=-1))


def ts_min(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Least of the known values."""
    return _over((x,), d, min_periods, lambda w: w.filled(np.inf).min(axis=-1))


def ts_max(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Largest of the known values."""
    return _over((x,), d, min_periods, lambda w: w.filled(-np.inf).max(axis=-1))


def ts_quantile(x: Grid, d: int, q: float, *, min_periods: MinPeriods) -> Grid:
    """Quantile q of the known values, linear."""

    def make(w: _Windows) -> Grid:
        ordered = np.sort(w.filled(np.inf), axis=-1)
        place = q * np.maximum(w.count - 1.0, 0.0)
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, np.maximum(w.count.astype(np.int64) - 1, 0))
        below = np.take_along_axis(ordered, low[..., None], axis=-1)[..., 0]
        above = np.take_along_axis(ordered, high[..., None], axis=-1)[..., 0]
        return np.asarray(below + (place - low) * (above - below))

    return _over((x,), d, min_periods, make)


def ts_median(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Median of the known values."""
    return ts_quantile(x, d, 0.5, min_periods=min_periods)


def ts_mad(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Mean absolute deviation of the known values from their mean."""
    return _over((x,), d, min_periods, lambda w: np.abs(w.centred()).sum(axis=-1) / w.count)


def ts_var(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Variance of the known values, one degree of freedom less; one value has none."""
    return _over((x,), d, min_periods, lambda w: w.power(2) / (w.count - 1.0))


def ts_std(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Standard deviation of the known values."""
    return np.sqrt(ts_var(x, d, min_periods=min_periods))


def ts_zscore(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Today's distance from the mean in standard deviations."""

    def make(w: _Windows) -> Grid:
        score = (w.today() - w.mean()) / np.sqrt(w.power(2) / (w.count - 1.0))
        return np.where(w.flat(), np.nan, score)

    return _over((x,), d, min_periods, make)


def ts_skew(x: Grid, d: int, *, min_periods: MinPeriods, moments: Moments = "sample") -> Grid:
    """Skewness of at least three known values."""

    def make(w: _Windows) -> Grid:
        n = np.where(w.count > 2, w.count, np.nan)
        two, three = w.power(2) / n, w.power(3) / n
        adjust = np.sqrt(n * (n - 1.0)) / (n - 2.0) if moments == "sample" else 1.0
        return np.where(w.flat(), np.nan, adjust * three / (two * np.sqrt(two)))

    return _over((x,), d, min_periods, make)


def ts_kurt(x: Grid, d: int, *, min_periods: MinPeriods, moments: Moments = "sample") -> Grid:
    """Excess kurtosis of at least four known values."""

    def make(w: _Windows) -> Grid:
        n = np.where(w.count > 3, w.count, np.nan)
        two, four = w.power(2) / n, w.power(4) / n
        excess = four / (two * two) - 3.0
        if moments == "sample":
            excess = (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * excess + 6.0)
        return np.where(w.flat(), np.nan, excess)

    return _over((x,), d, min_periods, make)


def _cross(w: _Windows) -> Grid:
    return np.asarray((w.centred(0) * w.centred(1)).sum(axis=-1))


def ts_cov(x: Grid, y: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Covariance of the known pairs."""
    return _over((x, y), d, min_periods, lambda w: _cross(w) / (w.count - 1.0))


def ts_corr(x: Grid, y: Grid, d: int, *, min_periods: MinPeriods, zero_variance_corr: ZeroVariance = "nan") -> Grid:
    """Pearson correlation of at least two known pairs."""
    constant = 0.0 if zero_variance_corr == "zero" else np.nan

    def make(w: _Windows) -> Grid:
        cross = _cross(w)
        value = cross / (np.sqrt(w.power(2, 0)) * np.sqrt(w.power(2, 1)))
        value = np.where(w.count == 2, np.sign(cross), value)
        value = np.where(w.flat(0) | w.flat(1), constant, np.clip(value, -1.0, 1.0))
        return np.where(w.count > 1, value, np.nan)

    return _over((x, y), d, min_periods, make)


def ts_beta(y: Grid, x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Slope of y on x over the known pairs."""
    return _over((y, x), d, min_periods, lambda w: np.where(w.flat(1), np.nan, _cross(w) / w.power(2, 1)))


def ts_resid(y: Grid, x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Today's residual of y on x over the known pairs."""

    def make(w: _Windows) -> Grid:
        slope = np.where(w.flat(1), np.nan, _cross(w) / w.power(2, 1))
        return np.asarray(w.today(0) - w.mean(0) - slope * (w.today(1) - w.mean(1)))

    return _over((y, x), d, min_periods, make)


def _line(x: Grid, d: int, least: MinPeriods, make: Callable[[_Windows, Grid], Grid]) -> Grid:
    """`make(windows, slope)` of the line through the known values, at least two."""
    rows = np.arange(1.0, d + 1.0)

    def made(w: _Windows) -> Grid:
        middle = np.where(w.known, rows, 0.0).sum(axis=-1) / w.count
        off = np.where(w.known, rows - middle[..., None], 0.0)
        slope = (off * w.centred()).sum(axis=-1) / (off * off).sum(axis=-1)
        return make(w, np.asarray(slope))

    return _over((x,), d, least, made)


def ts_slope(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Slope of the line through the known values."""
    return _line(x, d, min_periods, lambda _, slope: slope)


def ts_rsquare(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Fit of the line through the known values; a line through two fits fully."""

    def make(w: _Windows, slope: Grid) -> Grid:
        rows = np.arange(1.0, d + 1.0)
        middle = np.where(w.known, rows, 0.0).sum(axis=-1) / w.count
        spread = np.where(w.known, (rows - middle[..., None]) ** 2, 0.0).sum(axis=-1)
        fit = slope * slope * spread / w.power(2)
        return np.where(w.flat(), np.nan, np.minimum(fit, 1.0))

    return _line(x, d, min_periods, make)


def ts_resi(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Today's distance from the line through the known values."""

    def make(w: _Windows, slope: Grid) -> Grid:
        middle = np.where(w.known, np.arange(1.0, d + 1.0), 0.0).sum(axis=-1) / w.count
        return np.asarray(w.today() - w.mean() - slope * (d - middle))

    return _line(x, d, min_periods, make)


def ts_rank(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Average-tie percentile of today's value, which must be known, among the known values."""

    def make(w: _Windows) -> Grid:
        today = w.today()[..., None]
        below, ties = (w.values[0] < today).sum(axis=-1), (w.values[0] == today).sum(axis=-1)
        return np.where(w.known[..., -1], (below + (ties + 1.0) / 2.0) / w.count, np.nan)

    return _over((x,), d, min_periods, make)


def ts_days_since_max(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Rows since the largest known value, today = 0, the earliest of ties."""
    return _over((x,), d, min_periods, lambda w: d - 1.0 - w.filled(-np.inf).argmax(axis=-1))


def ts_days_since_min(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Rows since the least known value, today = 0, the earliest of ties."""
    return ts_days_since_max(-x, d, min_periods=min_periods)


def ts_argmax(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Place of the largest known value among the rows that exist, oldest = 1, earliest of ties."""
    return _over((x,), d, min_periods, lambda w: w.rows - (d - 1.0 - w.filled(-np.inf).argmax(axis=-1)))


def ts_argmin(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Place of the least known value among the rows that exist, oldest = 1, earliest of ties."""
    return ts_argmax(-x, d, min_periods=min_periods)


def ts_count(c: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """How many of the known values are not 0."""
    return ts_sum(np.where(np.isnan(c), np.nan, np.not_equal(c, 0)), d, min_periods=min_periods)


def _weighted(x: Grid, weights: Grid, least: MinPeriods) -> Grid:
    """The mean with these weights, oldest first, which the known values share among themselves."""

    def make(w: _Windows) -> Grid:
        return np.asarray((weights * w.filled(0.0)).sum(axis=-1) / np.where(w.known, weights, 0.0).sum(axis=-1))

    return _over((x,), len(weights), least, make)


def decay_linear(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Mean of the known values with weights d (today) to 1 (oldest)."""
    return _weighted(x, np.arange(1.0, d + 1.0), min_periods)


def ema_cut(x: Grid, d: int, *, min_periods: MinPeriods) -> Grid:
    """Exponential mean of a span over the known ones of the last d values."""
    return _weighted(x, (1.0 - 2.0 / (d + 1.0)) ** np.arange(d - 1.0, -1.0, -1.0), min_periods)
