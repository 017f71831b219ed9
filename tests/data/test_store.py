"""The store: whole or not at all, the same twice, revisions on request, one writer at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.data import MarketFiles, Store, import_market
from alphaloom.data.commit import locked
from alphaloom.errors import DataError


def tree(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def store(tmp_path, bars):
    frame = bars(X=[10.0, 10.1, 10.2, 10.3], Y=[5.0, 5.1, 5.2, 5.3])
    import_market(frame, tmp_path / "s")
    return tmp_path / "s"


def test_importing_the_same_thing_twice_changes_no_byte(tmp_path, bars):
    frame = bars(X=[10.0, 10.1, -1.0, 10.3], Y=[5.0, 5.1, 5.2, 5.3])
    frame.write_csv(tmp_path / "p.csv")
    vix = pl.DataFrame({"date": ["2024-01-01"], "close": [12.5]})
    extras = MarketFiles(series={"vix": vix})
    import_market(tmp_path / "p.csv", tmp_path / "s", extras=extras)
    before = tree(tmp_path / "s")
    report = import_market(tmp_path / "p.csv", tmp_path / "s", extras=extras)
    assert tree(tmp_path / "s") == before
    assert (report.rows_new, report.rows_unchanged, report.rows_quarantined) == (0, 7, 1)
    import_market(tmp_path / "p.csv", tmp_path / "t", extras=extras)
    assert tree(tmp_path / "t") == before, "two stores from the same source are byte-equal"


def test_an_append_equals_an_import_at_once(tmp_path, bars):
    frame = bars(first="2023-12-27", X=[10.0 + 0.1 * k for k in range(12)], Y=[5.0 + 0.1 * k for k in range(12)])
    import_market(frame.filter(pl.col("date") < pl.date(2024, 1, 3)), tmp_path / "a")
    first = Store(tmp_path / "a").digest
    report = import_market(frame.filter(pl.col("date") > pl.date(2023, 12, 29)), tmp_path / "a")
    import_market(frame, tmp_path / "b")
    assert report.rows_unchanged == 4
    assert Store(tmp_path / "a").digest == Store(tmp_path / "b").digest != first
    assert Store(tmp_path / "a").panel().source == Store(tmp_path / "b").panel().source
    assert len(Store(tmp_path / "a").manifest["sources"]) == 2


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=24, max_size=24), st.permutations(range(4)))
def test_the_order_in_which_files_arrive_does_not_matter(tmp_path_factory, chunk_of, order):
    close = np.arange(24) + 10.0
    days = pl.date_range(pl.date(2023, 12, 27), pl.date(2024, 1, 7), eager=True)
    frame = pl.DataFrame({"date": pl.concat([days, days]), "asset": ["X"] * 12 + ["Y"] * 12, "close": close})
    frame = frame.with_columns(open=close, high=close, low=close, volume=close, chunk=pl.Series(chunk_of))
    root = tmp_path_factory.mktemp("order")
    import_market(frame.drop("chunk"), root / "once")
    for chunk in order:
        part = frame.filter(pl.col("chunk") == chunk).drop("chunk")
        if part.height:
            import_market(part, root / "parts")
    assert Store(root / "parts").digest == Store(root / "once").digest


def test_a_changed_bar_is_refused_and_accepted_on_request(store, bars):
    before = tree(store)
    changed = bars(X=[10.0, 10.1, 10.25, 10.3], Y=[5.0, 5.1, 5.2, 5.3, 5.4])
    with pytest.raises(DataError, match=r"X 2024-01-03 close 10.2 -> 10.25") as caught:
        import_market(changed, store)
    assert "revise" in caught.value.fix
    assert tree(store) == before
    report = import_market(changed, store, extras=MarketFiles(revise=True))
    assert (report.rows_new, report.rows_revised, report.rows_unchanged) == (1, 1, 7)
    opened = Store(store)
    assert opened.revisions().filter(pl.col("field") == "close").row(0)[3:] == (10.2, 10.25)
    assert opened.prices(assets=["X"])["close"].to_list() == [10.0, 10.1, 10.25, 10.3]
    assert any("Revisions" in note for note in opened.panel().notes)


def test_a_new_column_is_a_revision_that_leaves_the_others(store, bars):
    extra = bars(X=[10.0]).with_columns(score=2.0)
    import_market(extra, store, extras=MarketFiles(revise=True))
    panel = Store(store).panel(dtype=np.float64)
    assert panel["score"][0, 0] == 2.0
    assert np.isnan(panel["score"][1:]).all()
    assert panel["close"][0, 0] == 10.0


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError("x")]
)
@pytest.mark.parametrize("nth", [0, 1, 2, 3])
def test_an_interrupted_import_leaves_the_store_as_it_was(store, bars, monkeypatch, error, nth):
    before, digest = tree(store), Store(store).digest
    real, calls = os.fsync, []

    def broken(handle: int) -> None:
        calls.append(handle)
        if len(calls) == nth + 1:
            raise error
        real(handle)

    more = bars(first="2025-01-06", X=[11.0, 11.1], Z=[3.0, 3.1])
    with monkeypatch.context() as patch:
        patch.setattr("alphaloom.data.commit.os.fsync", broken)
        expected = DataError if isinstance(error, OSError) else type(error)
        with pytest.raises(expected) as caught:
            import_market(more, store)
    if isinstance(error, OSError):
        assert "room" in str(caught.value)
    assert tree(store) == before
    assert Store(store).digest == digest
    assert import_market(more, store).rows_new == 4, "the import can simply be repeated"


def test_a_first_import_on_a_full_disk_leaves_nothing(tmp_path, bars, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(DataError, match="room"):
        import_market(bars(X=[1.0, 1.1]), tmp_path / "s")
    assert set(tree(tmp_path / "s")) <= {".lock"}


def killed_between_files_and_manifest(store: Path, frame: pl.DataFrame) -> None:
    Path.replace = lambda self, target: os._exit(9) if str(target).endswith("manifest.json") else self.rename(target)
    import_market(frame, store)


def test_what_a_killed_writer_left_is_swept_at_the_next_open(store, bars):
    before = tree(store)
    work = multiprocessing.get_context("spawn").Process(
        target=killed_between_files_and_manifest, args=(store, bars(first="2025-01-06", X=[11.0]))
    )
    work.start()
    work.join()
    assert work.exitcode == 9
    assert set(tree(store)) - set(before), "the dead writer left something"
    assert Store(store).prices().height == 8
    assert {k: v for k, v in tree(store).items() if k != ".lock"} == {k: v for k, v in before.items() if k != ".lock"}


def test_a_reader_keeps_the_store_that_it_opened_while_a_writer_goes_on(store, bars):
    manifest = Store(store).manifest
    import_market(bars(X=[10.0, 10.1, 10.2, 10.3, 10.4]), store)
    assert all((store / name).is_file() for name in manifest["files"])
    import_market(bars(first="2024-01-08", X=[10.5]), store)
    assert not all((store / name).is_file() for name in manifest["files"]), "one generation and no more"


def test_one_writer_at_a_time(store, bars):
    with locked(store):
        with pytest.raises(DataError, match=f"process {os.getpid()} holds it"):
            import_market(bars(X=[10.0]), store)
        assert Store(store).prices().height == 8, "readers go on"
    (store / ".lock").write_text("999999")
    assert import_market(bars(X=[10.0]), store).rows_unchanged == 1, "a lock file without a living owner is no lock"


def test_a_store_that_cannot_be_written_says_so(tmp_path, bars):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="writable"):
        import_market(bars(X=[10.0]), tmp_path / "file" / "store")


def test_the_manifest_says_what_the_store_is(store):
    manifest = Store(store).manifest
    assert (manifest["rows"], manifest["assets"]) == (8, 2)
    assert (manifest["first"], manifest["last"]) == ("2024-01-01", "2024-01-04")
    assert manifest["adjustment"] == "none"
    assert manifest["sources"][0]["rows"] == 8
    part = next(store.glob("prices/year=2024/*.parquet"))
    assert manifest["files"][part.relative_to(store).as_posix()]["rows"] == 8


def test_damage_and_strangers_are_named(tmp_path, store, bars):
    with pytest.raises(DataError, match="must hold an import"):
        Store(tmp_path / "absent").panel()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match=r"thesis\.txt"):
        Store(tmp_path / "mine")
    part = next(store.glob("prices/year=2024/*.parquet"))
    whole = part.read_bytes()
    part.write_bytes(whole[:-30])
    with pytest.raises(DataError, match="whole"):
        Store(store).panel()
    with pytest.raises(DataError, match="whole"):
        import_market(bars(X=[10.0, 10.1, 10.2, 10.3, 10.4]), store)
    part.unlink()
    with pytest.raises(DataError, match="no such file"):
        Store(store).panel()
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(DataError, match="format 99"):
        Store(store)
    (store / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="manifest"):
        Store(store)
