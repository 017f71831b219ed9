"""Torch kernels that compare the assets of one day; non-members are NaN already.

Sums across a day are folded in halves or scanned inside sorted groups, by a tree that depends on the day alone: no
atomic additions, so two runs give the same bits on every device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alphaloom.factors.cross import FLAT, FULL, MAD_TO_SIGMA
from alphaloom.factors.torch_blocks import Across, Setting, spoiled

__all__ = ["ACROSS"]


def _total(x: Tensor) -> Tensor:
    """Sum of every row, folded in halves."""
    while x.shape[1] > 1:
        half = (x.shape[1] + 1) // 2
        folded = x[:, :half].clone()
        folded[:, : x.shape[1] - half] += x[:, half:]
        x = folded
    return x


def _known(x: Tensor) -> Tensor:
    return torch.isnan(x).logical_not_()


def _moved(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distances from one of the day's values (0 where not known), that value, and how many are known.

    Equal values are moved to zeros, so neither their mean nor their spread meets a rounding error.
    """
    known = _known(x)
    anchor = torch.nan_to_num(x, nan=-math.inf).amax(dim=1, keepdim=True).double()
    anchor = torch.nan_to_num_(anchor, neginf=0.0)
    count = known.sum(dim=1, keepdim=True, dtype=torch.int64).double()
    return torch.nan_to_num_(x.double() - anchor, nan=0.0), anchor, count


def _centred(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distances from the day's mean (NaN where not known), the mean and the number of known values."""
    moved, anchor, count = _moved(x)
    shift = _total(moved) / count
    return (moved - shift).add_(x, alpha=0), anchor + shift, count


def _deviation(centred: Tensor, count: Tensor) -> Tensor:
    zeroed = torch.nan_to_num(centred, nan=0.0)
    return (_total(zeroed.mul_(zeroed)) / count).sqrt_()


def _demean(_: Setting, x: Tensor) -> Tensor:
    return _centred(x)[0]


def _zscore(_: Setting, x: Tensor) -> Tensor:
    centred, _mean, count = _centred(x)
    deviation = _deviation(centred, count)
    return centred / torch.where(deviation == 0.0, 1.0, deviation)


def _cs_mean(_: Setting, x: Tensor) -> Tensor:
    return _centred(x)[1].expand(x.shape)


def _cs_std(_: Setting, x: Tensor) -> Tensor:
    centred, _mean, count = _centred(x)
    return _deviation(centred, count).expand(x.shape)


def _cs_frac(setting: Setting, c: Tensor) -> Tensor:
    return _cs_mean(setting, (c != 0).to(c.dtype).add_(c, alpha=0))


def _scale(_: Setting, x: Tensor, a: float) -> Tensor:
    values = x.double()
    return a * values / _total(torch.nan_to_num(values, nan=0.0).abs_())


def _quantile(ordered: Tensor, count: Tensor, q: float) -> Tensor:
    """Linear quantile of rows whose unknown values are sorted to the end."""
    last = (count.long() - 1).clamp_(min=0)
    place = q * last.double()
    low = place.floor().long()
    below = ordered.gather(1, low).double()
    above = ordered.gather(1, torch.minimum(low + 1, last)).double()
    return below + (place - low) * (above - below)


def _held(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(x.double(), low), high)


def _winsorize(_: Setting, x: Tensor, k: float) -> Tensor:
    count = _known(x).sum(dim=1, keepdim=True)
    middle = _quantile(torch.sort(x, dim=1).values, count, 0.5)
    gaps = (x.double() - middle).abs_()
    reach = MAD_TO_SIGMA * k * _quantile(torch.sort(gaps, dim=1).values, count, 0.5)
    return _held(x, middle - reach, middle + reach)


def _winsorize_sigma(_: Setting, x: Tensor, k: float) -> Tensor:
    centred, mean, count = _centred(x)
    reach = k * _deviation(centred, count)
    return _held(x, mean - reach, mean + reach)


def _winsorize_quantile(_: Setting, x: Tensor, tail: float) -> Tensor:
    count = _known(x).sum(dim=1, keepdim=True)
    ordered = torch.sort(x, dim=1).values
    return _held(x, _quantile(ordered, count, tail), _quantile(ordered, count, 1.0 - tail))


def _runs(fresh: Tensor) -> tuple[Tensor, Tensor]:
    """First and last place of the run that each place belongs to, from marks of where runs begin."""
    width = fresh.shape[1]
    places = torch.arange(width, device=fresh.device, dtype=torch.int32)
    first = torch.cummax(torch.where(fresh, places, 0), dim=1).values
    ends = torch.ones_like(fresh)
    ends[:, :-1] = fresh[:, 1:]
    # From behind, the nearest end is the running maximum of places counted backwards.
    behind = torch.where(ends, width - 1 - places, 0).flip(1)
    last = (width - 1) - torch.cummax(behind, dim=1).values.flip(1)
    return first, last


def _changes(*sorted_rows: Tensor) -> Tensor:
    """True where a value differs from the one before it in its row."""
    fresh = torch.ones_like(sorted_rows[0], dtype=torch.bool)
    fresh[:, 1:] = False
    for rows in sorted_rows:
        fresh[:, 1:] |= rows[:, 1:] != rows[:, :-1]
    return fresh


def _rank(_: Setting, x: Tensor) -> Tensor:
    ordered, order = torch.sort(x, dim=1)
    first, last = _runs(_changes(ordered))
    count = _known(x).sum(dim=1, keepdim=True).double()
    rank = (first + last + 2).double() / (2.0 * count)
    # Every place is written once, so the order of writing does not matter.
    return torch.empty_like(rank).scatter_(1, order, rank).add_(x, alpha=0)


def _coded(x: Tensor, groups: Tensor) -> Tensor:
    """Group codes with everything that belongs to no group behind the last group."""
    return torch.where(_known(x) & (groups >= 0), groups, torch.iinfo(groups.dtype).max)


def _group_rank(_: Setting, x: Tensor, groups: Tensor) -> Tensor:
    codes = _coded(x, groups)
    ordered, by_value = torch.sort(x, dim=1)
    grouped, by_group = torch.sort(codes.gather(1, by_value), dim=1, stable=True)
    order = by_value.gather(1, by_group)
    start, stop = _runs(_changes(grouped))
    first, last = _runs(_changes(grouped, ordered.gather(1, by_group)))
    rank = (first + last + 2 - 2 * start).double() / (2 * (stop - start + 1)).double()
    out = torch.empty_like(rank).scatter_(1, order, rank)
    return spoiled(out, codes == torch.iinfo(codes.dtype).max)


def _scanned(values: Tensor, place: Tensor, longest: int) -> Tensor:
    """Running sums inside groups that stand side by side; `place` counts from 0 in each."""
    step = 1
    while step < longest:
        inside = (place[:, step:] >= step).to(values.dtype)
        further = values.clone()
        further[:, step:].addcmul_(values[:, :-step], inside)
        values, step = further, step * 2
    return values


def _group_parts(x: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distance from the group's mean, that mean and the group's population deviation; not finite in no group."""
    codes = _coded(x, groups)
    grouped, order = torch.sort(codes, dim=1, stable=True)
    first, last = _runs(_changes(grouped))
    places = torch.arange(x.shape[1], device=x.device, dtype=torch.int32)
    place, count = places - first, (last - first + 1).double()
    lost = grouped == torch.iinfo(codes.dtype).max
    longest = int(torch.where(lost, 0, place).max()) + 1
    start, stop = first.long(), last.long()
    values = torch.nan_to_num(x.gather(1, order).double(), nan=0.0)
    anchor = values.gather(1, start)
    moved = values - anchor
    shift = _scanned(moved, place, longest).gather(1, stop) / count
    centred = moved - shift
    deviation = (_scanned(centred * centred, place, longest).gather(1, stop) / count).sqrt_()
    parts = (spoiled(part, lost) for part in (centred, anchor + shift, deviation))
    centred, mean, deviation = (torch.empty_like(part).scatter_(1, order, part) for part in parts)
    return centred, mean, deviation


def _indneutralize(_: Setting, x: Tensor, groups: Tensor) -> Tensor:
    return _group_parts(x, groups)[0]


def _group_mean(_: Setting, x: Tensor, groups: Tensor) -> Tensor:
    return _group_parts(x, groups)[1]


def _group_zscore(_: Setting, x: Tensor, groups: Tensor) -> Tensor:
    centred, _mean, deviation = _group_parts(x, groups)
    return centred / torch.where(deviation == 0.0, 1.0, deviation)


def _regress_out(_: Setting, y: Tensor, x1: Tensor, x2: Tensor, x3: Tensor, w: Tensor) -> Tensor:
    """Residual of a weighted least-squares fit with a constant, by Gram and Schmidt twice over."""
    known = _known(y + x1 + x2 + x3 + w) & (w > 0)
    seen = known.double()
    weight = torch.where(known, w.double(), 0.0)
    total = _total(weight)

    def centred(x: Tensor) -> Tensor:
        values = torch.where(known, x.double(), 0.0)
        return (values - _total(weight * values) / total) * seen

    kept: list[Tensor] = []
    left = centred(y)
    scale = _total(weight * left * left).sqrt_()
    unknowns = torch.ones_like(total)
    for x in (x1, x2, x3):
        fresh = centred(x)
        size = _total(weight * torch.where(known, x.double(), 0.0).square_())
        for direction in (*kept, *kept):
            fresh = fresh - _total(weight * direction * fresh) * direction
        rest = _total(weight * fresh * fresh)
        real = rest > FLAT * size
        direction = torch.where(real, fresh / torch.where(real, rest, 1.0).sqrt_(), 0.0)
        kept.append(direction)
        unknowns += (direction != 0).any(dim=1, keepdim=True)
        left = left - _total(weight * direction * left) * direction
    rest = _total(weight * left * left).sqrt_()
    noise = (rest <= FULL * scale) | (seen.sum(dim=1, keepdim=True) <= unknowns)
    return spoiled(left, known.logical_not() | noise)


ACROSS: dict[str, Across] = {
    "rank": Across(_rank, temporaries=9),
    "zscore": Across(_zscore, temporaries=8),
    "demean": Across(_demean, temporaries=6),
    "scale": Across(_scale, temporaries=5),
    "winsorize": Across(_winsorize, temporaries=8),
    "winsorize_sigma": Across(_winsorize_sigma, temporaries=8),
    "winsorize_quantile": Across(_winsorize_quantile, temporaries=8),
    "indneutralize": Across(_indneutralize, temporaries=16),
    "group_mean": Across(_group_mean, temporaries=16),
    "group_zscore": Across(_group_zscore, temporaries=16),
    "group_rank": Across(_group_rank, temporaries=14),
    "cs_mean": Across(_cs_mean, temporaries=6),
    "cs_std": Across(_cs_std, temporaries=8),
    "cs_frac": Across(_cs_frac, temporaries=8),
    "regress_out": Across(_regress_out, temporaries=20),
}
