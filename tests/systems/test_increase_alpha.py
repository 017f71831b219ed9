"""The directional system as a whole: an effect that is there is found, one that is not there is not."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from alphaloom.app.config import load_config
from alphaloom.app.runs import study_of
from alphaloom.data import simulate
from alphaloom.errors import DataError
from alphaloom.report import write_report
from alphaloom.roles import Allocator, Learner
from alphaloom.study import load_run
from alphaloom.systems import IncreaseAlpha, increase_alpha

pytest.importorskip("torch")
CONFIG = Path(__file__).resolve().parents[2] / "configs" / "increase_alpha_tiny.toml"


def study(*settings):
    config = load_config(CONFIG, settings=["controls=true", *settings])
    return study_of(config), simulate(config.data)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    asked, panel = study()
    return asked.run(panel, directory=tmp_path_factory.mktemp("runs") / "planted")


@pytest.fixture(scope="module")
def noise():
    asked, panel = study("data.noise=true")
    return asked.run(panel)


def test_it_is_a_learner_and_an_allocator():
    system = IncreaseAlpha()
    assert isinstance(system.learner, Learner)
    assert isinstance(system.allocator, Allocator)
    assert len(inspect.getsource(increase_alpha).splitlines()) <= 150


def test_the_planted_effects_are_found(planted):
    assert planted.summary["rank_ic_mean"]["low"] > 0
    assert planted.summary["rank_ic_t"] > 3


def test_a_shuffled_signal_is_not(planted):
    assert abs(planted.summary["shuffled_rank_ic_t"]) < 2.5
    assert planted.summary["gross_sharpe"] > planted.summary["shuffled_sharpe"]


def test_the_noise_twin_shows_nothing(noise):
    assert abs(noise.summary["ic_t"]) < 2
    assert abs(noise.summary["rank_ic_t"]) < 2
    assert noise.summary["dsr"] < 0.95
    assert all(abs(noise.summary[f"hit_t_{side}"] or 0.0) < 3 for side in ("long", "short"))


def test_every_cell_of_the_grid_is_a_trial(planted):
    asked, _ = study()
    assert asked.trials == 1
    assert planted.summary["trials"] == asked.allocator.trials == 4
    assert any("1 of the study times 4 of the allocator's grid" in note for note in planted.notes)
    assert any(note.startswith("exits chosen most often") for note in planted.notes)
    assert any("thresholds tau" in fold["notes"] for fold in planted.folds)


def test_sides_are_judged_stored_and_shown(planted, tmp_path):
    rows = [row for row in planted.directions if "regime" not in row]
    assert {(row["side"], row["horizon"]) for row in rows} == {
        (side, h) for side in ("long", "short", "both") for h in range(1, 11)
    }
    assert load_run(planted.directory).directions == planted.directions
    page = write_report(planted, tmp_path / "report.html").read_text()
    assert 'id="directions"' in page
    assert "Hit rates by side and horizon" in page
    assert "Calendar quarters" in page


def test_each_ablation_is_another_system():
    system = IncreaseAlpha()
    assert {"feed_forward_only", "recurrent_only", "no_calibration", "no_agreement", "fixed_exits"} <= set(
        system.ablations
    )
    for name, variant in system.ablations.items():
        assert variant != system, name
        assert (variant.learner, variant.allocator) != (system.learner, system.allocator), name
    assert system.ablations["fixed_exits"].learner == system.learner
    assert system.ablations["feed_forward_only"].learner.recurrent == 0


def test_faults_show_at_construction():
    for wrong in ({"positions": 0}, {"horizons": 0}, {"days": (0,)}, {"feed_forward": 0, "recurrent": 0}, {"width": 0}):
        with pytest.raises(DataError):
            IncreaseAlpha(**wrong)


@pytest.mark.parametrize("name", ["increase_alpha", "sp500_increase_alpha", "csi300_increase_alpha"])
def test_the_shipped_configurations_can_be_read(name):
    config = load_config(CONFIG.with_name(f"{name}.toml"))
    asked = study_of(config)
    cost = asked.market.commission + asked.market.slippage
    assert np.isclose(asked.allocator.cost, cost)
    assert np.isclose(asked.allocator.borrow, asked.market.borrow)
    assert np.isclose(asked.allocator.sell_tax, asked.market.sell_tax)
    assert (asked.allocator.sides == "both") == asked.market.short
