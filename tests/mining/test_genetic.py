"""Genetic programming: tournaments, parsimony, the hall of fame, resume, and finding what was planted."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.factors import evaluate_one, parse
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.mining import Alpha, Budget, Pool, Session
from alphaloom.mining.genetic import GeneticProgramming, parentheses, ranks, scaled, winner
from alphaloom.mining.genetic_hall import Entry, Hall
from alphaloom.mining.identity import root_form
from alphaloom.signal import forward_returns

GRAMMAR = Grammar(windows=(5, 10), max_tokens=10, max_lookback=60)
SMALL = GeneticProgramming(population=30, batch=8)


def begun(panel, *, target=None, kind=Session, **more):
    if target is None:
        target = forward_returns(panel, Market(), horizon=3)
    more = {"grammar": GRAMMAR, "pool": Pool(4), "start_row": 60, "budget": Budget(120), "seed": 1, **more}
    return kind(panel, target, **more)


def found(session):
    return [str(alpha.expr) for alpha in session.pool.alphas], session.pool.weights.tolist(), dict(session.counts)


def test_fitness_less_the_price_of_size_ranks_and_the_best_placed_wins():
    fitness, sizes = np.array([0.5, 0.9, 0.9, 0.2]), [3, 20, 5, 3]
    assert ranks(fitness, sizes, 0.0).tolist() == [2, 1, 0, 3]  # of equals the shorter
    assert ranks(fitness, sizes, 0.05).tolist() == [1, 3, 0, 2]  # 0.35, -0.1, 0.65, 0.05
    order, random = ranks(fitness, sizes, 0.0), np.random.default_rng(0)
    assert winner(order, 400, random) == 2
    wins = [winner(order, 2, random) for _ in range(4000)]
    # The better of two draws with replacement: places 0..3 win 7, 5, 3 and 1 of 16 times.
    assert np.bincount(wins) / 4000 == pytest.approx(np.array([3, 5, 7, 1]) / 16, abs=0.03)


def test_a_small_budget_gets_a_small_population():
    assert scaled(1000, 20_000) == scaled(1000, 100_000) == 1000
    assert scaled(1000, 4000) == 200
    assert scaled(1000, 100) == 20
    assert scaled(10, 100) == 10


def test_parentheses_are_counted_as_calls():
    assert parentheses(parse("close")) == 0
    assert parentheses(parse("ts_mean(close, 5) / open")) == 4


def an_entry(name, ic, values):
    z = np.array(values, np.float32)[None]
    alpha = Alpha(parse(name), ic, 0.0, 1.0, "", z / np.float32(np.linalg.norm(z)), np.zeros(1))
    return Entry(alpha, abs(ic), Hall(1, 0.7).sketch(alpha))


def test_the_hall_keeps_the_best_that_are_not_alike():
    hall = Hall(2, 0.7)
    good, copy = an_entry("close", 0.05, [1, 0, 0]), an_entry("open", -0.04, [-1, 0.1, 0])
    other, weak = an_entry("high", 0.03, [0, 1, 0]), an_entry("low", 0.01, [0, 0, 1])
    assert hall.floor == -np.inf
    assert hall.admit([weak, copy, other, good])
    assert [str(entry.alpha.expr) for entry in hall.entries] == ["close", "high"]
    assert hall.floor == 0.03
    assert not hall.admit([weak, copy])
    best = an_entry("vwap", 0.09, [1, 0.1, 0])
    assert hall.admit([best])  # it puts out the one that it is like
    assert [str(entry.alpha.expr) for entry in hall.entries] == ["vwap", "high"]


def test_only_likeness_to_what_is_better_costs():
    hall = Hall(3, 0.7)
    hall.admit([an_entry("close", 0.05, [1, 0, 0]), an_entry("open", 0.02, [0, 1, 0])])
    mirror, better, free = (
        an_entry("high", 0.04, [-0.8, 0.6, 0]),
        an_entry("low", 0.08, [1, 0, 0]),
        an_entry("vwap", 0.01, [0, 0, 1]),
    )
    assert hall.novelty([mirror, better, free]) == pytest.approx([0.04 * 0.2, 0.08, 0.01])
    assert hall.novelty([hall.entries[0]]) == pytest.approx([0.05])  # a member is no rival of its own


@pytest.mark.parametrize("profile", ["safe", "paper"])
def test_the_budget_is_spent_and_a_seed_repeats_itself(make_panel, profile):
    panel, miner = make_panel(160, 20, seed=2), GeneticProgramming(profile, population=30)
    sessions = [begun(panel, seed=seed) for seed in (1, 1, 2)]
    for session in sessions:
        miner.mine(session)
    one, two, other = sessions
    assert one.evaluations == 120
    assert found(one) == found(two) != found(other)
    assert one.curve[-1][0] == 120
    assert 0 < len(one.pool) <= 4


def test_how_many_are_judged_at_once_does_not_matter(make_panel):
    panel = make_panel(160, 20, seed=2)
    one, two = begun(panel), begun(panel)
    SMALL.mine(one)
    GeneticProgramming(population=30, batch=30).mine(two)
    assert found(one)[:2] == found(two)[:2]
    assert one.counts["accepted"] == two.counts["accepted"] > 0


@pytest.mark.parametrize("profile", ["safe", "paper"])
def test_a_stopped_search_goes_on_to_the_same_formulas(make_panel, tmp_path, profile):
    panel, miner = make_panel(160, 20, seed=2), GeneticProgramming(profile, population=30)

    class Dies(Session):
        def checkpoint(self, state):
            super().checkpoint(state)
            if self.evaluations >= 40:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        miner.mine(begun(panel, kind=Dies, directory=tmp_path))
    whole, resumed = begun(panel), begun(panel, directory=tmp_path)
    miner.mine(whole)
    miner.mine(resumed)
    assert found(resumed) == found(whole)
    assert resumed.curve[-1][0] == whole.curve[-1][0]


def test_nothing_is_judged_twice_in_the_safe_profile(make_panel):
    session = begun(make_panel(160, 20, seed=2))
    asked: list = []
    judge = session.judge
    session.judge = lambda exprs: asked.extend(exprs) or judge(exprs)
    GeneticProgramming(population=30, crossover=0.6, subtree=0.2, hoist=0.05, point=0.15).mine(session)
    forms = [root_form(expr) for expr in asked]
    assert len(forms) == len(set(forms))
    assert session.counts["cached"] == 0


def test_the_published_pool_is_the_hall(make_panel):
    session = begun(make_panel(160, 20, seed=2), pool=Pool(20, l1=0.0))
    GeneticProgramming("paper", population=30).mine(session)
    alphas = session.pool.alphas
    off = np.abs(session.pool.correlations - np.diag(np.diag(session.pool.correlations)))
    assert off.max() <= 0.75
    assert max(alpha.ic for alpha in alphas) == max(a.ic for a in session.known.values() if a.valid)


def test_an_exhausted_grammar_ends_the_search(make_panel):
    few = Grammar(("div",), features=("close", "open"), constants=(), windows=(), max_tokens=4)
    session = begun(make_panel(160, 20), grammar=few, budget=Budget(1000))
    GeneticProgramming(population=20).mine(session)
    assert session.evaluations < 5


def test_generations_end_a_search(make_panel):
    session = begun(make_panel(160, 20), budget=Budget(1000))
    GeneticProgramming(population=20, generations=2).mine(session)
    assert 20 < session.evaluations <= 40


def planted(panel, formula, strength=0.3):
    """A target that a formula foretells with a correlation of about `strength` a day."""
    values = evaluate_one(formula, panel)
    z = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    noise = np.random.default_rng(7).normal(size=z.shape)
    return strength * z + np.sqrt(1 - strength**2) * noise


@pytest.mark.parametrize("profile", ["safe", "paper"])
def test_a_planted_formula_is_found(make_panel, profile):
    panel = make_panel(260, 30, seed=5)
    formula = "ts_mean(close, 10) / close"
    session = begun(panel, target=planted(panel, formula), budget=Budget(1200), pool=Pool(10))
    GeneticProgramming(profile, population=100).mine(session)
    truth = session.filled(session.judge([parse(formula)])[0])
    if truth.fault == "budget":
        truth = begun(panel, target=planted(panel, formula)).judge([parse(formula)])[0]
    assert np.abs(session.similarity(truth)).max() > 0.95


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"profile": "published"}, "safe or paper"),
        ({"population": 1}, "at least 2"),
        ({"tournament": 0}, "at least 1"),
        ({"crossover": 1.2}, r"\[0, 1\]"),
        ({"crossover": 0.9}, "sum to 1"),
        ({"parsimony": -0.1}, "not negative"),
        ({"depth": (6, 2)}, "least and most"),
    ],
)
def test_settings_are_checked(settings, rule):
    with pytest.raises(DataError, match=rule):
        GeneticProgramming(**settings)


def test_profiles_give_what_was_not_said():
    assert GeneticProgramming().tournament == 20
    assert GeneticProgramming("paper").tournament == 600
    assert GeneticProgramming("paper", crossover=0.5).crossover == 0.5
    assert GeneticProgramming("paper").parsimony == 0.0
