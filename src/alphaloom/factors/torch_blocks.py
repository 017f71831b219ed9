"""How torch kernels walk a panel: blocks of columns or rows of bounded size, several formulas in one block.

A kernel sees plain two-dimensional tensors; which panel columns stand in a block is decided here alone, from
`batch_bytes`. Every kernel treats its columns (or rows) independently, so no result depends on the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alphaloom.factors.options import Options, needed

__all__ = ["Across", "Each", "Setting", "Window", "finite_", "over_columns", "over_rows", "spoiled"]

State = tuple[Tensor, ...]
# One formula's operands: series first, then what is not a series.
Item = tuple[Any, ...]
_LEAST_COLUMNS = 8


@dataclass(frozen=True)
class Setting:
    """What all kernels of one run share."""

    options: Options
    batch_bytes: int

    def least(self, d: int) -> int:
        """How many known values a window of d rows must hold."""
        return needed(self.options.min_periods, d)

    @property
    def full(self) -> bool:
        """True where every value of a window must be known."""
        return self.options.min_periods == "full"


@dataclass(frozen=True)
class Each:
    """A kernel of single cells: `kernel(setting, *operands)`; `bounded` ones never make an inf of finite numbers."""

    kernel: Callable[..., Tensor]
    bounded: bool = False


@dataclass(frozen=True)
class Window:
    """A kernel of windows: `kernel(setting, state, d, *constants)` gives the last rows of a block.

    `wide` ones count in float64 whatever the panel is stored in. About `temporaries` + d * `unfolded` arrays as large
    as the block live at once. `padded` ones see d - 1 unknown rows before the block where windows may have holes.
    """

    kernel: Callable[..., Tensor]
    wide: bool = True
    temporaries: int = 8
    unfolded: int = 0
    padded: bool = True


@dataclass(frozen=True)
class Across:
    """A kernel of days: `kernel(setting, x, *rest)` on a block of rows whose non-members are NaN."""

    kernel: Callable[..., Tensor]
    temporaries: int = 14


def finite_(x: Tensor) -> Tensor:
    """The same tensor with every inf made NaN, in place."""
    return torch.nan_to_num_(x, nan=math.nan, posinf=math.nan, neginf=math.nan)


def spoiled(x: Tensor, bad: Tensor) -> Tensor:
    """X, not finite where `bad`: the division is vectorised, a masked fill is not."""
    return x.div_(bad.logical_not().to(x.dtype))


def over_columns(window: Window, items: Sequence[Item], setting: Setting, count: int, reach: int) -> list[Tensor]:
    """The window kernel on each item: `count` series of one shape (T, N), then what is alike in all.

    Where few columns of all rows are too much, rows are taken in parts, each with the `reach` rows before it.
    """
    rest = items[0][count:]
    first: Tensor = items[0][0]
    T, N = first.shape
    outs = [torch.full((T, N), math.nan, dtype=first.dtype, device=first.device) for _ in items]
    dtype = torch.float64 if window.wide else first.dtype
    ahead = 0 if setting.full or not window.padded else int(rest[0]) - 1
    cells = setting.batch_bytes // (dtype.itemsize * (window.temporaries + int(rest[0]) * window.unfolded))
    height = max(cells // _LEAST_COLUMNS, 4 * (reach + 1))
    width = max(_LEAST_COLUMNS, cells // max(1, min(T, height) + reach))
    for top in range(0, T, height):
        bottom = min(top + height, T)
        rows = slice(max(0, top - reach), bottom)
        if window.padded and ahead + rows.stop - rows.start < int(rest[0]):
            continue
        for block in _packed(len(items), N, width):
            state = tuple(_columns(items, k, block, rows, ahead, dtype) for k in range(count))
            found = window.kernel(setting, state, *rest)
            left, start = 0, max(top, bottom - len(found))
            for i, low, high in block:
                outs[i][start:bottom, low:high] = found[len(found) - bottom + start :, left : left + high - low]
                left += high - low
    return [finite_(out) for out in outs]


def over_rows(
    across: Across, items: Sequence[Item], setting: Setting, outside: Tensor, counts: tuple[int, int]
) -> list[Tensor]:
    """The kernel of days on each item: `counts` series, then groups, then what is alike in all.

    `outside` is 0 for members and NaN for others; added to a series, it leaves members alone.
    """
    series, count = counts[0], sum(counts)
    rest = items[0][count:]
    first: Tensor = items[0][0]
    T, N = first.shape
    if N == 0:
        return [first for _ in items]
    outs = [torch.empty((T, N), dtype=first.dtype, device=first.device) for _ in items]
    height = setting.batch_bytes // max(1, N * 8 * across.temporaries)
    for block in _packed(len(items), T, max(1, height)):
        apart = torch.cat([outside[low:high] for _, low, high in block])
        grids = [torch.cat([items[i][k][low:high] for i, low, high in block]) for k in range(count)]
        given = [grid.add_(apart) if k < series else grid for k, grid in enumerate(grids)]
        found = across.kernel(setting, *given, *rest)
        top = 0
        for i, low, high in block:
            outs[i][low:high] = found[top : top + high - low]
            top += high - low
    return [finite_(out) for out in outs]


def _packed(items: int, length: int, room: int) -> Iterator[list[tuple[int, int, int]]]:
    """Blocks of (item, from, to) that hold at most `room` lines: parts of an item, or several whole ones."""
    if length == 0:
        return
    if room < 2 * length:
        for i in range(items):
            for low in range(0, length, room):
                yield [(i, low, min(low + room, length))]
        return
    step = room // length
    for start in range(0, items, step):
        yield [(i, 0, length) for i in range(start, min(start + step, items))]


def _columns(
    items: Sequence[Item], k: int, block: list[tuple[int, int, int]], rows: slice, ahead: int, dtype: torch.dtype
) -> Tensor:
    """One operand's block as a new tensor under `ahead` unknown rows."""
    parts = [items[i][k][rows, low:high] for i, low, high in block]
    T, width = parts[0].shape[0], sum(part.shape[1] for part in parts)
    made = torch.empty((ahead + T, width), dtype=dtype, device=parts[0].device)
    made[:ahead] = math.nan
    left = 0
    for part in parts:
        made[ahead:, left : left + part.shape[1]] = part
        left += part.shape[1]
    return made
