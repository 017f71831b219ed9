"""The test for skill: controls that have none, and the rule that tells them from a policy that has."""

from dataclasses import dataclass

import numpy as np
import pytest

from alphaloom.backtest import backtest
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.study import Study, WalkForward
from alphaloom.study.folds import Fold
from alphaloom.study.skill import SkillTest, judge_skill, load_skill
from alphaloom.study.skill_controls import ConstantWeights, blind_twin, random_constants, random_signs

FREE = Market(commission=0.0, slippage=0.0)
PLAN = WalkForward(train=200, test=150)
QUICK = SkillTest(seeds=2, constants=20, signs=20, costs=(0.0, 0.001), fills=("next_open",), validation=60, draws=200)


def market_with_momentum(persistence, T=500, N=6, seed=3):
    """Returns that repeat with their sign where `persistence` is positive, seen one bar ahead of the fill."""
    random = np.random.default_rng(seed)
    returns = random.normal(0.0, 0.01, (T, N))
    for t in range(2, T):
        returns[t] += persistence * np.sign(returns[t - 2])
    close = 100.0 * np.exp(np.cumsum(returns, axis=0))
    opened = np.vstack([close[:1], close[:-1]])
    times = np.datetime64("2020-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D")
    return Panel(times, tuple(f"A{k}" for k in range(N)), {"open": opened, "close": close})


@dataclass(frozen=True)
class Chaser:
    """Holds what rose on the bar before; `seed` changes nothing but a hair of the weights."""

    seed: int = 0
    lookback: int = 2

    def decide(self, view, book):
        close = view["close"]
        rose = close[-2] > close[-3] if len(close) > 2 else np.ones(close.shape[1], bool)
        return np.where(rose, (0.98 - 1e-6 * self.seed) / max(rose.sum(), 1), 0.0)

    def shuffled(self, seed):
        return Blurred(seed)


@dataclass(frozen=True)
class Blurred(Chaser):
    def decide(self, view, book):
        random = np.random.default_rng([self.seed, len(view)])
        rose = random.random(view.shape[1]) < 0.5
        return np.where(rose, 0.98 / max(rose.sum(), 1), 0.0)


@dataclass(frozen=True)
class LearnedChaser:
    seed: int = 7

    def fit(self, train, market):
        return Chaser(self.seed)


@dataclass(frozen=True)
class Steady:
    """Always the same weights: exposure and nothing else."""

    seed: int = 7

    def fit(self, train, market):
        return ConstantWeights(np.full(train.shape[1], 0.9 / train.shape[1]))


def study(learner, trials=1):
    return Study("test", learner, FREE, PLAN, trials=trials)


def test_skill_that_is_there_beats_the_controls(tmp_path):
    panel = market_with_momentum(0.004)
    run = study(LearnedChaser())
    run.run(panel, directory=tmp_path / "run")
    found = judge_skill(run, panel, QUICK, directory=tmp_path / "run")
    assert found.beats, found.sentence
    assert [check["holds"] for check in found.checks] == [True, True, True]
    assert len(found.runs) == 2
    names = [line["name"] for line in found.lines]
    assert names[:2] == ["its average, held constant", "with shuffled sight"]
    assert "equal weight monthly" in names
    assert "cash" in names
    assert found.lines[1]["sharpe"] < found.spread["mean"]
    assert load_skill(tmp_path / "run") == found or load_skill(tmp_path / "run").sentence == found.sentence
    assert len(found.grid) == 2
    assert found.grid[1]["sharpe"] < found.grid[0]["sharpe"]  # costs cost


def test_exposure_alone_does_not_beat_the_controls():
    found = judge_skill(study(Steady()), market_with_momentum(0.0), QUICK)
    assert not found.beats
    assert found.sentence.startswith("Does not beat")
    # A policy that is its own average is level with its twin on every resample.
    assert found.checks[2]["found"] > 0.2
    assert any("shuffled" in note for note in found.notes)


def test_the_random_controls_have_no_skill_by_construction():
    constants = random_constants(50, 6, seed=1)
    signs = random_signs(50, 6, seed=1, short=False)
    both = random_signs(50, 6, seed=1, short=True)
    for one in constants:
        assert one.parts.sum() == pytest.approx(0.99)
        assert (one.parts >= 0).all()
    assert {len(np.unique(one.parts[one.parts > 0])) for one in signs} == {1}
    assert any((one.parts < 0).any() for one in both)
    assert all(np.abs(one.parts).sum() == pytest.approx(0.99) for one in both)
    assert np.array_equal(random_constants(3, 6, seed=1)[2].parts, constants[2].parts)


def test_a_constant_portfolio_is_the_same_on_both_paths():
    panel = market_with_momentum(0.0)
    policy = random_constants(1, 6, seed=4)[0]
    book = backtest(policy, panel, Market(), start=10)

    class Asked:
        lookback = 0

        def decide(self, view, book):
            return policy.decide(view, book)

    assert np.array_equal(book.equity, backtest(Asked(), panel, Market(), start=10).equity)


def test_the_blind_twin_holds_the_average_of_the_training_rows_and_reads_nothing_later():
    panel = market_with_momentum(0.0)
    fold = Fold(0, 200, 200, 350)
    twin = blind_twin(Chaser(), panel, FREE, fold=fold, rows=60, cash=1e6)
    book = backtest(Chaser(), panel[:200], FREE, start=140)
    assert twin.parts == pytest.approx(book.holdings[1:].mean(axis=0))
    again = blind_twin(Chaser(), panel[:200], FREE, fold=fold, rows=60, cash=1e6)
    assert np.array_equal(again.parts, twin.parts)


def test_the_test_is_resumed_and_gives_the_same_bytes(tmp_path):
    panel, run = market_with_momentum(0.004), study(LearnedChaser())
    for name in ("a", "b"):
        run.run(panel, directory=tmp_path / name)
        judge_skill(run, panel, QUICK, directory=tmp_path / name)
    first, second = ((tmp_path / name / "skill.json").read_bytes() for name in ("a", "b"))
    assert first == second
    judge_skill(run, panel, QUICK, directory=tmp_path / "a")
    assert (tmp_path / "a" / "skill.json").read_bytes() == first


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "skill.json").write_text("{}")
    with pytest.raises(DataError, match=r"skill\.json"):
        load_skill(tmp_path)
    assert load_skill(tmp_path / "none") is None


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"constants": 1}, {"block": 0.5}, {"costs": (-0.1,)}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(DataError):
        SkillTest(**wrong)
