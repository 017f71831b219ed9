"""Evaluation in stretches of time against one evaluation of everything."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from alphaloom.errors import AxisError, DataError, FormulaError
from alphaloom.factors import Factor, FactorSet, evaluate, load_library, parse
from alphaloom.factors.chunks import ChunkedFeatures, Rows, Slices, evaluate_chunks, open_chunks
from alphaloom.panel import Panel

FORMULAS = {
    "rank": "rank(close / delay(close, 5))",
    "line": "ts_slope(close, 12) + ema(volume, 2)",
    "order": "ts_rank(vwap, 9) - ts_median(high, 8)",
    "spread": "ts_std(returns, 11) * decay_linear(zscore(volume), 4)",
    "group": "group_mean(ts_corr(close, volume, 7), sector)",
    "today": "high - low",
}
SMALL = FactorSet("small", tuple(Factor(name, parse(text)) for name, text in FORMULAS.items()))


@pytest.fixture
def panel(make_panel):
    whole = make_panel(67, 9, seed=4, holes=0.03)
    return whole.replace(member=np.random.default_rng(1).random(whole.shape) < 0.9)


class Pool:
    """An executor of the role's shape over a standard pool."""

    def __init__(self, pool):
        self.pool = pool

    def map(self, work, items):
        return self.pool.map(work, items)


class StoppedError(Exception):
    """What a killed run looks like from inside."""


class Dying:
    """An executor that stops after some items."""

    def __init__(self, after):
        self.after = after

    def map(self, work, items):
        for number, item in enumerate(items):
            if number == self.after:
                raise StoppedError
            yield work(item)


class Counted:
    """A source that counts what is read."""

    def __init__(self, panel):
        self.panel, self.source, self.read = panel, panel.source, []

    def __len__(self):
        return len(self.panel)

    def rows(self, start, stop):
        self.read.append((start, stop))
        return self.panel[start:stop]


# The same bits


@pytest.mark.parametrize("format", ["npy", "parquet"])
@pytest.mark.parametrize("size", [1, 7, 30, 66, 67, 1000])
def test_any_chunk_size_gives_the_bits_of_the_whole(panel, tmp_path, size, format):
    whole = evaluate(SMALL, panel)
    got = evaluate_chunks(SMALL, panel, out=tmp_path / "out", rows_per_chunk=size, format=format)
    features = got.rows(0, len(panel))
    assert features.values.tobytes() == whole.values.tobytes()
    assert features.values.dtype == np.float32
    assert features.names == whole.names
    assert features.assets == panel.assets
    assert np.array_equal(features.times, panel.times)
    assert got.shape == whole.values.shape


def test_the_classic_library_gives_the_bits_of_the_whole(make_panel, tmp_path):
    panel = make_panel(300, 6, seed=8, holes=0.01)
    factors, _ = load_library("classic").supported_by(panel)
    got = evaluate_chunks(factors, panel, out=tmp_path / "out", rows_per_chunk=70, dtype=np.float64)
    assert got.features().values.tobytes() == evaluate(factors, panel, dtype=np.float64).values.tobytes()


def test_only_the_look_back_rows_are_read_before_a_chunk(panel, tmp_path):
    source = Counted(panel)
    assert isinstance(source, Rows)
    evaluate_chunks(SMALL, source, out=tmp_path / "out", rows_per_chunk=20)
    back = SMALL.lookback
    assert source.read[1:] == [(max(0, a - back), min(a + 20, 67)) for a in (0, 20, 40, 60)]


def test_a_function_is_a_source(panel, tmp_path):
    source = Slices(lambda a, b: panel[a:b], len(panel), "a function")
    got = evaluate_chunks(SMALL, source, out=tmp_path / "out", rows_per_chunk=25)
    assert got.features().values.tobytes() == evaluate(SMALL, panel).values.tobytes()


@pytest.mark.parametrize("format", ["npy", "parquet"])
def test_everybody_computes_the_same_bytes(panel, tmp_path, format):
    # Two kernels only: every new process loads or compiles them.
    factors = FactorSet("few", tuple(factor for factor in SMALL.factors if factor.name in ("rank", "today")))
    settings = {"rows_per_chunk": 13, "format": format}
    alone = evaluate_chunks(factors, panel, out=tmp_path / "a", **settings)
    context = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(3) as threads, ProcessPoolExecutor(2, mp_context=context) as processes:
        for name, pool in (("b", threads), ("c", processes)):
            other = evaluate_chunks(factors, panel, out=tmp_path / name, executor=Pool(pool), **settings)
            assert other.digest == alone.digest
    files = sorted(item.name for item in (tmp_path / "a").iterdir())
    for name in ("b", "c"):
        assert sorted(item.name for item in (tmp_path / name).iterdir()) == files
        for file in files:
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "a" / file).read_bytes(), file


def test_items_are_small_and_travel(panel, tmp_path):
    seen = []

    class Spy:
        def map(self, work, items):
            for item in items:
                seen.append(len(pickle.dumps(item)))
                yield pickle.loads(pickle.dumps(work))(pickle.loads(pickle.dumps(item)))

    got = evaluate_chunks(SMALL, panel, out=tmp_path / "out", rows_per_chunk=20, executor=Spy())
    assert max(seen) < 300
    assert got.features().values.tobytes() == evaluate(SMALL, panel).values.tobytes()


# Reading back


def test_a_finished_folder_is_read_back_mapped(panel, tmp_path):
    made = evaluate_chunks(SMALL, panel, out=tmp_path / "out", rows_per_chunk=20)
    read = open_chunks(tmp_path / "out")
    assert isinstance(read, ChunkedFeatures)
    assert (read.digest, read.names, read.assets, read.shape) == (made.digest, made.names, made.assets, made.shape)
    values = read.features().values
    mapped = values.base if values.base is not None else values
    assert isinstance(mapped, np.memmap) or mapped.__class__.__name__ == "mmap"
    assert not values.flags.writeable
    assert np.array_equal(read.times, panel.times)


@pytest.mark.parametrize("format", ["npy", "parquet"])
def test_stretches_and_blocks_cut_anywhere(panel, tmp_path, format):
    whole = evaluate(SMALL, panel).values
    made = evaluate_chunks(SMALL, panel, out=tmp_path / "out", rows_per_chunk=20, format=format)
    for a, b in ((0, 0), (0, 1), (19, 21), (5, 65), (60, 500), (40, 20)):
        assert made.rows(a, b).values.tobytes() == whole[a:b].tobytes()
        assert np.array_equal(made.rows(a, b).times, panel.times[a:b])
    assert np.concatenate([block.values for block in made.blocks()]).tobytes() == whole.tobytes()


def test_parquet_files_say_time_asset_and_factor(panel, tmp_path):
    import pyarrow.dataset as ds

    made = evaluate_chunks(SMALL, panel, out=tmp_path / "out", rows_per_chunk=20, format="parquet")
    table = ds.dataset(sorted((tmp_path / "out").glob("*.parquet"))).to_table()
    assert table.column_names == ["time", "asset", *SMALL.names]
    assert table.num_rows == 67 * 9
    row = table.slice(30 * 9 + 4, 1).to_pylist()[0]
    assert np.datetime64(row["time"], "ns") == panel.times[30]
    assert row["asset"] == panel.assets[4]
    assert row["today"] == evaluate(SMALL, panel).values[30, 4, SMALL.names.index("today")]
    with pytest.raises(DataError, match="mapped"):
        made.features()


# A run that was stopped


@pytest.mark.parametrize("format", ["npy", "parquet"])
@pytest.mark.parametrize("after", [0, 2])
def test_a_stopped_run_goes_on_where_it_was(panel, tmp_path, format, after):
    out = tmp_path / "out"
    with pytest.raises(StoppedError):
        evaluate_chunks(SMALL, panel, out=out, rows_per_chunk=20, format=format, executor=Dying(after))
    with pytest.raises(DataError, match="stopped"):
        open_chunks(out)
    source, told = Counted(panel), []
    made = evaluate_chunks(
        SMALL, source, out=out, rows_per_chunk=20, format=format, progress=lambda *step: told.append(step)
    )
    assert [stop for _, stop in source.read[1:]] == [20, 40, 60, 67][after:]
    assert told == [(done, 67) for done in (20, 40, 60, 67)[after:]]
    fresh = evaluate_chunks(SMALL, panel, out=tmp_path / "fresh", rows_per_chunk=20, format=format)
    assert made.digest == fresh.digest
    assert made.rows(0, 67).values.tobytes() == fresh.rows(0, 67).values.tobytes()
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in (tmp_path / "fresh").iterdir())


@pytest.mark.parametrize("format", ["npy", "parquet"])
def test_a_chunk_that_was_damaged_while_stopped_is_computed_again(panel, tmp_path, format):
    out = tmp_path / "out"
    with pytest.raises(StoppedError):
        evaluate_chunks(SMALL, panel, out=out, rows_per_chunk=20, format=format, executor=Dying(3))
    file = out / ("values.npy" if format == "npy" else "part-000001.parquet")
    content = bytearray(file.read_bytes())
    at = len(content) - 67 * 9 * 6 * 4 + 25 * 9 * 6 * 4 if format == "npy" else len(content) // 2
    content[at] ^= 0xFF
    file.write_bytes(content)
    source = Counted(panel)
    made = evaluate_chunks(SMALL, source, out=out, rows_per_chunk=20, format=format)
    assert [stop for _, stop in source.read[1:]] == [40, 67]
    assert made.rows(0, 67).values.tobytes() == evaluate(SMALL, panel).values.tobytes()


def test_a_finished_run_is_not_repeated(panel, tmp_path):
    first = evaluate_chunks(SMALL, panel, out=tmp_path / "out", rows_per_chunk=20)
    source = Counted(panel)
    again = evaluate_chunks(SMALL, source, out=tmp_path / "out", rows_per_chunk=20)
    assert source.read == [(0, 1)]
    assert again.digest == first.digest


@pytest.mark.parametrize(
    "change", [{"rows_per_chunk": 21}, {"dtype": np.float64}, {"format": "parquet"}, {"source": True}, {"set": True}]
)
def test_a_folder_of_another_run_is_refused(panel, tmp_path, change):
    evaluate_chunks(SMALL, panel, out=tmp_path / "out", rows_per_chunk=20)
    factors, source = SMALL, panel
    if change.pop("source", False):
        source = panel.replace(fields={**panel.fields, "close": panel["close"] + 1.0})
    if change.pop("set", False):
        factors = FactorSet("small", (*SMALL.factors[:-1], Factor("today", parse("high + low"))))
    with pytest.raises(DataError, match="same factors"):
        evaluate_chunks(factors, source, out=tmp_path / "out", **{"rows_per_chunk": 20, **change})


def test_a_folder_with_other_things_is_left_alone(panel, tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(DataError, match=r"letters\.txt"):
        evaluate_chunks(SMALL, panel, out=tmp_path, rows_per_chunk=20)
    assert [item.name for item in tmp_path.iterdir()] == ["letters.txt"]
    with pytest.raises(DataError):
        evaluate_chunks(SMALL, panel, out=tmp_path / "letters.txt", rows_per_chunk=20)


# Limits and bad input


def test_a_memory_limit_sets_the_chunk_size(panel, tmp_path):
    loose = evaluate_chunks(SMALL, panel, out=tmp_path / "a")
    assert loose.layout.chunks == 1
    tight = evaluate_chunks(SMALL, panel, out=tmp_path / "b", memory_limit=90_000)
    assert 1 < tight.layout.chunks < 67
    assert tight.rows(0, 67).values.tobytes() == loose.rows(0, 67).values.tobytes()
    with pytest.raises(DataError, match="at least"):
        evaluate_chunks(SMALL, panel, out=tmp_path / "c", memory_limit=1000)
    assert not (tmp_path / "c").exists()


def test_bad_input_is_refused_before_anything_is_written(panel, tmp_path):
    out = tmp_path / "out"
    unknown = FactorSet("unknown", (Factor("x", parse("rank(turnover)")),))
    cases = [
        (FormulaError, unknown, panel, {}),
        (FormulaError, SMALL, panel, {"format": "csv"}),
        (FormulaError, SMALL, panel, {"dtype": np.int32}),
        (AxisError, SMALL, panel[:0], {}),
        (AxisError, SMALL, panel, {"rows_per_chunk": 0}),
    ]
    for error, factors, source, settings in cases:
        with pytest.raises(error):
            evaluate_chunks(factors, source, out=out, **settings)
    assert not out.exists()


def test_a_source_that_changes_its_assets_is_refused(panel, make_panel, tmp_path):
    def give(a: int, b: int) -> Panel:
        return panel[a:b] if b <= 40 else make_panel(67, 5)[a:b]

    with pytest.raises(AxisError, match="same assets"):
        evaluate_chunks(SMALL, Slices(give, 67, "changing"), out=tmp_path / "out", rows_per_chunk=20)


def test_a_folder_that_is_no_result_is_said_so(panel, tmp_path):
    with pytest.raises(DataError):
        open_chunks(tmp_path / "absent")
    evaluate_chunks(SMALL, panel, out=tmp_path / "out", rows_per_chunk=20)
    manifest = tmp_path / "out" / "manifest.json"
    document = json.loads(manifest.read_text())
    for broken in ("{", json.dumps({**document, "version": 9}), json.dumps({**document, "rows": 3})):
        manifest.write_text(broken)
        with pytest.raises(DataError):
            open_chunks(tmp_path / "out")
