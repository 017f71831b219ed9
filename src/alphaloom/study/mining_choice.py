"""Validation chooses: how many formulas of the pool are kept, and with which penalty; nothing is searched again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors import Expr
from alphaloom.mining import Alpha, Session
from alphaloom.mining.combiners import Combination, Evidence, combine
from alphaloom.mining.pool import lasso
from alphaloom.study.mining_setup import Choice, Mining

__all__ = ["Candidates", "Chosen", "Tried", "candidates", "choose"]

Floats = NDArray[np.float64]


class Tried(NamedTuple):
    """One choice: from the pool or the miner's own archive, how many formulas (0 weight left out), how good where."""

    base: str
    size: int
    l1: float
    kept: int
    train_ic: float
    valid_ic: float


@dataclass(frozen=True)
class Chosen:
    """The pool after validation: `combination.used` are places in the candidates."""

    combination: Combination
    best: Tried
    tried: tuple[Tried, ...]


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a search left to choose from: formulas with training values, and which stand in the pool or the archive."""

    alphas: tuple[Alpha, ...]
    bases: Mapping[str, tuple[int, ...]]


def candidates(train: Session, most: int) -> Candidates:
    """The pool's formulas and the `most` best of the miner's own archive, where it keeps one.

    Raises: DataError where a search left nothing.
    """
    lists = {"pool": train.pool.alphas, "archive": train.finds[:most]}
    alphas: dict[Expr, Alpha] = {}
    for alpha in (alpha for group in lists.values() for alpha in group):
        if alpha.expr not in alphas:
            alphas[alpha.expr] = train.filled(alpha)
    if not alphas:
        raise DataError(
            "a search ends with at least one formula",
            found=", ".join(f"{name} {count}" for name, count in sorted(train.counts.items())) or "no formula",
            where="mining",
            fix="a larger budget, or a wider grammar",
        )
    places = {expr: k for k, expr in enumerate(alphas)}
    bases = {
        name: tuple(dict.fromkeys(places[alpha.expr] for alpha in group)) for name, group in lists.items() if group
    }
    return Candidates(tuple(alphas.values()), bases)


def choose(
    found: Candidates, judged: Sequence[Alpha], mining: Mining, *, targets: tuple[Floats, Floats], purge: int
) -> Chosen:
    """How formulas become one score: learned on training rows, chosen by what it foretold on later ones.

    `judged` are the candidates with their values on validation rows, `targets` the standardised labels of both parts.
    Trees take the archive where there is one and stop growing by validation; of the other combiners only the lasso
    looks at it.
    """
    choice = mining.choice
    if choice.combiner == "lasso":
        return _smallest(found, judged, choice)
    base = "archive" if choice.combiner == "gbdt" and "archive" in found.bases else next(iter(found.bases))
    at = found.bases[base]
    evidence = Evidence.of([found.alphas[k] for k in at], targets[0])
    later = Evidence.of([judged[k] for k in at], targets[1]) if choice.combiner == "gbdt" else None
    terms = replace(choice.terms, seed=mining.seed)
    made = combine(choice.combiner, evidence, terms=terms, purge=purge, held=later)
    tried = Tried(base, len(at), terms.l1, len(made.used), float("nan"), float("nan"))
    return Chosen(replace(made, used=tuple(at[k] for k in made.used)), tried, (tried,))


def _smallest(found: Candidates, judged: Sequence[Alpha], choice: Choice) -> Chosen:
    """The base, size and penalty whose weights foretold best on validation rows; of equal ones the smallest."""
    made = [one for base in found.bases for one in _lassos(found, judged, choice, base)]
    if not made:
        raise DataError(
            "some penalty leaves a weight", found=f"l1 {choice.l1}", where="choice.l1", fix="allow a smaller penalty"
        )
    made.sort(key=lambda one: (one[0].size, -one[0].l1))
    best = max(made, key=lambda one: one[0].valid_ic if np.isfinite(one[0].valid_ic) else -np.inf)
    return Chosen(Combination("lasso", best[1], best[2]), best[0], tuple(one[0] for one in made))


def _lassos(
    found: Candidates, judged: Sequence[Alpha], choice: Choice, base: str
) -> Iterator[tuple[Tried, tuple[int, ...], tuple[float, ...]]]:
    at = np.array(found.bases[base])
    gram, b = Evidence.of([found.alphas[k] for k in at]).means()
    z = np.stack([np.asarray(judged[k].z) for k in at])
    products = np.stack([np.asarray(judged[k].b) for k in at])
    sizes = sorted({min(size, len(at)) for size in choice.sizes})
    for l1 in choice.l1:
        for members, weights in _nested(gram, b, sizes, l1=l1):
            kept = np.array(members)[weights != 0.0]
            held = weights[weights != 0.0]
            if not len(kept):
                continue
            inside = float(held @ b[kept] / np.sqrt(held @ gram[np.ix_(kept, kept)] @ held))
            valid = _composite_ic(held, z[kept], products[kept])
            tried = Tried(base, len(members), l1, len(kept), inside, valid)
            yield tried, tuple(int(k) for k in at[kept]), tuple(held.tolist())


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
