"""QTMRL as a whole system: a composition, its profiles, and a tiny study from the configuration to the report."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from alphaloom.app.config import describe, load_config
from alphaloom.app.runs import study_of
from alphaloom.app.sources import load_panel
from alphaloom.errors import DataError
from alphaloom.factors import load_library
from alphaloom.roles import Learner
from alphaloom.systems import QTMRL, qtmrl
from alphaloom.systems.qtmrl import UNIVERSES

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_system_is_a_composition_of_known_parts():
    made = QTMRL()
    assert isinstance(made.learner, Learner)
    assert made.allocator is None
    assert len(inspect.getsource(qtmrl).splitlines()) <= 150
    assert "Source:" in (qtmrl.__doc__ or "")
    assert "arXiv:" in (qtmrl.__doc__ or "")
    for name, variant in made.ablations.items():
        assert variant.learner != made.learner, name


def test_the_settings_are_those_of_the_paper_where_it_speaks():
    learner = QTMRL(profile="paper").learner
    assert (learner.rate, learner.rollout, learner.gamma, learner.entropy) == (1e-5, 50, 0.96, 0.05)
    assert (learner.steps, learner.observation.window) == (1_000_000, 20)
    assert (learner.trading.mode, learner.trading.buy, learner.trading.sell) == ("discrete", 0.2, 0.5)
    assert (learner.trading.cash, learner.trading.reward, learner.standardise) == (10_000.0, "log", False)
    assert (QTMRL().learner.rate, QTMRL().learner.standardise) == (3e-4, True)
    assert QTMRL(profile="paper", rate=1e-3).learner.rate == 1e-3
    assert len(load_library(learner.observation.features)) == 37


def test_the_universes_are_those_of_the_paper():
    assert [len(UNIVERSES[name]) for name in ("qtmrl17", "qtmrl16")] == [17, 16]
    assert set(UNIVERSES["qtmrl17"]) - set(UNIVERSES["qtmrl16"]) == {"MRO"}


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: QTMRL(profile="fast"), "profile"),
        (lambda: QTMRL(net="tree"), "net"),
        (lambda: QTMRL(buy=1.2), "trading"),
        (lambda: QTMRL(window=0), "window"),
        (lambda: QTMRL(steps=0), "steps"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(make, where):
    with pytest.raises(DataError) as told:
        make()
    assert where in str(told.value.where)


def test_a_tiny_study_trades_and_says_how_it_was_taught():
    pytest.importorskip("torch")
    config = load_config(CONFIGS / "qtmrl_tiny.toml", settings=["data.days=760"])
    study, panel = study_of(config), load_panel(config.data)
    result = study.run(panel)
    assert len(result.folds) == 2
    assert result.daily["turnover"].sum() > 0.1
    assert all("validation rows was" in fold["notes"] for fold in result.folds) or any(
        "validation rows was" in note for note in result.notes
    )
    again = study_of(config).run(panel)
    assert again.daily["equity"].tobytes() == result.daily["equity"].tobytes()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*qtmrl*.toml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_read_and_written_back(path):
    config = load_config(path)
    assert describe(config)["system"]["kind"] == "qtmrl"
    assert replace(config.system, seed=3).learner.seed == 3
    if config.name.startswith("sp500"):
        assert tuple(config.data.assets) == UNIVERSES["qtmrl17"]
