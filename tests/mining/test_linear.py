"""The published formulas through the session of the miners."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.errors import AlphaloomError, DataError
from alphaloom.factors import Factor, FactorSet, evaluate, load_library
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.mining import Budget, Mined, Pool, Session
from alphaloom.mining.identity import root_form
from alphaloom.mining.linear import LinearAlphas
from alphaloom.mining.scaling import standardised
from alphaloom.signal import forward_returns

GRAMMAR = Grammar(max_lookback=120)


def searched(panel, *, budget=1000, directory=None, rounds=2) -> Session:
    target = forward_returns(panel, Market(), horizon=5)
    session = Session(
        panel, target, grammar=GRAMMAR, pool=Pool(8), start_row=120, budget=Budget(budget), directory=directory
    )
    LinearAlphas(rounds=rounds).mine(session)
    return session


@pytest.fixture
def panel(make_panel):
    return make_panel(260, 25, seed=5)


def test_every_supported_formula_is_judged_once(panel):
    session = searched(panel)
    library, _ = load_library("alpha101").supported_by(panel)
    assert set(session.known) == {root_form(factor.expr) for factor in library.factors}
    assert session.evaluations <= len(library)
    assert session.counts["asked"] == 2 * len(library)
    assert 0 < len(session.pool) <= 8
    assert session.pool.ic > 0


def test_the_values_are_the_factor_rooms(panel):
    session = searched(panel, rounds=1)
    valid = [alpha for alpha in session.known.values() if alpha.valid]
    assert len(valid) > 40
    factors = FactorSet("valid", tuple(Factor(f"f{k}", alpha.expr) for k, alpha in enumerate(valid)))
    values = evaluate(factors, panel).values[120:]
    scored = np.isfinite(session.target).any(axis=1)
    alike = []
    for k, alpha in enumerate(valid):
        z = standardised(values[:, :, k], session.target, clip=session.settings.clip, least=10).z
        alike.append(np.einsum("sn,sn->s", z, session.filled(alpha).z)[scored].mean())
    # A rank of values that are equal but for rounding (covariances of ranks) may break its ties in another way.
    assert np.mean(np.array(alike) > 0.9999) > 0.9
    assert min(alike) > 0.95


def test_formulas_beyond_the_look_back_or_the_budget_are_left_out(panel):
    session = searched(panel)
    assert session.counts["invalid.lookback"] > 0
    assert searched(panel, budget=5).evaluations == 5


def test_a_stopped_round_is_done_again_to_the_same_pool(panel, tmp_path):
    searched(panel, directory=tmp_path, rounds=1)
    resumed, whole = searched(panel, directory=tmp_path), searched(panel)
    assert [str(a.expr) for a in resumed.pool.alphas] == [str(a.expr) for a in whole.pool.alphas]
    assert resumed.pool.weights == pytest.approx(whole.pool.weights, rel=1e-6)


def test_it_is_a_miner_as_any_other(panel):
    learner = Mined(LinearAlphas(rounds=1), GRAMMAR, capacity=8, sizes=(4, 8), horizon=5, evaluations=120)
    made = learner.fit(panel, Market())
    assert made.pool.miner == "LinearAlphas"
    assert np.isfinite(made.predict(panel).values[-1]).all()


def test_bad_settings_are_refused():
    with pytest.raises(DataError, match="at least once"):
        LinearAlphas(rounds=0)
    with pytest.raises(AlphaloomError, match="library"):
        LinearAlphas(library="alpha102")
