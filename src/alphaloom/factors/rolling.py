"""Window kernels by doubling: windows of 2k rows are made from two windows of k rows.

Every result is a fixed tree of operations over the window's own values. So it does not drift, an unknown value spoils
its own windows only, and any slice with its look-back rows gives the same bits as the whole history. Moments are
merged as means and centred sums (Chan, Golub and LeVeque 1979), which is as exact as two passes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors.ops import ema_terms

__all__ = [
    "decay_linear",
    "delay",
    "delta",
    "doubled",
    "ema",
    "ts_argmax",
    "ts_argmin",
    "ts_backfill",
    "ts_beta",
    "ts_corr",
    "ts_count",
    "ts_cov",
    "ts_days_since_max",
    "ts_days_since_min",
    "ts_kurt",
    "ts_max",
    "ts_mean",
    "ts_min",
    "ts_product",
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
State = tuple[Grid, ...]
# merge(newer, older, rows in newer, rows in older) -> the state of the joint window
Merge = Callable[[State, State, int, int], State]

# A variance below this share of the mean square is what rounding, also that of float32 inputs, leaves of a constant.
FLAT = 1e-12
_COLUMNS = 32


def doubled(state: State, d: int, merge: Merge) -> State:
    """The state of every full window of d rows, from the states of single rows.

    Shape: (T, N) -> (T - d + 1, N).
    """
    level, size = state, 1
    done: State | None = None
    rows = 0
    while True:
        if d & size:
            if done is None:
                done, rows = level, size
            else:
                count = len(done[0]) - size
                done = merge(tuple(a[size:] for a in done), tuple(a[:count] for a in level), rows, size)
                rows += size
        if rows == d:
            return done  # type: ignore[return-value]
        level = merge(tuple(a[size:] for a in level), tuple(a[:-size] for a in level), size, size)
        size *= 2


def _windowed(arrays: State, d: int, make: Callable[[State], Grid]) -> Grid:
    """Run `make` on blocks of columns that fit the cache; rows without a full window are NaN."""
    T, N = arrays[0].shape
    out = np.full((T, N), np.nan)
    if d > T:
        return out
    for left in range(0, N, _COLUMNS):
        cut = slice(left, left + _COLUMNS)
        out[d - 1 :, cut] = make(tuple(np.ascontiguousarray(a[:, cut]) for a in arrays))
    return out


def _simple(x: Grid, d: int, join: Callable[[Grid, Grid], Grid]) -> Grid:
    def merge(newer: State, older: State, _a: int, _b: int) -> State:
        return (join(newer[0], older[0]),)

    return _windowed((x,), d, lambda block: doubled(block, d, merge)[0])


def delay(x: Grid, d: int) -> Grid:
    """The value d rows ago."""
    out = np.full(x.shape, np.nan)
    if d < len(x):
        out[d:] = x[: len(x) - d]
    return out


def delta(x: Grid, d: int) -> Grid:
    """X minus its value d rows ago."""
    return x - delay(x, d)


def ts_sum(x: Grid, d: int) -> Grid:
    """Sum of the last d values."""
    return _simple(x, d, np.add)


def ts_mean(x: Grid, d: int) -> Grid:
    """Mean of the last d values."""
    return ts_sum(x, d) / d


def ts_product(x: Grid, d: int) -> Grid:
    """Product of the last d values."""
    return _simple(x, d, np.multiply)


def ts_min(x: Grid, d: int) -> Grid:
    """Least of the last d values."""
    return _simple(x, d, np.minimum)


def ts_max(x: Grid, d: int) -> Grid:
    """Largest of the last d values."""
    return _simple(x, d, np.maximum)


def ts_count(c: Grid, d: int) -> Grid:
    """How many of the last d values are not 0."""
    return ts_sum(np.where(np.isnan(c), np.nan, np.not_equal(c, 0)), d)


def _merge_two(newer: State, older: State, a: int, b: int) -> State:
    """Mean and centred second sum."""
    gap = newer[0] - older[0]
    return older[0] + gap * (a / (a + b)), newer[1] + older[1] + gap * gap * (a * b / (a + b))


def _moments2(x: Grid, d: int, make: Callable[[Grid, Grid, Grid], Grid]) -> Grid:
    """`make(mean, centred sum, today)` on every window."""

    def block(arrays: State) -> Grid:
        values = arrays[0]
        mean, second = doubled((values, values * 0.0), d, _merge_two)
        return make(mean, second, values[d - 1 :])

    return _windowed((x,), d, block)


def _flat(mean: Grid, second: Grid, d: int) -> NDArray[np.bool_]:
    """True where the window is constant but for rounding."""
    return np.less_equal(second / d, FLAT * mean * mean)


def ts_var(x: Grid, d: int) -> Grid:
    """Variance, d - 1 degrees of freedom."""
    return _moments2(x, d, lambda mean, second, _: second / (d - 1))


def ts_std(x: Grid, d: int) -> Grid:
    """Standard deviation, d - 1 degrees of freedom."""
    return np.sqrt(ts_var(x, d))


def ts_zscore(x: Grid, d: int) -> Grid:
    """Today's distance from the mean in standard deviations."""

    def make(mean: Grid, second: Grid, today: Grid) -> Grid:
        return np.where(_flat(mean, second, d), np.nan, (today - mean) / np.sqrt(second / (d - 1)))

    return _moments2(x, d, make)


def _merge_four(newer: State, older: State, a: int, b: int) -> State:
    """Mean and centred sums of the second, third and fourth power."""
    n = a + b
    mean_a, two_a, three_a, four_a = newer
    mean_b, two_b, three_b, four_b = older
    gap = mean_a - mean_b
    square = gap * gap
    two = two_a + two_b + square * (a * b / n)
    three = three_a + three_b + gap * square * (a * b * (b - a) / n**2) + 3.0 * gap * (b * two_a - a * two_b) / n
    four = four_a + four_b + square * square * (a * b * (a * a - a * b + b * b) / n**3)
    four += 6.0 * square * (b * b * two_a + a * a * two_b) / n**2 + 4.0 * gap * (b * three_a - a * three_b) / n
    return mean_b + gap * (a / n), two, three, four


def _moments4(x: Grid, d: int, make: Callable[[Grid, Grid, Grid], Grid]) -> Grid:
    """`make` of the second to fourth population moments; NaN where the window is constant."""

    def block(arrays: State) -> Grid:
        nothing = arrays[0] * 0.0
        mean, two, three, four = doubled((arrays[0], nothing, nothing, nothing), d, _merge_four)
        return np.where(_flat(mean, two, d), np.nan, make(two / d, three / d, four / d))

    return _windowed((x,), d, block)


def ts_skew(x: Grid, d: int) -> Grid:
    """Bias-adjusted skewness; NaN for a constant."""
    adjust = np.sqrt(d * (d - 1.0)) / (d - 2.0)
    return _moments4(x, d, lambda two, three, _: adjust * three / (two * np.sqrt(two)))


def ts_kurt(x: Grid, d: int) -> Grid:
    """Bias-adjusted excess kurtosis; NaN for a constant."""
    scale = (d - 1.0) / ((d - 2.0) * (d - 3.0))
    return _moments4(x, d, lambda two, _, four: scale * ((d + 1.0) * (four / (two * two) - 3.0) + 6.0))


def _merge_pair(newer: State, older: State, a: int, b: int) -> State:
    """Two means, two centred second sums and the centred cross sum."""
    gap_x, gap_y = newer[0] - older[0], newer[1] - older[1]
    share, weight = a / (a + b), a * b / (a + b)
    return (
        older[0] + gap_x * share,
        older[1] + gap_y * share,
        newer[2] + older[2] + gap_x * gap_x * weight,
        newer[3] + older[3] + gap_y * gap_y * weight,
        newer[4] + older[4] + gap_x * gap_y * weight,
    )


def _paired(x: Grid, y: Grid, d: int, make: Callable[[State, Grid, Grid], Grid]) -> Grid:
    """`make(state, x today, y today)` on windows whose pairs are all known."""

    def block(arrays: State) -> Grid:
        joint = arrays[0] + arrays[1]
        gone = np.isnan(joint)
        a, b = np.where(gone, np.nan, arrays[0]), np.where(gone, np.nan, arrays[1])
        nothing = a * 0.0
        state = doubled((a, b, nothing, nothing, nothing), d, _merge_pair)
        return make(state, a[d - 1 :], b[d - 1 :])

    return _windowed((x, y), d, block)


def ts_cov(x: Grid, y: Grid, d: int) -> Grid:
    """Covariance, d - 1 degrees of freedom."""
    return _paired(x, y, d, lambda state, _x, _y: state[4] / (d - 1))


def ts_corr(x: Grid, y: Grid, d: int) -> Grid:
    """Pearson correlation; NaN where a side is constant."""

    def make(state: State, _x: Grid, _y: Grid) -> Grid:
        mean_x, mean_y, xx, yy, xy = state
        value = np.clip(xy / (np.sqrt(xx) * np.sqrt(yy)), -1.0, 1.0)
        return np.where(_flat(mean_x, xx, d) | _flat(mean_y, yy, d), np.nan, value)

    return _paired(x, y, d, make)


def ts_beta(y: Grid, x: Grid, d: int) -> Grid:
    """Slope of y on x over d rows."""

    def make(state: State, _y: Grid, _x: Grid) -> Grid:
        return np.where(_flat(state[1], state[3], d), np.nan, state[4] / state[3])

    return _paired(y, x, d, make)


def ts_resid(y: Grid, x: Grid, d: int) -> Grid:
    """Today's residual of y on x over d rows."""

    def make(state: State, today_y: Grid, today_x: Grid) -> Grid:
        beta = np.where(_flat(state[1], state[3], d), np.nan, state[4] / state[3])
        return today_y - state[0] - beta * (today_x - state[1])

    return _paired(y, x, d, make)


def _merge_line(newer: State, older: State, a: int, b: int) -> State:
    """Mean, centred second sum, and the cross sum with the row number."""
    gap = newer[0] - older[0]
    mean, second = _merge_two(newer[:2], older[:2], a, b)
    # The middles of two adjoining windows of a and b rows are (a + b) / 2 rows apart.
    return mean, second, newer[2] + older[2] + gap * (a * b / 2.0)


def _line(x: Grid, d: int, make: Callable[[Grid, Grid, Grid, Grid], Grid]) -> Grid:
    """`make(slope, mean, centred sum, today)` on every window."""

    def block(arrays: State) -> Grid:
        nothing = arrays[0] * 0.0
        mean, second, cross = doubled((arrays[0], nothing, nothing), d, _merge_line)
        return make(cross / (d * (d * d - 1.0) / 12.0), mean, second, arrays[0][d - 1 :])

    return _windowed((x,), d, block)


def ts_slope(x: Grid, d: int) -> Grid:
    """Slope of the line through the last d values."""
    return _line(x, d, lambda slope, *_: slope)


def ts_rsquare(x: Grid, d: int) -> Grid:
    """Fit of the line through the last d values."""

    def make(slope: Grid, mean: Grid, second: Grid, _: Grid) -> Grid:
        fit = slope * slope * (d * (d * d - 1.0) / 12.0) / second
        return np.where(_flat(mean, second, d), np.nan, np.minimum(fit, 1.0))

    return _line(x, d, make)


def ts_resi(x: Grid, d: int) -> Grid:
    """Today's distance from the line through the last d values."""
    return _line(x, d, lambda slope, mean, _, today: today - mean - slope * ((d - 1) / 2.0))


def decay_linear(x: Grid, d: int) -> Grid:
    """Mean with weights d (today) to 1 (oldest)."""

    def merge(newer: State, older: State, _a: int, b: int) -> State:
        # Weights count up from the oldest row, so the newer part is heavier by the older part's length.
        return newer[0] + older[0], newer[1] + b * newer[0] + older[1]

    return _windowed((x,), d, lambda block: doubled((block[0], block[0]), d, merge)[1] / (d * (d + 1) / 2.0))


def ema(x: Grid, d: int) -> Grid:
    """Exponential mean of a span, weights cut where the rest is below 1e-7."""
    terms, fade = ema_terms(d), 1.0 - 2.0 / (d + 1.0)

    def merge(newer: State, older: State, a: int, _b: int) -> State:
        part = fade**a
        return newer[0] + part * older[0], newer[1] + part * older[1], newer[2] + older[2]

    def block(arrays: State) -> Grid:
        known = ~np.isnan(arrays[0])
        # Rows before the first one are not known, just as holes are: both are skipped.
        ahead = ((terms - 1, 0), (0, 0))
        seen = np.pad(known.astype(np.float64), ahead)
        values = np.pad(np.where(known, arrays[0], 0.0), ahead)
        top, weight, count = doubled((values, seen, seen), terms, merge)
        return np.where(known & (count >= d), top / weight, np.nan)

    return _windowed((x,), 1, block)


def _merge_largest(newer: State, older: State, a: int, _b: int) -> State:
    """The largest value and how many rows ago; the older row wins a tie."""
    late = newer[0] > older[0]
    unknown = np.isnan(newer[0]) | np.isnan(older[0])
    return (
        np.where(unknown, np.nan, np.where(late, newer[0], older[0])),
        np.where(late, newer[1], older[1] + a),
    )


def ts_days_since_max(x: Grid, d: int) -> Grid:
    """Rows since the largest, today = 0."""

    def block(arrays: State) -> Grid:
        value, age = doubled((arrays[0], np.zeros_like(arrays[0])), d, _merge_largest)
        return np.where(np.isnan(value), np.nan, age)

    return _windowed((x,), d, block)


def ts_days_since_min(x: Grid, d: int) -> Grid:
    """Rows since the least, today = 0."""
    return ts_days_since_max(-x, d)


def ts_argmax(x: Grid, d: int) -> Grid:
    """Place of the largest, oldest = 1, earliest of ties."""
    return d - ts_days_since_max(x, d)


def ts_argmin(x: Grid, d: int) -> Grid:
    """Place of the least, oldest = 1, earliest of ties."""
    return d - ts_days_since_max(-x, d)


def ts_backfill(x: Grid, d: int) -> Grid:
    """The last known value, at most d rows old."""
    rows = np.arange(len(x), dtype=np.int64)[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(x), -1, rows), axis=0)
    taken = np.take_along_axis(x, np.maximum(last, 0), axis=0)
    return np.where((last >= 0) & (rows - last <= d), taken, np.nan)
