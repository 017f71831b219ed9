"""The study room: walk-forward plans, the run of a study, its directory and its findings; factors judged one by one."""

from __future__ import annotations

from alphaloom.study.description import toml_text
from alphaloom.study.factor_analysis import FactorAnalysis, analysis_place, write_analysis
from alphaloom.study.factor_study import analyse_factors
from alphaloom.study.folds import Fold, WalkForward
from alphaloom.study.result import StudyResult, load_run
from alphaloom.study.stitching import shuffled_signal
from alphaloom.study.study import Progress, Study

__all__ = [
    "FactorAnalysis",
    "Fold",
    "Progress",
    "Study",
    "StudyResult",
    "WalkForward",
    "analyse_factors",
    "analysis_place",
    "load_run",
    "shuffled_signal",
    "toml_text",
    "write_analysis",
]
