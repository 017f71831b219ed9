"""The nets among the baselines: they find what is planted, stop on later rows, and come back from storage."""

from __future__ import annotations

import json

import numpy as np
import pytest

from alphaloom.agents.observation import Observation
from alphaloom.agents.signals import NetSignals, SignalPolicy
from alphaloom.errors import DataError, SolveError
from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.testing import check_learner, check_policy

pytest.importorskip("torch")

MARKET = Market(commission=0.0, slippage=0.0, fill="same_close")
HINTS = (Factor("hint", parse("volume"), "own", ""), Factor("day", parse("high / low"), "own", ""))
SIGHT = Observation(features=FactorSet("own", HINTS), market=False, window=4, levels="raw")


def hinted(T=400, N=4, seed=0, strength=0.02) -> Panel:
    """Volume says what the next close will do: far up, far down, or nothing."""
    rng = np.random.default_rng(seed)
    word = rng.integers(-1, 2, (T, N))
    steps = np.zeros((T, N))
    steps[1:] = strength * word[:-1] + rng.normal(0.0, 0.001, (T - 1, N))
    close = 50.0 * np.exp(np.cumsum(steps, axis=0))
    high, low = close * (1.0 + rng.uniform(0.001, 0.01, (2, T, N)) * np.array([1.0, -1.0])[:, None, None])
    times = np.array([np.busday_offset("2015-01-01", k, roll="forward") for k in range(T)], dtype="datetime64[ns]")
    fields = {"open": close, "high": high, "low": low, "close": close, "volume": 1000.0 + 500.0 * word}
    return Panel(times, tuple(f"A{j}" for j in range(N)), fields)


def learner(kind, **changes) -> NetSignals:
    settings = {"rate": 3e-3, "batch": 64, "samples": 20_000, "patience": 3, "validation": 80, "seed": 1}
    return NetSignals(kind, observation=SIGHT, **{**settings, **changes})


@pytest.mark.parametrize("kind", ["ann", "lstm", "cnn"])
def test_a_net_finds_the_planted_word_and_says_it_of_rows_it_never_saw(kind):
    panel = hinted()
    policy = learner(kind).fit(panel[:300], MARKET)
    said = policy.signals(panel, 300)
    truth = np.sign(panel["volume"] - 1000.0)[300:]
    assert (said[300:] == truth).mean() > 0.95
    assert not said[:300].any()
    assert "samples" in policy.notes[0]


def test_equal_seeds_give_equal_nets_and_a_stored_net_says_the_same():
    panel = hinted(T=260)
    first, second = (learner("ann", samples=3000).fit(panel[:200], MARKET) for _ in range(2))
    assert (first.signals(panel) == second.signals(panel)).all()
    for name, values in first.rule.net.state.items():
        assert np.array_equal(values, second.rule.net.state[name])
    other = learner("ann", samples=3000, seed=2).fit(panel[:200], MARKET)
    assert not np.array_equal(first.rule.net.state["1.weight"], other.rule.net.state["1.weight"])
    again = SignalPolicy.from_state(first.state())
    assert (again.signals(panel) == first.signals(panel)).all()
    assert again.notes == first.notes
    plain = {**first.state()["rule"]["settings"], "weights": None}
    assert json.loads(json.dumps(plain))["kind"] == "ann"


def test_stored_weights_must_fit_their_net():
    state = learner("cnn", samples=1000).fit(hinted(T=200), MARKET).state()
    settings = state["rule"]["settings"]
    broken = {**state, "rule": {"kind": "net", "settings": {**settings, "kind": "lstm"}}}
    with pytest.raises(DataError, match="fit their net"):
        SignalPolicy.from_state(broken)
    unknown = {**state, "rule": {"kind": "net", "settings": {**settings, "kind": "oracle"}}}
    with pytest.raises(DataError, match="oracle"):
        SignalPolicy.from_state(unknown)


def test_no_label_reaches_over_the_cut():
    """Returns that are known only because of later rows are not learnt from: changing those rows changes no scale."""
    panel = hinted(T=260)
    changed = {name: np.array(values) for name, values in panel.fields.items()}
    for values in changed.values():
        values[180:] = values[179] * np.linspace(1.0, 1.4, 80)[:, None]
    other = Panel(panel.times, panel.assets, changed)
    calm = learner("ann", patience=1, samples=700)
    first, second = (calm.fit(part, MARKET) for part in (panel, other))
    assert first.rule.observer.mean == second.rule.observer.mean
    # One epoch alone cannot be chosen among: its weights show what was learnt from.
    assert len(first.rule.net.history["loss"]) == 1
    assert first.rule.net.history["loss"] == second.rule.net.history["loss"]


def test_a_net_obeys_the_law_of_time():
    panel = hinted(T=220)
    quick = learner("ann", samples=1500)
    policy = quick.fit(panel[:150], MARKET)
    check_policy(policy, panel, rows=5)
    check_learner(quick, panel, rows=2)
    for row in (160, 190, 219):
        view = panel[row - policy.lookback : row + 1]
        assert (policy.signals(view)[-1] == policy.signals(panel)[row]).all()


def test_a_net_needs_rows_to_learn_from():
    with pytest.raises(SolveError, match="judged on later ones"):
        learner("ann", validation=84).fit(hinted(T=88), MARKET)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"net": "gru"}, "NetSignals.net"),
        ({"band": -0.1}, "NetSignals.band"),
        ({"samples": 0}, "NetSignals.samples"),
        ({"validation": 0}, "NetSignals.validation"),
        ({"rate": 0.0}, "Training.lr"),
        ({"sizing": "double"}, "sizing"),
    ],
)
def test_settings_without_a_meaning_are_refused(change, where):
    with pytest.raises(DataError) as caught:
        NetSignals(**change)
    assert where in str(caught.value)
