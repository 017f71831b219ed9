"""The baselines of trading agents, named in a configuration."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.agents.signals import NetSignals
from alphaloom.app.config import describe, parse_config
from alphaloom.app.runs import study_of
from alphaloom.app.sources import load_panel
from alphaloom.errors import ConfigError

TABLES = {
    "name": "one",
    "seed": 11,
    "data": {"kind": "embedded", "days": 300, "assets": 4},
    "plan": {"train": 200, "test": 50},
}


@pytest.mark.parametrize(
    "kind", ["random_signals", "dow_tracking", "moving_average_signals", "arima_signals", "net_signals"]
)
def test_every_baseline_can_be_named_and_described(kind):
    config = parse_config({**TABLES, "agent": {"kind": kind}}, "test")
    told = describe(config.agent)
    assert told["kind"] == kind
    assert parse_config({**TABLES, "agent": told}, "test").agent == config.agent
    if hasattr(config.agent, "seed"):
        assert config.agent.seed == 11


def test_what_a_net_sees_is_a_table_of_its_own():
    table = {"kind": "net_signals", "net": "cnn", "observation": {"features": "ratio", "window": 5}}
    agent = parse_config({**TABLES, "agent": table}, "test").agent
    assert isinstance(agent, NetSignals)
    assert (agent.net, agent.observation.features, agent.observation.window) == ("cnn", "ratio", 5)


def test_a_baseline_with_a_meaningless_setting_is_refused_where_it_stands():
    with pytest.raises(ConfigError) as caught:
        parse_config({**TABLES, "agent": {"kind": "moving_average_signals", "sizing": "half", "windows": 3}}, "test")
    assert "agent.sizing" in str(caught.value)
    assert "agent.windows" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("random_signals", {}),
        ("dow_tracking", {}),
        ("moving_average_signals", {"window": 10}),
        ("arima_signals", {"window": 60, "refit": 20}),
    ],
)
def test_what_a_fold_learned_is_kept_with_the_run(kind, more, tmp_path):
    config = parse_config(
        {
            **TABLES,
            "market": {"fill": "same_close"},
            "agent": {"kind": kind, **more},
            "plan": {"train": 200, "test": 60},
        },
        "test",
    )
    panel = load_panel(config.data)
    study = study_of(config)
    first = study.run(panel, directory=tmp_path / "run")
    assert len(list((tmp_path / "run" / "folds").glob("policy_*.facts.json"))) == 2
    (tmp_path / "run" / "result.json").unlink()

    def never(*_):
        raise AssertionError("learned again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(study.learner), "fit", never)
        again = study.run(panel, directory=tmp_path / "run")
    assert np.array_equal(first.daily["equity"], again.daily["equity"])
