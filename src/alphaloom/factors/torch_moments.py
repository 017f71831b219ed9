"""Torch window kernels of moments and regressions, merged from adjoining windows as in `moments`.

Means and centred sums of two windows give those of the joint one (Chan, Golub and LeVeque 1979), always in float64.
The number of rows in a part is a whole number where windows must be full, and a tensor of counts where they may have
holes: the same merging formulas serve both.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from alphaloom.factors.moments import FLAT
from alphaloom.factors.rolling import doubled
from alphaloom.factors.torch_blocks import Setting, State, Window, spoiled

__all__ = ["MOMENTS"]

Count = int | Tensor
# merge(newer, older, known in newer, known in older) -> the state of the joint window
Merge = Callable[[State, State, Count, Count], State]


def _joint(a: Count, b: Count) -> Count:
    """How many values two parts know together; an empty part weighs nothing, so 1 stands in for 0."""
    return a + b if isinstance(a, int) else torch.clamp(a + b, min=1)


def _gathered(setting: Setting, state: State, d: int, merge: Merge) -> tuple[Count, State]:
    """The number of known values and the merged state of every window; `state[0]` tells what is known."""
    if setting.full:
        return d, doubled(state, d, merge)
    seen = torch.isnan(state[0]).logical_not_().to(torch.float64)

    def counted(newer: State, older: State, _a: int, _b: int) -> State:
        return newer[0] + older[0], *merge(newer[1:], older[1:], newer[0], older[0])

    count, *rest = doubled((seen, *(torch.nan_to_num(part, nan=0.0) for part in state)), d, counted)
    return count, tuple(rest)


def _enough(setting: Setting, out: Tensor, count: Count, d: int, least: int = 1) -> Tensor:
    """The result, spoiled where fewer values are known than the set asks for or the measure needs."""
    return out if isinstance(count, int) else spoiled(out, count < max(setting.least(d), least))


def _merge_two(newer: State, older: State, a: Count, b: Count) -> State:
    """Mean and centred second sum."""
    share = a / _joint(a, b)
    gap = newer[0] - older[0]
    second = newer[1] + older[1]
    return torch.lerp(older[0], newer[0], share), second.addcmul_(gap, gap * (share * b))


def _flat(mean: Tensor, second: Tensor, count: Count) -> Tensor:
    """True where the window is constant but for rounding."""
    return second / count <= FLAT * mean * mean


def _last(x: Tensor, d: int) -> Tensor:
    return x[d - 1 :]


def _var(setting: Setting, state: State, d: int) -> Tensor:
    (x,) = state
    count, (_, second) = _gathered(setting, (x, x * 0.0), d, _merge_two)
    return _enough(setting, second / (count - 1), count, d)


def _std(setting: Setting, state: State, d: int) -> Tensor:
    return _var(setting, state, d).sqrt_()


def _zscore(setting: Setting, state: State, d: int) -> Tensor:
    (x,) = state
    count, (mean, second) = _gathered(setting, (x, x * 0.0), d, _merge_two)
    score = (_last(x, d) - mean).div_((second / (count - 1)).sqrt_())
    return _enough(setting, spoiled(score, _flat(mean, second, count)), count, d)


def _merge_four(newer: State, older: State, a: Count, b: Count) -> State:
    """Mean and centred sums of the second, third and fourth power."""
    n = _joint(a, b)
    p, q = a / n, b / n
    mean_a, two_a, three_a, four_a = newer
    mean_b, two_b, three_b, four_b = older
    gap = mean_a - mean_b
    square = gap * gap
    weight = p * b
    two = two_a + two_b + square * weight
    three = three_a + three_b + gap * square * (weight * (q - p)) + 3.0 * gap * (q * two_a - p * two_b)
    four = four_a + four_b + square * square * (weight * (p * p - p * q + q * q))
    four += 6.0 * square * (q * q * two_a + p * p * two_b) + 4.0 * gap * (q * three_a - p * three_b)
    return mean_b + gap * p, two, three, four


def _moments4(setting: Setting, x: Tensor, d: int) -> tuple[Count, State]:
    nothing = x * 0.0
    count, (mean, two, three, four) = _gathered(setting, (x, nothing, nothing, nothing), d, _merge_four)
    return count, (two / count, three / count, four / count, _flat(mean, two, count))


def _skew(setting: Setting, state: State, d: int) -> Tensor:
    n, (two, three, _, flat) = _moments4(setting, state[0], d)
    ratio = three / (two * two.sqrt())
    if setting.options.moments == "sample":
        ratio *= (n * (n - 1.0)) ** 0.5 / (n - 2.0)
    return _enough(setting, spoiled(ratio, flat), n, d, 3)


def _kurt(setting: Setting, state: State, d: int) -> Tensor:
    n, (two, _, four, flat) = _moments4(setting, state[0], d)
    excess = four / (two * two) - 3.0
    if setting.options.moments == "sample":
        excess = (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * excess + 6.0)
    return _enough(setting, spoiled(excess, flat), n, d, 4)


def _merge_pair(newer: State, older: State, a: Count, b: Count) -> State:
    """Two means, two centred second sums and the centred cross sum."""
    share = a / _joint(a, b)
    weight = share * b
    gap_x, gap_y = newer[0] - older[0], newer[1] - older[1]
    heavy = gap_x * weight
    return (
        torch.lerp(older[0], newer[0], share),
        torch.lerp(older[1], newer[1], share),
        (newer[2] + older[2]).addcmul_(gap_x, heavy),
        (newer[3] + older[3]).addcmul_(gap_y, gap_y * weight),
        (newer[4] + older[4]).addcmul_(gap_y, heavy),
    )


def _paired(setting: Setting, state: State, d: int) -> tuple[Count, State, Tensor, Tensor]:
    """Count, merged state and today's two values, of pairs that are known on both sides."""
    x, y = state
    nothing = x * 0.0 + y * 0.0
    x, y = x + nothing, y + nothing
    count, merged = _gathered(setting, (x, y, nothing, nothing, nothing), d, _merge_pair)
    return count, merged, _last(x, d), _last(y, d)


def _cov(setting: Setting, state: State, d: int) -> Tensor:
    count, merged, _, _ = _paired(setting, state, d)
    return _enough(setting, merged[4] / (count - 1), count, d)


def _corr(setting: Setting, state: State, d: int) -> Tensor:
    count, (mean_x, mean_y, xx, yy, xy), _, _ = _paired(setting, state, d)
    flat = _flat(mean_x, xx, count) | _flat(mean_y, yy, count)
    value = (xy / xx.sqrt_().mul_(yy.sqrt_())).clamp_(-1.0, 1.0)
    constant = setting.options.zero_variance_corr
    value = torch.where(flat, 0.0, value) if constant == "zero" else spoiled(value, flat)
    return _enough(setting, value.add_(xy, alpha=0), count, d, 2)


def _beta(setting: Setting, state: State, d: int) -> Tensor:
    count, merged, _, _ = _paired(setting, state, d)
    slope = spoiled(merged[4] / merged[3], _flat(merged[1], merged[3], count))
    return _enough(setting, slope, count, d)


def _resid(setting: Setting, state: State, d: int) -> Tensor:
    count, merged, today_y, today_x = _paired(setting, state, d)
    slope = spoiled(merged[4] / merged[3], _flat(merged[1], merged[3], count))
    return _enough(setting, today_y - merged[0] - slope * (today_x - merged[1]), count, d)


def _merge_line(newer: State, older: State, a: Count, b: Count) -> State:
    """Mean, centred second sum, and the cross sum with the row number, of windows without holes."""
    gap = newer[0] - older[0]
    mean, second = _merge_two(newer[:2], older[:2], a, b)
    # The middles of two adjoining windows of a and b rows are (a + b) / 2 rows apart.
    return mean, second, newer[2] + older[2] + gap * (a * b / 2.0)


def _line(setting: Setting, state: State, d: int) -> tuple[Count, State]:
    """Count; slope, mean, centred sum, spread of the rows, and rows from their middle to today."""
    (x,) = state
    nothing = x * 0.0
    if setting.full:
        spread = d * (d * d - 1.0) / 12.0
        mean, second, cross = doubled((x, nothing, nothing), d, _merge_line)
        like = torch.full((1, 1), spread, dtype=x.dtype, device=x.device)
        return d, (cross.div_(spread), mean, second, like, torch.full_like(like, (d - 1) / 2.0))

    seen = torch.isnan(x).logical_not_().to(x.dtype)

    def merge(newer: State, older: State, _a: int, b: int) -> State:
        # Rows are counted inside each part: the newer part's come after the b rows of the older one.
        later = (newer[0], newer[2] + b, newer[1], *newer[3:])
        earlier = (older[0], older[2], older[1], *older[3:])
        count = newer[0] + older[0]
        place, mean, places, second, cross = _merge_pair(later[1:], earlier[1:], newer[0], older[0])
        return count, mean, place, places, second, cross

    values = torch.nan_to_num(x, nan=0.0)
    zero = torch.zeros_like(x)
    count, mean, place, places, second, cross = doubled((seen, values, zero, zero, zero, zero), d, merge)
    return count, (cross / places, mean, second, places, (d - 1) - place)


def _slope(setting: Setting, state: State, d: int) -> Tensor:
    count, (slope, *_) = _line(setting, state, d)
    return _enough(setting, slope, count, d, 2)


def _rsquare(setting: Setting, state: State, d: int) -> Tensor:
    count, (slope, mean, second, spread, _) = _line(setting, state, d)
    fit = (slope * slope * spread / second).clamp_(max=1.0)
    return _enough(setting, spoiled(fit, _flat(mean, second, count)), count, d, 2)


def _resi(setting: Setting, state: State, d: int) -> Tensor:
    count, (slope, mean, _, _, ahead) = _line(setting, state, d)
    return _enough(setting, _last(state[0], d) - mean - slope * ahead, count, d, 2)


MOMENTS: dict[str, Window] = {
    "ts_var": Window(_var, temporaries=9),
    "ts_std": Window(_std, temporaries=9),
    "ts_zscore": Window(_zscore, temporaries=9),
    "ts_skew": Window(_skew, temporaries=18),
    "ts_kurt": Window(_kurt, temporaries=18),
    "ts_cov": Window(_cov, temporaries=20),
    "ts_corr": Window(_corr, temporaries=20),
    "ts_beta": Window(_beta, temporaries=20),
    "ts_resid": Window(_resid, temporaries=20),
    "ts_slope": Window(_slope, temporaries=14),
    "ts_rsquare": Window(_rsquare, temporaries=14),
    "ts_resi": Window(_resi, temporaries=14),
}
