"""The pool: a few formulas whose weighted sum foretells the target, kept by algebra instead of evaluation.

Each member is standardised once. With daily inner products b_t (with the target) and G_t (with each other) the daily
coefficient of any weighted sum is exactly w.b_t / sqrt(w' G_t w): no formula is evaluated again.

Source: AlphaGen, arXiv:2306.12964 (the pool); RiskMiner, arXiv:2402.07080, algorithm 1. Deviations: weights by
coordinate descent instead of thousands of gradient steps; similarity without sign, so that a mirror image is no news.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors import Expr, parse

__all__ = ["Alpha", "Insertion", "Pool", "lasso"]

Floats = NDArray[np.float64]
# Fewer members than this are compared faster than threads are started.
_FEW = 8


@dataclass(frozen=True, eq=False)
class Alpha:
    """One judged formula.

    Shape: z (S, N) float32, each scored date with mean 0 and length 1 and 0 where nothing is known; b (S,), the daily
    inner products with the target. `ic` is their mean, `icir` mean over deviation. `fault`: "" for a usable formula.
    """

    expr: Expr
    ic: float
    icir: float
    coverage: float
    fault: str = ""
    z: NDArray[np.float32] | None = None
    b: Floats | None = None

    @property
    def valid(self) -> bool:
        """True where the formula is usable."""
        return not self.fault


@dataclass(frozen=True)
class Insertion:
    """What an offer did: the composite's mean coefficient before and after, and why nothing changed if so."""

    before: float
    after: float
    accepted: bool
    reason: str = ""
    dropped: str = ""


class _Held(NamedTuple):
    """Shape: z (K+1, S, N); grams (S, K+1, K+1); b (S, K+1), for a capacity of K."""

    z: NDArray[np.float32]
    grams: NDArray[np.float32]
    b: Floats


class Pool:
    """At most `capacity` formulas and their weights.

    Weights minimise w'Mw - 2 w.b + l1 |w|_1, with M and b the means of G_t and b_t: the squared error of the
    standardised sum. An offer whose similarity to a member exceeds `most_alike` is refused; a full pool drops its
    smallest weight, and if that is the newcomer it stays exactly as it was. `threads` share the inner products.
    """

    def __init__(self, capacity: int = 20, *, l1: float = 5e-3, most_alike: float = 0.99, threads: int = 1) -> None:
        faults = [
            (capacity >= 1, "a pool holds at least one formula", capacity, "Pool.capacity"),
            (0.0 <= l1 < np.inf, "a penalty is not negative", l1, "Pool.l1"),
            (0.0 < most_alike <= 1.0, "a similarity lies in (0, 1]", most_alike, "Pool.most_alike"),
        ]
        for right, rule, found, where in faults:
            if not right:
                raise DataError(rule, found=found, where=where)
        self.capacity, self.l1, self.most_alike, self.threads = capacity, l1, most_alike, threads
        self._alphas: list[Alpha] = []
        self._weights: Floats = np.zeros(0)
        self._held: _Held | None = None
        self._mean_gram: Floats = np.zeros((0, 0))
        self._ic = 0.0
        self._refused: set[Expr] = set()

    def __len__(self) -> int:
        return len(self._alphas)

    @property
    def alphas(self) -> tuple[Alpha, ...]:
        """The members, oldest first."""
        return tuple(self._alphas)

    @property
    def weights(self) -> Floats:
        """One weight for each member.   Shape: (K,)."""
        return self._weights.copy()

    @property
    def ic(self) -> float:
        """The mean daily coefficient of the weighted sum; 0 for an empty pool."""
        return self._ic

    @property
    def daily_ic(self) -> Floats:
        """The daily coefficients of the weighted sum.   Shape: (S,)."""
        return self._composite(self._weights)

    @property
    def correlations(self) -> Floats:
        """Mean inner products of the members with each other.   Shape: (K, K)."""
        return self._mean_gram.copy()

    def similarity(self, alpha: Alpha) -> Floats:
        """Mean inner product of a judged formula with each member, signed.   Shape: (K,)."""
        if not self._alphas:
            return np.zeros(0)
        return np.asarray(self._products(alpha).mean(axis=1, dtype=np.float64))

    def offer(self, alpha: Alpha) -> Insertion:
        """Take a formula in if the pool is better for it.   Raises: DataError for a formula without its values."""
        before = self._ic
        if not alpha.valid:
            return Insertion(before, before, False, alpha.fault)
        if alpha.z is None or alpha.b is None:
            raise DataError("a pool needs a formula's standardised values", found=str(alpha.expr), where="Pool.offer")
        if any(alpha.expr is member.expr for member in self._alphas):
            return Insertion(before, before, False, "member")
        if alpha.expr in self._refused:
            return Insertion(before, before, False, "refused before")
        held = self._room(alpha.z.shape)
        products = self._products(alpha)
        alike = products.mean(axis=1, dtype=np.float64)
        if len(alike) and np.abs(alike).max() > self.most_alike:
            return Insertion(before, before, False, "too alike")
        return self._tried(held, alpha, products)

    def memory(self) -> dict[str, list[Any]]:
        """What, beside its formulas, a pool must know again to go on as it would have."""
        return {"weights": self._weights.tolist(), "refused": sorted(str(expr) for expr in self._refused)}

    def recall(self, alphas: Sequence[Alpha], memory: Mapping[str, list[Any]]) -> None:
        """Become the pool that held these formulas; they bring their values.   Raises: DataError for too many."""
        if len(alphas) > self.capacity or len(alphas) != len(memory["weights"]):
            raise DataError("a pool's formulas fit it", found=f"{len(alphas)} of {self.capacity}", where="Pool.recall")
        self._alphas, self._mean_gram = [], np.zeros((0, 0))
        for alpha in alphas:
            if alpha.z is None:
                raise DataError("a pool needs a formula's values", found=str(alpha.expr), where="Pool.recall")
            held, products = self._room(alpha.z.shape), self._products(alpha)
            self._append(held, alpha, products, self._bordered(alpha, products))
        self._weights = np.array(memory["weights"], dtype=np.float64)
        self._refused = {parse(text) for text in memory["refused"]}
        self._ic = _mean(self._composite(self._weights))

    def _tried(self, held: _Held, alpha: Alpha, products: NDArray[np.float32]) -> Insertion:
        before, K = self._ic, len(self._alphas)
        gram = self._bordered(alpha, products)
        b = np.append(held.b[:, :K].mean(axis=0), np.asarray(alpha.b).mean())
        first = float(np.abs(self._weights).mean()) if K else max(abs(alpha.ic), 0.01)
        weights = lasso(gram, b, l1=self.l1, start=np.append(self._weights, np.copysign(first, alpha.ic)))
        leaves = int(np.argmin(np.abs(weights))) if self.capacity <= K else -1
        if leaves == K or weights[K] == 0.0:
            self._refused.add(alpha.expr)
            return Insertion(before, before, False, "no weight")
        self._append(held, alpha, products, gram)
        self._weights = weights
        dropped = self._drop(held, leaves) if leaves >= 0 else ""
        self._refused.clear()
        self._ic = _mean(self._composite(self._weights))
        return Insertion(before, self._ic, True, "", dropped)

    def _bordered(self, alpha: Alpha, products: NDArray[np.float32]) -> Floats:
        """The mean inner products of the members with one more.   Shape: (K + 1, K + 1)."""
        K, z = len(self._alphas), np.asarray(alpha.z)
        gram = np.empty((K + 1, K + 1))
        gram[:K, :K], gram[K, K] = self._mean_gram, np.einsum("tn,tn->t", z, z).mean(dtype=np.float64)
        gram[K, :K] = gram[:K, K] = products.mean(axis=1, dtype=np.float64) if K else 0.0
        return gram

    def _append(self, held: _Held, alpha: Alpha, products: NDArray[np.float32], gram: Floats) -> None:
        K, z = len(self._alphas), np.asarray(alpha.z)
        held.z[K], held.b[:, K] = z, alpha.b
        held.grams[:, K, :K] = held.grams[:, :K, K] = products.T
        held.grams[:, K, K] = np.einsum("tn,tn->t", z, z)
        # Values live in the pool's own arrays from here on.
        self._alphas.append(replace(alpha, z=None, b=None))
        self._mean_gram = gram

    def _drop(self, held: _Held, place: int) -> str:
        K = len(self._alphas)
        gone = self._alphas.pop(place)
        keep = np.delete(np.arange(K), place)
        held.z[place : K - 1] = held.z[place + 1 : K]
        held.b[:, : K - 1] = held.b[:, keep]
        held.grams[:, : K - 1, : K - 1] = held.grams[:, keep][:, :, keep]
        self._mean_gram = self._mean_gram[np.ix_(keep, keep)]
        mean_b = held.b[:, : K - 1].mean(axis=0)
        self._weights = lasso(self._mean_gram, mean_b, l1=self.l1, start=self._weights[keep])
        return str(gone.expr)

    def _room(self, shape: tuple[int, ...]) -> _Held:
        S, N = shape
        if self._held is None:
            room = self.capacity + 1
            z, grams = np.zeros((room, S, N), np.float32), np.zeros((S, room, room), np.float32)
            self._held = _Held(z, grams, np.zeros((S, room)))
        elif self._held.z.shape[1:] != shape:
            raise DataError("a pool's formulas are judged on one panel", found=str(shape), where="Pool.offer")
        return self._held

    def _products(self, alpha: Alpha) -> NDArray[np.float32]:
        """Daily inner products with each member.   Shape: (K, S)."""
        from alphaloom.mining.judge_kernels import gram

        K, z = len(self._alphas), alpha.z
        if z is None or self._held is None or not K:
            return np.zeros((0, 1 if z is None else len(z)), np.float32)
        S, members = len(z), self._held.z
        out = np.empty((K, S), np.float32)
        if self.threads == 1 or K < _FEW:
            gram(members, K, z, 0, S, out)
            return out
        bounds: list[int] = [S * k // self.threads for k in range(self.threads + 1)]
        with ThreadPoolExecutor(self.threads) as workers:
            list(workers.map(lambda k: gram(members, K, z, bounds[k], bounds[k + 1], out), range(self.threads)))
        return out

    def _composite(self, weights: Floats) -> Floats:
        from alphaloom.mining.judge_kernels import composite

        used = np.flatnonzero(weights)
        if self._held is None or not len(used):
            return np.zeros(0)
        out = np.empty(len(self._held.b))
        grams = np.ascontiguousarray(self._held.grams[:, used][:, :, used])
        composite(grams, np.ascontiguousarray(self._held.b[:, used]), weights[used], out)
        return out


def lasso(gram: Floats, b: Floats, *, l1: float, start: Sequence[float] | Floats | None = None) -> Floats:
    """The weights that minimise w'Mw - 2 w.b + l1 |w|_1, by cyclic coordinate descent.

    Shape: gram (K, K), b (K,) -> (K,). Without a penalty the equations are solved with a ridge of 1e-6.
    """
    K = len(b)
    if l1 == 0.0:
        return np.asarray(np.linalg.solve(gram + 1e-6 * np.eye(K), b))
    from alphaloom.mining.judge_kernels import descend

    w = np.zeros(K) if start is None else np.array(start, dtype=np.float64)
    descend(np.ascontiguousarray(gram, np.float64), np.ascontiguousarray(b, np.float64), float(l1), w)
    return w


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0
