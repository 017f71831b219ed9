"""The guide to agents: its code runs, its tables are read, its commands and numbers are there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from alphaloom.agents.observed import Observed
from alphaloom.agents.policy import AgentPolicy
from alphaloom.agents.simulator import Simulator
from alphaloom.agents.trading import MODES, PRESETS, REWARDS, Trading
from alphaloom.app.catalog import CATALOG
from alphaloom.app.config import parse_config, shipped_configs
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.testing import check_policy

TEXT = (Path(__file__).resolve().parents[2] / "docs/guides/agents.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.S | re.M)


def test_the_code_runs_as_it_is_printed(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "guide"}
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"agents.md, block {number}", "exec", dont_inherit=True), names)
    told = capsys.readouterr().out
    assert "move of" in told  # the hole was named
    assert "of costs" in told
    policy = names["mine"]
    assert isinstance(policy, AgentPolicy)
    check_policy(policy, names["panel"], rows=3)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())  # nothing was written


def test_the_configurations_are_read():
    agent, skill = blocks("toml")
    study = {"name": "x", "data": {"kind": "embedded"}, "plan": {"train": 600, "test": 100}}
    config = parse_config({**study, **tomllib.loads(agent), **tomllib.loads(skill)}, "agents.md")
    assert type(config.agent).__name__ == "ActorCritic"
    assert config.agent.trading.length == tomllib.loads(agent)["agent"]["trading"]["length"]
    assert config.skill.seeds == tomllib.loads(skill)["skill"]["seeds"]


def test_the_commands_are_those_of_the_command_line(alphaloom):
    commands = [line.split("#")[0].split() for line in TEXT.splitlines() if line.startswith("alphaloom ")]
    assert len(commands) == 2
    for command in commands:
        assert command[1] == "run"
        assert command[2] in shipped_configs()


@pytest.mark.parametrize("word", [*CATALOG["agent"], *MODES, *REWARDS, *PRESETS, "qtmrl", "cross_sectional_dqn"])
def test_everything_that_can_be_named_is_told(word):
    assert f"`{word}`" in TEXT or f'"{word}"' in TEXT


def test_the_shaped_pay_is_told_as_it_is():
    """One asset that is bought, held for 59 bars and sold half: every part of the table, added up by hand."""
    (table,) = re.findall(r"^\| part \| amount \|\n(.*?)\n\n", TEXT, re.S | re.M)
    growth, profit, bonus, wrong, stale, old = (float(number) for number in re.findall(r"[+-] (0\.\d+)", table))
    rng = np.random.default_rng(0)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (64, 1)), axis=0))
    times = np.busday_offset("2020-01-01", np.arange(64), roll="forward").astype("datetime64[ns]")
    panel = Panel(times, ("A",), {"open": close, "close": close})
    trading, _ = Trading.preset("qtmrl_shaped")
    free = Market(commission=0.0, slippage=0.0, fill="same_close")
    world = Simulator(panel, Observed.of(panel, np.zeros((64, 1, 1)), ["none"]), free, trading)
    equity = [trading.cash]
    for t in range(63):
        action = {0: 2, 60: 0, 62: 0}.get(t, 1)
        step = world.step([[action]])
        equity.append(float(step.equity[0]))
        expected = growth * (equity[-1] / equity[-2] - 1.0) + (bonus if t == 0 else 0.0)
        if t in (60, 62):  # profit over the average price of what is held, which is marked where the bar ends
            expected += profit * (close[t + 1, 0] / close[1, 0] - 1.0)
        held = t + 1  # bars
        expected -= old if held > 50 else stale if held > 20 else 0.0
        assert step.reward[0] == pytest.approx(expected, abs=1e-12), t
    poor = Simulator(panel, Observed.of(panel, np.zeros((64, 1, 1)), ["none"]), free, trading)
    assert poor.step([[0]]).reward[0] == pytest.approx(-wrong)  # nothing is there to sell
