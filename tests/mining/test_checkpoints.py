"""Checkpoints: small pieces, whole or absent, kept when the disk refuses, due by the clock too."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from alphaloom.errors import DataError
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Market
from alphaloom.mining import Budget, Pool, Session, Settings
from alphaloom.mining.checkpoints import HEAD, Case
from alphaloom.mining.random_search import RandomSearch
from alphaloom.signal import forward_returns

GRAMMAR = Grammar(windows=(5, 10), max_tokens=9, max_lookback=60)


@pytest.fixture
def panel(make_panel):
    return make_panel(160, 20, seed=2)


def session(panel, *, budget=60, **more) -> Session:
    more = {"grammar": GRAMMAR, "pool": Pool(4), "start_row": 60, "seed": 1, **more}
    return Session(panel, forward_returns(panel, Market(), horizon=3), budget=Budget(budget), **more)


def found(done: Session) -> tuple:
    known = [(str(alpha.expr), alpha.fault, alpha.ic) for alpha in done.known.values() if alpha.ic == alpha.ic]
    marks = done.fingerprints.table().tobytes()
    pool = [str(alpha.expr) for alpha in done.pool.alphas]
    return known, marks, pool, done.pool.weights.tolist(), done.pool.ic, dict(done.counts), done.rng.random()


def test_a_checkpoint_writes_what_is_new_and_few_files(panel, tmp_path):
    mine = session(panel, budget=200, directory=tmp_path)
    sizes = []
    for _ in range(40):
        mine.judge([_draw(mine) for _ in range(5)])
        before = {path.name for path in tmp_path.iterdir()}
        mine.checkpoint({})
        sizes.append([piece.formulas for piece in mine.pieces])
        assert len({path.name for path in tmp_path.iterdir()} - before) <= 2
    assert max(map(len, sizes)) <= 8
    assert any(len(one) > 2 for one in sizes)
    assert sum(sizes[-1]) == len(mine.known)
    again = session(panel, budget=200, directory=tmp_path)
    assert again.restored() == {}
    assert found(again) == found(mine)


def test_a_checkpoint_in_memory_is_as_good(panel):
    case = Case()
    RandomSearch(batch=8, keep_every=16).mine(session(panel, budget=30, directory=case))
    assert HEAD in case.contents
    later, whole = session(panel, budget=30, directory=case), session(panel, budget=30)
    RandomSearch(batch=8, keep_every=16).mine(later)
    RandomSearch(batch=8, keep_every=16).mine(whole)
    assert found(later) == found(whole)


def test_a_full_disk_keeps_the_checkpoint_before(panel, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    mine = session(panel, directory=tmp_path)
    mine.judge([_draw(mine) for _ in range(8)])
    mine.checkpoint({"step": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    mine.judge([_draw(mine) for _ in range(20)])
    for name in ("known-000002.parquet", HEAD):
        (tmp_path / f"{name}.part").symlink_to("/dev/full")
        with pytest.raises(DataError, match=r"(?s)write its checkpoints.*No space left.*last checkpoint"):
            mine.checkpoint({"step": 2})
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    later = session(panel, directory=tmp_path)
    assert later.restored() == {"step": 1}
    mine.checkpoint({"step": 3})  # there is room again
    assert session(panel, directory=tmp_path).restored() == {"step": 3}


@pytest.mark.skipif(os.name != "posix", reason="folders are flushed on POSIX systems")
def test_what_a_head_names_is_on_the_disk_before_it_and_what_it_drops_goes_after(panel, tmp_path, monkeypatch):
    flush, replace, unlink = os.fsync, Path.replace, Path.unlink
    steps: list[str] = []

    def flushing(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            steps.append("flush")
        flush(handle)

    def replacing(path, target):
        steps.append(Path(target).name)
        return replace(path, target)

    def unlinking(path, missing_ok=False):
        steps.append("gone")
        unlink(path, missing_ok=missing_ok)

    mine = session(panel, directory=tmp_path / "search")
    mine.judge([_draw(mine)])
    mine.checkpoint({})
    mine.judge([_draw(mine) for _ in range(20)])
    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(Path, "replace", replacing)
    monkeypatch.setattr(Path, "unlink", unlinking)
    mine.checkpoint({})
    assert steps == ["known-000002.parquet", "flush", HEAD, "flush", "gone"]


def test_a_folder_that_may_not_be_written_is_named(panel, tmp_path):
    mine = session(panel, directory=tmp_path / "here")
    mine.judge([_draw(mine)])
    if os.geteuid() != 0:
        (tmp_path / "here").mkdir()
        (tmp_path / "here").chmod(0o500)
    else:  # whom no mode stops, a file in the folder's place does
        (tmp_path / "here").write_text("")
    with pytest.raises(DataError, match=r"(?s)write its checkpoints.*here.*directory that may be written"):
        mine.checkpoint({})


def test_a_folder_that_was_emptied_is_filled_again(panel, tmp_path):
    mine = session(panel, directory=tmp_path)
    for step in range(3):
        mine.judge([_draw(mine) for _ in range(10)])
        mine.checkpoint({"step": step})
        if step == 1:
            for path in tmp_path.iterdir():
                path.unlink()
    again = session(panel, directory=tmp_path)
    assert again.restored() == {"step": 2}
    assert found(again) == found(mine)


def test_another_search_in_the_same_folder_keeps_nothing_of_the_first(panel, tmp_path):
    one = session(panel, directory=tmp_path)
    one.judge([_draw(one) for _ in range(10)])
    one.checkpoint({})
    other = session(panel, directory=tmp_path, seed=9)
    other.judge([_draw(other) for _ in range(4)])
    other.checkpoint({})
    assert json.loads((tmp_path / HEAD).read_text())["identity"]["seed"] == 9
    with pytest.raises(DataError, match="another seed"):
        session(panel, directory=tmp_path).restored()
    # The first one writes on all the same: nothing of its own is left, so it writes all of it.
    one.checkpoint({"step": 5})
    again = session(panel, directory=tmp_path)
    assert again.restored() == {"step": 5}
    assert len(again.known) == len(one.known)


def test_the_clock_asks_for_checkpoints_that_change_nothing(panel, tmp_path):
    class Notes(Session):
        written = 0

        def checkpoint(self, state):
            self.written += 1
            super().checkpoint(state)

    time = iter(range(100_000))
    target = forward_returns(panel, Market(), horizon=3)
    more = {"grammar": GRAMMAR, "start_row": 60, "seed": 1, "budget": Budget(60)}
    often = Notes(
        panel,
        target,
        pool=Pool(4),
        settings=Settings(keep_seconds=2.0),
        directory=tmp_path,
        clock=lambda: float(next(time)),
        **more,
    )
    seldom = Notes(panel, target, pool=Pool(4), **more)
    for mine in (often, seldom):
        RandomSearch(batch=8).mine(mine)
    assert often.written > 3
    assert seldom.written == 1
    assert found(often) == found(seldom)


def test_a_standing_tells_what_a_display_shows(panel):
    time = iter(range(100_000))
    mine = session(panel, clock=lambda: 0.5 * next(time))
    assert mine.standing().best == ()
    RandomSearch(batch=8).mine(mine)
    told = mine.standing(best=3)
    ics = [abs(alpha.ic) for alpha in mine.known.values() if alpha.valid]
    assert [abs(ic) for _, ic in told.best] == sorted(ics, reverse=True)[:3]
    assert told.evaluations == told.budget == 60
    assert told.rate is not None
    assert told.rate > 0
    assert told.distinct == len(ics)
    assert told.asked >= told.cached + told.evaluations
    assert sum(told.invalid.values()) + told.distinct + told.duplicates >= 60
    assert session(panel).standing().rate is None


def _draw(mine: Session):
    from alphaloom.mining.random_search import random_formula

    return random_formula(mine.grammar, mine.rng)


def test_a_search_that_is_done_stands_where_it_stood(panel, tmp_path):
    def files():
        RandomSearch(batch=8).mine(session(panel, directory=tmp_path))
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert files() == files()
