"""The random control: it spends its budget, repeats itself by seed, and goes on where it stopped."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.mining import Budget, Pool, Session
from alphaloom.mining.random_search import RandomSearch, random_formula
from alphaloom.signal import forward_returns

GRAMMAR = Grammar(windows=(5, 10), max_tokens=9, max_lookback=60)


def searched(panel, *, seed=1, directory=None, budget=60, miner=None):
    target = forward_returns(panel, Market(), horizon=3)
    session = Session(
        panel,
        target,
        grammar=GRAMMAR,
        pool=Pool(4),
        start_row=60,
        budget=Budget(budget),
        seed=seed,
        directory=directory,
    )
    (miner or RandomSearch(batch=8, keep_every=16)).mine(session)
    return session


def found(session):
    return [str(alpha.expr) for alpha in session.pool.alphas], session.pool.weights.tolist(), dict(session.counts)


def test_the_budget_is_spent_and_a_seed_repeats_itself(make_panel):
    panel = make_panel(160, 20, seed=2)
    one, two, other = (searched(panel, seed=seed) for seed in (1, 1, 2))
    assert one.evaluations == 60
    assert found(one) == found(two) != found(other)
    assert one.curve[-1][0] == 60


def test_a_stopped_search_goes_on_to_the_same_formulas(make_panel, tmp_path):
    panel = make_panel(160, 20, seed=2)

    class Dies(Session):
        def checkpoint(self, state):
            super().checkpoint(state)
            if self.evaluations >= 30:
                raise KeyboardInterrupt

    target = forward_returns(panel, Market(), horizon=3)
    begun = Dies(
        panel, target, grammar=GRAMMAR, pool=Pool(4), start_row=60, budget=Budget(60), seed=1, directory=tmp_path
    )
    with pytest.raises(KeyboardInterrupt):
        RandomSearch(batch=8, keep_every=16).mine(begun)
    assert found(searched(panel, directory=tmp_path)) == found(searched(panel))


def test_lengths_are_short_and_long():
    random = np.random.default_rng(0)
    grammar = Grammar.riskminer()
    lengths = [len(grammar.encode(random_formula(grammar, random))) for _ in range(200)]
    assert min(lengths) <= 4
    assert max(lengths) >= 17
    assert 7 < np.mean(lengths) < 13


def test_an_exhausted_grammar_ends_the_search(make_panel):
    panel = make_panel(160, 20)
    target = forward_returns(panel, Market(), horizon=3)
    few = Grammar(("div",), features=("close", "open"), constants=(), windows=(), max_tokens=4)
    session = Session(panel, target, grammar=few, start_row=10, budget=Budget(1000))
    RandomSearch(batch=1).mine(session)
    assert session.evaluations < 10


def test_counts_are_checked():
    with pytest.raises(DataError, match="at least 1"):
        RandomSearch(batch=0)
