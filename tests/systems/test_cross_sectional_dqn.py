"""The system from its configuration: one learner, rivals, variants; a tiny study runs and is repeated byte for byte."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from pathlib import Path

from alphaloom.agents.dqn import CrossSectionDQN
from alphaloom.app.config import load_config
from alphaloom.app.runs import study_of
from alphaloom.app.sources import load_panel
from alphaloom.errors import ConfigError, DataError
from alphaloom.systems import CrossSectionalDQN


def test_the_system_gives_its_seed_and_window_to_the_agent():
    system = CrossSectionalDQN(window=3, seed=11)
    assert isinstance(system.learner, CrossSectionDQN)
    assert (system.learner.seed, system.learner.observation.window) == (11, 3)
    assert system.allocator is None
    printed = {"gamma": 0.9, "epsilon": 0.3, "steps": 3_000_000, "memory": 300_000, "batch": 1024, "every": 20}
    assert {name: getattr(system.learner, name) for name in printed} == printed
    assert system.learner.widths == (32, 64, 128)
    assert not system.ablations["without risk vector"].learner.observation.market
    assert len(system.ablations) == 5
    with pytest.raises(DataError):
        CrossSectionalDQN(window=0)


@pytest.mark.parametrize("name", ["dqn_tiny", "crypto_dqn_daily", "crypto_dqn_hourly", "sp500_dqn_2020"])
def test_shipped_configurations_are_valid(name):
    config = load_config(Path(name))
    assert isinstance(config.system, CrossSectionalDQN)
    assert config.system.seed == 7
    assert set(config.benchmarks) >= {"momentum", "reversion", "equal_weight"}


def test_a_fault_in_the_agents_table_names_its_place():
    with pytest.raises(ConfigError) as caught:
        load_config(Path("dqn_tiny"), settings=["system.agent.alignment='zscore'", "system.agent.stepz=3"])
    assert "system.agent.stepz" in str(caught.value)
    assert "system.agent.alignment" in str(caught.value)


def test_a_tiny_study_runs_and_repeats(tmp_path):
    config = load_config(Path("dqn_tiny"), settings=["system.agent.steps=2000", "data.days=700", "plan.test=60"])
    panel = load_panel(config.data)
    first, second = (study_of(config).run(panel, directory=tmp_path / name) for name in ("a", "b"))
    assert np.array_equal(first.daily["equity"], second.daily["equity"])
    assert (tmp_path / "a" / "daily.parquet").read_bytes() == (tmp_path / "b" / "daily.parquet").read_bytes()
    assert any(path.name.startswith("policy_000") for path in (tmp_path / "a" / "folds").iterdir())
