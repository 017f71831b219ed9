"""Validation chooses: how many formulas of the pool are kept, and with which penalty; nothing is searched again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.mining import Alpha, Session
from alphaloom.mining.combiners import Combination, Evidence, combine
from alphaloom.mining.pool import lasso
from alphaloom.mining.scaling import standard_target
from alphaloom.signal import Target
from alphaloom.study.mining_setup import Choice, Mining

__all__ = ["Chosen", "Tried", "choose"]

Floats = NDArray[np.float64]


class Tried(NamedTuple):
    """One choice: the formulas that were kept (0 weight left out) and the mean coefficient in each part."""

    size: int
    l1: float
    kept: int
    train_ic: float
    valid_ic: float


@dataclass(frozen=True)
class Chosen:
    """The pool after validation: `combination.used` are places in the search's pool."""

    combination: Combination
    best: Tried
    tried: tuple[Tried, ...]


def choose(train: Session, judged: Sequence[Alpha], mining: Mining, *, labels: Target, purge: int) -> Chosen:
    """How the pool's formulas become one score: learned on training rows, chosen by what it foretold on later ones.

    `judged` are the formulas with their values on validation rows, `labels` the returns there. Trees stop growing by
    validation; all other combiners but the lasso do not look at it.
    Raises: DataError for an empty pool.
    """
    alphas = train.pool.alphas
    if not alphas:
        raise DataError(
            "a search ends with at least one formula in its pool",
            found=", ".join(f"{name} {count}" for name, count in sorted(train.counts.items())) or "no formula",
            where="mining",
            fix="a larger budget, or a wider grammar",
        )
    choice = mining.choice
    if choice.combiner == "lasso":
        return _smallest(train, judged, choice)
    least, later = mining.settings.min_pairs, None
    evidence = Evidence.of([train.filled(alpha) for alpha in alphas], train.target)
    if choice.combiner == "gbdt":
        known = np.isfinite(labels.values)
        later = Evidence.of(judged, standard_target(labels.values, known, least=least))
    terms = replace(choice.terms, seed=mining.seed)
    made = combine(choice.combiner, evidence, terms=terms, purge=purge, held=later)
    tried = Tried(len(alphas), terms.l1, len(made.used), train.pool.ic, float("nan"))
    return Chosen(made, tried, (tried,))


def _smallest(train: Session, judged: Sequence[Alpha], choice: Choice) -> Chosen:
    """The size and penalty whose weights foretold best on validation rows; of equal ones the smallest."""
    alphas = train.pool.alphas
    gram, b = train.pool.correlations, np.array([alpha.ic for alpha in alphas])
    z = np.stack([np.asarray(alpha.z) for alpha in judged])
    products = np.stack([np.asarray(alpha.b) for alpha in judged])
    sizes = sorted({min(size, len(alphas)) for size in choice.sizes})
    found: list[tuple[Tried, tuple[int, ...], Floats]] = []
    for l1 in choice.l1:
        for members, weights in _nested(gram, b, sizes, l1=l1):
            kept = tuple(member for member, weight in zip(members, weights, strict=True) if weight)
            held = weights[weights != 0.0]
            if not kept:
                continue
            at = list(kept)
            inside = float(held @ b[at] / np.sqrt(held @ gram[np.ix_(at, at)] @ held))
            tried = Tried(len(members), l1, len(kept), inside, _composite_ic(held, z[at], products[at]))
            found.append((tried, kept, held))
    if not found:
        raise DataError(
            "some penalty leaves a weight", found=f"l1 {choice.l1}", where="choice.l1", fix="allow a smaller penalty"
        )
    found.sort(key=lambda one: (one[0].size, -one[0].l1))
    best = max(found, key=lambda one: one[0].valid_ic if np.isfinite(one[0].valid_ic) else -np.inf)
    return Chosen(Combination("lasso", best[1], tuple(best[2].tolist())), best[0], tuple(one[0] for one in found))


def _nested(gram: Floats, b: Floats, sizes: Sequence[int], *, l1: float) -> Iterator[tuple[list[int], Floats]]:
    """The pool at each size, the largest first: the smallest weight leaves, and the others are found again."""
    members = list(range(len(b)))
    weights = lasso(gram, b, l1=l1)
    for size in sorted(sizes, reverse=True):
        while len(members) > size:
            gone = int(np.argmin(np.abs(weights)))
            members.pop(gone)
            at = np.array(members)
            weights = lasso(gram[np.ix_(at, at)], b[at], l1=l1, start=np.delete(weights, gone))
        yield list(members), weights


def _composite_ic(weights: Floats, z: NDArray[np.float32], products: Floats) -> float:
    """The mean daily coefficient of a weighted sum.   Shape: weights (K,), z (K, S, N), products (K, S)."""
    total = np.tensordot(weights, z, axes=1)
    length = np.sqrt((total**2).sum(axis=1))
    known = length > 1e-6
    return float(((weights @ products)[known] / length[known]).mean()) if known.any() else float("nan")
