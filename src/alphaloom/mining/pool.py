"""The pool: a few formulas whose weighted sum foretells the target, kept by algebra instead of evaluation.

Each member is standardised once. With daily inner products b_t (with the target) and G_t (with each other) the daily
coefficient of any weighted sum is exactly w.b_t / sqrt(w' G_t w): no formula is evaluated again.

Source: AlphaGen, arXiv:2306.12964 (the pool); RiskMiner, arXiv:2402.07080, algorithm 1. Deviations: weights by
coordinate descent instead of thousands of gradient steps; similarity without sign, so that a mirror image is no news.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors import Expr, parse

__all__ = ["Alpha", "Insertion", "Pool", "lasso"]

Floats = NDArray[np.float64]
Fill = Callable[["Alpha"], "Alpha"]
# Fewer members than this are compared faster than threads are started.
_FEW = 8
# Formulas of which is remembered how they compare; beyond it all are forgotten.
_MOST_SEEN = 50_000
_NOTHING: tuple[None, tuple[int, ...], NDArray[np.float32]] = (None, (), np.zeros((0, 0), np.float32))


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


class _Met(NamedTuple):
    """A formula beside some members: their numbers, mean inner products (K,), the mean of its own square and of b."""

    members: tuple[int, ...]
    alike: Floats
    square: float
    gain: float


class Pool:
    """At most `capacity` formulas and their weights.

    Weights minimise w'Mw - 2 w.b + l1 |w|_1, with M and b the means of G_t and b_t: the squared error of the
    standardised sum. An offer whose similarity to a member exceeds `most_alike` is refused; a full pool drops its
    smallest weight, and if that is the newcomer it stays exactly as it was. `threads` share the inner products. All
    formulas are judged on one panel and target, so a formula has the same values whenever it is offered.
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
        # A number for each member that ever was, and what is remembered of formulas beside them: of speed alone.
        self._numbers: tuple[int, ...] = ()
        self._count = 0
        self._seen: dict[Expr, _Met] = {}
        self._last: tuple[Expr | None, tuple[int, ...], NDArray[np.float32]] = _NOTHING

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

    def similarity(self, alpha: Alpha, fill: Fill | None = None) -> Floats:
        """Mean inner product of a judged formula with each member, signed.   Shape: (K,).

        `fill` gives a formula its values where they are needed: what was compared before is remembered.
        Raises: DataError for a formula without its values.
        """
        if not self._alphas:
            return np.zeros(0)
        return self._met(alpha, fill).alike.copy()

    def offer(self, alpha: Alpha, fill: Fill | None = None) -> Insertion:
        """Take a formula in if the pool is better for it; `fill` as in `similarity`.

        Raises: DataError for a formula without its values.
        """
        before = self._ic
        if not alpha.valid:
            return Insertion(before, before, False, alpha.fault)
        if any(alpha.expr is member.expr for member in self._alphas):
            return Insertion(before, before, False, "member")
        if alpha.expr in self._refused:
            return Insertion(before, before, False, "refused before")
        met = self._met(alpha, fill)
        if len(met.alike) and np.abs(met.alike).max() > self.most_alike:
            return Insertion(before, before, False, "too alike")
        return self._tried(alpha, met, fill)

    def memory(self) -> dict[str, list[Any]]:
        """What, beside its formulas, a pool must know again to go on as it would have."""
        return {"weights": self._weights.tolist(), "refused": sorted(str(expr) for expr in self._refused)}

    def recall(self, alphas: Iterable[Alpha], memory: Mapping[str, list[Any]]) -> None:
        """Become the pool that held these formulas; they bring their values, and are taken one by one.

        Raises: DataError for too many or too few.
        """
        count = len(memory["weights"])
        self._alphas, self._numbers, self._mean_gram = [], (), np.zeros((0, 0))
        self._seen.clear()
        for alpha in alphas:
            if alpha.z is None:
                raise DataError("a pool needs a formula's values", found=str(alpha.expr), where="Pool.recall")
            if len(self) == min(count, self.capacity):
                raise DataError("a pool's formulas fit it and their weights", found="more", where="Pool.recall")
            self._append(alpha, self._bordered(self._met(alpha, None)))
        if len(self) < count:
            raise DataError("a pool has a formula for each weight", found=len(self), where="Pool.recall")
        self._weights = np.array(memory["weights"], dtype=np.float64)
        self._refused = {parse(text) for text in memory["refused"]}
        self._ic = _mean(self._composite(self._weights))

    def _met(self, alpha: Alpha, fill: Fill | None) -> _Met:
        """The formula beside the members; inner products with members that it has met are not made again."""
        met = self._seen.get(alpha.expr)
        if met is not None and met.members == self._numbers:
            return met
        full = _filled(alpha, fill)
        z, b = np.asarray(full.z), np.asarray(full.b)
        self._room(z.shape)
        known = dict(zip(met.members, met.alike.tolist(), strict=True)) if met else {}
        fresh = [k for k, number in enumerate(self._numbers) if number not in known]
        products = self._products(full, fresh)
        known |= {self._numbers[k]: float(row.mean(dtype=np.float64)) for k, row in zip(fresh, products, strict=True)}
        alike = np.array([known[number] for number in self._numbers])
        found = _Met(self._numbers, alike, met.square if met else _square(z), met.gain if met else float(b.mean()))
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[alpha.expr] = found
        if len(fresh) == len(self._numbers):
            self._last = (alpha.expr, self._numbers, products)
        return found

    def _tried(self, alpha: Alpha, met: _Met, fill: Fill | None) -> Insertion:
        before, K = self._ic, len(self._alphas)
        gram = self._bordered(met)
        gains = np.zeros(0) if self._held is None else self._held.b[:, :K].mean(axis=0)
        b = np.append(gains, met.gain)
        first = float(np.abs(self._weights).mean()) if K else max(abs(alpha.ic), 0.01)
        weights = lasso(gram, b, l1=self.l1, start=np.append(self._weights, np.copysign(first, alpha.ic)))
        leaves = int(np.argmin(np.abs(weights))) if self.capacity <= K else -1
        if leaves == K or weights[K] == 0.0:
            self._refused.add(alpha.expr)
            return Insertion(before, before, False, "no weight")
        held = self._append(_filled(alpha, fill), gram)
        self._weights = weights
        dropped = self._drop(held, leaves) if leaves >= 0 else ""
        self._refused.clear()
        self._ic = _mean(self._composite(self._weights))
        return Insertion(before, self._ic, True, "", dropped)

    def _bordered(self, met: _Met) -> Floats:
        """The mean inner products of the members with one more.   Shape: (K + 1, K + 1)."""
        K = len(self._alphas)
        gram = np.empty((K + 1, K + 1))
        gram[:K, :K], gram[K, K] = self._mean_gram, met.square
        gram[K, :K] = gram[:K, K] = met.alike
        return gram

    def _append(self, alpha: Alpha, gram: Floats) -> _Held:
        K, z = len(self._alphas), np.asarray(alpha.z)
        expr, members, products = self._last
        if expr is not alpha.expr or members != self._numbers:
            products = self._products(alpha, range(K))
        held = self._room(z.shape)
        held.z[K], held.b[:, K] = z, alpha.b
        held.grams[:, K, :K] = held.grams[:, :K, K] = products.T
        held.grams[:, K, K] = np.einsum("tn,tn->t", z, z)
        # Values live in the pool's own arrays from here on.
        self._alphas.append(replace(alpha, z=None, b=None))
        self._numbers = (*self._numbers, self._count)
        self._count += 1
        self._mean_gram, self._last = gram, _NOTHING
        return held

    def _drop(self, held: _Held, place: int) -> str:
        K = len(self._alphas)
        gone = self._alphas.pop(place)
        self._numbers = (*self._numbers[:place], *self._numbers[place + 1 :])
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

    def _products(self, alpha: Alpha, places: Sequence[int]) -> NDArray[np.float32]:
        """Daily inner products with the members at some places.   Shape: (P, S)."""
        from alphaloom.mining.judge_kernels import gram

        z = np.asarray(alpha.z)
        S, out = len(z), np.empty((len(places), len(z)), np.float32)
        if self._held is None or not len(places):
            return out
        members = self._held.z

        def some(first: int, last: int) -> None:
            for row, k in enumerate(places):
                gram(members[k : k + 1], 1, z, first, last, out[row : row + 1])

        if self.threads == 1 or len(places) < _FEW:
            some(0, S)
            return out
        bounds: list[int] = [S * k // self.threads for k in range(self.threads + 1)]
        with ThreadPoolExecutor(self.threads) as workers:
            list(workers.map(some, bounds[:-1], bounds[1:]))
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


def _square(z: NDArray[np.float32]) -> float:
    return float(np.einsum("tn,tn->t", z, z).mean(dtype=np.float64))


def _filled(alpha: Alpha, fill: Fill | None) -> Alpha:
    full = alpha if alpha.z is not None or fill is None else fill(alpha)
    if full.z is None or full.b is None:
        raise DataError("a pool needs a formula's standardised values", found=str(alpha.expr), where="Pool")
    return full


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0
