"""What a policy counts and notes while it decides reaches the result and the report."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from study_cases import Best, BestPolicy, Constant, line_study, planted_panel, policy_study

from alphaloom.market import Book
from alphaloom.panel import Panel
from alphaloom.report import summary_json
from alphaloom.signal import Signal
from alphaloom.study import load_run


@dataclass(frozen=True)
class Counting:
    """An allocator whose policy counts its decisions and says so afterwards."""

    k: int = 4

    def policy(self, signal: Signal) -> CountingPolicy:
        return CountingPolicy(Best(self.k).policy(signal))


@dataclass(frozen=True, eq=False)
class CountingPolicy:
    best: BestPolicy
    seen: list[int] = field(default_factory=list)
    lookback: int = 0

    @property
    def counts(self) -> dict[str, int]:
        return {"solves": len(self.seen), "fallbacks": 0}

    @property
    def notes(self) -> tuple[str, ...]:
        return (f"solver: {len(self.seen)} solves",)

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        self.seen.append(len(view))
        return self.best.decide(view, book)


@dataclass(frozen=True)
class CountingConstant(Constant):
    counts: dict[str, int] = field(default_factory=lambda: {"held": 2})

    def __hash__(self) -> int:
        return hash(self.column)


@dataclass(frozen=True)
class ThreeConstants:
    def fit(self, train: Panel, market: object) -> CountingConstant:
        return CountingConstant(0)


def test_counts_and_notes_are_read_after_the_back_test(tmp_path):
    panel = planted_panel()
    result = line_study(allocator=Counting(), config={}).run(panel, directory=tmp_path / "run")
    bars = len(panel) - 60
    assert result.summary["count.solves"] == bars
    assert result.summary["count.fallbacks"] == 0
    assert f"solver: {bars} solves" in result.notes
    assert load_run(tmp_path / "run").summary == result.summary


def test_a_policy_that_counts_nothing_adds_nothing():
    result = line_study().run(planted_panel())
    assert not [name for name in result.summary if name.startswith("count.")]


def test_the_policies_of_all_folds_are_added_up():
    result = policy_study(learner=ThreeConstants()).run(planted_panel())
    assert result.summary["count.held"] == 2 * len(result.folds)


def test_the_report_prints_counts_as_whole_numbers():
    result = line_study(allocator=Counting(), config={}).run(planted_panel())
    rows = {row["key"]: row for row in summary_json(result)["rows"]}
    assert rows["count.solves"]["text"] == "200"
    assert rows["count.solves"]["group"] == "Counted by the policy"
