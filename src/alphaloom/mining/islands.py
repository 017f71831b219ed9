"""Several searches side by side that meet now and then: rounds of islands over any executor.

Every island is one miner with its own seed and its part of the budget, on the same subject. After each round the best
island's pool is offered what the others hold, in an order that does not depend on who was done first, and the next
round starts from it everywhere. What an island learnt, its network or its population, it keeps.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alphaloom.compute import local
from alphaloom.errors import DataError
from alphaloom.factors import Expr, parse
from alphaloom.mining.checkpoints import Case
from alphaloom.mining.pool import Alpha, Pool
from alphaloom.mining.session import Budget, Session, Subject
from alphaloom.roles import Executor

__all__ = ["Islands", "Miner"]


class Miner(Protocol):
    """Searches until the session's budget is gone, and goes on from where the session last stood."""

    def mine(self, session: Session) -> None: ...


@dataclass(frozen=True)
class Islands:
    """`islands` searches by `miner` in `rounds` rounds, their pools merged after each.

    The budget is shared out evenly. Results depend on `islands`, `rounds` and the session's seed, not on the executor
    nor on how many workers it has. The session's checkpoint is written after each round: a search that was stopped
    goes on from the round that was not finished. Each island keeps sub-formulas of its own, up to the settings' bytes.
    """

    miner: Miner
    islands: int = 2
    rounds: int = 4

    def __post_init__(self) -> None:
        for name in ("islands", "rounds"):
            if getattr(self, name) < 1:
                raise DataError("a count is at least 1", found=getattr(self, name), where=f"Islands.{name}")

    def mine(self, session: Session, executor: Executor | None = None) -> None:
        """Search until the rounds are done or the session's time is over; without an executor one after the other."""
        shares = self._shares(session)
        state = session.restored()
        first, cases = self._recalled(state, session)
        sail = _Leg(session.subject, self.miner, _Shape.of(session.pool))
        for number in range(first, self.rounds):
            if number and session.spent:
                break
            ground = _Ground.of(session.pool)
            legs = [
                _Start(_seed(session.seed, k), shares[k] * (number + 1) // self.rounds, cases[k], ground)
                for k in range(self.islands)
            ]
            ends = list((executor or local()).map(sail, [leg for leg in legs if leg.evaluations > 0]))
            landed = dict(zip((k for k, leg in enumerate(legs) if leg.evaluations > 0), ends, strict=True))
            for k, end in landed.items():
                cases[k] = end.case
            _merge(session, list(landed.values()))
            session.note()
            session.checkpoint(self._state(number + 1, cases))

    def _shares(self, session: Session) -> list[int]:
        whole, rest = divmod(session.budget.evaluations, self.islands)
        if whole < 1:
            raise DataError(
                "every island evaluates at least one formula",
                found=f"{session.budget.evaluations} evaluations for {self.islands} islands",
                where="Islands.mine",
                fix="give fewer islands or a larger budget",
            )
        return [whole + (k < rest) for k in range(self.islands)]

    def _state(self, done: int, cases: list[_Files]) -> dict[str, Any]:
        arrays = {f"{k}/{name}": content for k, files in enumerate(cases) for name, content in files.items()}
        return {"plan": repr(self), "rounds": done, **arrays}

    def _recalled(self, state: dict[str, Any] | None, session: Session) -> tuple[int, list[_Files]]:
        cases: list[_Files] = [{} for _ in range(self.islands)]
        if state is None:
            return 0, cases
        if state.get("plan") != repr(self):
            raise DataError(
                "a checkpoint belongs to one miner",
                found=str(state.get("plan", "another")),
                where=str(session.directory),
                fix="give the same islands, rounds and miner, or another directory",
            )
        for key, content in state.items():
            island, _, name = key.partition("/")
            if name:
                cases[int(island)][name] = content
        return int(state["rounds"]), cases


_Files = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class _Shape:
    """What makes an empty pool."""

    capacity: int
    l1: float
    most_alike: float
    threads: int

    @staticmethod
    def of(pool: Pool) -> _Shape:
        return _Shape(pool.capacity, pool.l1, pool.most_alike, pool.threads)

    def pool(self) -> Pool:
        return Pool(self.capacity, l1=self.l1, most_alike=self.most_alike, threads=self.threads)


@dataclass(frozen=True)
class _Ground:
    """The pool that a round starts from."""

    formulas: tuple[str, ...]
    memory: dict[str, list[Any]]

    @staticmethod
    def of(pool: Pool) -> _Ground:
        return _Ground(tuple(str(alpha.expr) for alpha in pool.alphas), pool.memory())

    def enter(self, session: Session) -> None:
        """Make it the session's pool."""
        session.pool.recall((session.filled(_bare(parse(text))) for text in self.formulas), self.memory)


@dataclass(frozen=True, eq=False)
class _Start:
    """One island at the beginning of a round; `evaluations` is what it may have spent at its end."""

    seed: int
    evaluations: int
    case: _Files
    ground: _Ground


@dataclass(frozen=True, eq=False)
class _End:
    """One island at the end of a round: what it saw in it, its pool and the pool's coefficient, its own ranking."""

    case: _Files
    known: list[tuple[str, float, float, float, str]]
    marks: list[NDArray[np.float32]]
    pool: _Ground
    ic: float
    finds: tuple[str, ...]
    counts: dict[str, int]


class _Island(Session):
    """A session that starts from the common pool wherever it goes on from."""

    ground: _Ground
    before = (0, 0)

    def restored(self) -> dict[str, Any] | None:
        """The miner's state at the end of the round before, with the pool that was made of all islands' since."""
        state = super().restored()
        self.ground.enter(self)
        self.before = len(self.known), len(self.fingerprints)
        return state


@dataclass(frozen=True, eq=False)
class _Leg:
    """One round of one island: equal starts give equal ends, so a lost worker's is simply sailed again."""

    subject: Subject
    miner: Miner
    shape: _Shape

    def __call__(self, start: _Start) -> _End:
        subject, case = self.subject, Case({name: content.tobytes() for name, content in start.case.items()})
        island = _Island(
            subject.panel,
            subject.target,
            grammar=subject.grammar,
            pool=self.shape.pool(),
            budget=Budget(start.evaluations),
            seed=start.seed,
            start_row=subject.start_row,
            settings=subject.settings,
            directory=case,
        )
        island.ground = start.ground
        self.miner.mine(island)
        seen, prints = island.before
        return _End(
            {name: np.frombuffer(content, np.uint8) for name, content in case.contents.items()},
            [(str(a.expr), a.ic, a.icir, a.coverage, a.fault) for a in islice(island.known.values(), seen, None)],
            island.fingerprints.rows(prints),
            _Ground.of(island.pool),
            island.pool.ic,
            tuple(str(alpha.expr) for alpha in island.finds),
            dict(island.counts),
        )


def _seed(seed: int, island: int) -> int:
    return int(np.random.SeedSequence([seed, island]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _bare(expr: Expr) -> Alpha:
    return Alpha(expr, float("nan"), float("nan"), 0.0)


def _merge(session: Session, ends: list[_End]) -> None:
    """Know what the islands saw, spend what they spent, and offer the best pool what the others hold, best first."""
    session.counts = Counter()
    for end in ends:
        session.counts.update(end.counts)
        known = (Alpha(parse(text), ic, icir, part, fault) for text, ic, icir, part, fault in end.known)
        session.adopt(known, end.marks)
    max(ends, key=lambda end: end.ic).pool.enter(session)
    for alpha in _ranked(session, [text for end in ends for text in end.pool.formulas]):
        session.pool.offer(session.filled(alpha))
    session.finds = tuple(_ranked(session, [text for end in ends for text in end.finds]))


def _ranked(session: Session, texts: list[str]) -> list[Alpha]:
    """The usable ones of some formulas, each once, the largest coefficient by size first."""
    found = (session.known.get(parse(text)) for text in dict.fromkeys(texts))
    return sorted((a for a in found if a and a.valid), key=lambda alpha: (-abs(alpha.ic), str(alpha.expr)))
