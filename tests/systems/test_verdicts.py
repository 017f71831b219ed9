"""The verdict of a whole study: an effect that is there is found, one that is not there is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alphaloom.app.config import load_config
from alphaloom.app.runs import study_of
from alphaloom.data import simulate

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "factor_model_tiny.toml"


def study(*settings):
    config = load_config(CONFIG, settings=["controls=true", *settings])
    return study_of(config).run(simulate(config.data))


@pytest.fixture(scope="module")
def planted():
    return study()


@pytest.fixture(scope="module")
def noise():
    return study("data.noise=true")


def test_the_planted_effects_are_found(planted):
    assert planted.summary["rank_ic_mean"]["low"] > 0
    assert planted.summary["rank_ic_t"] > 3
    assert planted.summary["monotonicity"] > 0.5


def test_a_shuffled_signal_is_not(planted):
    assert abs(planted.summary["shuffled_rank_ic_t"]) < 2.5
    assert planted.summary["shuffled_sharpe"] < planted.summary["sharpe"]["value"]


def test_the_noise_twin_shows_nothing(noise):
    """Below two standard errors, and what the strategy earned beyond equal weight is not significant."""
    assert abs(noise.summary["ic_t"]) < 2
    assert abs(noise.summary["rank_ic_t"]) < 2
    assert noise.summary["dsr"] < 0.95


def test_the_twins_differ_by_the_planted_effects_alone(planted, noise):
    assert len(planted.daily["time"]) == len(noise.daily["time"])
    swing = [float(np.std(found.daily["benchmark.equal_weight"])) for found in (planted, noise)]
    assert 0.3 < swing[0] / swing[1] < 3


@pytest.mark.slow
def test_the_noise_twin_stays_silent_over_seeds():
    """Twenty noise twins. Bartlett weights at lag h - 1 make t a little too large (its deviation is about 1.15)."""
    told = []
    for seed in range(20):
        config = load_config(CONFIG, settings=["data.noise=true", f"data.seed={seed}"])
        told.append(study_of(config).run(simulate(config.data)).summary["rank_ic_t"])
    assert abs(np.mean(told)) < 3 * 1.15 / np.sqrt(len(told))
    assert np.mean(np.abs(told) > 2) <= 0.25
