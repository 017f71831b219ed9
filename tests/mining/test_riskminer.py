"""RiskMiner whole: it repeats itself, goes on where it stopped, wastes no episode, and finds what was planted."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.errors import DataError
from alphaloom.factors import evaluate_one, parse
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.mining import Budget, Pool, Session
from alphaloom.mining.elites import Elites
from alphaloom.mining.random_search import RandomSearch
from alphaloom.mining.riskminer import RiskMiner
from alphaloom.mining.riskminer_plan import PLANS
from alphaloom.mining.riskminer_search import Hunt, Uniform
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns

GRAMMAR = Grammar(windows=(5, 10), max_tokens=9, max_lookback=60)
SMALL = {"simulations": 24, "leaves": 4, "width": 8, "embedding": 8, "hidden": (8,)}


def opened(panel, *, kind=Session, budget=60, seed=1, directory=None, grammar=GRAMMAR):
    target = forward_returns(panel, Market(), horizon=3)
    return kind(
        panel,
        target,
        grammar=grammar,
        pool=Pool(4),
        start_row=60,
        budget=Budget(budget),
        seed=seed,
        directory=directory,
    )


def searched(panel, miner, **more):
    session = opened(panel, **more)
    miner.mine(session)
    return session


def found(session):
    return [str(alpha.expr) for alpha in session.pool.alphas], session.pool.weights.tolist(), dict(session.counts)


@pytest.mark.parametrize("search", ["both", "policy", "tree"])
@pytest.mark.parametrize("profile", ["safe", "paper"])
def test_a_budget_is_spent_and_a_seed_repeats_itself(make_panel, profile, search):
    if search != "tree":
        pytest.importorskip("torch")
    panel, miner = make_panel(160, 20, seed=2), RiskMiner(profile, search=search, **SMALL)
    one, two, other = (searched(panel, miner, seed=seed) for seed in (1, 1, 2))
    assert one.evaluations == 60
    assert found(one) == found(two) != found(other)
    assert len(one.pool) > 0


@pytest.mark.parametrize("profile", ["safe", "paper"])
def test_a_stopped_search_goes_on_to_the_same_formulas(make_panel, tmp_path, profile):
    pytest.importorskip("torch")
    panel, miner = make_panel(160, 20, seed=2), RiskMiner(profile, **SMALL)

    class Dies(Session):
        def checkpoint(self, state):
            super().checkpoint(state)
            if state["iteration"] == 2:
                raise KeyboardInterrupt

    begun = opened(panel, kind=Dies, directory=tmp_path, budget=140)
    with pytest.raises(KeyboardInterrupt):
        miner.mine(begun)
    assert begun.evaluations < 140
    resumed = searched(panel, miner, directory=tmp_path, budget=140)
    assert found(resumed) == found(searched(panel, miner, budget=140))
    with pytest.raises(DataError, match="one miner"):
        searched(panel, replace(miner, exploration=2.0), directory=tmp_path)


def test_part_of_the_trials_are_steps_and_the_paper_has_none(make_panel):
    session = opened(make_panel(160, 20, seed=2), budget=400)
    plan = replace(PLANS["safe"], simulations=40, leaves=4, refine=0.5)
    hunt = Hunt(plan, session, Uniform(len(GRAMMAR.tokens), 1.0))
    hunt.elites = Elites(session, 40, ground=5)
    first, second = hunt.iteration(), hunt.iteration()
    assert len(first) == len(second) == 40
    steps = [episode for episode in second if not episode.path]
    assert 8 <= len(steps) <= 32
    assert all(set(episode.behaviour) == {1.0} for episode in steps)
    # A step is paid where it ends, and what it passes on its way costs no evaluation.
    assert all(not any(episode.rewards[:-2]) for episode in steps)
    assert PLANS["paper"].refine == 0.0
    hunt = Hunt(replace(PLANS["paper"], simulations=40), session, Uniform(len(GRAMMAR.tokens), 1.0))
    assert all(episode.path for episode in [*hunt.iteration(), *hunt.iteration()])
    assert hunt.memory()["elites"] == []


@functools.cache
def tiny():
    random = np.random.default_rng(0)
    times = np.array([np.busday_offset("2015-01-01", k, roll="forward") for k in range(60)], "datetime64[ns]")
    values = np.exp(random.normal(3, 0.2, (6, 60, 12)))
    fields = dict(zip(("open", "high", "low", "close", "volume", "vwap"), values, strict=True))
    return Panel(times=times, assets=tuple(f"A{k:02d}" for k in range(12)), fields=fields)


@given(
    seed=st.integers(0, 1000),
    leaves=st.integers(1, 6),
    tokens=st.integers(4, 14),
    units=st.sampled_from(["safe", "paper", "off"]),
    profile=st.sampled_from(["safe", "paper"]),
)
@settings(max_examples=12, deadline=None)
def test_no_episode_through_the_tree_ends_invalid(seed, leaves, tokens, units, profile):
    grammar = Grammar(windows=(1, 3, 5), max_tokens=tokens, max_lookback=20, units=units)
    target = np.random.default_rng(seed).normal(size=(60, 12))
    session = Session(tiny(), target, grammar=grammar, budget=Budget(25), seed=seed)
    plan = replace(PLANS[profile], simulations=20, leaves=leaves)
    hunt = Hunt(plan, session, Uniform(len(grammar.tokens), 1.0))
    end = len(grammar.tokens) - 1
    for episode in hunt.iteration():
        assert episode.tokens[-1] == end
        assert len(episode.tokens) <= tokens
        assert len(episode.tokens) == len(episode.masks) == len(episode.rewards) == len(episode.behaviour)
        assert all(mask[token] for mask, token in zip(episode.masks, episode.tokens, strict=True))
        assert grammar.decode(episode.tokens) is not None
        assert all(0.0 < chance <= 1.0 for chance in episode.behaviour)
    assert hunt.tree is not None
    assert not any(node.pending.any() for node in hunt.tree.nodes())


def test_rewards_of_a_safe_episode_add_up_to_the_worth_of_its_formula(make_panel):
    session = opened(make_panel(160, 20, seed=2), budget=200)
    hunt = Hunt(replace(PLANS["safe"], simulations=30, leaves=1), session, Uniform(len(GRAMMAR.tokens), 1.0))
    episodes = hunt.iteration()
    for episode in episodes:
        assert abs(sum(episode.rewards)) <= 1.0
    # Only the pool changed between two visits of one way, so sums of one formula differ little.
    assert max(episode.total for episode in episodes) > 0.0


def planted(make_panel, formula, seed, strength):
    panel = make_panel(240, 30, seed=seed)
    values = evaluate_one(formula, panel)
    known = np.isfinite(values).all(axis=1)
    z = np.zeros_like(values)
    z[known] = (values[known] - values[known].mean(1, keepdims=True)) / values[known].std(1, keepdims=True)
    noise = np.random.default_rng(seed).normal(size=z.shape)
    return panel, np.where(known[:, None], strength * np.clip(z, -4, 4) + noise, np.nan)


class Watched(Session):
    """Counts the evaluations until a formula like the planted one is judged."""

    star = None
    hit = None

    def judge(self, exprs):
        judged = super().judge(exprs)
        for alpha in judged:
            if self.hit is None and alpha.z is not None:
                alike = abs(float(np.einsum("tn,tn->", alpha.z, self.star))) / len(self.star)
                self.hit = self.evaluations if alike > 0.95 else None
        return judged

    @property
    def spent(self):
        return self.hit is not None or super().spent


def evaluations_to_find(make_panel, miner, formula, seed, *, budget, strength=0.3, grammar):
    panel, target = planted(make_panel, formula, seed, strength)
    star = Session(panel, target, grammar=grammar, start_row=60).judge([parse(formula)])[0].z
    session = Watched(panel, target, grammar=grammar, pool=Pool(8), budget=Budget(budget), seed=seed, start_row=60)
    session.star = star
    miner.mine(session)
    return session.hit or budget + 1


FEW = Grammar(
    ("sub", "div", "mul", "abs", "ts_mean", "ts_std", "ts_max", "ts_rank", "delay"),
    constants=(2.0,),
    windows=(5, 10, 20),
    max_tokens=10,
    max_lookback=60,
)


def test_a_planted_formula_of_two_operators_is_found_more_often_than_at_random(make_panel):
    pytest.importorskip("torch")
    terms = {"formula": "ts_mean(close / open, 5)", "budget": 1500, "grammar": FEW}
    found = {
        type(miner).__name__: sum(
            evaluations_to_find(make_panel, miner, seed=seed, **terms) <= 1500 for seed in range(5)
        )
        for miner in (RiskMiner(simulations=60, width=16, embedding=16), RandomSearch())
    }
    assert found["RiskMiner"] >= 2
    assert found["RiskMiner"] > found["RandomSearch"]


@pytest.mark.slow
def test_planted_formulas_are_found_sooner_than_at_random(make_panel):
    pytest.importorskip("torch")
    sooner = 0
    for seed in range(5):
        counts = [
            evaluations_to_find(
                make_panel, miner, "ts_mean(close / open, 5)", seed, budget=6000, strength=0.15, grammar=GRAMMAR
            )
            for miner in (RiskMiner(), RandomSearch())
        ]
        sooner += counts[0] < counts[1]
    assert sooner >= 4


def test_an_exhausted_grammar_ends_the_search(make_panel):
    few = Grammar(("div",), features=("close", "open"), constants=(), windows=(), max_tokens=4)
    session = searched(make_panel(160, 20), RiskMiner(search="tree", simulations=10), grammar=few, budget=1000)
    assert session.evaluations < 10


def test_history_and_settings_are_spelt_out(make_panel, tmp_path):
    miner = RiskMiner("paper", search="tree", simulations=20)
    assert miner.plan.shaping == "paper"
    assert miner.plan.layers == 4
    assert RiskMiner().plan == PLANS["safe"]
    session = searched(make_panel(160, 20, seed=2), miner, directory=tmp_path, budget=80)
    state = opened(make_panel(160, 20, seed=2), directory=tmp_path).restored()
    assert state is not None
    assert session.evaluations == 80
    assert all(row[0] <= 80 and row[3] <= GRAMMAR.max_tokens and row[4] >= 0.0 for row in state["history"])


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"profile": "bold"}, "safe or paper"),
        ({"search": "none"}, "one of: both"),
        ({"simulations": 0}, "at least 1"),
        ({"risk": 1.0}, "between 0 and 1"),
        ({"noise": 2.0}, r"\[0, 1\]"),
        ({"refine": 1.5}, r"\[0, 1\]"),
        ({"exploration": -1.0}, "not negative"),
        ({"rate": 0.0}, "positive"),
        ({"hidden": (0,)}, "one unit"),
    ],
)
def test_settings_are_checked(given, match):
    with pytest.raises(DataError, match=match):
        RiskMiner(**given)
