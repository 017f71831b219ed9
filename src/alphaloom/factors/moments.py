"""Window kernels of moments and regressions, merged from adjoining windows.

Moments are merged as means and centred sums (Chan, Golub and LeVeque 1979), which is as exact as two passes over the
window and, like every kernel built on doubling, depends on the window's own values alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors.options import Moments, ZeroVariance
from alphaloom.factors.rolling import Grid, State, doubled, windowed

__all__ = [
    "ts_beta",
    "ts_corr",
    "ts_cov",
    "ts_kurt",
    "ts_resi",
    "ts_resid",
    "ts_rsquare",
    "ts_skew",
    "ts_slope",
    "ts_std",
    "ts_var",
    "ts_zscore",
]

# A variance below this share of the mean square is what rounding, also that of float32 inputs, leaves of a constant.
FLAT = 1e-12


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

    return windowed((x,), d, block)


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

    return windowed((x,), d, block)


def ts_skew(x: Grid, d: int, *, moments: Moments = "sample") -> Grid:
    """Bias-adjusted skewness; NaN for a constant."""
    adjust = np.sqrt(d * (d - 1.0)) / (d - 2.0) if moments == "sample" else 1.0
    return _moments4(x, d, lambda two, three, _: adjust * three / (two * np.sqrt(two)))


def ts_kurt(x: Grid, d: int, *, moments: Moments = "sample") -> Grid:
    """Bias-adjusted excess kurtosis; NaN for a constant."""
    if moments == "population":
        return _moments4(x, d, lambda two, _, four: four / (two * two) - 3.0)
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

    return windowed((x, y), d, block)


def ts_cov(x: Grid, y: Grid, d: int) -> Grid:
    """Covariance, d - 1 degrees of freedom."""
    return _paired(x, y, d, lambda state, _x, _y: state[4] / (d - 1))


def ts_corr(x: Grid, y: Grid, d: int, *, zero_variance_corr: ZeroVariance = "nan") -> Grid:
    """Pearson correlation; NaN where a side is constant, or 0 where the option says so."""
    flat = 0.0 if zero_variance_corr == "zero" else np.nan

    def make(state: State, _x: Grid, _y: Grid) -> Grid:
        mean_x, mean_y, xx, yy, xy = state
        # Two points lie on a line: a sign, which rounding must not spread around 1 where ranks would see it.
        value = np.sign(xy) if d == 2 else np.clip(xy / (np.sqrt(xx) * np.sqrt(yy)), -1.0, 1.0)
        value = np.where(_flat(mean_x, xx, d) | _flat(mean_y, yy, d), flat, value)
        return np.where(np.isnan(xy), np.nan, value)

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

    return windowed((x,), d, block)


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
