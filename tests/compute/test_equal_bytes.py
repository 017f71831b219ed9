"""Who does the work cannot be seen in what comes out: factor jobs and studies, byte by byte."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from compute_jobs import MortalSource, classics, files_of

from alphaloom.compute import local, processes
from alphaloom.factors import evaluate
from alphaloom.factors.chunks import evaluate_chunks
from alphaloom.forecast import LightGBM, Ridge
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.portfolio import TopK
from alphaloom.study import Study, WalkForward

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="worker processes need a POSIX system")


@pytest.fixture
def panel(make_panel) -> Panel:
    return make_panel(300, 24, seed=5, holes=0.001, dtype=np.float32)


@pytest.mark.parametrize("format", ["npy", "parquet"])
def test_a_factor_job_in_chunks_gives_the_bytes_of_the_whole(panel, tmp_path, format):
    factors = classics(panel)
    assert len(factors.factors) > 10
    whole = evaluate(factors, panel).values
    for name, executor in (("here", local()), ("two", processes(2))):
        made = evaluate_chunks(factors, panel, out=tmp_path / name, rows_per_chunk=64, format=format, executor=executor)
        assert made.rows(0, len(panel)).values.tobytes() == whole.tobytes()
    assert len(files_of(tmp_path / "here")) > 1
    assert files_of(tmp_path / "here") == files_of(tmp_path / "two")


def test_a_factor_job_survives_a_killed_worker(panel, tmp_path):
    factors = classics(panel)
    evaluate_chunks(factors, panel, out=tmp_path / "here", rows_per_chunk=64)
    mortal = MortalSource(panel, str(tmp_path))
    evaluate_chunks(factors, mortal, out=tmp_path / "two", rows_per_chunk=64, executor=processes(2))
    assert (tmp_path / "killed").exists()
    assert files_of(tmp_path / "here") == files_of(tmp_path / "two")


def study(learner) -> Study:
    return Study(
        name="spread",
        learner=learner,
        market=Market(commission=0.0005),
        plan=WalkForward(train=120, test=40),
        allocator=TopK(5, buffer=2, every=5),
    )


@pytest.mark.parametrize(
    "learner", [Ridge(horizon=3), LightGBM(horizon=3, trees=10, min_rows=50, every=2)], ids=["ridge", "trees"]
)
def test_a_study_gives_the_same_run_directory_with_any_executor(panel, tmp_path, learner):
    heard: list[tuple[str, int, int]] = []
    study(learner).run(panel, directory=tmp_path / "here")
    study(learner).run(
        panel, executor=processes(2), directory=tmp_path / "two", progress=lambda *step: heard.append(step)
    )
    here = files_of(tmp_path / "here")
    assert "signal.parquet" in here
    assert here == files_of(tmp_path / "two")
    folds = [step for step in heard if step[0] == "folds"]
    assert [done for _, done, _ in folds] == list(range(folds[0][2] + 1))  # one step for each fold, as it is stored
