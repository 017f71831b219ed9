"""RiskMiner and Alpha2 as whole systems: small, on a market where something is planted, and on its noise twin."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from alphaloom.app.config import describe, load_config
from alphaloom.app.runs import study_of
from alphaloom.app.sources import load_panel
from alphaloom.errors import DataError
from alphaloom.mining.learner import Miner
from alphaloom.roles import Allocator, Learner
from alphaloom.systems import Alpha2System, RiskMinerSystem, alpha2, riskminer

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(("system", "module"), [(RiskMinerSystem, riskminer), (Alpha2System, alpha2)])
def test_a_system_is_a_composition_of_known_parts(system, module):
    made = system()
    assert isinstance(made.learner, Learner)
    assert isinstance(made.allocator, Allocator)
    assert hasattr(made.miner, "mine")
    assert Miner is not None
    assert len(inspect.getsource(module).splitlines()) <= 150
    assert "Source:" in (module.__doc__ or "")
    assert "arXiv:" in (module.__doc__ or "")
    for name, variant in made.ablations.items():
        assert variant != made, name
        assert isinstance(variant.learner, Learner)


def test_the_profiles_are_those_of_the_papers():
    paper, safe = RiskMinerSystem(profile="paper"), RiskMinerSystem()
    assert (paper.learner.capacity, paper.learner.horizon, paper.learner.grammar.max_tokens) == (100, 5, 30)
    assert (safe.learner.capacity, safe.learner.horizon, safe.learner.grammar.max_tokens) == (20, 10, 20)
    assert (paper.learner.combiner, safe.learner.combiner) == ("mse", "lasso")
    assert (paper.learner.grammar.units, safe.learner.grammar.units) == ("off", "safe")
    assert (safe.allocator.k, safe.allocator.every) == (40, 5)
    both = Alpha2System()
    assert (both.allocator.k, both.allocator.drop) == (50, 5)
    assert both.learner.terms.boosting.top == 20
    assert Alpha2System(profile="paper").learner.settings.clip == 0.0


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: RiskMinerSystem(profile="fast"), "profile"),
        (lambda: RiskMinerSystem(risk=1.5), "risk"),
        (lambda: RiskMinerSystem(evaluations=0), "evaluations"),
        (lambda: Alpha2System(combiner="mean"), "combiner"),
        (lambda: Alpha2System(drop=60), "drop"),
        (lambda: Alpha2System(beta=2.0), "beta"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(make, where):
    with pytest.raises(DataError) as told:
        make()
    assert where in str(told.value.where)


@pytest.mark.parametrize("name", ["riskminer_tiny", "alpha2_tiny"])
def test_a_tiny_study_finds_what_is_planted(name):
    pytest.importorskip("torch")
    config = load_config(CONFIGS / f"{name}.toml", settings=["data.days=520", "system.evaluations=150"])
    result = study_of(config).run(load_panel(config.data))
    assert result.summary["rank_ic_mean"]["low"] > 0.0
    assert any("formulas were evaluated" in note for note in result.notes)


@pytest.mark.parametrize("name", ["riskminer_tiny", "alpha2_tiny"])
def test_a_tiny_study_finds_nothing_in_noise(name):
    pytest.importorskip("torch")
    settings = ["data.days=520", "system.evaluations=100", "data.noise=true"]
    config = load_config(CONFIGS / f"{name}.toml", settings=settings)
    result = study_of(config).run(load_panel(config.data))
    assert result.summary["rank_ic_mean"]["low"] < 0.0 < result.summary["rank_ic_mean"]["high"]


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.glob("*riskminer*.toml")) + sorted(CONFIGS.glob("*alpha2*.toml")), ids=str
)
def test_shipped_configurations_are_read_and_written_back(path):
    if "[miner]" in path.read_text():
        return
    config = load_config(path)
    assert describe(config)["system"]["kind"] in ("riskminer", "alpha2")
    assert replace(config.system, seed=3).learner.seed == 3
