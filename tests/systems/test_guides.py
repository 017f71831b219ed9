"""The guides' code runs as it is printed."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"


@pytest.mark.parametrize("name", ["add_forecaster", "add_policy", "add_system"])
def test_a_guide_runs(name, monkeypatch, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```$", (GUIDES / f"{name}.md").read_text(encoding="utf-8"), re.S | re.M)
    assert len(blocks) >= 2
    module = types.ModuleType(f"guide_{name}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks:
        exec(compile(block, f"{name}.md", "exec"), module.__dict__)
    assert "equity" in capsys.readouterr().out


def test_the_readme_runs(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = (GUIDES.parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert "value" in capsys.readouterr().out
    assert (tmp_path / "report.html").stat().st_size > 1e6
