"""A search's one way to the data: what it may spend, what it has seen, what it found, and where it stopped.

A session holds training rows alone. Every miner writes formulas and asks the session to judge them; the session knows
duplicates, counts what was spent, keeps the pool and the curve, and writes checkpoints from which the same search goes
on to the same formulas.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors import Expr, lookback
from alphaloom.factors.grammar import Grammar
from alphaloom.factors.search import Evaluator
from alphaloom.mining.identity import Fingerprints, is_constant, root_form
from alphaloom.mining.pool import Alpha, Insertion, Pool
from alphaloom.mining.session_values import Budget, Settings, Standing, Subject
from alphaloom.panel import Panel
from alphaloom.signal import Target

if TYPE_CHECKING:
    from alphaloom.mining.checkpoints import Case, Piece

__all__ = ["Budget", "Session", "Settings", "Standing", "Subject"]

Progress = Callable[[str, int, int], None]
Clock = Callable[[], float]


class Session:
    """One search on one panel and target.

    `target` may be a Target or an array (T, N); cells that are not members' are left out. Rows before `start_row` warm
    the windows up. `seed` drives `rng`, which the miner draws from. With a `directory` checkpoints are written there.
    A Case holds them in memory instead. `clock` gives seconds and is read for the budget, for when a checkpoint is due
    and for the curve's times alone.
    Time: the panel ends where training ends.   Raises: DataError for a panel on which nothing can be judged.
    """

    def __init__(
        self,
        panel: Panel,
        target: Target | NDArray[Any],
        *,
        grammar: Grammar,
        pool: Pool | None = None,
        budget: Budget | None = None,
        seed: int = 0,
        start_row: int = 0,
        settings: Settings | None = None,
        directory: Path | Case | None = None,
        progress: Progress | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.grammar, self.budget, self.settings = grammar, budget or Budget(), settings or Settings()
        self.pool = Pool() if pool is None else pool
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.subject = Subject(panel, target, grammar, self.settings, start_row)
        self._evaluator = Evaluator(
            panel,
            target,
            start_row=start_row,
            cache_bytes=self.settings.cache_bytes,
            min_pairs=self.settings.min_pairs,
            threads=self.settings.threads,
        )
        self._target, self._start = self._evaluator.target, start_row
        self._possible = np.isfinite(self._target).sum(axis=1)
        self._scored = self._possible >= self.settings.min_pairs
        self._workers: ThreadPoolExecutor | None = None
        self._recent: OrderedDict[Expr, Alpha] = OrderedDict()
        self._most_recent = self.settings.cache_bytes // (8 * max(4 * self._target.size, 1))
        self._lock = threading.Lock()
        self._check_room(panel)
        values = hashlib.sha256(np.ascontiguousarray(self._target).tobytes()).hexdigest()
        self._source = f"{panel.source} {values} {start_row}"
        self._known: dict[Expr, Alpha] = {}
        self._prints = Fingerprints(self._target.shape, seed=0)
        self.counts: Counter[str] = Counter()
        self.curve: list[tuple[int, float, float, float, int]] = []
        # What a miner ranks itself beside the pool, best first; most leave it empty.
        self.finds: tuple[Alpha, ...] = ()
        self._best = 0.0
        self._progress, self._clock = progress or (lambda stage, done, total: None), clock
        self._began = clock() if clock else 0.0
        self._spent_before = self._kept_at = 0.0
        self.directory = directory
        # What of the known formulas the last checkpoint holds already.
        self.pieces: tuple[Piece, ...] = ()

    def _check_room(self, panel: Panel) -> None:
        days, widest = self._evaluator.days, int(self._possible.max(initial=0))
        if widest < self.settings.min_pairs:
            raise DataError(
                "a search compares assets of one date that have a target",
                found=f"at most {widest} of {len(panel.assets)}",
                where="Session(panel, target)",
                fix=f"give more assets or known targets; a date counts from {self.settings.min_pairs} on",
            )
        if days < 20 or self._start + 20 > len(panel):
            raise DataError(
                "a search needs dates to judge on",
                found=f"{days} dates with a target after row {self._start} of {len(panel)}",
                where="Session(panel, target)",
                fix="give more bars, or a grammar with shorter windows and a smaller max_lookback",
            )
        lacking = [name for name in self.grammar.features if name not in panel.fields]
        if lacking:
            raise DataError(
                "a grammar's fields are the panel's",
                found=f"no {', '.join(lacking)}",
                where="Session(grammar=)",
                fix="grammar.supported_by(panel) keeps those that it has",
            )

    @property
    def panel(self) -> Panel:
        """The rows that are searched."""
        return self._evaluator.panel

    @property
    def evaluations(self) -> int:
        """Distinct formulas whose values were computed for judging."""
        return self.counts["evaluated"]

    @property
    def seconds(self) -> float:
        """Seconds since the search began, over all its runs; 0 without a clock."""
        return self._spent_before + (self._clock() - self._began if self._clock else 0.0)

    @property
    def spent(self) -> bool:
        """True when the budget is gone."""
        over = self.budget.seconds is not None and self._clock is not None and self.seconds >= self.budget.seconds
        return over or self.evaluations >= self.budget.evaluations

    @property
    def target(self) -> NDArray[np.float64]:
        """The scored rows' target, standardised, NaN where a cell is not scored; read-only.   Shape: (S, N)."""
        return self._target

    @property
    def due(self) -> bool:
        """True when the clock asks for a checkpoint; a miner looks where one would lose nothing."""
        every = self.settings.keep_seconds
        return every is not None and self._clock is not None and self.seconds - self._kept_at >= every

    def standing(self, best: int = 10) -> Standing:
        """Where the search stands: its best formulas, its pace, what was refused and why."""
        usable = (alpha for alpha in self._known.values() if alpha.valid)
        top = nsmallest(best, usable, key=lambda alpha: -abs(alpha.ic))
        kind = "invalid."
        return Standing(
            evaluations=self.evaluations,
            budget=self.budget.evaluations,
            seconds=self.seconds,
            rate=self._rate(),
            pool_ic=self.pool.ic,
            pool_size=len(self.pool),
            best=tuple((str(alpha.expr), alpha.ic) for alpha in top),
            distinct=len(self._prints),
            asked=self.counts["asked"],
            cached=self.counts["cached"],
            duplicates=self.counts["duplicate"],
            invalid={n.removeprefix(kind): count for n, count in sorted(self.counts.items()) if n.startswith(kind)},
        )

    @property
    def known(self) -> Mapping[Expr, Alpha]:
        """What was judged, by root form, without the values."""
        return self._known

    def judge(self, exprs: Sequence[Expr]) -> list[Alpha]:
        """The formulas' worth, in their order; only forms that are new cost an evaluation.

        A form seen before, or whose values were seen before under another form ("duplicate"), is free. Beyond the
        budget the fault is "budget". Faults: constant, lookback, thin, sparse, duplicate, budget.
        """
        forms = [root_form(expr) for expr in exprs]
        fresh = [form for form in dict.fromkeys(forms) if form not in self._known]
        for form in fresh:
            fault = (
                "constant" if is_constant(form) else "lookback" if lookback(form) > self.grammar.max_lookback else ""
            )
            if fault:
                self.counts[f"invalid.{fault}"] += 1
                self._known[form] = Alpha(form, np.nan, np.nan, 0.0, fault)
        fresh = [form for form in fresh if form not in self._known]
        room = max(self.budget.evaluations - self.evaluations, 0)
        found = dict(zip(fresh[:room], self._evaluated(fresh[:room]), strict=True))
        for form in fresh[:room]:
            found[form] = self._entered(found[form])
        self.counts["asked"] += len(forms)
        self.counts["cached"] += len(forms) - len(fresh)
        beyond = dict.fromkeys(fresh[room:])
        return [
            found.get(form) or (Alpha(form, np.nan, np.nan, 0.0, "budget") if form in beyond else self._known[form])
            for form in forms
        ]

    def filled(self, alpha: Alpha) -> Alpha:
        """The same formula with its values, made again where only its worth is known; costs nothing of the budget."""
        if alpha.z is not None or not alpha.valid:
            return alpha
        with self._lock:
            found = self._recent.get(alpha.expr)
            if found is not None:
                self._recent.move_to_end(alpha.expr)
        return found or self._measured(alpha.expr)

    def offer(self, alpha: Alpha) -> Insertion:
        """Offer a formula to the pool."""
        done = self.pool.offer(alpha, self.filled)
        self.counts["accepted" if done.accepted else "refused"] += 1
        return done

    def similarity(self, alpha: Alpha) -> NDArray[np.float64]:
        """Mean inner product with each member of the pool, signed.   Shape: (K,)."""
        return self.pool.similarity(alpha, self.filled)

    @property
    def fingerprints(self) -> Fingerprints:
        """What distinct values were seen."""
        return self._prints

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must share with the session that goes on from it."""
        pool = self.pool
        return {
            "data": self._source,
            "grammar": repr(self.grammar),
            "pool": [pool.capacity, pool.l1, pool.most_alike],
            "seed": self.seed,
            "settings": repr(replace(self.settings, threads=1, cache_bytes=0, keep_seconds=None)),
        }

    def remember(
        self, known: Sequence[Alpha], marks: Sequence[NDArray[np.float32]], coefficients: Sequence[float]
    ) -> None:
        """Enter what an earlier part of the same search saw."""
        self._known = {alpha.expr: alpha for alpha in known}
        for mark, ic in zip(marks, coefficients, strict=True):
            self._prints.add(mark, ic)
            self._best = max(self._best, abs(ic))

    def adopt(self, known: Iterable[Alpha], marks: Iterable[NDArray[np.float32]]) -> None:
        """Learn what another search on the same subject judged; nothing of the budget is spent.

        `marks` belong to the usable formulas, in their order. Values that are known under another form are a duplicate.
        """
        rest = iter(marks)
        for alpha in known:
            mark = next(rest) if alpha.valid else None
            if alpha.expr in self._known:
                continue
            if mark is not None:
                if self._prints.find(mark, alpha.ic) is not None:
                    alpha = replace(alpha, fault="duplicate")
                else:
                    self._prints.add(mark, alpha.ic)
                    self._best = max(self._best, abs(alpha.ic))
            self._known[alpha.expr] = alpha

    def resume_clock(self, seconds: float) -> None:
        """Count on from the seconds that were spent before."""
        self._spent_before = self._kept_at = seconds
        self._began = self._clock() if self._clock else 0.0

    def note(self) -> None:
        """Add a point to the curve: evaluations, seconds, best coefficient, the pool's, distinct valid formulas."""
        if self.curve and self.curve[-1][0] == self.evaluations:
            self.curve.pop()  # a search that was done already and is asked again says the same once more
        self.curve.append((self.evaluations, self.seconds, self._best, self.pool.ic, len(self._prints)))
        self._progress(self._line(), min(self.evaluations, self.budget.evaluations), self.budget.evaluations)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write all that the search needs to go on; `state` is the miner's own: numbers, texts, lists, arrays."""
        if self.directory is not None:
            from alphaloom.mining.checkpoints import write_checkpoint

            write_checkpoint(self, self.directory, state)
            self._kept_at = self.seconds

    def restored(self) -> dict[str, Any] | None:
        """The miner's state at the last checkpoint, the session brought back to it; None where there is none."""
        if self.directory is None:
            return None
        from alphaloom.mining.checkpoints import read_checkpoint

        return read_checkpoint(self, self.directory)

    def _rate(self) -> float | None:
        """Evaluations per second since some points of the curve ago."""
        if self._clock is None:
            return None
        done, then = next(((e, s) for e, s, *_ in self.curve[-10:]), (0, 0.0))
        if self.evaluations == done:
            done, then = 0, 0.0
        return (self.evaluations - done) / max(self.seconds - then, 1e-9)

    def _line(self) -> str:
        return f"pool {self.pool.ic:.4f}, best {self._best:.4f}, {len(self._prints)} distinct"

    def _evaluated(self, forms: Sequence[Expr]) -> list[Alpha]:
        if self.settings.threads == 1 or len(forms) < 2:
            return [self._measured(form) for form in forms]
        if self._workers is None:
            self._workers = ThreadPoolExecutor(self.settings.threads)
        return list(self._workers.map(self._measured, forms))

    def _measured(self, form: Expr) -> Alpha:
        from alphaloom.mining.judge_kernels import standardise

        whole = self._evaluator.shared_values(form)
        S, N = self._target.shape
        z, b, facts = np.empty((S, N), np.float32), np.empty(S), np.empty((S, 2))
        standardise(whole[self._start :], self._target, self.settings.min_pairs, self.settings.clip, z, b, facts)
        scored, possible = self._scored, self._possible
        days = b[scored]
        good = (facts[scored, 0] >= self.settings.min_pairs) & (facts[scored, 1] == 0.0)
        coverage = float(facts[scored, 0].sum() / max(possible[scored].sum(), 1))
        spread = float(days.std(ddof=1)) if len(days) > 1 else 0.0
        ic = float(days.mean()) if len(days) else float("nan")
        fault = ""
        if good.sum() < self.settings.min_days * len(days):
            fault = (
                "constant" if facts[scored, 1].sum() > (facts[scored, 0] < self.settings.min_pairs).sum() else "sparse"
            )
        elif coverage < self.settings.min_coverage:
            fault = "thin"
        alpha = Alpha(form, ic, ic / spread if spread > 0 else float("nan"), coverage, fault, z, b)
        self._keep(alpha)
        return alpha

    def _keep(self, alpha: Alpha) -> None:
        """Hold the values of the last few formulas: a search comes back to them soon."""
        with self._lock:
            self._recent[alpha.expr] = alpha
            while len(self._recent) > self._most_recent:
                self._recent.popitem(last=False)

    def _entered(self, alpha: Alpha) -> Alpha:
        """The judged formula as the session keeps and gives it: a duplicate is marked, values are not kept."""
        assert alpha.z is not None
        self.counts["evaluated"] += 1
        if alpha.valid:
            mark = self._prints.of(alpha.z)
            if self._prints.find(mark, alpha.ic) is not None:
                alpha = Alpha(alpha.expr, alpha.ic, alpha.icir, alpha.coverage, "duplicate", alpha.z, alpha.b)
                self.counts["duplicate"] += 1
            else:
                self._prints.add(mark, alpha.ic)
                self._best = max(self._best, abs(alpha.ic))
        else:
            self.counts[f"invalid.{alpha.fault}"] += 1
        self._known[alpha.expr] = Alpha(alpha.expr, alpha.ic, alpha.icir, alpha.coverage, alpha.fault)
        if self.evaluations % self.settings.note_every == 0:
            self.note()
        return alpha
