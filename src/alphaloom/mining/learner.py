"""A search for formulas as a learner: what the studies, the arena and the daily job take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError, SolveError
from alphaloom.factors import Expr, Factor, FactorSet
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.mining.combiners import Combination, CombinerKind, Evidence, Terms, combine
from alphaloom.mining.forecaster import MinedForecaster
from alphaloom.mining.mined_files import MinedPool
from alphaloom.mining.pool import Alpha, Pool, lasso
from alphaloom.mining.random_search import RandomSearch
from alphaloom.mining.scaling import member_values, standard_target
from alphaloom.mining.session import Budget, Session, Settings
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns

__all__ = ["Mined", "Miner", "Searched"]


class Miner(Protocol):
    """A search: writes formulas and has the session judge them until its budget is spent."""

    def mine(self, session: Session) -> None: ...


@dataclass(frozen=True, eq=False)
class Searched:
    """What a search left behind: the session, the pool's formulas at some points of it, and what the miner ranked."""

    session: Session
    snapshots: tuple[tuple[Expr, ...], ...]


@dataclass(frozen=True)
class Mined:
    """Searches for formulas on the first part of the training rows and lets the last part choose how they are used.

    Training rows are parted into rows that are searched, a gap of `horizon` and the fill's lag, and the last fraction
    `valid`. The miner sees the first alone, as a panel that ends there. The pool is kept at `snapshots` points of the
    search, and what the miner itself ranked best is one more; on the last rows each is judged with its largest `sizes`
    formulas under each of `combiner` (the lasso with each of `l1`), and what had the highest mean coefficient is used.
    The weights stay those of the searched rows; trees stop growing on the last. Rows before the grammar's
    `max_lookback` warm windows up. `capacity` bounds the pool of the search, whose penalty is the first of `l1`;
    `evaluations` is its budget. `l1` and `seed` take the place of those in `terms`. A field of the grammar that the
    panel lacks is left out.
    Raises: DataError for settings out of range or a slice too short to search; SolveError where nothing was found.
    """

    miner: Miner = field(default_factory=RandomSearch)
    grammar: Grammar = field(default_factory=Grammar)
    capacity: int = 20
    l1: float | tuple[float, ...] = 5e-3
    horizon: int = 10
    valid: float = 0.2
    evaluations: int = 20_000
    combiner: CombinerKind | tuple[CombinerKind, ...] = "lasso"
    sizes: tuple[int, ...] = (10, 20)
    snapshots: int = 4
    settings: Settings = field(default_factory=Settings)
    terms: Terms = field(default_factory=Terms)
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))
        rules = [
            (hasattr(self.miner, "mine"), "a miner has mine(session)", self.miner, "miner"),
            (self.capacity >= 1, "a pool holds at least one formula", self.capacity, "capacity"),
            (self.horizon >= 1, "a horizon counts bars, at least one", self.horizon, "horizon"),
            (0.0 < self.valid < 1.0, "a part of the time is between 0 and 1", self.valid, "valid"),
            (self.evaluations >= 1, "a search evaluates at least one formula", self.evaluations, "evaluations"),
            (self.snapshots >= 1, "a search has at least one snapshot, its end", self.snapshots, "snapshots"),
            (bool(self.sizes) and min(self.sizes, default=0) >= 1, "sizes count formulas", self.sizes, "sizes"),
            (bool(self.penalties) and min(self.penalties) >= 0.0, "a penalty is not negative", self.l1, "l1"),
            (
                bool(self.combiners) and set(self.combiners) <= set(get_args(CombinerKind)),
                f"a combiner is one of {', '.join(get_args(CombinerKind))}",
                self.combiner,
                "combiner",
            ),
        ]
        for right, rule, found, where in rules:
            if not right:
                raise DataError(rule, found=found, where=f"Mined.{where}")

    @property
    def penalties(self) -> tuple[float, ...]:
        """The penalties that are tried with the lasso."""
        return tuple(self.l1) if isinstance(self.l1, (tuple, list)) else (float(self.l1),)

    @property
    def combiners(self) -> tuple[CombinerKind, ...]:
        """The combiners that are tried."""
        return (self.combiner,) if isinstance(self.combiner, str) else tuple(self.combiner)

    def cut(self, train: Panel) -> int:
        """The first row that judges; the searched panel ends before it.

        Time: a label of the searched panel that needs a later row is missing, so the last `horizon` rows and the lag's
        are searched by nobody: they are the gap.
        """
        return len(train) - max(1, round(len(train) * self.valid))

    def searched(self, train: Panel, market: Market) -> Searched:
        """The search alone, on the rows that are for it."""
        panel = train[: self.cut(train)]
        target = forward_returns(panel, market, horizon=self.horizon)
        kept: list[tuple[Expr, ...]] = []
        pool = Pool(self.capacity, l1=self.penalties[0], threads=self.settings.threads)

        def seen(line: str, done: int, total: int) -> None:
            if 1 + len(kept) < self.snapshots and done * self.snapshots >= total * (1 + len(kept)):
                kept.append(tuple(alpha.expr for alpha in pool.alphas))

        session = Session(
            panel,
            target,
            grammar=self.grammar.supported_by(train),
            pool=pool,
            budget=Budget(self.evaluations),
            seed=self.seed,
            start_row=self.grammar.max_lookback,
            settings=self.settings,
            progress=seen,
        )
        self.miner.mine(session)
        kept.append(tuple(alpha.expr for alpha in pool.alphas))
        most = max(self.capacity, self.terms.boosting.top)
        kept.append(tuple(alpha.expr for alpha in session.finds[:most]))
        return Searched(session, tuple(dict.fromkeys(snapshot for snapshot in kept if snapshot)))

    def fit(self, train: Panel, market: Market) -> MinedForecaster:
        """The pool that the last part of the training rows prefers."""
        done = self.searched(train, market)
        if not done.snapshots:
            raise SolveError(
                "a search must find a formula",
                found=f"{done.session.evaluations} evaluated, none kept",
                where="Mined.fit",
                fix="give more evaluations, a smaller l1, or a grammar that suits the data",
            )
        best: tuple[float, MinedPool] | None = None
        tried = 0
        for pool, coefficient in self._judged(done, train, market):
            tried += 1
            if best is None or coefficient > best[0]:
                best = coefficient, pool
        if best is None:
            raise SolveError("a pool needs a formula with a weight", found="none", where="Mined.fit", fix="lower l1")
        lacking = [name for name in self.grammar.features if name not in train.fields]
        notes = (
            *((f"the panel lacks fields of the grammar: {', '.join(lacking)}",) if lacking else ()),
            f"{done.session.evaluations} formulas were evaluated; validation chose {best[1].combiner} of "
            f"{len(best[1].formulas)} among {tried} pools, with a mean coefficient of {best[0]:.4f} there",
        )
        return MinedForecaster(replace(best[1], notes=notes), self.settings.threads)

    def _judged(self, done: Searched, train: Panel, market: Market) -> Iterator[tuple[MinedPool, float]]:
        """Every pool that is tried, with its mean coefficient on the judging rows."""
        cut = self.cut(train)
        target = done.session.target
        for snapshot in done.snapshots:
            evidence = Evidence.of([done.session.filled(_bare(expr)) for expr in snapshot], target)
            judge = _Judge(self, snapshot, train, market, cut)
            for kind, terms, size in self._choices(len(snapshot)):
                chosen = _leading(evidence, size, kind, terms.l1)
                try:
                    made = combine(
                        kind,
                        evidence.at(chosen),
                        terms=terms,
                        purge=self.horizon + _lag(market),
                        held=judge.evidence.at(chosen) if kind == "gbdt" else None,
                    )
                except SolveError:
                    continue  # too few rows for trees, or weights of nothing
                if made.used and any(made.weights):
                    used = [chosen[k] for k in made.used]
                    yield judge(used, self._pool(done, made, [snapshot[k] for k in used], market))

    def _choices(self, most: int) -> Iterator[tuple[CombinerKind, Terms, int]]:
        for size in dict.fromkeys(min(size, most) for size in self.sizes):
            for kind in self.combiners:
                for l1 in self.penalties if kind == "lasso" else self.penalties[:1]:
                    yield kind, replace(self.terms, l1=l1, seed=self.seed), size

    def _target(self, panel: Panel, market: Market) -> NDArray[np.float64]:
        returns = forward_returns(panel, market, horizon=self.horizon).values
        return standard_target(returns, panel.member, least=self.settings.min_pairs)

    def _pool(self, done: Searched, made: Combination, formulas: list[Expr], market: Market) -> MinedPool:
        session = done.session
        return MinedPool(
            tuple(str(expr) for expr in formulas),
            made.weights,
            combiner=made.kind,
            clip=self.settings.clip,
            horizon=self.horizon,
            min_pairs=self.settings.min_pairs,
            fill=market.fill,
            grammar=session.grammar,
            miner=type(self.miner).__name__,
            seeds=(self.seed,),
            evaluations=session.evaluations,
            data=session.panel.source,
            trees=made.trees,
            dynamic=made.dynamic,
        )


class _Judge:
    """The judging rows, with the formulas of one snapshot evaluated once for all that is tried of them."""

    def __init__(self, learner: Mined, snapshot: tuple[Expr, ...], train: Panel, market: Market, cut: int) -> None:
        factors = FactorSet("snapshot", tuple(Factor(f"f{k}", expr) for k, expr in enumerate(snapshot)))
        rule, settings = learner.terms.dynamic, learner.settings
        extra = rule.window + learner.horizon + _lag(market) - 1 if "dynamic" in learner.combiners else 0
        self._first = max(0, cut - factors.lookback - extra)
        self._view, self._cut = train[self._first :], cut - self._first
        clip, least = settings.clip, settings.min_pairs
        self._z, self._known = member_values(factors, self._view, clip=clip, least=least, threads=settings.threads)
        self._target = learner._target(self._view, market)
        self._least = least
        if not np.isfinite(self._target[self._cut :]).any():
            raise SolveError(
                "validation needs dates whose outcome lies in the training slice",
                found=f"{len(train) - cut} bars, horizon {learner.horizon}",
                where="Mined.valid",
                fix="train on more bars, validate on more, or lower the horizon",
            )

    @cached_property
    def evidence(self) -> Evidence:
        """The judging rows as combiners read them."""
        z, target = self._z[:, self._cut :], self._target[self._cut :]
        return Evidence(z, np.einsum("ksn,sn->sk", z, np.nan_to_num(target)), target)

    def __call__(self, used: list[int], pool: MinedPool) -> tuple[MinedPool, float]:
        """The pool with its mean coefficient; 0 where it never speaks."""
        from alphaloom.metrics.ranking import ic

        said = MinedForecaster(pool).scores(self._view, self._z[used], self._known[used])
        daily = ic(said[self._cut :], self._target[self._cut :], min_pairs=self._least)
        known = daily[np.isfinite(daily)]
        return pool, float(known.mean()) if len(known) else 0.0


def _leading(evidence: Evidence, size: int, kind: CombinerKind, l1: float) -> list[int]:
    """The formulas that go on, in their order: those with the largest weights, or coefficients where trees follow."""
    gram, b = evidence.means()
    worth = b if kind == "gbdt" else lasso(gram, b, l1=l1)
    return sorted(int(k) for k in np.argsort(-np.abs(worth), kind="stable")[:size])


def _bare(expr: Expr) -> Alpha:
    return Alpha(expr, float("nan"), float("nan"), 0.0)


def _lag(market: Market) -> int:
    return 0 if market.fill == "same_close" else 1
