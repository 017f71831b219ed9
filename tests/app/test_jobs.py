"""`alphaloom run --jobs`: folds at the same time, and the same files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="worker processes need a POSIX system")

CONFIG = """
name = "folds"
[data]
kind = "embedded"
days = 480
assets = 20
[learner]
kind = "lightgbm"
min_rows = 20
trees = 15
[allocator]
kind = "top_k"
k = 5
[plan]
train = 300
test = 30
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "folds.toml").write_text(CONFIG)
    return [sys.executable, "-c", "from alphaloom.app import main; main()", "run", str(tmp_path / "folds.toml")]


def test_two_jobs_write_the_files_of_one_and_ctrl_c_is_no_loss(command, tmp_path):
    options = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    two = [*command, "--jobs", "2", "--out", "two"]
    with subprocess.Popen(two, start_new_session=True, **options) as started:
        folds, end = tmp_path / "two" / "folds", time.monotonic() + 120
        while time.monotonic() < end and started.poll() is None:
            if folds.is_dir() and len(list(folds.iterdir())) > 1:
                break
            time.sleep(0.02)
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does: the workers hear it too
        _, told = started.communicate(timeout=60)
    assert started.returncode == 130, told
    assert "Traceback" not in told
    assert not (tmp_path / "two" / "result.json").exists()
    subprocess.run(two, check=True, timeout=300, **options)
    subprocess.run([*command, "--out", "one"], check=True, timeout=300, **options)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) > 12
    for name in files:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name


def test_jobs_are_counted_from_one(command, tmp_path):
    done = subprocess.run([*command, "--jobs", "0"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "--jobs" in done.stderr
