"""The guide's code runs as it is printed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from alphaloom.app.config import parse_config

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "nets.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.S | re.M)


def test_the_code_runs(capsys):
    names: dict[str, object] = {"__name__": "guide"}
    for block in blocks("python"):
        exec(compile(block, "nets.md", "exec"), names)
    assert capsys.readouterr().out.splitlines()[1:] == ["(30, 1)", "(3, 1)", "stopped"]


def test_the_configuration_is_one():
    (text,) = blocks("toml")
    rest = {"name": "x", "data": {"kind": "embedded"}, "plan": {"train": 250, "test": 20}}
    config = parse_config({**rest, **tomllib.loads(text), "allocator": {"kind": "top_k", "k": 5}}, "guide")
    assert (config.learner.training.loss, config.learner.net.hidden) == ("adj_mse", (256, 128))
    assert config.learner.augmentation.mode == "block"
