from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alphaloom.app.config import load_config
from alphaloom.app.runs import study_of
from alphaloom.app.sources import load_panel
from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError
from alphaloom.forecast.augmentation import Augmentation
from alphaloom.forecast.correction import Correction
from alphaloom.market import Market
from alphaloom.metrics import ranking
from alphaloom.roles import Allocator, Learner
from alphaloom.signal import forward_returns
from alphaloom.systems import MultiFactor, multi_factor
from alphaloom.systems.multi_factor import LIBRARIES, joined

TINY = Path(__file__).parents[2] / "configs" / "multi_factor_tiny.toml"
SMALL = MultiFactor(
    libraries=("classic",),
    correction=Correction(exposures=("size",)),
    portfolio="top_k",
    k=10,
    buffer=10,
    thin=2,
    trees=40,
    min_rows=200,
    hidden=(16,),
    epochs=6,
)


@pytest.fixture(scope="module")
def panel():
    """A market whose planted effects are three times the usual ones, so that few bars are enough to find them."""
    return simulate(EmbeddedMarket(days=560, assets=70, seed=11, reversal=0.1, value=0.08, volume=0.1, news=0.0))


def strength(system, panel, split=400):
    signal = system.learner.fit(panel[:split], Market()).predict(panel)
    target = forward_returns(panel, Market(), horizon=signal.horizon).values
    daily = ranking.rank_ic(signal.values[split:], target[split:])
    return ranking.ic_summary(daily, periods_per_year=252.0, horizon=signal.horizon)


def test_all_seven_libraries_make_957_factors_and_prices_alone_keep_more_than_700():
    factors = joined(LIBRARIES, 10)
    assert len(factors) == 957
    market = simulate(EmbeddedMarket(days=30, assets=5, seed=1))
    fields = {name: market[name] for name in ("open", "high", "low", "close", "volume", "vwap")}
    bare = market.replace(fields=fields, units={name: market.units[name] for name in fields}, labels={}, label_names={})
    assert len(factors.supported_by(bare)[0]) > 900
    assert len(inspect.getsource(multi_factor).splitlines()) <= 150


@pytest.mark.parametrize("model", ["ridge", "lightgbm", "mlp", "factor_transformer"])
def test_each_model_recovers_the_planted_effects(panel, model):
    if model in ("mlp", "factor_transformer"):
        pytest.importorskip("torch")
    system = replace(SMALL, model=model)
    if model == "factor_transformer":  # attention is slow on a processor: one date in eight, few passes
        system = replace(system, thin=8, epochs=3)
    assert isinstance(system.learner, Learner)
    assert isinstance(system.allocator, Allocator)
    found = strength(system, panel)
    assert found["mean"] > 0.02
    assert found["t"] > 2.0


def test_the_tiny_configuration_beats_its_shuffled_signal_and_its_noise_twin():
    config = load_config(TINY, settings=["controls=true"])
    result = study_of(config).run(load_panel(config.data))
    assert result.summary["rank_ic_mean"]["low"] > 0.0
    assert result.summary["rank_ic_mean"]["value"] > result.summary["shuffled_rank_ic_mean"]
    assert abs(result.summary["shuffled_rank_ic_t"]) < 2.0
    twin = load_config(TINY, settings=["data.noise=true"])
    noise = study_of(twin).run(load_panel(twin.data))
    assert abs(noise.summary["rank_ic_t"]) < 2.0


def test_every_ablation_changes_one_thing_and_can_be_made():
    found = SMALL.ablations
    assert len(found) >= 18
    assert len(set(found.values())) == len(found)
    for name in ("no neutralise", "mask post_hoc", "mask none", "no orient", "no redundancy", "augmentation block"):
        assert found[name] != SMALL
        assert isinstance(found[name].learner, Learner)
    assert "no augmentation" not in found
    assert replace(SMALL, augmentation=Augmentation()).ablations["no augmentation"] == SMALL
    assert "model ridge" not in found
    assert {"model lightgbm", "portfolio optimise"} <= set(found)


def test_augmentation_adds_rows_that_weigh_half(panel):
    system = replace(SMALL, augmentation=Augmentation("block", weight=0.5))
    fitted = system.learner.fit(panel[:350], Market())
    assert any("synthetic" in note for note in fitted.notes)
    assert fitted.slopes != SMALL.learner.fit(panel[:350], Market()).slopes


def test_the_optimiser_gets_returns_and_holds_within_its_limits(panel):
    from alphaloom.backtest import backtest

    system = replace(SMALL, portfolio="optimise", cap=0.08, band=0.2, turnover=0.0, window=60)
    signal = system.learner.fit(panel[:420], Market()).predict(panel)
    assert signal.kind == "return"
    run = backtest(system.allocator.policy(signal[440:]), panel, Market(), start=440)
    decided = run.weights[np.isfinite(run.weights).all(axis=1)]
    assert len(decided) > 10
    assert decided.min() >= -1e-8
    assert decided.max() <= 0.08 + 1e-6


def test_faults_show_at_construction():
    for wrong in (
        {"k": 0},
        {"horizon": 0},
        {"loss": "ic"},
        {"portfolio": "optimise", "cap": 0.0},
        {"min_rows": 0, "model": "lightgbm"},
    ):
        with pytest.raises(DataError):
            replace(SMALL, **wrong)
