"""The study: learn, walk forward, trade with costs, judge."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from alphaloom import __version__
from alphaloom.compute import local
from alphaloom.errors import ConfigError, Fault
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.roles import Allocator, Executor, Forecaster, Learner, Policy
from alphaloom.signal import Signal
from alphaloom.study.description import code_hashes, describe, fingerprint, toml_text
from alphaloom.study.directory import RunDirectory
from alphaloom.study.folds import Fold, WalkForward
from alphaloom.study.result import StudyResult, load_run, save_result
from alphaloom.study.stitching import FoldOutcome, FoldWork, Walk, notes_of, shared_notes, stitched, switching

__all__ = ["Progress", "Study"]

Progress = Callable[[str, int, int], None]
"""Called with the stage, the steps done and the steps in all."""

_LIBRARIES = ("numpy", "scipy", "scikit-learn", "lightgbm", "numba", "pyarrow")


@dataclass(frozen=True)
class Study:
    """One question put to the data: would this have made money, out of sample and after costs?

    `learner` is learned anew in every fold; a forecaster or a policy, which has no `fit`, is used as it is. A signal
    needs an `allocator`, a policy takes none. `trials` counts the variants that were tried before this one was chosen,
    which the deflated Sharpe ratio pays for. `horizon` bars are used to judge the signal, by default its own; `seed`
    drives the bootstrap and the control, while a learner has its own seed. `config` is the resolved configuration that
    is stored with the run, by default the study's own description. `controls` adds the same study on shuffled scores.
    Raises: ConfigError with every fault at once.
    """

    name: str
    learner: Learner | Forecaster | Policy
    market: Market
    plan: WalkForward
    allocator: Allocator | None = None
    benchmarks: Mapping[str, Policy] = field(default_factory=dict)
    trials: int = 1
    seed: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    horizon: int | None = None
    controls: bool = False
    cash: float = 1e6

    def __post_init__(self) -> None:
        faults = [Fault(f"study.{key}", rule, found) for key, rule, found, good in self._rules() if not good]
        if faults:
            raise ConfigError(f"study {self.name}", faults)

    def _rules(self) -> Iterator[tuple[str, str, object, bool]]:
        thing, kind = self.learner, type(self.learner).__name__
        plays = isinstance(thing, Learner | Forecaster | Policy) and not isinstance(thing, type)
        yield "learner", "is an object with fit, or with a lookback and predict or decide", kind, plays
        lone_forecaster = _speaks(thing) and self.allocator is None
        yield "allocator", "is needed to turn the forecaster's signal into weights", None, not lone_forecaster
        lone_policy = _trades(thing) and self.allocator is not None
        yield "allocator", "is not used with a policy, which makes its own weights; leave it out", kind, not lone_policy
        yield "name", "is not empty", self.name, bool(self.name)
        yield "trials", "counts the variants that were tried, this one included", self.trials, self.trials >= 1
        yield "seed", "is not negative", self.seed, self.seed >= 0
        yield "horizon", "counts bars, at least one", self.horizon, self.horizon is None or self.horizon >= 1
        yield "cash", "is positive", self.cash, self.cash > 0
        for name, policy in self.benchmarks.items():
            yield (
                f"benchmarks.{name}",
                "is a policy: lookback, decide",
                type(policy).__name__,
                isinstance(policy, Policy),
            )
            yield f"benchmarks.{name}", "has another name than the panel's index", name, name != "index"

    @property
    def resolved(self) -> dict[str, Any]:
        """The configuration that is stored with the run, exactly as `study.toml` gives it back."""
        return tomllib.loads(toml_text(describe(self.config if self.config else self)))

    def run(
        self,
        panel: Panel,
        *,
        executor: Executor | None = None,
        directory: str | Path | None = None,
        progress: Progress | None = None,
    ) -> StudyResult:
        """Walk forward over the panel and judge what came of it.

        With a `directory` every fold is stored when it is done, a run that was stopped goes on after its last complete
        fold, and a finished run is loaded. A learner that makes policies is learned again on resuming, since a policy
        is code and is not stored. A stopped and resumed run gives the same bytes as one without a stop.
        Time: one continuous back-test from the first test bar to the last; every decision comes from a model that was
        learned before its test block.
        Raises: DataError for a short panel, a directory of another run or a full disk; ConfigError when fit gives
        something that does not suit the allocator.
        """
        from alphaloom.study.judging import judge

        folds = self.plan.folds(len(panel))
        folder = None
        if directory is not None:
            folder = RunDirectory.claim(Path(directory), self.provenance(panel), config=toml_text(self.resolved))
        if folder is not None and folder.finished:
            return load_run(folder.path)
        tell = progress or _silent
        parts = self._walk(panel, folds, executor=executor or local(), folder=folder, tell=tell)
        result, tables = judge(self, panel, walk=self._join(panel, folds, parts=parts), tell=tell)
        if folder is None:
            return result
        tell("files", 0, 1)
        saved = save_result(result, folder, tables=tables)
        tell("files", 1, 1)
        return saved

    def policies(
        self, panel: Panel, *, directory: str | Path | None = None, progress: Progress | None = None
    ) -> tuple[Policy, ...]:
        """The policy of every fold, read from a run's directory where it is stored, otherwise learned.

        Raises: ConfigError for a learner that makes forecasters.
        """
        folds = self.plan.folds(len(panel))
        if _trades(self.learner):
            assert isinstance(self.learner, Policy)
            return (self.learner,) * len(folds)
        folder = None
        if directory is not None:
            folder = RunDirectory.claim(Path(directory), self.provenance(panel), config=toml_text(self.resolved))
        parts = self._walk(panel, folds, executor=local(), folder=folder, tell=progress or _silent)
        made = [part.made for part in parts if isinstance(part.made, Policy)]
        if len(made) < len(folds):
            raise ConfigError(f"study {self.name}", [Fault("study.learner", "makes policies", "a forecaster")])
        return tuple(made)

    def _walk(
        self, panel: Panel, folds: Sequence[Fold], *, executor: Executor, folder: RunDirectory | None, tell: Progress
    ) -> list[FoldOutcome]:
        """What each fold gave, from the disk where it is known and otherwise made now."""
        if _trades(self.learner):
            return []
        done = {} if folder is None else _kept(panel, folds, folder=folder)
        missing = [number for number in range(len(folds)) if number not in done]
        tell("folds", len(done), len(folds))
        work = FoldWork(self.learner, panel, self.market)
        for number, outcome in zip(missing, executor.map(work, [folds[k] for k in missing]), strict=True):
            self._check_joint(outcome.made)
            if isinstance(outcome.made, Signal) and folder is not None:
                folder.keep_fold(number, folds[number], signal=outcome.made, notes=outcome.notes)
            elif isinstance(outcome.made, Policy) and folder is not None:
                folder.keep_policy(number, folds[number], policy=outcome.made, notes=outcome.notes)
            done[number] = outcome
            tell("folds", len(done), len(folds))
        return [done[number] for number in range(len(folds))]

    def _join(self, panel: Panel, folds: tuple[Fold, ...], *, parts: Sequence[FoldOutcome]) -> Walk:
        """One signal with its policy, or one policy, over the whole test span."""
        if isinstance(self.learner, Policy) and _trades(self.learner):
            return Walk(folds, self.learner, None, notes_of(self.learner))
        notes, own = shared_notes(parts)
        if self.allocator is not None:
            signal = stitched([part.made for part in parts if isinstance(part.made, Signal)])
            return Walk(folds, self.allocator.policy(signal), signal, notes, own)
        policies = [part.made for part in parts if not isinstance(part.made, Signal)]
        return Walk(folds, switching(panel, folds, policies=policies), None, notes, own)

    def _check_joint(self, made: Signal | Policy) -> None:
        if isinstance(made, Signal) == (self.allocator is None):
            rule = "turns a signal into weights: needed with a forecaster, left out with a policy"
            found = "a forecaster without an allocator" if self.allocator is None else "a policy with an allocator"
            raise ConfigError(f"study {self.name}", [Fault("study.allocator", rule, found)])

    def provenance(self, panel: Panel) -> dict[str, Any]:
        """All that decides the bytes of a run: code, data, configuration and seed; no clock, no machine.

        `code` hashes the source files of learners, policies and allocators that are not part of this package.
        """
        return {
            "study_hash": fingerprint(self),
            "data_hash": panel.source,
            "seed": self.seed,
            "trials": self.trials,
            "bars": len(panel),
            "assets": len(panel.assets),
            "periods_per_year": panel.periods_per_year,
            "first": str(panel.times[0])[:19],
            "last": str(panel.times[-1])[:19],
            "market": describe(self.market),
            "code": code_hashes(describe(self)),
            "versions": {"alphaloom": __version__, "python": sys.version.split()[0], **_versions()},
        }


def _silent(stage: str, done: int, total: int) -> None:
    """The progress of a run that nobody watches."""


def _speaks(thing: object) -> bool:
    return isinstance(thing, Forecaster) and not isinstance(thing, Learner)


def _trades(thing: object) -> bool:
    return isinstance(thing, Policy) and not isinstance(thing, Learner | Forecaster)


def _kept(panel: Panel, folds: Sequence[Fold], *, folder: RunDirectory) -> dict[int, FoldOutcome]:
    """The folds that an earlier call of the same run has stored."""
    found = {}
    for number, fold in enumerate(folds):
        spoken = folder.kept_fold(
            number, fold, times=panel.times[fold.test_start : fold.test_stop], assets=panel.assets
        )
        kept = spoken or folder.kept_policy(number, fold)
        if kept is not None:
            found[number] = FoldOutcome(*kept)
    return found


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
