"""Torch window kernels that need the order of values: rank by counting lag by lag, quantiles by merging."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alphaloom.factors.rolling import doubled
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
    rank = (twice + 1).double() / (2.0 * count.double())
    return spoiled(rank, (count < setting.least(d)) | torch.isnan(today))


def _quantile(setting: Setting, state: State, d: int, q: float) -> Tensor:
    """Quantile q, linear, of windows whose values are sorted by merging the sorted values of two shorter windows."""
    (x,) = state
    if setting.full:
        place = q * (d - 1)
        low = math.floor(place)
        # The last merge gives only what is asked for. An unknown value makes every value that it meets unknown.
        below, above = _ordered(x, d, (low, min(low + 1, d - 1)))
        return below + (place - low) * (above - below)
    count = known_counts(x, d).long()
    kept = torch.stack(_ordered(torch.nan_to_num(x, nan=math.inf), d, tuple(range(d))))
    last = (count - 1).clamp_(min=0)
    places = q * last.to(x.dtype)
    floor = places.floor()
    at = floor.long()
    below, above = kept.gather(0, at[None])[0], kept.gather(0, torch.minimum(at + 1, last)[None])[0]
    return spoiled(below + (places - floor) * (above - below), count < setting.least(d))


def _ordered(x: Tensor, d: int, places: tuple[int, ...]) -> list[Tensor]:
    """The values of every window that stand at some places of its ascending order."""

    def merge(newer: State, older: State, a: int, b: int) -> State:
        wanted = frozenset(places if a + b == d else range(a + b))
        merged = _merged(list(older), list(newer), wanted)
        return tuple(merged[k] for k in sorted(wanted))

    if d == 1:
        return [x for _ in places]
    found = dict(zip(sorted(set(places)), doubled((x,), d, merge), strict=True))
    return [found[k] for k in places]


def _merged(a: list[Tensor], b: list[Tensor], wanted: frozenset[int]) -> dict[int, Tensor]:
    """Batcher's odd-even merge of two ascending lists of arrays, cell by cell; only the places that are wanted.

    Source: Knuth, The Art of Computer Programming 3, section 5.3.4, for lists of any two lengths.
    """
    if not a or not b:
        return dict(enumerate(a or b))
    if len(a) == len(b) == 1:
        return {k: (torch.maximum if k else torch.minimum)(a[0], b[0]) for k in wanted}
    # Place 2i + 1 and 2i + 2 are the smaller and the larger one of odd[i] and even[i + 1]; place 0 is even[0].
    evens, odds = len(a[::2]) + len(b[::2]), len(a[1::2]) + len(b[1::2])
    pairs = {k: ((k - 1) // 2, (k + 1) // 2) for k in wanted if k}
    even = _merged(a[::2], b[::2], frozenset(j for _, j in pairs.values() if j < evens) | (wanted & {0}))
    odd = _merged(a[1::2], b[1::2], frozenset(i for i, _ in pairs.values() if i < odds))
    found = {0: even[0]} if 0 in wanted else {}
    for k, (i, j) in pairs.items():
        if i >= odds or j >= evens:
            found[k] = odd[i] if i < odds else even[j]
        else:
            found[k] = (torch.minimum if k % 2 else torch.maximum)(odd[i], even[j])
    return found


ORDERED: dict[str, Window] = {
    "ts_rank": Window(_rank, wide=False, temporaries=7),
    "ts_quantile": Window(_quantile, wide=False, unfolded=2),
    "ts_median": Window(lambda setting, state, d: _quantile(setting, state, d, 0.5), wide=False, unfolded=2),
}
