"""Risk shared out along a tree of similar assets: no matrix is inverted, so noise in correlations does less harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.covariance import Risk, RiskKind, check_risk, rows_needed
from alphaloom.portfolio.mandate import Tally, measured
from alphaloom.portfolio.rows import check_cash, check_choice, check_count, hold

__all__ = ["Distance", "HierarchicalRiskParity", "Linkage", "bisected", "quasi_diagonal", "tree_of"]

Grid = NDArray[np.float64]
Linkage = Literal["single", "average", "complete", "ward"]
Distance = Literal["profile", "correlation"]


@dataclass(frozen=True)
class HierarchicalRiskParity:
    """Long-only weights by hierarchical risk parity.

    Assets are clustered by the distance sqrt((1 - correlation) / 2): by how alike their whole rows of distances are
    ("profile", as published) or by the distance itself ("correlation"). They are put in the order of the tree's
    leaves; the list is halved again and again, and at each cut the halves share money in inverse proportion to
    the variance that each has when it is held at inverse variances. `risk`, `window`, `half_life` and `factors` say how
    covariances are measured, see `portfolio.covariance.estimate`. `cash` is kept free.
    The two branches of a fork have no order of their own: as published, it depends on the order of the columns.
    Time: rows t - lookback..t; decided on the first of every `every` closes of the book; the first `window` bars hold.
    Missing: assets without an estimate get no weight; a holding that does not trade keeps its weight, the others share
    what is left.
    Raises: DataError for a setting out of range.
    Source: Lopez de Prado 2016, Building diversified portfolios that outperform out of sample, J. Portfolio Management
    42(4).
    """

    window: int = 252
    risk: RiskKind = "sample"
    every: int = 21
    linkage: Linkage = "single"
    distance: Distance = "profile"
    cash: float = 0.01
    half_life: float = 63.0
    factors: int = 15

    def __post_init__(self) -> None:
        where = "HierarchicalRiskParity"
        check_risk(self.risk, self.window, where, half_life=self.half_life, factors=self.factors)
        check_count(self.every, f"{where}.every")
        check_cash(self.cash, f"{where}.cash")
        check_choice(self.linkage, get_args(Linkage), f"{where}.linkage")
        check_choice(self.distance, get_args(Distance), f"{where}.distance")
        object.__setattr__(self, "_tally", Tally("solves"))

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return rows_needed(self.risk, self.window)

    @property
    def counts(self) -> Mapping[str, int]:
        """Decisions since the book was opened: solves. The recursion cannot fail."""
        return self._told.counts

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about the decisions so far: nothing."""
        return ()

    @property
    def _told(self) -> Tally:
        told: Tally = self.__dict__["_tally"]
        return told

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """Weights by the tree.   Shape: (N,)."""
        due = measured(self, view, book)
        if due is None:
            return hold(len(view.assets))
        risk, places = due
        self._told.add("solves")
        part = risk.part(places.columns)
        order = quasi_diagonal(part, self.linkage, self.distance)
        return places.filled(places.total * bisected(part, order))


def tree_of(risk: Risk, linkage: Linkage, distance: Distance) -> Any:
    """The tree of at least two assets, as scipy writes it.   Shape: (M - 1, 4)."""
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import pdist, squareform

    sigma = risk.dense()
    size = np.sqrt(np.diag(sigma))
    apart = np.sqrt(np.clip(0.5 - 0.5 * sigma / np.outer(size, size), 0.0, 1.0))
    np.fill_diagonal(apart, 0.0)
    pairs = pdist(apart) if distance == "profile" else squareform(apart, checks=False)
    return hierarchy.linkage(pairs, method=linkage)


def quasi_diagonal(risk: Risk, linkage: Linkage, distance: Distance) -> NDArray[np.intp]:
    """The order of the assets in which similar ones are neighbours: the leaves of their tree.   Shape: (M,)."""
    from scipy.cluster.hierarchy import leaves_list

    M = len(risk.specific)
    return np.asarray(leaves_list(tree_of(risk, linkage, distance)), dtype=np.intp) if M > 1 else np.arange(M)


def bisected(risk: Risk, order: NDArray[np.intp]) -> Grid:
    """Weights, adding up to 1, of the recursive bisection of an ordered list of assets.   Shape: (M,)."""
    loads, own = risk.loadings[order], risk.specific[order] ** 2
    inverse = 1.0 / ((loads**2).sum(axis=1) + own)
    shared, alone = inverse[:, None] * loads, inverse**2 * own
    placed = np.ones(len(order))
    parts = [(0, len(order))]
    while parts:
        start, stop = parts.pop()
        if stop - start < 2:
            continue
        middle = start + (stop - start) // 2
        left, right = (
            _variance(inverse, shared, alone, rows=slice(*ends)) for ends in ((start, middle), (middle, stop))
        )
        placed[start:middle] *= right / (left + right)
        placed[middle:stop] *= left / (left + right)
        parts += [(start, middle), (middle, stop)]
    weights = np.empty(len(order))
    weights[order] = placed
    return weights


def _variance(inverse: Grid, shared: Grid, alone: Grid, *, rows: slice) -> float:
    """The variance of some assets held at inverse variances."""
    together = shared[rows].sum(axis=0)
    return float((together @ together + alone[rows].sum()) / inverse[rows].sum() ** 2)
