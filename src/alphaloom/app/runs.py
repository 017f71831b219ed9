"""From a configuration to a finished run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaloom.app.config import StudyConfig, describe
from alphaloom.app.sources import load_panel
from alphaloom.compute import local, processes

if TYPE_CHECKING:
    from alphaloom.study import Study, StudyResult

__all__ = ["file_name", "run_study", "study_of"]


def study_of(config: StudyConfig) -> Study:
    """The study that a configuration describes."""
    from alphaloom.study import Study

    learner, allocator = config.agent if config.agent is not None else config.learner, config.allocator
    if config.system is not None:
        learner, allocator = config.system.learner, config.allocator or config.system.allocator
    return Study(
        name=config.name,
        learner=config.policy if config.policy is not None else learner,
        market=config.market,
        plan=config.plan,
        allocator=allocator,
        benchmarks=config.benchmarks,
        trials=config.trials,
        seed=config.seed,
        config=describe(config),
        horizon=config.horizon,
        controls=config.controls,
        cash=config.cash,
    )


def run_study(
    config: StudyConfig, directory: Path | None, progress: Callable[[str, int, int], None], *, jobs: int = 1
) -> tuple[StudyResult, Path]:
    """Load the panel, run (or resume, or load) the study in its directory, `jobs` folds at a time.

    Without a directory the run lives in `runs/NAME-HASH`; the hash is of the configuration and the data, so the same
    command finds its own run again and another never overwrites it.
    """
    from alphaloom.forecast.sharing import shared_factors

    progress("data", 0, 1)
    panel = load_panel(config.data)
    progress("data", 1, 1)
    study = study_of(config)
    place = directory or Path("runs") / f"{file_name(config.name)}-{_fingerprint(study.config, panel.source)}"
    if jobs != 1:
        result = study.run(panel, executor=processes(jobs), directory=place, progress=progress)
    else:
        with shared_factors(panel):
            result = study.run(panel, executor=local(), directory=place, progress=progress)
    if config.skill is not None:
        from alphaloom.study.skill import judge_skill

        executor = local() if jobs == 1 else processes(jobs)
        judge_skill(study, panel, config.skill, directory=place, executor=executor, progress=progress)
    return result, place


def file_name(name: str) -> str:
    """A study's name as one part of a path: a name is free text and must not choose a place."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "study"


def _fingerprint(config: Any, source: str) -> str:
    text = json.dumps([config, source], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
