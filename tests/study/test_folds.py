"""The walk-forward plan, counted by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloom.errors import ConfigError, DataError
from alphaloom.study import Fold, WalkForward


def test_rolling_folds_follow_one_another() -> None:
    assert WalkForward(train=5, test=3).folds(12) == (Fold(0, 5, 5, 8), Fold(3, 8, 8, 11), Fold(6, 11, 11, 12))


def test_expanding_folds_keep_the_beginning() -> None:
    assert WalkForward(train=5, test=4, expanding=True).folds(13) == (Fold(0, 5, 5, 9), Fold(0, 9, 9, 13))


def test_embargo_lies_between_training_and_testing() -> None:
    assert WalkForward(train=5, test=4, embargo=2).folds(15) == (Fold(0, 5, 7, 11), Fold(4, 9, 11, 15))


def test_first_moves_the_beginning() -> None:
    assert WalkForward(train=5, test=4, first=8).folds(13) == (Fold(3, 8, 8, 12), Fold(7, 12, 12, 13))
    assert WalkForward(train=5, test=9, first=8, expanding=True, embargo=1).folds(13) == (Fold(0, 7, 8, 13),)


@given(
    train=st.integers(1, 40),
    test=st.integers(1, 30),
    embargo=st.integers(0, 10),
    expanding=st.booleans(),
    later=st.none() | st.integers(0, 20),
    more=st.integers(2, 120),
)
def test_every_bar_after_the_first_is_tested_once(
    train: int, test: int, embargo: int, expanding: bool, later: int | None, more: int
) -> None:
    first = None if later is None else train + embargo + later
    plan = WalkForward(train, test, expanding=expanding, embargo=embargo, first=first)
    T = plan.start + more
    folds = plan.folds(T)
    assert [row for fold in folds for row in range(fold.test_start, fold.test_stop)] == list(range(plan.start, T))
    for fold in folds:
        assert fold.train_stop == fold.test_start - embargo
        assert fold.train_start == 0 if expanding else fold.train_stop - fold.train_start == train
        assert fold.train_start >= 0
        assert fold.train_stop - fold.train_start >= train
        assert 1 <= fold.test_stop - fold.test_start <= test


def test_short_panel_says_how_many_bars_are_needed() -> None:
    plan = WalkForward(train=250, test=60, embargo=5)
    with pytest.raises(DataError, match=r"100 bars, 257 needed.*bring 157 more bars"):
        plan.folds(100)
    with pytest.raises(DataError, match="256 bars, 257 needed"):
        plan.folds(256)
    assert len(plan.folds(257)) == 1


def test_all_faults_of_a_plan_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        WalkForward(train=0, test=-3, embargo=-1)
    assert [fault.key for fault in caught.value.faults] == ["plan.train", "plan.test", "plan.embargo"]
    with pytest.raises(ConfigError, match=r"plan.first: testing begins at row 12 .* \(found 11\)"):
        WalkForward(train=10, test=5, embargo=2, first=11)
    with pytest.raises(ConfigError, match=r"plan\.train"):
        WalkForward(train=True, test=5)
    with pytest.raises(ConfigError, match=r"plan\.test"):
        WalkForward(train=5, test=2.5)  # type: ignore[arg-type]
