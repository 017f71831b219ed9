"""Torch window kernels that need the order of values: rank by counting lag by lag, quantiles by bounded sorts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alphaloom.factors.torch_blocks import Setting, State, Window, spoiled
from alphaloom.factors.torch_rolling import known_counts

__all__ = ["ORDERED"]


def _rank(setting: Setting, state: State, d: int) -> Tensor:
    """(values below + half of the ties) of today's value: d passes of comparisons, one array of counts."""
    (x,) = state
    today = x[d - 1 :]
    rows = len(today)
    # below + (ties + 1) / 2 = half of (strictly below + not above + 1); an unknown value is neither.
    twice = torch.zeros(today.shape, dtype=torch.int16, device=x.device)
    answer = torch.empty(today.shape, dtype=torch.bool, device=x.device)
    for k in range(d):
        row = x[k : k + rows]
        twice += torch.lt(row, today, out=answer)
        twice += torch.le(row, today, out=answer)
    count = known_counts(x, d)
    rank = (twice + 1).to(torch.float64) / (2.0 * count)
    return spoiled(rank, (count < setting.least(d)) | torch.isnan(today))


def _quantile(setting: Setting, state: State, d: int, q: float) -> Tensor:
    """Quantile q, linear: windows are sorted a few rows at a time, so that no more than a part ever stands unfolded."""
    (x,) = state
    rows, width = len(x) - d + 1, x.shape[1]
    out = torch.empty((rows, width), dtype=torch.float64, device=x.device)
    # A sort keeps its values, their places and a working copy.
    step = max(1, setting.batch_bytes // (width * d * (3 * x.element_size() + 8)))
    windows = x.unfold(0, d, 1)
    for start in range(0, rows, step):
        kept = torch.sort(windows[start : start + step], dim=-1).values
        out[start : start + step] = _full_place(kept, d, q) if setting.full else _known_place(kept, setting.least(d), q)
    return out


def _full_place(kept: Tensor, d: int, q: float) -> Tensor:
    place = q * (d - 1)
    low = math.floor(place)
    below, above = kept[..., low].double(), kept[..., min(low + 1, d - 1)].double()
    # Unknown values are sorted to the end, so the last place tells whether there are any.
    return (below + (place - low) * (above - below)).add_(kept[..., d - 1], alpha=0)


def _known_place(kept: Tensor, least: int, q: float) -> Tensor:
    count = torch.isnan(kept).logical_not_().sum(dim=-1)
    last = (count - 1).clamp_(min=0)
    place = q * last.double()
    low = place.floor().long()
    high = torch.minimum(low + 1, last)
    below = kept.gather(-1, low[..., None])[..., 0].double()
    above = kept.gather(-1, high[..., None])[..., 0].double()
    return spoiled(below + (place - low) * (above - below), count < least)


ORDERED: dict[str, Window] = {
    "ts_rank": Window(_rank, wide=False, temporaries=7),
    "ts_quantile": Window(_quantile, wide=False, temporaries=4),
    "ts_median": Window(lambda setting, state, d: _quantile(setting, state, d, 0.5), wide=False, temporaries=4),
}
