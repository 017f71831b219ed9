"""Planted drift: what raises or stretches one expert's rewards attracts the selection, until values are aligned."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch")

import alphaloom.agents.dqn as dqn
from alphaloom.agents.dqn import CrossSectionDQN
from alphaloom.agents.dqn_brain import CrossSectionBrain
from alphaloom.agents.dqn_drift import DriftReport, drift_report, side_by_side
from alphaloom.agents.dqn_rewards import Branches, earned
from alphaloom.agents.observation import Observed
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.panel import Panel

FREE = Market(commission=0.0, slippage=0.0, fill="same_close")
N, STRETCHED, RAISED = 10, 2, 5


def world(T: int, seed: int) -> tuple[Panel, Observed]:
    """Ten assets whose next return is foretold equally well by what is seen of each."""
    rng = np.random.default_rng(seed)
    x, returns = rng.normal(size=(T, N)), np.zeros((T, N))
    returns[1:] = 0.006 * x[:-1] + rng.normal(0.0, 0.01, (T - 1, N))
    close = 100.0 * np.cumprod(1.0 + returns, axis=0)
    times = np.datetime64("2000-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D")
    panel = Panel(times, tuple(f"A{i}" for i in range(N)), {"open": close, "close": close})
    return panel, Observed.of(panel, x[:, :, None], ["x"])


def disturbed(pay: Branches) -> Branches:
    """Both branches of one asset times five, those of another raised by a hundredth."""
    hold, idle = pay.hold.copy(), pay.idle.copy()
    for branch in (hold, idle):
        branch[:, STRETCHED] *= 5.0
        branch[:, RAISED] += 0.01
    return replace(pay, hold=hold, idle=idle)


@cache
def learned(alignment: str, planted: bool) -> CrossSectionBrain:
    agent = CrossSectionDQN(
        widths=(16,),
        experts="per_asset",
        alignment=alignment,
        steps=70_000,
        memory=70_000,
        batch=1_600,
        rate=5e-4,
        seed=1,
        copy_every=1_000,
        validation=0,
        rule="top_k",
    )
    panel, observed = world(3_000, 0)
    plain = dqn.pay_branches
    if planted:
        dqn.pay_branches = lambda *parts, **more: disturbed(plain(*parts, **more))
    try:
        brain, _ = agent.trained(panel, observed, FREE, cut=len(panel))
    finally:
        dqn.pay_branches = plain
    return brain


def report(brain: CrossSectionBrain, alignment: str) -> DriftReport:
    panel, observed = world(4_000, 1)
    return drift_report(replace(brain, alignment=alignment), observed, earned(panel, FREE))


def test_raw_values_concentrate_on_what_was_disturbed():
    quiet, planted = (report(learned("cdf", flag), "none") for flag in (False, True))
    assert planted.pull[STRETCHED] > 2.0
    assert planted.pull[RAISED] > 2.0
    assert planted.across < 0.8 * quiet.across
    # The report says so: the raised expert's values lie beyond everybody's, the stretched one's are wider.
    assert planted.value_mean[RAISED] > 3.0 * np.delete(planted.value_mean, [STRETCHED, RAISED]).max()
    assert planted.value_distance[RAISED, 0] > 0.9 > quiet.value_distance[RAISED, 0]
    assert planted.score_deviation[STRETCHED] > 3.0 * np.median(planted.score_deviation)


def test_the_advantage_removes_the_shift_but_not_the_scale():
    planted = report(learned("cdf", True), "advantage")
    assert planted.pull[RAISED] < 1.25
    assert planted.pull[STRETCHED] > 1.5


@pytest.mark.parametrize("alignment", ["cdf", "popart", "penalty"])
def test_alignments_remove_shift_and_scale(alignment):
    quiet, planted = (report(learned(alignment, flag), alignment) for flag in (False, True))
    for asset in (STRETCHED, RAISED):
        assert 0.75 <= planted.pull[asset] <= 1.25
    assert planted.across >= 0.95 * quiet.across


def test_a_report_by_hand():
    from scipy.stats import ks_2samp, spearmanr

    panel, observed = world(400, 3)
    brain, returns = learned("cdf", False), earned(panel, FREE)
    found = drift_report(brain, observed, returns, names=panel.assets)
    rows, free = np.arange(400), np.zeros((400, N), bool)
    gain, order = brain.scores(observed, rows, free)
    value = brain.values(observed, rows, free)[..., 1]
    held = brain.choose(gain, order, observed.usable) > 0
    assert found.share == pytest.approx(held.sum(axis=0) / held.sum())
    assert found.fair == pytest.approx(np.full(N, 0.1))
    assert found.value_mean == pytest.approx(value.mean(axis=0))
    assert found.score_quantiles[4] == pytest.approx(np.quantile(order[:, 4], (0.05, 0.5, 0.95)))
    assert found.distance[1, 7] == pytest.approx(ks_2samp(order[:, 1], order[:, 7]).statistic, abs=0.02)
    assert found.inside[3] == pytest.approx(spearmanr(order[:-1, 3], returns[:-1, 3]).statistic)
    across = [spearmanr(order[t], returns[t]).statistic for t in range(399)]
    assert found.across == pytest.approx(np.mean(across))
    worst = found.rows()[0]
    assert abs(worst["pull"] - 1.0) == pytest.approx(np.abs(found.pull - 1.0).max())
    assert worst["furthest"] in set(panel.assets) - {worst["expert"]}


def test_aligned_and_unaligned_stand_side_by_side():
    panel, observed = world(300, 4)
    both = side_by_side(learned("popart", True), observed, earned(panel, FREE), rows=np.arange(200))
    assert list(both) == ["none", "advantage", "popart"]
    assert both["none"].pull[RAISED] > both["popart"].pull[RAISED]


def test_one_net_for_all_is_looked_at_by_asset_and_an_empty_span_is_refused():
    panel, observed = world(300, 5)
    agent = CrossSectionDQN(widths=(8,), steps=2_000, memory=2_000, batch=128, rate=2e-3, validation=0)
    brain, _ = agent.trained(panel, observed, FREE, cut=300)
    found = drift_report(brain, observed, earned(panel, FREE))
    assert len(found.experts) == N
    assert found.distance.max() < 0.35  # one net on equal assets: what is left is chance
    blank = replace(observed, usable=np.zeros_like(observed.usable))
    with pytest.raises(DataError, match="usable cell"):
        drift_report(brain, blank, earned(panel, FREE), rows=np.arange(10))
