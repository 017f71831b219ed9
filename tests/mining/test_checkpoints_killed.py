"""A search that is killed at any moment goes on to the bytes of one that was not, and loses one interval at most."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mining_jobs import small_session

JOBS = Path(__file__).parent / "mining_jobs.py"
BUDGET = 240
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def started(miner: str, folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(JOBS), miner, str(folder), str(BUDGET)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finished(miner: str, folder: Path) -> bytes:
    search = started(miner, folder)
    _, trouble = search.communicate(timeout=300)
    assert search.returncode == 0, trouble.decode()
    return (folder / "found.json").read_bytes()


def struck(miner: str, folder: Path, *, at: int, after: float, blow: int) -> bool:
    """Kill a search `after` seconds from its `at`-th checkpoint on; False where it was done before."""
    search = started(miner, folder)
    head, last = folder / "search" / "checkpoint.json", 0
    while search.poll() is None:
        try:
            last = json.loads(head.read_bytes())["generation"]
        except (OSError, ValueError):
            last = 0
        if last >= at:
            break
        time.sleep(0.001)
    time.sleep(after)
    if search.poll() is None:
        search.send_signal(blow)
    search.communicate(timeout=60)
    (folder / "ready").unlink(missing_ok=True)
    return search.returncode != 0


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def torture(miner: str, tmp_path: Path, *, blows: int, seed: int) -> None:
    whole = finished(miner, tmp_path / "whole")
    random, dead, hurt = np.random.default_rng(seed), 0, tmp_path / "hurt"
    at = 1
    for number in range(4 * blows):
        if dead == blows:
            break
        blow = signal.SIGINT if number % 4 == 3 else signal.SIGKILL
        if struck(miner, hurt, at=at, after=float(random.uniform(0.0, 0.05)), blow=blow):
            dead += 1
            lost = tmp_path / "hurt" / "search" / "checkpoint.json"
            at = json.loads(lost.read_bytes())["generation"] + 1 if lost.is_file() else 1
        else:  # it was done: from the start, so that every moment has its chance
            assert (hurt / "found.json").read_bytes() == whole
            for path in (*(hurt / "search").iterdir(), hurt / "found.json"):
                path.unlink()
            at = 1
    assert dead == blows
    assert finished(miner, hurt) == whole
    assert files_of(hurt / "search") == files_of(tmp_path / "whole" / "search")


def test_a_killed_random_search_finds_the_same(tmp_path):
    torture("random_search", tmp_path, blows=6, seed=0)


def test_killed_islands_find_the_same(tmp_path):
    torture("islands", tmp_path, blows=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("miner", "blows"), [("random_search", 25), ("islands", 15), ("riskminer", 20)], ids=lambda part: str(part)
)
def test_many_blows_change_nothing(tmp_path, miner, blows):
    torture(miner, tmp_path, blows=blows, seed=2)


def test_a_blow_loses_one_interval_at_most(tmp_path):
    struck("random_search", tmp_path, at=3, after=0.02, blow=signal.SIGKILL)
    session = small_session(directory=tmp_path / "search", budget=BUDGET)
    assert session.restored() is not None
    assert session.evaluations >= 3 * 8  # the third of its checkpoints, which stand eight evaluations apart
