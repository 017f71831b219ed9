"""The guide to searching: its code runs, its tables are read, its commands are there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from alphaloom.app.config import parse_config, shipped_configs
from alphaloom.app.mine_config import parse_search

TEXT = (Path(__file__).resolve().parents[2] / "docs/guides/mining.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.S | re.M)


def test_the_code_runs_as_it_is_printed(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("python")
    names: dict[str, object] = {"__name__": "guide"}
    exec(compile(block, "mining.md", "exec"), names)
    assert "(" in capsys.readouterr().out
    assert names["result"].formulas
    assert (tmp_path / "runs/mine/pool.toml").is_file()


def test_the_configurations_are_read(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    search, learner = blocks("toml")
    tables = tomllib.loads(search)
    config = parse_search({**tables, "data": {"kind": "embedded"}}, "mining.md")
    assert config.mining.horizon == tables["horizon"]
    assert config.mining.grammar.grammar.windows == tuple(tables["grammar"]["windows"])
    study = {"name": "x", "data": {"kind": "embedded"}, "plan": {"train": 300, "test": 100}}
    study |= {"allocator": {"kind": "top_k", "k": 5}, **tomllib.loads(learner)}
    assert type(parse_config(study, "mining.md").learner).__name__ == "Mined"


def test_the_commands_are_those_of_the_command_line(alphaloom):
    commands = [line.split("#")[0].split() for line in TEXT.splitlines() if line.startswith("alphaloom ")]
    assert len(commands) >= 4
    for command in commands:
        assert alphaloom(*command[1:3], "--help")[0] == 0
        if command[1:3] == ["mine", "run"]:
            assert f"{command[3]}.toml" in shipped_configs() or command[3] in shipped_configs()


@pytest.mark.parametrize("kind", ["random_search", "genetic", "ppo", "riskminer", "alpha2", "linear_alphas"])
def test_every_miner_that_is_named_can_be_taken(kind):
    assert f'"{kind}"' in TEXT or kind in TEXT
    (search, _) = blocks("toml")
    tables = {**tomllib.loads(search), "data": {"kind": "embedded"}, "miner": {"kind": kind}}
    assert parse_search(tables, "mining.md").mining.miner is not None
