"""The run directory: equal bytes, resumption after a kill, and directories that are not what they should be."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import study_cases as cases

from alphaloom.errors import DataError
from alphaloom.study import StudyResult, load_run

PROGRAM = Path(cases.__file__)
FILES = {
    "study.toml",
    "provenance.json",
    "signal.parquet",
    "weights.parquet",
    "orders.parquet",
    "daily.parquet",
    "ic.parquet",
    "quantiles.parquet",
    "decay.parquet",
    "exposure.parquet",
    "result.json",
    *(f"folds/fold_{k:03d}.parquet" for k in range(5)),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def program(*words: str, seed: str = "0") -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.Popen([sys.executable, str(PROGRAM), *words], env=environment, stdout=subprocess.PIPE)


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("runs") / "line"
    cases.line_study().run(cases.planted_panel(), directory=folder)
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    for name, content in contents(finished).items():
        target = tmp_path / "copy" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return tmp_path / "copy"


def same(one: StudyResult, other: StudyResult) -> None:
    for name in ("name", "config", "provenance", "notes", "folds", "regimes", "summary", "benchmarks"):
        # As text, so that the order of keys counts too.
        assert json.dumps(getattr(one, name)) == json.dumps(getattr(other, name)), name
    for name in ("daily", "ic", "quantiles", "decay", "exposure"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert list(mine) == list(theirs)
        for column in mine:
            assert mine[column].dtype == theirs[column].dtype, column
            np.testing.assert_array_equal(mine[column], theirs[column])


def test_a_run_writes_these_files_and_reads_back_as_it_was(finished: Path) -> None:
    assert set(contents(finished)) == FILES
    kept = load_run(finished)
    assert kept.directory == finished
    same(kept, cases.line_study().run(cases.planted_panel()))


def test_files_hold_no_clock_and_no_place(finished: Path) -> None:
    for name, content in contents(finished).items():
        assert str(finished).encode() not in content, name
        assert time.strftime("%Y-%m-%d").encode() not in content, name
    assert "NaN" not in (finished / "result.json").read_text()


@pytest.mark.parametrize("study", ["line", "policy"])
def test_two_processes_write_equal_bytes(study: str, tmp_path: Path) -> None:
    jobs = [program("run", study, str(tmp_path / seed), seed=seed) for seed in ("1", "2")]
    for job in jobs:
        job.communicate()
        assert job.returncode == 0
    one, other = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert differing(one, other) == []
    cases.STUDIES[study]().run(cases.planted_panel(), directory=tmp_path / "here")
    assert differing(one, contents(tmp_path / "here")) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("study", "calls"),
    [("line", [0, 1, 2, 3, 4, 7, 8, 10, 12, 9, 15, 19, 23, 30, 34]), ("policy", [0, 1, 5, 7, 10, 15, 19, 22])],
)
def test_a_run_that_is_killed_again_and_again_gives_the_bytes_of_one_that_was_not(
    study: str, calls: list[int], tmp_path: Path
) -> None:
    cases.STUDIES[study]().run(cases.planted_panel(), directory=tmp_path / "whole")
    # Each number is a step of writing (flush a file, rename it, flush its folder) at which the next attempt dies.
    job = program("mortal", study, str(tmp_path / "killed"), *map(str, calls))
    told = job.communicate()[0].decode().split("\n")
    assert job.returncode == 0
    assert told.count("killed") == len(calls)
    left = contents(tmp_path / "killed")
    assert "result.json" not in left
    whole = contents(tmp_path / "whole")
    assert all(left[name] == whole[name] for name in left if not name.endswith(".part"))
    resumed = cases.STUDIES[study]().run(cases.planted_panel(), directory=tmp_path / "killed")
    assert differing(contents(tmp_path / "killed"), whole) == []
    same(resumed, load_run(tmp_path / "whole"))


def test_a_run_that_is_killed_at_any_time_can_be_resumed(finished: Path, tmp_path: Path) -> None:
    chance = random.Random(5)
    for _ in range(3):
        job = program("run", "line", str(tmp_path / "run"))
        time.sleep(chance.uniform(0.2, 1.2))
        job.kill()
        job.communicate()
    cases.line_study().run(cases.planted_panel(), directory=tmp_path / "run")
    assert differing(contents(tmp_path / "run"), contents(finished)) == []


def test_stored_folds_are_not_learned_again(tmp_path: Path) -> None:
    panel = cases.planted_panel()
    folder = tmp_path / "run"
    seen = []

    def stop(stage: str, done: int, total: int) -> None:
        seen.append((stage, done))
        if (stage, done) == ("folds", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cases.line_study().run(panel, directory=folder, progress=stop)
    assert sorted(path.name for path in (folder / "folds").iterdir()) == [f"fold_00{k}.parquet" for k in range(3)]
    seen.clear()
    cases.line_study().run(panel, directory=folder, progress=lambda stage, done, total: seen.append((stage, done)))
    assert seen[:3] == [("folds", 3), ("folds", 4), ("folds", 5)]


def test_a_finished_run_is_loaded_without_work(finished: Path) -> None:
    told: list[Any] = []
    before = contents(finished)
    result = cases.line_study().run(cases.planted_panel(), directory=finished, progress=lambda *step: told.append(step))
    assert told == []
    same(result, load_run(finished))
    assert contents(finished) == before


def test_a_damaged_or_foreign_fold_is_made_again(copy: Path, finished: Path) -> None:
    (copy / "result.json").unlink()
    folds = copy / "folds"
    (folds / "fold_000.parquet").write_bytes((folds / "fold_000.parquet").read_bytes()[:-7])
    (folds / "fold_001.parquet").write_bytes((folds / "fold_002.parquet").read_bytes())
    (folds / "fold_003.parquet").write_bytes(b"")
    (folds / "fold_004.parquet.99.part").write_bytes(b"half")
    cases.line_study().run(cases.planted_panel(), directory=copy)
    assert differing(contents(copy), contents(finished)) == []


def test_other_library_versions_make_the_folds_again(copy: Path, finished: Path) -> None:
    (copy / "result.json").unlink()
    provenance = json.loads((copy / "provenance.json").read_text())
    provenance["versions"]["numpy"] = "1.0.0"
    (copy / "provenance.json").write_text(json.dumps(provenance))
    cases.line_study().run(cases.planted_panel(), directory=copy)
    assert differing(contents(copy), contents(finished)) == []


@pytest.mark.parametrize(
    ("changes", "seed", "word"),
    [
        ({"seed": 12}, 3, "seed"),
        ({"trials": 6}, 3, "configuration"),
        ({"learner": cases.Line(2)}, 3, "configuration"),
        ({"config": {"other": 1}}, 3, "configuration"),
        ({}, 4, "data"),
    ],
)
def test_a_directory_of_another_run_is_refused(finished: Path, changes: dict[str, Any], seed: int, word: str) -> None:
    before = contents(finished)
    with pytest.raises(DataError, match=f"this one's {word} differs.*give another directory, or remove this one"):
        cases.line_study(**changes).run(cases.planted_panel(seed=seed), directory=finished)
    assert contents(finished) == before


def test_changed_code_of_a_learner_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same learner with the same fields, but another formula in its file, is another study."""
    source = PROGRAM.read_text()
    (tmp_path / "my_learner.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_learner

    panel, folder = cases.planted_panel(), tmp_path / "run"
    study = cases.line_study(learner=my_learner.Line())
    study.run(panel, directory=folder)
    study.run(panel, directory=folder)
    (tmp_path / "my_learner.py").write_text(source.replace("self.slope * panel", "2 * self.slope * panel"))
    with pytest.raises(DataError, match="this one's code differs"):
        study.run(panel, directory=folder)


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(DataError, match="other files"):
        cases.line_study().run(cases.planted_panel(), directory=tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"do not lose me"}


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(DataError, match="a run is a directory"):
        cases.line_study().run(cases.planted_panel(), directory=tmp_path / "run")


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panel, folder = cases.planted_panel(), tmp_path / "run"
    flush, flushed = os.fsync, []

    def full(handle: int) -> None:
        flushed.append(handle)
        if len(flushed) > 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"disk must have room.*No space left.*free some space"):
        cases.line_study().run(panel, directory=folder)
    monkeypatch.undo()
    cases.line_study().run(panel, directory=tmp_path / "whole")
    left, whole = contents(folder), contents(tmp_path / "whole")
    assert 2 < len(left) < len(whole)
    assert all(whole[name] == content for name, content in left.items())
    cases.line_study().run(panel, directory=folder)
    assert differing(contents(folder), whole) == []


def test_load_run_says_what_is_missing(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such directory"):
        load_run(tmp_path / "nowhere")
    (copy / "ic.parquet").unlink()
    (copy / "orders.parquet").unlink()
    with pytest.raises(DataError, match=r"missing: ic\.parquet, orders\.parquet"):
        load_run(copy)
    (copy / "result.json").unlink()
    with pytest.raises(DataError, match=r"stopped on the way.*it resumes"):
        load_run(copy)
    (copy / "provenance.json").unlink()
    with pytest.raises(DataError, match=r"neither provenance\.json nor result\.json"):
        load_run(copy)


@pytest.mark.parametrize("name", ["daily.parquet", "study.toml"])
def test_load_run_notices_a_changed_file(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[-1] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(DataError, match="another content than was written"):
        load_run(copy)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"name": "x"}'])
def test_load_run_refuses_a_result_that_is_not_one(copy: Path, text: str) -> None:
    (copy / "result.json").write_text(text)
    with pytest.raises(DataError, match="holds every file"):
        load_run(copy)


def test_a_run_of_policies_has_no_signal(tmp_path: Path) -> None:
    result = cases.policy_study().run(cases.planted_panel(), directory=tmp_path / "run")
    files = set(contents(tmp_path / "run"))
    assert files == {name for name in FILES if not name.startswith(("folds", "signal", "ic", "quant", "decay"))}
    same(load_run(tmp_path / "run"), result)
    assert result.config["learner"] == {"class": "study_cases.NextColumn"}
