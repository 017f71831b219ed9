"""Take out of a factor what sectors and styles explain: a weighted regression for every date and factor at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import AxisError, DataError

__all__ = ["Design", "Neutralised", "design", "neutralise", "regress_out"]

Grid = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Design:
    """What a regression of every date explains its factors with.

    Shape: exposures (T, N, K) float64; codes and parents (T, N) int16, 0 everywhere without labels; weights and the
    boolean `usable` (T, N): the cells that have all of these.
    """

    exposures: NDArray[np.float64]
    codes: NDArray[np.int16]
    parents: NDArray[np.int16]
    weights: NDArray[np.float64]
    usable: NDArray[np.bool_]

    def __getitem__(self, rows: slice) -> Design:
        exposures, weights = self.exposures[rows], self.weights[rows]
        return Design(exposures, self.codes[rows], self.parents[rows], weights, self.usable[rows])


@dataclass(frozen=True, eq=False)
class Neutralised:
    """Residuals, and what was odd on the way.

    Shape: values as given; `ridge` (T,) marks the dates on which the styles were not independent of each other and of
    the groups, `explained` (T, F) the factors of which nothing was left (their date is NaN).
    """

    values: Grid
    ridge: NDArray[np.bool_]
    explained: NDArray[np.bool_]


def regress_out(
    y: Grid,
    xs: Sequence[Grid] = (),
    weights: Grid | None = None,
    labels: Grid | None = None,
    member: Grid | None = None,
) -> Grid:
    """The part of `y` that the day's regression on `xs` and on the groups of `labels` leaves over.

    Shape: y, each of xs, weights, labels, member (T, N) -> (T, N) of y's dtype.   Unit: that of y.
    Time: row t only.   Missing: as `neutralise`.
    """
    plan = design(np.shape(y), xs, weights=weights, labels=labels, member=member)
    return neutralise(y, plan).values


def design(
    shape: tuple[int, ...],
    xs: Sequence[Grid] | Grid = (),
    *,
    weights: Grid | None = None,
    labels: Grid | None = None,
    parents: Grid | None = None,
    member: Grid | None = None,
) -> Design:
    """Collect exposures, group codes and weights of a panel's shape, and find the cells that have all of them.

    `xs` is a sequence of (T, N) grids or one (T, N, K) array. Weights default to 1.
    Missing: cells outside `member`, with a negative code, an unknown exposure, or a weight that is not positive are
    left out.   Raises: AxisError.
    """
    T, N = (int(size) for size in shape[:2])
    exposures = xs if isinstance(xs, np.ndarray) else np.stack(xs, axis=2) if len(xs) else np.empty((T, N, 0))
    grid = np.ascontiguousarray(exposures, dtype=np.float64)
    weight = np.ones((T, N)) if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
    codes = np.zeros((T, N), np.int16) if labels is None else np.ascontiguousarray(labels, dtype=np.int16)
    above = np.full((T, N), -1, np.int16) if parents is None else np.ascontiguousarray(parents, dtype=np.int16)
    inside = np.ones((T, N), bool) if member is None else np.asarray(member, dtype=bool)
    parts: dict[str, NDArray[Any]] = {
        "xs": grid,
        "weights": weight,
        "labels": codes,
        "parents": above,
        "member": inside,
    }
    for name, part in parts.items():
        if part.shape[:2] != (T, N) or part.ndim != (3 if name == "xs" else 2):
            raise AxisError(
                "what a factor is regressed on has the factor's times and assets",
                found=f"shape {part.shape}, not {(T, N)}",
                where=f"regress_out({name}=...)",
            )
    usable = inside & np.isfinite(grid).all(axis=2) & (codes >= 0) & np.isfinite(weight) & (weight > 0)
    return Design(grid, codes, above, weight, np.ascontiguousarray(usable))


def neutralise(y: Grid, plan: Design, *, in_place: bool = False) -> Neutralised:
    """Replace each factor of each date by its residual of the weighted regression on intercept, groups and styles.

    Minimises sum w * (y - a - g[group] - x b)^2. How the groups' effects are normalised does not change what is left.
    A group with fewer than two known members joins the others of its parent level, else the rest, else the largest
    group. Factors that know the same assets on a date share one decomposition.
    Shape: (T, N) or (T, N, F), float32 or float64.   Time: row t only.
    Missing: cells that the design leaves out are NaN; an unknown factor value stays so and takes no part. A factor of
    which less than 1e-6 of its deviation is left on a date, or which has no more values than the regression has
    parameters, is NaN on that date. Where exposures depend on each other a ridge of 1e-8 decides, and `ridge` says so.
    Raises: AxisError, DataError.
    """
    from alphaloom.factors.neutralise_kernels import residuals

    values: NDArray[Any] = np.asarray(y)
    kind: np.dtype[Any] = values.dtype
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise DataError("factors are float32 or float64", found=str(kind), where="neutralise")
    if values.ndim not in (2, 3) or values.shape[:2] != plan.usable.shape:
        raise AxisError(
            "a factor has the design's times and assets",
            found=f"{values.shape}, not {plan.usable.shape}",
            where="neutralise",
        )
    if not in_place:
        values = np.array(values, order="C")
    cube = values if values.ndim == 3 else values[:, :, None]
    T, _, F = cube.shape
    groups, above = int(plan.codes.max(initial=0)) + 1, int(plan.parents.max(initial=-1)) + 1
    ridge, explained = np.zeros(T, bool), np.zeros((T, F), bool)
    eps = 4.0 * float(np.finfo(kind).eps)
    part = (plan.usable, plan.codes, plan.parents, plan.exposures, plan.weights)
    ridge[:], explained[:] = residuals(cube, *part, groups, above, eps)
    return Neutralised(values, ridge, explained)
