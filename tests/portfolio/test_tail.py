from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.portfolio import tail
from alphaloom.portfolio.tail import TailRisk, least_tail, scenarios, tail_mean
from alphaloom.testing import check_policy


def drawdowns(returns):
    level = np.concatenate([[0.0], returns.cumsum()])
    return (np.maximum.accumulate(level) - level)[1:]


def test_the_mean_of_the_worst_losses_by_hand():
    losses = np.array([1.0, 5, 3, 2, 4, 0, -1, -2, -3, -4])
    assert tail_mean(losses, 0.8) == pytest.approx(4.5)
    assert tail_mean(losses, 0.75) == pytest.approx((5 + 4 + 0.5 * 3) / 2.5)
    assert tail_mean(losses, 0.0) == pytest.approx(losses.mean())


def test_two_assets_by_hand():
    # Losses of 4 on different days: half and half loses 2 on each; the worst half of the bars are these two.
    returns = np.array([[-0.04, 0.0], [0.0, -0.04], [0.01, 0.01], [0.01, 0.01]])
    weights = least_tail(returns, "cvar", level=0.75, total=1.0, cap=1.0)
    np.testing.assert_allclose(weights, [0.5, 0.5], atol=1e-9)
    # Their drawdowns add up when both fall one after the other: the one that recovers first is held.
    falling = np.array([[-0.02, -0.02], [-0.02, 0.02], [0.04, 0.0]])
    np.testing.assert_allclose(least_tail(falling, "cdar", level=0.6, total=1.0, cap=1.0), [0.0, 1.0], atol=1e-9)


@pytest.mark.parametrize("measure", ["cvar", "cdar"])
@pytest.mark.parametrize("seed", range(3))
def test_no_other_weights_have_a_smaller_tail(measure, seed):
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(4, (80, 8)) * 0.01
    besides = 0.2 * rng.standard_t(4, 80) * 0.01
    found = least_tail(returns, measure, level=0.9, total=0.8, cap=0.3, besides=besides)
    assert found.sum() == pytest.approx(0.8, abs=1e-8)
    assert found.max() <= 0.3

    def risk(weights):
        earned = returns @ weights + besides
        return tail_mean(-earned if measure == "cvar" else drawdowns(earned), 0.9)

    lowest = risk(found)
    for _ in range(400):
        i, j = rng.choice(8, 2, replace=False)
        step = min(found[i], 0.3 - found[j]) * rng.random() ** 3
        other = found.copy()
        other[i] -= step
        other[j] += step
        assert risk(other) >= lowest - 1e-12


def test_order_and_scale_of_the_assets_do_not_matter():
    rng = np.random.default_rng(3)
    returns = rng.standard_t(4, (90, 7)) * 0.01
    order = rng.permutation(7)
    for measure in ("cvar", "cdar"):
        first = least_tail(returns, measure, level=0.9, total=1.0, cap=0.4)
        np.testing.assert_allclose(
            least_tail(returns[:, order], measure, level=0.9, total=1.0, cap=0.4), first[order], atol=1e-8
        )
        np.testing.assert_allclose(least_tail(3 * returns, measure, level=0.9, total=1.0, cap=0.4), first, atol=1e-8)


@pytest.mark.parametrize("measure", ["cvar", "cdar"])
def test_weights_of_skfolio(make_panel, measure):
    pytest.importorskip("skfolio", reason="the extra `portfolio` is not installed")
    from skfolio import RiskMeasure
    from skfolio.optimization import MeanRisk

    panel = make_panel(130, 12, seed=4)
    x = (panel["close"][1:] / panel["close"][:-1] - 1)[-120:]
    kind = RiskMeasure.CVAR if measure == "cvar" else RiskMeasure.CDAR
    expected = MeanRisk(risk_measure=kind, cvar_beta=0.9, cdar_beta=0.9, max_weights=0.3).fit(x).weights_
    found = least_tail(scenarios(panel, 120), measure, level=0.9, total=1.0, cap=0.3)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_unknown_returns_are_the_mean(make_panel):
    panel = make_panel(5, 3)
    close = np.array([[10.0, 10, np.nan], [11, 11, np.nan], [np.nan, 12, np.nan], [22, 13, 5], [22, 14, 6]])
    panel = panel.replace(fields={"close": close}, units={}, member=None, listed=None, buyable=None, sellable=None)
    found = scenarios(panel, 4)
    np.testing.assert_allclose(found[:, 0], [0.1, 1.1 / 3, 1.0, 0.0])
    assert np.isnan(found[:, 2]).all()


def test_decisions_with_halts_caps_and_failures(make_panel, book_of, monkeypatch):
    panel = make_panel(70, 6, seed=1)
    close = panel["close"].copy()
    close[-1, 2] = np.nan
    close[:50, 4] = np.nan
    panel = panel.replace(fields={**panel.fields, "close": close})
    held = np.array([0.0, 0, 0.25, 0, 0.1, 0])
    policy = TailRisk(window=60, cash=0.05, level=0.8)
    weights = policy.decide(panel, book_of(panel, held))
    assert weights[2] == pytest.approx(0.25)
    assert weights[4] == 0.0
    assert weights.sum() == pytest.approx(0.95)
    assert policy.counts == {"solves": 1, "infeasible": 0, "fallbacks": 0}
    tight = TailRisk(window=60, cap=0.1)
    np.testing.assert_allclose(tight.decide(panel, book_of(panel))[[0, 1, 3, 5]], 0.1)
    assert tight.counts["infeasible"] == 1
    assert "rest stayed in cash" in tight.notes[0]
    assert np.isnan(policy.decide(panel[:60], book_of(panel[:60]))).all()
    monkeypatch.setattr(tail, "least_tail", lambda *args, **named: None)
    assert np.isnan(policy.decide(panel, book_of(panel))).all()
    assert policy.counts["fallbacks"] == 1


@pytest.mark.parametrize("measure", ["cvar", "cdar"])
def test_the_law_of_policies(make_panel, measure):
    check_policy(TailRisk(window=40, every=1, measure=measure), make_panel(90, 10, holes=0.05), rows=8)


def test_faults_are_named():
    for setting in ({"window": 1}, {"measure": "x"}, {"level": 1.0}, {"every": 0}, {"cap": 2.0}, {"cash": 1.0}):
        with pytest.raises(DataError, match=rf"TailRisk\.{next(iter(setting))}"):
            TailRisk(**setting)
