"""`alphaloom arena` as a person meets it: what it runs, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from alphaloom.app.arena import open_contest, read_seeds
from alphaloom.errors import ConfigError
from alphaloom.study import Study

RULE = """
name = "cross"
seed = 3
[data]
kind = "embedded"
days = 520
assets = 15
[policy]
kind = "moving_average_cross"
fast = 5
slow = 20
[plan]
train = 300
test = 110
"""
LINE = """
name = "line"
seed = 3
[data]
kind = "embedded"
days = 520
assets = 15
[learner]
kind = "ridge"
[allocator]
kind = "top_k"
k = 4
[plan]
train = 300
test = 110
"""
SYSTEM = """
name = "model"
seed = 3
[data]
kind = "embedded"
days = 520
assets = 15
[system]
kind = "factor_model"
trees = 8
leaves = 7
min_rows = 50
k = 4
buffer = 4
[plan]
train = 300
test = 110
"""
RUN = ("--quiet", "--random", "5")


@pytest.fixture
def configs(tmp_path):
    paths = []
    for name, text in (("cross", RULE), ("line", LINE), ("model", SYSTEM)):
        paths.append(tmp_path / f"{name}.toml")
        paths[-1].write_text(text)
    return paths


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_arena_runs_prints_one_table_and_leaves_a_page(alphaloom, configs, tmp_path):
    cross, line, _ = configs
    code, out, err = alphaloom("arena", cross, line, "--seeds", 2, "--out", "one", *RUN)
    assert code == 0, err
    for word in ("cross:", "line:", "Sharpe net", "Above random", "equal weight", "buy and hold", "DSR active"):
        assert word in out
    assert out.rstrip().endswith("arena.html")
    runs = sorted(path.name for path in (tmp_path / "one" / "runs").iterdir())
    assert runs == ["cross-3", "line-3"], "nothing in either depends on the seed"
    assert "nothing in it depends on the seed" in out
    assert not (tmp_path / "one" / "factors").exists()
    assert alphaloom("report", tmp_path / "one" / "runs" / "line-3", "--json")[0] == 0
    told = json.loads((tmp_path / "one" / "arena.json").read_text())
    assert told["facts"]["runs"] == 2
    assert told["notes"][0].startswith("Simulated data")


def test_the_same_command_gives_the_same_bytes_and_learns_nothing_again(alphaloom, configs, tmp_path, monkeypatch):
    cross, line, _ = configs
    alphaloom("arena", cross, line, "--out", "one", *RUN)
    before = files_of(tmp_path / "one")
    alphaloom("arena", cross, line, "--out", "two", *RUN)
    assert files_of(tmp_path / "two") == before

    from alphaloom.forecast import Ridge

    monkeypatch.setattr(Ridge, "fit", lambda *_: pytest.fail("a finished run is loaded"))
    code, *_ = alphaloom("arena", cross, line, "--out", "one", *RUN)
    assert code == 0
    assert files_of(tmp_path / "one") == before


def test_a_stopped_arena_goes_on_to_the_same_bytes(alphaloom, configs, tmp_path, monkeypatch):
    cross, line, _ = configs
    alphaloom("arena", line, cross, "--out", "whole", *RUN)
    run, called = Study.run, []

    def stopped(self, *arguments, **named):
        called.append(self.name)
        if len(called) == 2:
            raise KeyboardInterrupt
        return run(self, *arguments, **named)

    monkeypatch.setattr(Study, "run", stopped)
    code, _, err = alphaloom("arena", line, cross, "--out", "stopped", *RUN)
    assert code == 130, err
    assert (tmp_path / "stopped" / "runs" / "line-3" / "result.json").is_file()
    assert not (tmp_path / "stopped" / "arena.json").exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert alphaloom("arena", line, cross, "--out", "stopped", *RUN)[0] == 0
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")


def test_steps_are_left_out_and_learned_only_where_they_learn_differently(alphaloom, configs, tmp_path, monkeypatch):
    from alphaloom.forecast import Blend

    fit, learned = Blend.fit, []

    def counting(self, train, market):
        learned.append(self)
        return fit(self, train, market)

    monkeypatch.setattr(Blend, "fit", counting)
    code, out, err = alphaloom("arena", configs[2], "--ablate", "--out", "one", "--set", "data.reversal=0.2", *RUN)
    assert code == 0, err
    assert "What each step is worth" in out
    told = json.loads((tmp_path / "one" / "arena.json").read_text())
    steps = {row["step"]: row for row in told["ablations"]}
    assert set(steps) == {"no buffer", "no patience", "no thinning"}
    assert steps["no buffer"]["rank_ic_difference"] == 0.0
    assert steps["no buffer"]["sharpe_difference"] != 0.0
    folds = len(list((tmp_path / "one" / "runs" / "model-3" / "folds").iterdir()))
    assert len(learned) == 2 * folds, "the model and the one without thinning; the others trade what the model learned"
    assert told["facts"]["runs"] == 4
    assert set(told["verdicts"]) == {"model"}


def test_configurations_that_differ_are_refused_with_every_difference(alphaloom, configs, tmp_path):
    cross, line, _ = configs
    line.write_text(
        LINE.replace("assets = 15", "assets = 16").replace("test = 110", "test = 100")
        + "[market]\ncommission = 0.001\n"
    )
    code, out, err = alphaloom("arena", cross, line, "--out", "one", *RUN)
    assert code == 2
    assert out == ""
    for word in ("data.assets", "plan.test", "market.commission", "cross.toml: 15", "line.toml: 16", "--set"):
        assert word in err.replace("\n", "")
    assert not (tmp_path / "one").exists()
    code, _, err = alphaloom(
        "arena", cross, line, "--out", "one", "--set", "data.assets=15", "--set", "plan.test=110",
        "--set", "market.commission=0.001", *RUN,
    )  # fmt: skip
    assert code == 0, err


def test_json_is_all_that_is_printed(alphaloom, configs):
    code, out, _ = alphaloom("arena", configs[0], "--out", "one", "--json", *RUN)
    assert code == 0
    assert json.loads(out)["verdicts"]["cross"]["word"]


def test_a_folder_of_another_contest_is_refused(alphaloom, configs):
    assert alphaloom("arena", configs[0], "--out", "one", *RUN)[0] == 0
    code, _, err = alphaloom("arena", configs[0], "--out", "one", "--quiet", "--random", "6")
    assert code == 2
    assert "one contest" in err


def test_seeds_are_read():
    assert read_seeds(None, None, 7) == (7,)
    assert read_seeds(3, None, 7) == (7, 8, 9)
    assert read_seeds(None, "1, 5", 7) == (1, 5)
    for count, listed in ((None, "1,x"), (None, "1,1"), (2, "1,2"), (None, "")):
        with pytest.raises(ConfigError):
            read_seeds(count, listed, 7)


def test_seeds_reach_the_learner_and_not_the_data(configs):
    contest = open_contest([configs[2]], seeds=(2, None))
    first, second = contest.variants[0].configs.values()
    assert (first.seed, second.seed) == (3, 4)
    assert (first.system.seed, second.system.seed) == (3, 4)
    assert first.data == second.data
    assert first.controls


def test_what_decides_alike_is_run_once(configs):
    copy = configs[1].with_name("copy.toml")
    copy.write_text(LINE.replace('name = "line"', 'name = "copy"').replace("[plan]", "[benchmarks]\n[plan]"))
    contest = open_contest([configs[1], copy])
    assert [each.name for each in contest.variants] == ["line"]
    assert "decides exactly as line" in contest.notes[0]


def test_a_step_that_is_another_study_is_run_once(configs):
    bare = configs[2].with_name("bare.toml")
    bare.write_text(SYSTEM.replace('name = "model"', 'name = "bare"').replace("buffer = 4", "buffer = 0"))
    contest = open_contest([configs[2], bare], steps=True)
    same = {each.name: each.same_as for each in contest.variants}
    assert same["model no buffer"] == "bare"
    assert same["bare no buffer"] == "bare"
    assert same["bare"] == ""


def test_single_steps_can_be_asked_for(configs):
    contest = open_contest(configs[1:], steps=["no buffer"])
    assert [each.name for each in contest.variants] == ["line", "model", "model no buffer"]
    with pytest.raises(ConfigError, match="did you mean 'no buffer'"):
        open_contest(configs[1:], steps=["no bufer"])


def test_two_studies_of_one_name_are_refused(configs):
    other = configs[1].with_name("other.toml")
    other.write_text(LINE.replace("k = 4", "k = 5"))
    with pytest.raises(ConfigError, match="another name"):
        open_contest([configs[1], other])


def test_the_guide_runs_and_names_every_word_and_check(capsys):
    from alphaloom.study.arena import WORDS
    from alphaloom.study.verdicts import verdict_of

    text = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "arena.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
    exec(compile(block, "arena.md", "exec"), {"__name__": "guide"})
    assert "cross 5 ->" in capsys.readouterr().out
    checks = verdict_of([], years=2.0, trials=1, pbo=None, loss=None).checks
    for word in (*WORDS, *(check.name for check in checks)):
        assert f"| {word} |" in text
