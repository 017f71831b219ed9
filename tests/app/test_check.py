"""What `alphaloom check` says about files that are wrong in another way than by a leak."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alphaloom.app import cli
from alphaloom.app.check import Finding, check_panel, run_checks
from alphaloom.errors import DataError, FormulaError

HONEST = 'def signal(panel):\n    return panel["close"] / panel["open"]\n'


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def panel():
    return check_panel(days=200, assets=12)


@pytest.mark.parametrize(
    "text",
    [
        'def signal(panel):\n    raise KeyError("nope")\n',
        "import sys\ndef signal(panel):\n    sys.exit(4)\n",
        "def signal():\n    return 3\n",
        'def signal(panel):\n    return panel["close"][:-3]\n',
        "def signal(panel):\n    return 3.0\n",
    ],
)
def test_what_cannot_be_run_fails_and_is_not_accused_of_a_leak(panel, tmp_path, text):
    findings = run_checks(written(tmp_path, "mine.py", text), panel, rows=5)
    assert findings
    assert not any(finding.passed or finding.ran for finding in findings)


@pytest.mark.parametrize("text", ["import sys\nsys.exit(3)\n", 'raise ValueError("boom")\n', "def f(:\n"])
def test_a_file_that_ends_the_interpreter_or_breaks_is_an_error_with_a_way_out(panel, tmp_path, text):
    with pytest.raises(DataError) as told:
        run_checks(written(tmp_path, "mine.py", text), panel)
    assert told.value.fix
    assert "mine.py" in str(told.value.where)


@pytest.mark.parametrize("name", ["mine.json", "absent.py", "folder.py"])
def test_only_files_of_the_three_kinds_are_checked(panel, tmp_path, name):
    (tmp_path / "folder.py").mkdir()
    written(tmp_path, "mine.json", "x")
    with pytest.raises(DataError, match="exists and is Python, TOML or text"):
        run_checks(tmp_path / name, panel)


def test_a_formula_with_an_unknown_field_is_misspelt_and_no_leak(panel, tmp_path):
    with pytest.raises(FormulaError, match="closee"):
        run_checks(written(tmp_path, "mine.txt", "value = closee / open\n"), panel)


def test_leaks_and_failures_are_counted_apart(capsys):
    from alphaloom.app.console import show_findings

    show_findings([Finding("a", True, ""), Finding("b", False, ""), Finding("c", False, "", ran=False)])
    out = capsys.readouterr().out
    assert "LEAK b" in out
    assert "FAIL c" in out
    assert "3 checked, 1 with a leak, 1 could not be run" in out


def test_a_negative_seed_is_refused_without_a_traceback(monkeypatch, capsys, tmp_path):
    path = written(tmp_path, "mine.py", HONEST)
    monkeypatch.setattr(sys, "argv", ["alphaloom", "check", str(path), "--seed", "-1"])
    with pytest.raises(SystemExit) as left:
        cli.run_app()
    assert left.value.code == 2
    assert "--seed" in capsys.readouterr().err


def test_a_library_is_checked_under_its_own_options(panel, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('[options]\nadv = "money"\n[[factor]]\nname = "a"\nformula = "volume / adv5"\n')
    without = panel.replace(fields={name: panel[name] for name in panel.fields if name != "vwap"})
    with pytest.raises(FormulaError, match="vwap"):
        run_checks(path, without, rows=3, seed=0)
    path.write_text('[[factor]]\nname = "a"\nformula = "volume / adv5"\n')
    (finding,) = run_checks(path, without, rows=3, seed=0)
    assert finding.passed
