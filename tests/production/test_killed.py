"""A day job that is killed at any moment and started again loses nothing and does nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from killed_worker import LENGTH, POLICY, START
from rough_world import ROUGH, rough_panel

from alphaloom.backtest import backtest
from alphaloom.production import Desk, PaperBroker
from alphaloom.production.journal import read_journal

WORKER = Path(__file__).with_name("killed_worker.py")


def killed(folder: Path, kills: int, seed: int) -> list[Path]:
    """The folders of all lives, after that many kills in them."""
    call = [sys.executable, str(WORKER), str(folder), str(kills), str(seed)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["killed"] >= kills
    return [folder / f"life_{number}" for number in range(told["lives"])]


def check(folder: Path, lives: list[Path]) -> None:
    """Every life ends with the account and the orders of the one that nobody disturbed."""
    panel = rough_panel(T=LENGTH)
    expected = backtest(POLICY, panel, ROUGH, start=START, cash=1e6)
    whole = (folder / "whole" / "broker.jsonl").read_bytes()
    intended = [r.body for r in read_journal(folder / "whole" / "desk.jsonl") if r.kind == "intend"]
    for life in lives:
        assert (life / "broker.jsonl").read_bytes() == whole
        assert [r.body for r in read_journal(life / "desk.jsonl") if r.kind == "intend"] == intended
        with PaperBroker.open(life / "broker.jsonl", ROUGH) as broker, Desk.open(life / "desk.jsonl") as desk:
            history = broker.book(panel).history
            assert history.equity.tobytes() == expected.equity.tobytes()
            assert np.array_equal(history.shares, expected.shares)
            assert desk.reconcile(broker).agreed
            assert desk.positions() == pytest.approx(dict(broker.statement().positions))


pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")


def test_fifteen_kills_lose_and_double_nothing(tmp_path):
    check(tmp_path, killed(tmp_path, 15, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_two_hundred_kills_lose_and_double_nothing(tmp_path, seed):
    check(tmp_path, killed(tmp_path, 50, seed=100 + seed))
