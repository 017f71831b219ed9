from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from alphaloom.market import Market
from alphaloom.metrics import inference
from alphaloom.panel import Panel
from alphaloom.signal import Signal, forward_returns
from alphaloom.study import StudyResult
from alphaloom.study.directions import judge_directions, two_sided

FREE = Market(commission=0.0, slippage=0.0)


def panel_of(open_, **parts):
    open_ = np.asarray(open_, dtype=np.float64)
    times = (np.datetime64("2021-02-01") + np.arange(len(open_))).astype("datetime64[ns]")
    assets = tuple(f"A{j}" for j in range(open_.shape[1]))
    return Panel(times=times, assets=assets, fields={"open": open_, "close": open_.copy()}, **parts)


def row(found, side, horizon):
    return next(r for r in found.rows if "regime" not in r and (r["side"], r["horizon"]) == (side, horizon))


def test_hits_by_hand():
    # From open 1 to open 2 the first asset rises, the second falls; from 2 to 3 both fall.
    panel = panel_of([[10, 10], [10, 10], [11, 9], [10, 8], [10, 8]])
    signal = Signal(panel.times, panel.assets, np.array([[1, 1], [1, -1], [0, 0], [1, 0], [1, 1]], dtype=float))
    found = judge_directions(signal, panel, 0, market=FREE, horizon=1)
    long, short, both = (row(found, side, 1) for side in ("long", "short", "both"))
    # Bar 0: both long, one right. Bar 1: the long is wrong, the short right. The rest has no outcome or no view.
    assert (long["views"], long["hit_rate"]) == (3, pytest.approx(1 / 3))
    assert (short["views"], short["hit_rate"]) == (1, 1.0)
    assert (both["views"], both["hit_rate"]) == (4, 0.5)
    assert long["p_half"] == pytest.approx(inference.binomial_p(1, 3))
    # Rises: half of the assets on bar 0 (two views), none on bar 1 (one view).
    assert long["base_rate"] == pytest.approx(1 / 3)
    assert found.summary["coverage"] == pytest.approx(7 / 10)
    assert found.summary["coverage_short"] == pytest.approx(1 / 10)


def test_overlapping_outcomes_count_every_hth_bar_alone():
    rng = np.random.default_rng(0)
    panel = panel_of(100 * np.exp(np.cumsum(rng.normal(0, 0.02, (101, 6)), axis=0)))
    signal = Signal(panel.times, panel.assets, rng.choice([-1.0, 1.0], panel.shape))
    found = judge_directions(signal, panel, 0, market=FREE, horizon=5)
    five = row(found, "both", 5)
    assert five["views"] == 95 * 6
    assert five["tries"] == 19 * 6
    earned = forward_returns(panel, FREE, horizon=5).values[::5]
    said = signal.values[::5]
    hits = int((np.isfinite(earned) & (np.sign(earned) == said)).sum())
    assert five["independent_rate"] == pytest.approx(hits / 114)
    wilson = inference.wilson_interval(hits, 114)
    assert (five["low"], five["high"]) == (wilson.low, wilson.high)


def test_a_signal_that_only_follows_the_market_has_no_t():
    """Always right about the market's direction, never about which asset: hits are many, t is nothing."""
    rng = np.random.default_rng(1)
    moves = rng.normal(0, 0.02, (300, 1)) + rng.normal(0, 0.01, (300, 30))
    panel = panel_of(100 * np.exp(np.cumsum(moves, axis=0)))
    earned = forward_returns(panel, FREE).values
    market = np.sign(np.nan_to_num(earned).mean(axis=1, keepdims=True))
    pick = np.where(rng.random(panel.shape) < 0.5, market, 0.0)
    found = judge_directions(Signal(panel.times, panel.assets, pick), panel, 0, market=FREE, horizon=1)
    both = row(found, "both", 1)
    assert both["hit_rate"] > 0.7
    assert both["p_half"] < 1e-6
    assert abs(both["t"]) < 3
    skilled = np.where(rng.random(panel.shape) < 0.3, np.sign(np.nan_to_num(earned)), 0.0)
    found = judge_directions(Signal(panel.times, panel.assets, skilled), panel, 0, market=FREE, horizon=1)
    assert row(found, "both", 1)["t"] > 10


def test_regimes_read_no_later_level_and_quarters_are_named():
    rng = np.random.default_rng(2)
    level = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 400)))
    panel = panel_of(np.tile(level[:, None], (1, 3)), series={"index": level})
    signal = Signal(panel.times[100:], panel.assets, rng.choice([-1.0, 1.0], (300, 3)))
    found = judge_directions(signal, panel, 100, market=FREE, horizon=2)
    names = {r["regime"] for r in found.rows if "regime" in r}
    assert names == {"index drawdown", "index volatility", "quarter"}
    assert {r["bucket"] for r in found.rows if r.get("regime") == "quarter"} >= {"2021 Q2", "2021 Q3", "2022 Q1"}
    later = level.copy()
    later[250:] *= 3.0
    changed = panel.replace(series={"index": later})
    again = judge_directions(signal[:100], changed[:200], 100, market=FREE, horizon=2)
    assert again.rows == judge_directions(signal[:100], panel[:200], 100, market=FREE, horizon=2).rows


def test_only_views_of_both_signs_are_sides():
    panel = panel_of(np.ones((3, 2)))
    signal = Signal(panel.times, panel.assets, np.array([[1, -1], [0, 0], [1, 1]], dtype=float))
    assert two_sided(signal)
    assert not two_sided(dataclasses.replace(signal, kind="probability"))
    assert not two_sided(dataclasses.replace(signal, values=np.abs(signal.values)))


def test_a_side_that_was_never_taken_has_no_numbers():
    panel = panel_of(100 + np.arange(10.0)[:, None] * np.ones((1, 2)))
    values = np.zeros(panel.shape)
    values[0, 0], values[8, 1] = 1.0, -1.0
    short = row(
        judge_directions(Signal(panel.times, panel.assets, values), panel, 0, market=FREE, horizon=5), "short", 5
    )
    assert short["views"] == 0
    assert [short[name] for name in ("hit_rate", "low", "p_half", "p_base", "t")] == [None] * 5


def test_runs_of_earlier_versions_have_no_directions():
    assert {f.name: f.default for f in dataclasses.fields(StudyResult)}["directions"] == ()
