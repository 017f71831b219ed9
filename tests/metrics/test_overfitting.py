"""Picking from many trials: noise, a truly better trial, a slow oracle, and counting alike trials."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from alphaloom.errors import AxisError, DataError
from alphaloom.metrics import overfitting


def slow(trials: np.ndarray, S: int) -> tuple[list[float], list[float], list[float]]:
    blocks = np.array_split(trials, S)
    logits, picked, realised = [], [], []
    for chosen in combinations(range(S), S // 2):
        inside = np.concatenate([blocks[s] for s in chosen])
        outside = np.concatenate([blocks[s] for s in range(S) if s not in chosen])
        one, other = (half.mean(axis=0) / half.std(axis=0, ddof=1) for half in (inside, outside))
        best = int(one.argmax())
        u = sum(x <= other[best] for x in other) / (len(other) + 1)
        logits.append(math.log(u / (1 - u)))
        picked.append(one[best])
        realised.append(other[best])
    return logits, picked, realised


def test_every_half_equals_the_slow_loop() -> None:
    trials = np.random.default_rng(0).normal(0.001, 0.01, (103, 7))
    found = overfitting.overfitting(trials, blocks=6)
    logits, picked, realised = slow(trials, 6)
    assert found.logits == pytest.approx(logits)
    assert len(logits) == 20
    assert found.picked == pytest.approx(picked)
    assert found.realised == pytest.approx(realised)
    assert found.probability == np.mean(np.array(logits) <= 0)
    assert found.loss_probability == np.mean(np.array(realised) < 0)
    assert found.slope == pytest.approx(np.polyfit(picked, realised, 1)[0])


def test_all_halves_of_sixteen_blocks_are_compared() -> None:
    found = overfitting.overfitting(np.random.default_rng(1).normal(size=(320, 3)))
    assert len(found.logits) == 12_870


def test_noise_is_overfitted_about_half_the_time() -> None:
    rates = [
        overfitting.overfitting(np.random.default_rng(seed).normal(0, 0.01, (800, 40)), blocks=10).probability
        for seed in range(12)
    ]
    assert 0.4 < np.mean(rates) < 0.6


def test_a_truly_better_trial_is_not_overfitted() -> None:
    trials = np.random.default_rng(2).normal(0, 0.01, (1000, 150))
    trials[:, 17] += 0.003
    found = overfitting.overfitting(trials)
    assert found.probability < 0.01
    assert found.loss_probability < 0.01
    assert found.first_order
    assert found.second_order


def test_a_pick_that_reverses_does_not_dominate() -> None:
    rng = np.random.default_rng(3)
    trials = rng.normal(0, 0.01, (800, 20))
    trials -= trials.mean(axis=0)  # what one half wins the other must lose
    found = overfitting.overfitting(trials, blocks=8)
    assert found.probability > 0.9
    assert found.slope < 0
    assert not found.first_order
    assert not found.second_order


def test_missing_periods_and_idle_trials() -> None:
    trials = np.random.default_rng(4).normal(0, 0.01, (64, 4))
    trials[:, 3] = 0.0
    holed = np.insert(trials, 5, [[np.nan, 0, 0, 0]], axis=0)
    one, other = (overfitting.overfitting(x, blocks=8) for x in (trials, holed))
    assert np.array_equal(one.logits, other.logits)
    assert (one.picked >= 0).all()
    idle = overfitting.overfitting(np.zeros((64, 4)), blocks=8)
    assert (idle.logits == 0).all()
    assert math.isnan(idle.slope)
    assert not idle.second_order


def test_too_little_to_split_is_refused() -> None:
    good = np.zeros((64, 4))
    for trials, blocks in ((good, 7), (good[:20], 16), (good[:, :1], 8)):
        with pytest.raises(DataError):
            overfitting.overfitting(trials, blocks=blocks)
    with pytest.raises(AxisError):
        overfitting.overfitting(good[:, 0])


def test_alike_trials_count_once() -> None:
    rng = np.random.default_rng(5)
    sources = rng.normal(0.001, 0.01, (500, 3))
    trials = np.repeat(sources, 5, axis=1) * rng.uniform(0.5, 2, 15) + rng.normal(0, 0.002, (500, 15))
    found = overfitting.effective_trials(trials)
    assert found.count == 3
    assert all(len(set(found.clusters[5 * k : 5 * k + 5].tolist())) == 1 for k in range(3))
    sharpes = sources.mean(axis=0) / sources.std(axis=0, ddof=1)
    assert found.variance == pytest.approx(sharpes.var(ddof=1), rel=0.3)


def test_unlike_trials_count_each_and_copies_once() -> None:
    rng = np.random.default_rng(6)
    assert overfitting.effective_trials(rng.normal(size=(400, 25))).count == 25
    same = np.tile(rng.normal(size=(400, 1)), 9)
    assert overfitting.effective_trials(same).count == 1
    assert overfitting.effective_trials(same).variance == 0
    assert overfitting.effective_trials(same[:, :1]).count == 1
    assert overfitting.effective_trials(np.column_stack([same[:, 0], -same[:, 0], np.zeros(400)])).count == 3
    with pytest.raises(DataError):
        overfitting.effective_trials(same[:1])
