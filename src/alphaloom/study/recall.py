"""What one run has learned serves another run that learns the same: only the trading differs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from alphaloom.panel import Panel
from alphaloom.roles import Executor
from alphaloom.study.description import fingerprint
from alphaloom.study.directory import PROVENANCE, RunDirectory
from alphaloom.study.folds import Fold, WalkForward
from alphaloom.study.stitching import FoldOutcome, FoldWork

__all__ = ["Recalling", "learned"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def learned(learner: object) -> str:
    """What a learner is, as a hash: equal for learners that learn the same on the same folds."""
    return fingerprint(learner)


@dataclass(frozen=True)
class Recalling:
    """An executor that reads the folds of an earlier run instead of learning them; other work goes on as it was.

    `source` is the directory of a run of the same learner on the same panel, market and plan. A fold that is not
    stored there, or is damaged, is learned.
    """

    executor: Executor
    source: Path
    plan: WalkForward

    def map(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """The results in the order of the items."""
        if not isinstance(work, FoldWork):
            yield from self.executor.map(work, items)
            return
        asked: list[Any] = list(items)
        numbers = {fold: number for number, fold in enumerate(self.plan.folds(len(work.panel)))}
        known = self._stored(asked, work.panel, numbers=numbers)
        made = self.executor.map(work, [fold for fold in asked if fold not in known])
        for fold in asked:
            found: Any = known[fold] if fold in known else next(made)
            yield found

    def _stored(self, folds: Iterable[Fold], panel: Panel, *, numbers: Mapping[Fold, int]) -> dict[Fold, FoldOutcome]:
        mark = self.source / PROVENANCE
        if not mark.is_file():
            return {}
        folder = RunDirectory(self.source, hashlib.sha256(mark.read_bytes()).hexdigest())
        found = {}
        for fold in folds:
            times = panel.times[fold.test_start : fold.test_stop]
            kept = folder.kept_fold(numbers[fold], fold, times=times, assets=panel.assets)
            if kept is not None:
                found[fold] = FoldOutcome(*kept)
        return found
