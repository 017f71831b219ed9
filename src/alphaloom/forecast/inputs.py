"""What a model reads and what it learns to say: factors and labels, compared across the assets of each date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.factors import FactorSet, load_library
from alphaloom.forecast.sharing import factor_values
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns

__all__ = ["Inputs", "Recipe", "Scale", "Table", "TargetKind", "check_recipe", "cross_rank", "cross_zscore", "learn"]

Scale = Literal["rank", "zscore"]
TargetKind = Literal["rank", "zscore", "return"]

_BLOCK_BYTES = 1 << 24
_CLIP = 4.0


class Recipe(Protocol):
    """What every learner of this room is told, whatever it fits."""

    @property
    def factors(self) -> FactorSet | str: ...
    @property
    def horizon(self) -> int: ...
    @property
    def target(self) -> TargetKind: ...
    @property
    def scale(self) -> Scale: ...
    @property
    def every(self) -> int: ...
    @property
    def known(self) -> float: ...


@dataclass(frozen=True)
class Inputs:
    """The factors of a fitted model and how they are made comparable.

    Each factor is ranked ("rank", centred, from -0.5 to 0.5) or standardised ("zscore", cut at 4) across the members
    of its date. Nothing is fitted over time, so nothing can leak through a scaler.
    Missing: an unknown factor counts as the date's middle (0); an asset with less than the fraction `known` of its
    factors is left out.
    """

    factors: FactorSet
    scale: Scale = "rank"
    known: float = 0.5

    @property
    def lookback(self) -> int:
        """Rows before today that the factors read."""
        return int(self.factors.lookback)

    def blocks(
        self, panel: Panel, dates: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_]]]:
        """Rows of the panel, a few dates at a time: the dates, the scaled factors (B, N, F), who has enough (B, N)."""
        values = factor_values(self.factors, panel)
        N, F = values.shape[1:]
        step = max(1, _BLOCK_BYTES // max(1, 4 * N * F))
        for start in range(0, len(dates), step):
            rows = dates[start : start + step]
            member = panel.member[rows]
            # (B, F, N): the cross-section lies along the last axis, where a sort is fast.
            grid = np.where(member[:, None, :], values[rows].transpose(0, 2, 1), np.float32(np.nan))
            unknown = ~np.isfinite(grid)
            grid[unknown] = np.nan
            able = member & (unknown.sum(axis=1) <= (1.0 - self.known) * F + 1e-9) & ~unknown.all(axis=1)
            scaled = (cross_rank if self.scale == "rank" else cross_zscore)(grid)
            scaled[unknown] = 0.0
            yield rows, np.ascontiguousarray(scaled.transpose(0, 2, 1)), able

    def scores(self, panel: Panel, model: Callable[[NDArray[np.float32]], NDArray[Any]]) -> NDArray[np.float64]:
        """What `model`, a function of rows (R, F), says of each asset.   Shape: (T, N), NaN where left out."""
        out = np.full(panel.shape, np.nan)
        for rows, block, able in self.blocks(panel, np.flatnonzero(panel.member.any(axis=1))):
            if able.any():
                said = np.full(able.shape, np.nan)
                said[able] = model(block[able])
                out[rows] = said
        return out


@dataclass(frozen=True, eq=False)
class Table:
    """Rows to learn from.   Shape: x (R, F) float32, y (R,) float64, cell (R,) = row * N + column in the panel."""

    x: NDArray[np.float32]
    y: NDArray[np.float64]
    cell: NDArray[np.int64]


def learn(recipe: Recipe, train: Panel, market: Market) -> tuple[Inputs, Table, tuple[str, ...]]:
    """The inputs of a model, the rows to fit it on, and what is worth a note.

    Time: labels are made from `train` alone, so those that need later rows are missing and their rows are left out.
    `every` takes every so-many-th date, which thins labels that overlap.
    Raises: SolveError when no row has both factors and a label.
    """
    factors, notes = _supported(recipe.factors, train)
    inputs = Inputs(factors, recipe.scale, recipe.known)
    earned = forward_returns(train, market, horizon=recipe.horizon).values
    label = np.where(train.member, earned, np.nan)
    label[np.arange(len(train)) % recipe.every != 0] = np.nan
    if recipe.target != "return":
        label = (cross_rank if recipe.target == "rank" else cross_zscore)(label)
    labelled = np.isfinite(label)
    x = np.empty((int(labelled.sum()), len(factors.factors)), dtype=np.float32)
    cells, filled = [], 0
    for rows, block, able in inputs.blocks(train, np.flatnonzero(labelled.any(axis=1))):
        take = able & labelled[rows]
        found = int(take.sum())
        x[filled : filled + found] = block[take]
        row, column = np.nonzero(take)
        cells.append(rows[row] * train.shape[1] + column)
        filled += found
    if not filled:
        raise SolveError(
            "a fit needs rows that have both factors and a label",
            found=f"{len(train)} bars, {int(labelled.sum())} labels, look-back {inputs.lookback}",
            where="the training slice",
            fix="train on more bars, or lower `horizon` or `known`",
        )
    cell = np.concatenate(cells)
    return inputs, Table(x[:filled], label.ravel()[cell], cell), notes


def check_recipe(recipe: Recipe, where: str) -> None:
    """Raise DataError for a setting that no fit could use."""
    faults = [
        (recipe.horizon >= 1, "a horizon counts bars, at least one", recipe.horizon, "horizon"),
        (recipe.every >= 1, "dates are thinned by a whole number", recipe.every, "every"),
        (0.0 < recipe.known <= 1.0, "the known part of the factors is a fraction above 0", recipe.known, "known"),
        (recipe.target in get_args(TargetKind), "a target is rank, zscore or return", recipe.target, "target"),
        (recipe.scale in get_args(Scale), "a scale is rank or zscore", recipe.scale, "scale"),
    ]
    for right, rule, found, name in faults:
        if not right:
            raise DataError(rule, found=found, where=f"{where}.{name}")


def cross_rank(grid: NDArray[Any]) -> NDArray[Any]:
    """Ranks along the last axis, centred: the lowest of n is 0.5/n - 0.5, the highest 0.5 - 0.5/n.

    Shape: (..., N) -> (..., N), the type of the input.   Missing: NaN stays NaN; equal values share their mean rank.
    """
    N = grid.shape[-1]
    order = np.argsort(grid, axis=-1)  # NaN last
    ordered = np.take_along_axis(grid, order, axis=-1)
    place = np.arange(N, dtype=np.int32)
    fresh = np.ones(grid.shape, dtype=np.bool_)
    fresh[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    first = np.maximum.accumulate(np.where(fresh, place, 0), axis=-1)
    ends = np.ones(grid.shape, dtype=np.bool_)
    ends[..., :-1] = fresh[..., 1:]
    last = np.minimum.accumulate(np.where(ends, place, N)[..., ::-1], axis=-1)[..., ::-1]
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    rank = (first + last + 1).astype(grid.dtype)
    rank *= (0.5 / np.maximum(count, 1)).astype(grid.dtype)
    rank -= grid.dtype.type(0.5)
    rank[place >= count] = np.nan
    out = np.empty_like(grid)
    np.put_along_axis(out, order, rank, axis=-1)
    return out


def cross_zscore(grid: NDArray[Any]) -> NDArray[Any]:
    """Mean 0 and standard deviation 1 along the last axis, cut at 4.

    Shape: (..., N) -> (..., N), the type of the input.   Missing: NaN stays NaN; a row without spread becomes 0.
    """
    known = np.isfinite(grid)
    values = np.where(known, grid, 0.0).astype(np.float64)
    count = np.maximum(known.sum(axis=-1, keepdims=True), 1)
    mean = values.sum(axis=-1, keepdims=True) / count
    away = np.where(known, values - mean, 0.0)
    spread = np.sqrt((away * away).sum(axis=-1, keepdims=True) / count)
    # A spread of rounding errors is none: dividing by it would blow noise up to the size of a signal.
    flat = spread <= 1e-9 * np.abs(mean)
    scaled = np.clip(away / np.where(flat, 1.0, spread), -_CLIP, _CLIP)
    out: NDArray[Any] = np.where(known, np.where(flat, 0.0, scaled), np.nan).astype(grid.dtype)
    return out


def _supported(factors: FactorSet | str, panel: Panel) -> tuple[FactorSet, tuple[str, ...]]:
    """The factors that the panel's fields allow, and a note on the others."""
    wanted = load_library(factors) if isinstance(factors, str) else factors
    kept, dropped = wanted.supported_by(panel)
    if not dropped:
        return kept, ()
    return kept, (
        f"{len(dropped)} of {len(wanted)} factors left out, the panel lacks their fields: {', '.join(dropped)}",
    )
