"""The page about popular readings says what its script measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_page_holds_the_numbers_of_its_script():
    script = ROOT / "benchmarks" / "alpha101_errata.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr or "docs/errata.md is out of date: run the script with --write"
