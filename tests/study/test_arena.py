"""The arena judges what is planted, what is noise and what lacks a step, and leaves the same bytes each time."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from study_cases import MARKET, Best, Constant, Line, line_study, planted_panel, policy_study

from alphaloom.compute import local
from alphaloom.errors import ConfigError, DataError
from alphaloom.market import Market
from alphaloom.metrics import performance
from alphaloom.panel import Panel
from alphaloom.signal import Signal
from alphaloom.study import WalkForward
from alphaloom.study.arena import Arena, Entry, Recalling, arena_place, arena_summary, learned, write_arena
from alphaloom.study.arena_numbers import deflated, luck_of, picking_of, spread_of

PLAN = WalkForward(train=60, test=200)
ARENA = Arena(MARKET, PLAN, random=12, seed=1)


@dataclass(frozen=True)
class Guess:
    """Scores by lot: a model that knows nothing."""

    seed: int
    lookback: int = 0

    def predict(self, panel: Panel) -> Signal:
        first = int(panel.times[0].astype("datetime64[D]").astype(int))
        values = np.random.default_rng([self.seed, first]).normal(size=panel.shape)
        return Signal(panel.times, panel.assets, values)


def result_of(panel, seed=1, **changes):
    return line_study(**{"plan": PLAN, "controls": True, "seed": seed, "config": {}, "trials": 1, **changes}).run(panel)


def entry_of(name, panel, seeds=(1, 2), of="", step="", **changes):
    return Entry(name, seeds, tuple(result_of(panel, seed, **changes) for seed in seeds), of, step)


@pytest.fixture(scope="module")
def planted():
    panel = planted_panel(T=500, strength=0.5)
    entries = [
        entry_of("line", panel),
        entry_of("wide", panel, allocator=Best(8)),
        Entry("guess", (1, 2), tuple(result_of(panel, seed, learner=Guess(seed)) for seed in (1, 2))),
        entry_of("line without choice", panel, of="line", step="choice", allocator=Best(20), controls=False),
    ]
    return panel, entries, ARENA.judge(entries, panel)


def line_of(result, name):
    return next(line for line in result.lines if line.name == name)


def test_the_planted_skill_is_recovered(planted):
    _, _, result = planted
    line = line_of(result, "line")
    assert line.verdict.word == "skill"
    assert [check.holds for check in line.verdict.checks] == [True] * 5
    assert line.numbers["rank_ic"].drawn_low > 0
    assert line.numbers["place"].mean == 1.0
    assert line.numbers["sharpe"].mean > line.numbers["shuffled_sharpe"].mean
    assert result.picking.pbo < 0.5


def test_who_guesses_has_no_skill(planted):
    _, _, result = planted
    line = line_of(result, "guess")
    assert line.verdict.word in ("worse than equal weight", "no better than equal weight", "too short to say")
    assert abs(line.numbers["rank_ic_t"].mean) < 3


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_gives_no_skill(seed):
    panel = planted_panel(T=230, N=12, seed=seed, strength=0.0)
    entries = [Entry(f"guess {k}", (1,), (result_of(panel, 1, learner=Guess(k), controls=False),)) for k in range(3)]
    result = Arena(MARKET, PLAN, random=5).judge([*entries, entry_of("line", panel, seeds=(1,))], panel)
    assert all(line.verdict.word != "skill" for line in result.lines)
    assert 0.0 <= result.picking.pbo <= 1.0


def test_the_pbo_of_noise_is_a_half_on_average():
    """In one market PBO scatters by about 0.27, since its trials share one history; the mean over 40 is held."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(40):
        market = rng.normal(0.0003, 0.01, (320, 1))
        above = rng.normal(0.0, 0.004, (320, 8))
        picking = picking_of(market + above, above)
        found.append((picking.pbo, picking.active_pbo))
    assert ((np.mean(found, axis=0) > 0.35) & (np.mean(found, axis=0) < 0.65)).all()


def test_one_good_trial_is_picked_for_good():
    rng = np.random.default_rng(6)
    above = rng.normal(0.0, 0.004, (320, 8))
    above[:, 3] += 0.003
    picking = picking_of(above + rng.normal(0, 0.001, (320, 1)), above)
    assert picking.pbo < 0.02
    assert picking.loss < 0.02
    twice = picking_of(above[:, [3, 3]], above[:, [3, 3]])
    assert (twice.pbo, twice.distinct) == (None, 1)


def test_more_trials_raise_the_bar():
    returns = np.random.default_rng(2).normal(0.0008, 0.01, (500, 3))
    luck = luck_of(returns, [1, 5, 1], unseen=4)
    assert (luck.listed, luck.effective - luck.clusters) == (7, 4)
    one, seven, many = (deflated(returns[:, 0], luck, trials=count) for count in (1, 7, 500))
    assert one > seven > many


def test_numbers_agree_with_the_runs(planted):
    panel, entries, result = planted
    line = line_of(result, "line")
    first = entries[0].results[0]
    assert line.runs[0]["cagr"] == first.summary["cagr"]
    assert line.runs[0]["sharpe"] == pytest.approx(first.summary["sharpe"]["value"], rel=1e-12)
    assert line.runs[0]["gross_sharpe"] == pytest.approx(first.summary["gross_sharpe"], rel=1e-9)
    assert line.numbers["cagr"].mean == pytest.approx(np.mean([run.summary["cagr"] for run in entries[0].results]))
    equal = result.curves["control.equal_weight"]
    active = first.daily["returns"][1:] - (equal[1:] / equal[:-1] - 1.0)
    ratio = performance.sharpe(active, periods_per_year=panel.periods_per_year)
    assert line.runs[0]["information_ratio"] == pytest.approx(ratio, rel=1e-9)
    drawn = result.bands["line"]["sharpe"]
    assert line.runs[0]["place"] == np.mean(drawn < line.runs[0]["sharpe"])


def test_seeds_that_make_a_difference_have_an_interval(planted):
    _, _, result = planted
    spread = line_of(result, "guess").numbers["sharpe"]
    values = [run["sharpe"] for run in line_of(result, "guess").runs]
    assert (spread.least, spread.most, spread.seeds) == (min(values), max(values), 2)
    # Student's t with one degree of freedom at 97.5 % is 12.7062.
    reach = 12.7062047 * abs(values[0] - values[1]) / 2.0
    assert spread.high - spread.mean == pytest.approx(reach, rel=1e-6)
    assert spread.low == pytest.approx(spread.mean - reach)


def test_one_seed_says_so():
    panel = planted_panel(T=330)
    result = ARENA.judge([entry_of("line", panel, seeds=(1,))], panel)
    spread = result.lines[0].numbers["sharpe"]
    assert (spread.low, spread.high) == (None, None)
    assert spread.drawn_low < spread.mean < spread.drawn_high
    assert any(note.startswith("one seed: line") for note in result.notes)
    assert result.picking.pbo is None
    assert result.lines[0].verdict.checks[-1].holds is None


def test_trials_are_counted_with_their_own(planted):
    panel, entries, result = planted
    assert result.luck.listed == result.picking.distinct
    assert result.luck.variance == pytest.approx(1.0 / (len(panel) - 60 - 2))
    assert result.picking.distinct == 5  # a line does not depend on its seed: three studies with one trial each
    assert 1 <= result.luck.effective <= result.picking.distinct
    more = [entry_of("line", panel, trials=7), *entries[1:]]
    richer = ARENA.judge(more, panel)
    assert richer.luck.listed == 5 + 6
    assert richer.luck.effective == result.luck.effective + 6


def test_a_step_is_worth_what_both_runs_differ_by(planted):
    _, _, result = planted
    (step,) = result.ablations
    assert (step.study, step.step, step.seeds) == ("line", "choice", 2)
    whole, lacking = (line_of(result, name).numbers["sharpe"].mean for name in ("line", "line without choice"))
    assert step.sharpe_difference == pytest.approx(whole - lacking, rel=1e-9)
    assert step.sharpe_low < step.sharpe_difference < step.sharpe_high
    assert step.sharpe_low > 0
    assert step.rank_ic_difference == 0.0
    assert line_of(result, "line without choice").verdict is None


def test_the_same_bytes_twice(planted, tmp_path):
    panel, entries, result = planted
    again = ARENA.judge(entries, panel, executor=local())
    for name, found in (("one", result), ("two", again)):
        write_arena(found, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "arena.json" in files
    assert "ablations.parquet" in files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    told = json.loads((tmp_path / "one" / "arena.json").read_text())
    assert told["verdicts"]["line"]["word"] == "skill"
    assert told["trials"]["whole"]["listed"] == 5
    assert arena_summary(result)["picking"]["pbo"] == told["picking"]["pbo"]


def test_notes_begin_with_the_data(planted):
    _, _, result = planted
    assert result.notes[0] == "made up"
    assert len(set(result.notes)) == len(result.notes)


def test_a_policy_without_a_signal_is_judged_too():
    panel = planted_panel(T=330)
    run = policy_study(learner=Constant(2), plan=PLAN).run(panel)
    result = ARENA.judge([Entry("constant", (1,), (run,))], panel)
    line = result.lines[0]
    assert line.numbers["rank_ic"].mean is None
    assert line.verdict.word != "skill"
    assert line.verdict.checks[2].holds is None


def test_a_study_that_holds_nothing_gets_a_verdict():
    panel = planted_panel(T=330)
    run = policy_study(learner=Constant(2, weight=0.0), plan=PLAN).run(panel)
    result = ARENA.judge([Entry("nothing", (1,), (run,))], panel)
    assert result.bands == {}
    assert result.lines[0].numbers["sharpe"].mean is None
    assert result.lines[0].verdict.word != "skill"


def test_runs_of_other_bars_or_markets_are_refused():
    panel = planted_panel(T=330)
    run = entry_of("line", panel, seeds=(1,))
    with pytest.raises(DataError, match="same bars"):
        Arena(MARKET, WalkForward(train=80, test=200)).judge([run], panel)
    with pytest.raises(DataError, match="same market") as wrong:
        Arena(Market(commission=0.01), PLAN).judge([run], panel)
    assert "line, seed 1" in str(wrong.value)


def test_entries_are_checked():
    panel = planted_panel(T=330)
    run = entry_of("line", panel, seeds=(1,))
    with pytest.raises(ConfigError, match="one study"):
        ARENA.judge([run, run], panel)
    with pytest.raises(ConfigError, match="whole study"):
        ARENA.judge([run, Entry("x", (1,), run.results, of="nobody", step="s")], panel)
    with pytest.raises(ConfigError, match="one for each seed"):
        Entry("x", (1, 2), run.results)
    with pytest.raises(ConfigError, match="at least two"):
        Arena(MARKET, PLAN, random=1)


def test_an_arena_directory_belongs_to_one_contest(tmp_path):
    place = arena_place(tmp_path / "arena", {"seeds": [1]})
    assert arena_place(place, {"seeds": [1]}) == place
    with pytest.raises(DataError, match="one contest"):
        arena_place(place, {"seeds": [2]})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with pytest.raises(DataError, match="new folder"):
        arena_place(tmp_path / "other", {})
    with pytest.raises(DataError, match="is a directory"):
        arena_place(tmp_path / "other" / "file", {})


@dataclass
class Counted:
    """An executor that counts what it is given."""

    done: int = 0

    def map(self, work, items):
        for item in items:
            self.done += 1
            yield work(item)


def test_what_one_run_has_learned_serves_another(tmp_path):
    panel = planted_panel()
    first = line_study(config={})
    first.run(panel, directory=tmp_path / "first")
    assert learned(Line()) == learned(first.learner)
    assert learned(Line(2)) != learned(first.learner)
    second = line_study(config={}, allocator=Best(6), name="second")
    alone = second.run(panel, directory=tmp_path / "alone")
    counted = Counted()
    worker = Recalling(counted, tmp_path / "first", second.plan)
    served = second.run(panel, directory=tmp_path / "served", executor=worker)
    assert counted.done == 0
    np.testing.assert_array_equal(served.daily["equity"], alone.daily["equity"])
    for path in (tmp_path / "alone").iterdir():
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "served" / path.name).read_bytes(), path.name


def test_a_damaged_fold_is_learned_anew(tmp_path):
    panel = planted_panel()
    first = line_study(config={})
    first.run(panel, directory=tmp_path / "first")
    (tmp_path / "first" / "folds" / "fold_001.parquet").write_bytes(b"x")
    counted = Counted()
    second = line_study(config={}, allocator=Best(6))
    second.run(panel, executor=Recalling(counted, tmp_path / "first", second.plan))
    assert counted.done == 1
    assert list(Recalling(counted, tmp_path / "nowhere", second.plan).map(str, [1, 2])) == ["1", "2"]


def test_the_interval_of_a_share_stays_a_share():
    found = spread_of([0.9, 1.0, 0.95], share=True)
    assert (found.low, found.high) == (pytest.approx(0.95 - 4.3026527 * 0.05 / np.sqrt(3)), 1.0)
    assert spread_of([0.9, 1.0, 0.95]).high > 1.0
    assert spread_of([None, float("nan")]).mean is None


def test_the_universe_is_noted_first():
    panel = planted_panel(T=330).replace(notes=("prices: adjusted", "No membership was given: everyone is a member"))
    result = ARENA.judge([entry_of("line", panel, seeds=(1,), controls=False)], panel)
    assert result.notes[:2] == ("No membership was given: everyone is a member", "prices: adjusted")
