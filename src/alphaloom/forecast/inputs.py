"""What a model reads and what it learns to say: factors and labels, compared across the assets of each date."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.factors import FactorSet, load_library
from alphaloom.factors.chain import Choice, FittedChain, Signs
from alphaloom.forecast.augmentation import Augmentation
from alphaloom.forecast.correction import Correction, uniqueness
from alphaloom.forecast.sharing import opened, shared_factors
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.signal import Target, forward_returns

__all__ = ["Inputs", "Recipe", "Scale", "Table", "TargetKind", "check_recipe", "cross_rank", "cross_zscore", "learn"]

Scale = Literal["rank", "zscore"]
TargetKind = Literal["rank", "zscore", "return"]

_BLOCK_BYTES = 1 << 24
_TABLE_BYTES = 1 << 30
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
    @property
    def correction(self) -> Correction | None: ...
    @property
    def augmentation(self) -> Augmentation | None: ...


@dataclass(frozen=True)
class Inputs:
    """The factors of a fitted model, how they are corrected and how they are made comparable.

    Each factor is ranked ("rank", centred, from -0.5 to 0.5) or standardised ("zscore", cut at 4) across the members
    of its date, after the steps of `correction` if there is one. `chain` holds what the correction learned on training
    rows: directions and the factors that are kept. Scaling fits nothing over time, so nothing can leak through it.
    Missing: an unknown factor counts as the date's middle (0), as does one whose look-back reaches before the panel; an
    asset with less than the fraction `known` of its factors is left out.
    """

    factors: FactorSet
    scale: Scale = "rank"
    known: float = 0.5
    correction: Correction | None = None
    chain: FittedChain | None = None

    @property
    def lookback(self) -> int:
        """Rows before today that the factors read."""
        reach = int(self.factors.lookback)
        return reach if self.correction is None else self.correction.rows_before(reach)

    @property
    def names(self) -> tuple[str, ...]:
        """The factors that the model reads, in order: those that the correction kept."""
        names = self.factors.names
        for step in self.chain.steps if self.chain else ():
            names = step.names(names)
        return names

    def blocks(
        self, panel: Panel, dates: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_]]]:
        """Rows of the panel, a few dates at a time: the dates, the scaled factors (B, N, F), who has enough (B, N)."""
        for rows, block in self.grids(panel, dates):
            unknown = np.isnan(block)
            F = block.shape[1]
            able = panel.member[rows] & (unknown.sum(axis=1) <= (1.0 - self.known) * F + 1e-9) & ~unknown.all(axis=1)
            block[unknown] = 0.0
            yield rows, np.ascontiguousarray(block.transpose(0, 2, 1)), able

    def grids(self, panel: Panel, dates: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
        """Some ascending dates and their factors (B, F, N), NaN where not known.   Shape: dates (D,)."""
        N, F = panel.shape[1], len(self.factors)
        step = max(1, _BLOCK_BYTES // max(1, 4 * N * F))
        scale = cross_rank if self.scale == "rank" else cross_zscore
        with opened(panel, self.factors, self.correction, self.scale, scale=scale) as prepared:
            for start in range(0, len(dates), step):
                rows = dates[start : start + step]
                block = prepared.at(rows)
                for learned in self.chain.steps if self.chain else ():
                    if isinstance(learned, Signs):
                        block *= np.array(learned.signs, np.float32)[:, None]
                    elif isinstance(learned, Choice):
                        block = block[:, list(learned.kept)]
                yield rows, block

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
    """Rows to learn from, those of one date after the other.

    Shape: x (R, F) float32, memory-mapped where it is large; y (R,) float64; cell (R,) = row * N + column in the panel,
    ascending; weight (R,) float64, all 1 without a correction or augmentation; synthetic (R,) bool. Synthetic rows
    come after the real ones with dates of their own, beyond those of the panel; they never serve to validate.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float64]
    cell: NDArray[np.int64]
    weight: NDArray[np.float64]
    synthetic: NDArray[np.bool_]

    @property
    def weighted(self) -> bool:
        """Whether rows differ in weight."""
        return bool((self.weight != 1.0).any())


def learn(
    recipe: Recipe, train: Panel, market: Market, *, drawn: int | None = None
) -> tuple[Inputs, Table, tuple[str, ...]]:
    """The inputs of a model, the rows to fit it on, and what is worth a note.

    Time: labels are made from `train` alone, so those that need later rows are missing and their rows are left out.
    Synthetic panels are drawn from the first `drawn` rows, by default all: blocks of rows that judge would teach them.
    `every` takes every so-many-th date, which thins labels that overlap.
    Raises: SolveError when no row has both factors and a label.
    """
    factors, notes = _supported(recipe.factors, train)
    inputs = Inputs(factors, recipe.scale, recipe.known, recipe.correction)
    with shared_factors(train):
        if recipe.correction is not None:
            notes = (*notes, *recipe.correction.notes(train))
            inputs, said = _corrected(inputs, recipe, train, market)
            notes = (*notes, *said)
        table = _rows(recipe, inputs, train, market)
    if not len(table.y):
        raise SolveError(
            "a fit needs rows that have both factors and a label",
            found=f"{len(train)} bars, look-back {inputs.lookback}",
            where="the training slice",
            fix="train on more bars, or lower `horizon` or `known`",
        )
    if recipe.augmentation is not None:
        table = _augmented(recipe, inputs, table, train=train[:drawn], market=market, dates=len(train))
        notes = (*notes, f"{int(table.synthetic.sum())} of {len(table.y)} rows to learn from are synthetic.")
    return inputs, table, notes


def _corrected(inputs: Inputs, recipe: Recipe, train: Panel, market: Market) -> tuple[Inputs, tuple[str, ...]]:
    """The inputs with what the correction learns from the training slice."""
    correction = recipe.correction
    if correction is None or not correction.learned:
        return inputs, ()
    target = forward_returns(train, market, horizon=recipe.horizon)
    label = _labels(recipe, train, target)
    walk = (
        (rows, np.ascontiguousarray(block.transpose(0, 2, 1)))
        for rows, block in inputs.grids(train, np.flatnonzero(np.isfinite(label).any(axis=1)))
    )
    chain = correction.learn(inputs.factors.names, walk, replace(target, values=label), train)
    fitted = replace(inputs, chain=chain)
    return fitted, (f"{len(fitted.names)} of {len(inputs.factors)} factors are left without duplicates.",)


def _labels(recipe: Recipe, train: Panel, target: Target) -> NDArray[np.float64]:
    """Returns of the members on the dates that are learned from.   Shape: (T, N)."""
    label = np.where(train.member, target.values, np.nan)
    label[np.arange(len(train)) % recipe.every != 0] = np.nan
    return label


def _rows(recipe: Recipe, inputs: Inputs, train: Panel, market: Market) -> Table:
    """The rows of a panel that have factors and a label."""
    label = _labels(recipe, train, forward_returns(train, market, horizon=recipe.horizon))
    if recipe.target != "return":
        label = (cross_rank if recipe.target == "rank" else cross_zscore)(label)
    labelled = np.isfinite(label)
    dates = np.flatnonzero(labelled.any(axis=1))
    x = _room(int(labelled.sum()), len(inputs.names))
    cells: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    filled = 0
    for rows, block, able in inputs.blocks(train, dates):
        take = able & labelled[rows]
        found = int(take.sum())
        x[filled : filled + found] = block[take]
        row, column = np.nonzero(take)
        cells.append(rows[row] * train.shape[1] + column)
        filled += found
    cell = np.concatenate(cells)
    weight = np.ones(filled)
    if recipe.correction is not None and recipe.correction.uniqueness and filled:
        used, place = np.unique(cell // train.shape[1], return_inverse=True)
        weight = uniqueness(used, recipe.horizon)[place]
    return Table(x[:filled], label.ravel()[cell], cell, weight, np.zeros(filled, dtype=np.bool_))


def _augmented(recipe: Recipe, inputs: Inputs, real: Table, *, train: Panel, market: Market, dates: int) -> Table:
    """The table with the rows of synthetic panels after its own, which weigh `augmentation.weight` as much in all."""
    assert recipe.augmentation is not None
    parts = [real]
    for path in recipe.augmentation.paths_of(train):
        part = _rows(recipe, inputs, path, market)
        cell = part.cell + dates * train.shape[1]
        parts.append(replace(part, cell=cell, synthetic=np.ones(len(part.y), dtype=np.bool_)))
        dates += len(path)
    made = sum(float(part.weight.sum()) for part in parts[1:])
    share = recipe.augmentation.weight * float(real.weight.sum()) / made if made > 0.0 else 0.0
    x = _room(sum(len(part.y) for part in parts), real.x.shape[1])
    np.concatenate([part.x for part in parts], out=x)
    weight = np.concatenate([real.weight, *(share * part.weight for part in parts[1:])])
    y, cell, synthetic = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("y", "cell", "synthetic")
    )
    return Table(x, y, cell, weight, synthetic)


def _room(rows: int, columns: int) -> NDArray[np.float32]:
    """An empty table; a large one lies in a file that has no name and goes with the array."""
    if 4 * rows * columns <= _TABLE_BYTES:
        return np.empty((rows, columns), dtype=np.float32)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=(rows, columns))


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
