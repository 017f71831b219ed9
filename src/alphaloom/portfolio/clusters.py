"""Risk shared between clusters of similar assets first, and inside each cluster afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.portfolio.covariance import Risk, RiskKind, check_risk, rows_needed
from alphaloom.portfolio.hierarchical import Linkage, tree_of
from alphaloom.portfolio.mandate import Tally, measured
from alphaloom.portfolio.rows import check_cash, check_choice, check_count, hold

__all__ = ["ClusteredRisk", "Method", "equal_cluster_risk", "nested_clusters"]

Grid = NDArray[np.float64]
Method = Literal["equal_risk", "nested"]
_WORDS = {"fallbacks": "no weights of least variance were found, and what was held was kept"}


@dataclass(frozen=True)
class ClusteredRisk:
    """Long-only weights by clusters: hierarchical equal risk contribution, or nested clustered optimisation.

    The tree of the distance sqrt((1 - correlation) / 2) is cut into at most `clusters`. "equal_risk" goes down the
    tree: at each fork the two sides share money in inverse proportion to the summed variances of their clusters, and a
    cluster shares it at inverse variances. "nested" finds the weights of least variance inside each cluster, and then
    those of the clusters. `risk`, `window`, `half_life` and `factors` say how covariances are measured, see
    `portfolio.covariance.estimate`. `cash` is kept free.
    Time: rows t - lookback..t; decided on the first of every `every` closes of the book; the first `window` bars hold.
    Missing: assets without an estimate get no weight; a holding that does not trade keeps its weight, the others share
    what is left; a failed optimisation holds. `counts` tells how often.
    Raises: DataError for a setting out of range.
    Source: Raffinot 2018, The hierarchical equal risk contribution portfolio (SSRN 3237540); Lopez de Prado 2019, A
    robust estimator of the efficient frontier (SSRN 3469961); deviation: the number of clusters is given, not
    estimated.
    """

    window: int = 252
    method: Method = "equal_risk"
    clusters: int = 10
    risk: RiskKind = "ledoit_wolf"
    every: int = 21
    linkage: Linkage = "ward"
    cash: float = 0.01
    half_life: float = 63.0
    factors: int = 15

    def __post_init__(self) -> None:
        check_risk(self.risk, self.window, "ClusteredRisk", half_life=self.half_life, factors=self.factors)
        check_count(self.every, "ClusteredRisk.every")
        check_count(self.clusters, "ClusteredRisk.clusters")
        check_cash(self.cash, "ClusteredRisk.cash")
        check_choice(self.linkage, get_args(Linkage), "ClusteredRisk.linkage")
        check_choice(self.method, get_args(Method), "ClusteredRisk.method")
        object.__setattr__(self, "_tally", Tally("solves", "fallbacks"))

    @property
    def lookback(self) -> int:
        """Rows before today that a decision reads."""
        return rows_needed(self.risk, self.window)

    @property
    def counts(self) -> Mapping[str, int]:
        """Decisions since the book was opened: solves and fallbacks (held)."""
        return self._told.counts

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about the decisions so far."""
        return self._told.notes("clustered risk", _WORDS)

    @property
    def _told(self) -> Tally:
        told: Tally = self.__dict__["_tally"]
        return told

    def decide(self, view: Panel, book: Book) -> NDArray[np.float64]:
        """Weights by clusters.   Shape: (N,)."""
        due = measured(self, view, book)
        if due is None:
            return hold(len(view.assets))
        risk, places = due
        self._told.add("solves")
        method = equal_cluster_risk if self.method == "equal_risk" else nested_clusters
        found = method(risk.part(places.columns), self.clusters, linkage=self.linkage)
        if not np.isfinite(found).all():
            self._told.add("fallbacks")
            return hold(len(view.assets))
        return places.filled(places.total * found)


def equal_cluster_risk(risk: Risk, clusters: int, *, linkage: Linkage) -> Grid:
    """Weights, adding up to 1, by hierarchical equal risk contribution.   Shape: (M,)."""
    M = len(risk.specific)
    inverse = 1.0 / risk.deviations() ** 2
    if M < 2:
        return np.ones(M)
    tree = tree_of(risk, linkage, "correlation")
    label = _cut(tree, clusters)
    weights, variance = np.empty(M), np.empty(label.max() + 1)
    for k in range(len(variance)):
        inside = np.flatnonzero(label == k)
        weights[inside] = inverse[inside] / inverse[inside].sum()
        variance[k] = risk.part(inside).variance(weights[inside])
    return weights * _shares(tree, label, variance)[label]


def nested_clusters(risk: Risk, clusters: int, *, linkage: Linkage) -> Grid:
    """Weights, adding up to 1, by nested clustered optimisation; NaN where a solve failed.   Shape: (M,)."""
    from alphaloom.portfolio.quadratic import least_variance

    M = len(risk.specific)
    if M < 2:
        return np.ones(M)
    label = _cut(tree_of(risk, linkage, "correlation"), clusters)
    members = label[None, :] == np.arange(label.max() + 1)[:, None]
    held = np.zeros(members.shape)
    for k, inside in enumerate(members):
        held[k, inside] = least_variance(risk.part(inside), total=1.0, cap=1.0).weights
    whole = Risk(held @ risk.exposures, risk.factor_root, np.sqrt((held**2) @ risk.specific**2))
    return np.asarray(least_variance(whole, total=1.0, cap=1.0).weights @ held)


def _cut(tree: Any, clusters: int) -> NDArray[np.intp]:
    """The cluster of each asset, counted from 0.   Shape: (M,)."""
    from scipy.cluster.hierarchy import fcluster

    return np.unique(fcluster(tree, clusters, criterion="maxclust"), return_inverse=True)[1]


def _shares(tree: Any, label: NDArray[np.intp], variance: Grid) -> Grid:
    """The part of the money that each cluster gets on the way down the tree.   Shape: (clusters,)."""
    below: list[set[int]] = [{int(k)} for k in label]  # clusters under each node, leaves first
    for left, right in tree[:, :2].astype(int):
        below.append(below[left] | below[right])
    share = np.ones(len(variance))
    for left, right in tree[:, :2].astype(int):
        a, b = sorted(below[left]), sorted(below[right])
        if a == b:
            continue  # a fork inside one cluster
        one, other = variance[a].sum(), variance[b].sum()
        share[a] *= other / (one + other)
        share[b] *= one / (one + other)
    return share
