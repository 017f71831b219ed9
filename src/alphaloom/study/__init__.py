"""The study room: walk-forward plans, the run of a study, its directory and its findings."""

from __future__ import annotations

from alphaloom.study.description import toml_text
from alphaloom.study.folds import Fold, WalkForward
from alphaloom.study.result import StudyResult, load_run
from alphaloom.study.stitching import shuffled_signal
from alphaloom.study.study import Progress, Study

__all__ = ["Fold", "Progress", "Study", "StudyResult", "WalkForward", "load_run", "shuffled_signal", "toml_text"]
