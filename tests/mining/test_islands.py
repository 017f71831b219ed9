"""Islands: who does the work cannot be seen; a killed worker costs another try; rounds go on where they stopped."""

from __future__ import annotations

import sys

import pytest
from mining_jobs import GRAMMAR, found, small_panel, small_session

from alphaloom.compute import local, processes, ray_cluster
from alphaloom.errors import DataError
from alphaloom.factors import parse
from alphaloom.mining import Session
from alphaloom.mining.islands import Islands
from alphaloom.mining.random_search import RandomSearch

ISLANDS = Islands(RandomSearch(batch=8), islands=3, rounds=2)


def searched(executor=None, islands=ISLANDS, **more) -> Session:
    session = small_session(**more)
    islands.mine(session, executor)
    return session


@pytest.fixture(scope="module")
def here():
    return found(searched(local()))


def test_the_budget_is_spent_by_all_islands_and_merged(here):
    session = searched()
    assert found(session) == here
    assert session.evaluations == 60
    assert len(session.pool) == 4
    assert len(session.fingerprints) == sum(alpha.valid for alpha in session.known.values())
    assert [point[0] for point in session.curve] == [30, 60]
    assert session.curve[1][3] >= session.curve[0][3]
    assert len({alpha.expr for alpha in session.pool.alphas} - set(session.known)) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="worker processes need a POSIX system")
@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_processes_find_what_this_process_finds(here, count):
    assert found(searched(processes(count))) == here


@pytest.mark.skipif(sys.platform == "win32", reason="worker processes need a POSIX system")
def test_a_killed_worker_costs_another_try_and_no_result(tmp_path):
    from mining_jobs import Mortal

    unhurt = tmp_path / "unhurt"
    unhurt.mkdir()
    (unhurt / "killed").touch()
    mortal, safe = (Islands(Mortal(str(folder), at=5), islands=4, rounds=2) for folder in (tmp_path, unhurt))
    expected = found(searched(local(), safe))
    assert found(searched(processes(2), mortal)) == expected
    assert (tmp_path / "killed").exists()


@pytest.mark.slow
def test_a_cluster_finds_what_this_process_finds(here):
    pytest.importorskip("ray")
    with ray_cluster() as executor:
        assert found(searched(executor)) == here


def test_rounds_go_on_where_they_stopped(here, tmp_path):
    class Stops(Session):
        def checkpoint(self, state):
            super().checkpoint(state)
            raise KeyboardInterrupt

    whole = small_session(directory=tmp_path)
    begun = Stops(
        whole.subject.panel,
        whole.subject.target,
        grammar=GRAMMAR,
        pool=whole.pool,
        budget=whole.budget,
        seed=1,
        start_row=60,
        directory=tmp_path,
    )
    with pytest.raises(KeyboardInterrupt):
        ISLANDS.mine(begun)
    assert 0 < begun.evaluations < 60
    assert found(searched(directory=tmp_path)) == here
    assert found(searched(directory=tmp_path)) == here  # done: nothing is left to search
    with pytest.raises(DataError, match="belongs to one miner"):
        searched(islands=Islands(RandomSearch(batch=8), islands=2), directory=tmp_path)


def test_islands_start_from_the_pool_that_is_there(here):
    session = small_session()
    alpha = session.judge([parse("close / open")])[0]
    session.offer(alpha)
    ISLANDS.mine(session)
    assert session.known[alpha.expr].valid
    assert session.pool.ic != 0.0


def test_other_seeds_search_elsewhere(here):
    assert found(searched(seed=2))["pool"] != here["pool"]


def test_one_island_in_one_round_is_its_miner():
    alone = searched(islands=Islands(RandomSearch(batch=8), islands=1, rounds=1))
    assert alone.evaluations == 60
    plain = small_session(seed=alone_seed())
    RandomSearch(batch=8).mine(plain)
    assert [str(a.expr) for a in plain.pool.alphas] == [str(a.expr) for a in alone.pool.alphas]
    assert plain.pool.ic == alone.pool.ic


def alone_seed() -> int:
    import numpy as np

    return int(np.random.SeedSequence([1, 0]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def test_more_islands_than_formulas_are_refused():
    with pytest.raises(DataError, match="fewer islands"):
        searched(islands=Islands(RandomSearch(), islands=61))
    with pytest.raises(DataError, match="at least 1"):
        Islands(RandomSearch(), islands=0)


def test_the_panel_of_the_jobs_is_the_same_everywhere():
    assert small_panel().source == small_panel().source
