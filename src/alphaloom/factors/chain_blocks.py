"""How a chain walks through features that may be larger than memory: blocks of dates, in order, one copy each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import AxisError
from alphaloom.panel import Panel
from alphaloom.signal import Features, Target

__all__ = ["Evidence", "Fitted", "Run", "Step", "blocks", "check_axes", "gather", "measured", "through"]

Cube = NDArray[Any]
# Changes a block of rows, in place where it can. Blocks come in order of time and each row comes once.
Run = Callable[[Cube, slice], Cube]
_BLOCK_BYTES = 1 << 26
LEAST_PAIRS = 10


@runtime_checkable
class Fitted(Protocol):
    """A step that knows its parameters; `lookback` counts the rows before today that it reads of the panel."""

    @property
    def lookback(self) -> int: ...

    def names(self, given: tuple[str, ...]) -> tuple[str, ...]: ...

    def open(self, panel: Panel) -> Run: ...

    def transform(self, features: Features, panel: Panel) -> Features: ...


@runtime_checkable
class Step(Protocol):
    """A step of a chain; a frozen dataclass that is its own configuration."""

    def fit(self, features: Features, target: Target, panel: Panel) -> Fitted: ...


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the training dates say about some factors.

    Shape: ics (T, F), rank correlation of each factor with the later return on each date; correlation (F, F), mean over
    dates of the factors' rank correlation.
    Time: the last horizon + 1 rows of `ics` are NaN: their outcome was not known when training ended.
    """

    factors: tuple[str, ...]
    ics: NDArray[np.float64]
    correlation: NDArray[np.float64]
    target: Target


def blocks(values: Cube) -> Iterator[slice]:
    """Consecutive slices of rows of about 64 MB."""
    T = len(values)
    row = max(1, values[:1].nbytes)
    step = max(1, _BLOCK_BYTES // row)
    for start in range(0, T, step):
        yield slice(start, min(T, start + step))


def check_axes(features: Features, panel: Panel, target: Target | None = None) -> None:
    """Raise AxisError unless all speak of the same times and assets."""
    for name, other in (("panel", panel), ("target", target)):
        if other is None:
            continue
        if other.assets != features.assets or not np.array_equal(other.times, features.times):
            raise AxisError(
                f"features and {name} have the same times and assets",
                found=f"{len(features.times)} x {len(features.assets)} and {len(other.times)} x {len(other.assets)}",
                where="chain",
                fix="slice both by the same rows",
            )


def through(steps: Sequence[Fitted], features: Features, panel: Panel, *, out: Cube | None = None) -> Features:
    """The features after every step.   Shape: (T, N, F) -> (T, N, F'), written into `out` if it is given."""
    check_axes(features, panel)
    names = features.names
    for step in steps:
        names = step.names(names)
    runs = [step.open(panel) for step in steps]
    shape = (*features.values.shape[:2], len(names))
    values = np.empty(shape, features.values.dtype) if out is None else out
    for rows in blocks(features.values):
        values[rows] = _run(runs, features.values[rows], rows)
    return Features(features.times, features.assets, names, values)


def gather(steps: Sequence[Fitted], features: Features, target: Target, panel: Panel) -> Evidence:
    """Measure the features after some steps against the target, block by block."""
    check_axes(features, panel, target)
    names = features.names
    for step in steps:
        names = step.names(names)
    runs = [step.open(panel) for step in steps]
    walk = (
        (np.arange(rows.start, rows.stop), _run(runs, features.values[rows], rows)) for rows in blocks(features.values)
    )
    alike = np.arange(len(panel)) % max(1, len(panel) // 250) == 0
    return measured(names, walk, target, panel, alike=alike)


def measured(
    names: tuple[str, ...],
    walk: Iterable[tuple[NDArray[np.intp], Cube]],
    target: Target,
    panel: Panel,
    *,
    alike: NDArray[np.bool_],
) -> Evidence:
    """Measure features that come as dates and blocks (B, N, F); on dates marked in `alike` also with each other."""
    from alphaloom.factors.chain_kernels import rank_ics

    F, later = len(names), known_outcomes(target)
    ics = np.full((len(panel), F), np.nan)
    likeness, dates = np.zeros((F, F)), np.zeros((F, F))
    for rows, block in walk:
        ics[rows] = rank_ics(block, panel.member[rows], later[rows], LEAST_PAIRS)
        for k in np.flatnonzero(alike[rows]):
            _add_likeness(block[k], panel.member[rows[k]], likeness, dates)
    with np.errstate(invalid="ignore"):
        return Evidence(names, ics, likeness / dates, target)


def known_outcomes(target: Target) -> NDArray[np.float64]:
    """The target without the last horizon + 1 rows, whose outcome lies at or after the end of training."""
    later = np.array(target.values)
    later[max(0, len(later) - target.horizon - 1) :] = np.nan
    return later


def _run(runs: Sequence[Run], given: Cube, rows: slice) -> Cube:
    block = np.array(given, order="C")
    for run in runs:
        block = run(block, rows)
    return block


def _add_likeness(block: Cube, member: NDArray[np.bool_], likeness: Cube, dates: Cube) -> None:
    """Add a date's rank correlations between factors, over the assets that each pair has in common."""
    from alphaloom.factors.chain_kernels import rank_scores

    scores = np.empty(block.shape[::-1])
    rank_scores(block, member, scores)
    known = (np.isfinite(block) & member[:, None]).T.astype(np.float64)
    product, square = scores @ scores.T, (scores * scores) @ known.T
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = product / np.sqrt(square * square.T)
    told = np.isfinite(correlation) & (known @ known.T >= LEAST_PAIRS)
    likeness[told] += correlation[told]
    dates[told] += 1.0
