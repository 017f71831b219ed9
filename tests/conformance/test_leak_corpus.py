"""User files with a planted leak are caught, and their clean twins are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphaloom.app.check import check_panel, run_checks
from alphaloom.panel import Panel

FOLDER = Path(__file__).parent / "leaks"
LEAKS = sorted(FOLDER.glob("leak_*"))
TWINS = sorted(FOLDER.glob("clean_*"))
CAUGHT = ("changes from", "a later split or dividend re-bases", "bends with that bar's own close")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return check_panel()


def test_every_leak_has_a_clean_twin() -> None:
    assert [path.name.removeprefix("leak_") for path in LEAKS] == [path.name.removeprefix("clean_") for path in TWINS]
    assert len(LEAKS) >= 24


@pytest.mark.parametrize("path", LEAKS, ids=lambda path: path.name)
def test_a_planted_leak_is_caught(path: Path, panel: Panel) -> None:
    failed = [finding for finding in run_checks(path, panel, rows=50, seed=0) if not finding.passed]
    assert failed, "no check failed"
    # A file that merely breaks is not a leak that was understood.
    assert any(reason in finding.detail for finding in failed for reason in CAUGHT), failed


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.name)
def test_a_clean_twin_is_not_accused(path: Path, panel: Panel) -> None:
    findings = run_checks(path, panel, rows=50, seed=0)
    assert findings
    assert all(finding.passed for finding in findings), [str(f) for f in findings if not f.passed]
