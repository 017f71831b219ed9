"""The guide's code runs as it is printed."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "run_in_parallel.md"


@pytest.mark.skipif(sys.platform == "win32", reason="worker processes need a POSIX system")
def test_the_guide_runs(monkeypatch, capsys):
    module = types.ModuleType("__main__")  # as in a script or a notebook
    monkeypatch.setitem(sys.modules, "__main__", module)
    for block in re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.S | re.M):
        exec(compile(block, GUIDE.name, "exec"), module.__dict__)
    told = capsys.readouterr().out
    assert "equal equity: True" in told
    assert "shape: (300, 20, 2)" in told
    assert told.count("[") == 2
