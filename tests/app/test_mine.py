"""`alphaloom mine` as a person meets it: a search, its page, the one look at the test, and refusals with a way out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from alphaloom.app.mine_config import load_search
from alphaloom.errors import ConfigError
from alphaloom.factors import load_library
from alphaloom.mining.mined_files import load_pool
from alphaloom.study import mining_holdout
from alphaloom.study.mining import load_mining

CONFIG = """
name = "small"
seed = 3
horizon = 3

[data]
kind = "embedded"
days = 420
assets = 24
members = 1.0
reversal = 0.3

[grammar]
windows = [3, 5]
max_tokens = 8
max_lookback = 20

[miner]
kind = "random_search"
batch = 16
keep_every = 40

[pool]
capacity = 4

[budget]
evaluations = 120

[choice]
sizes = [2, 4]

[placebo]
runs = 2
evaluations = 60
block = 40
archive = 20

[allocator]
kind = "top_drop"
k = 6
drop = 2
every = 3
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(CONFIG)
    return path


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Everything that must not depend on the clock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not str(path.relative_to(folder)).startswith(("search", "timings", "mining.html", "placebo"))
    }


def test_a_search_is_run_reported_held_out_and_exported(alphaloom, config, tmp_path, monkeypatch):
    looked = []
    real = mining_holdout.test_labels
    monkeypatch.setattr(mining_holdout, "test_labels", lambda *a, **k: (looked.append(1), real(*a, **k))[1])
    code, out, err = alphaloom("mine", "run", config, "--out", "one", "--quiet")
    assert code == 0, err
    assert "120 formulas" in out
    assert "The test has not been read" in out
    place = tmp_path / "one"
    for name in ("mining.toml", "pool.toml", "result.json", "curves.parquet", "daily.parquet", "timings.json"):
        assert (place / name).is_file()
    assert "second" not in (place / "result.json").read_text()
    assert not (place / "holdout.json").exists()
    assert not looked
    code, out, _ = alphaloom("mine", "report", "one")
    assert code == 0
    assert not looked
    code, out, err = alphaloom("mine", "holdout", "one", "--quiet")
    assert code == 0, err
    assert looked
    assert "Placebo band, test" in out
    assert "Looks at the test: 1" in out
    code, out, _ = alphaloom("mine", "holdout", "one", "--quiet")
    assert "The test was read before, 1 time" in out
    reads = load_mining(place).reads
    assert [read["read"] for read in reads] == [1, 2]
    assert all(read["trials"] > 10 for read in reads)
    result = load_mining(place)
    assert result.holdout is not None
    assert result.holdout["trials"]["count"] == 2 * result.facts["distinct"]
    assert 0.0 <= result.holdout["trials"]["pbo"] <= 1.0
    page = (place / "mining.html").read_text()
    for formula in result.formulas:
        assert formula.replace("<", "&lt;") in page
    assert "Overfitting (PBO)" in page
    assert "http" not in page.split("<script>")[0].replace("http-equiv", "")
    code, out, _ = alphaloom("mine", "export", "one", "mine.toml")
    assert code == 0
    assert len(load_library(str(tmp_path / "mine.toml")).factors) == len(result.formulas)
    assert load_pool(tmp_path / "mine.toml").formulas == result.formulas


def test_the_same_search_gives_the_same_bytes_whatever_its_threads(alphaloom, config, tmp_path):
    assert alphaloom("mine", "run", config, "--out", "one", "--quiet")[0] == 0
    assert alphaloom("mine", "run", config, "--out", "two", "--quiet", "--threads", "2")[0] == 0
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert alphaloom("mine", "run", config, "--out", "three", "--quiet", "--seed", "4")[0] == 0
    assert bytes_of(tmp_path / "one") != bytes_of(tmp_path / "three")


def test_ctrl_c_leaves_a_search_that_goes_on_to_the_same_formulas(alphaloom, config, tmp_path, monkeypatch):
    assert alphaloom("mine", "run", config, "--out", "whole", "--quiet")[0] == 0
    from alphaloom.mining import Session

    real, calls = Session.judge, []

    def stopped(self, exprs):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(self, exprs)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "judge", stopped)
        code, _, err = alphaloom("mine", "run", config, "--out", "cut", "--quiet")
    assert code == 130
    assert "goes on from there" in err
    code, _, err = alphaloom("mine", "report", "cut")
    assert code == 2
    assert "mine run" in err
    assert alphaloom("mine", "run", config, "--out", "cut", "--quiet")[0] == 0
    whole, cut = bytes_of(tmp_path / "whole"), bytes_of(tmp_path / "cut")
    assert whole["pool.toml"] == cut["pool.toml"]
    assert whole["result.json"] == cut["result.json"]


@pytest.fixture
def store(alphaloom, tmp_path):
    """Stores of random prices: `write` makes one with fewer assets, fewer days, or other prices late in the span."""

    def write(name, assets=16, *, days=320, late=1.0):
        rng = np.random.default_rng(0)
        times = np.arange("2020-01-06", "2022-06-01", dtype="datetime64[D]")
        times = times[np.is_busday(times)][:days]
        frames = []
        for k in range(assets):
            close = 20 * np.exp(np.cumsum(rng.normal(0, 0.01, days)))
            close[int(days * 0.83) :] *= late ** (k % 3)
            parts = {"Date": times.astype(str), "ticker": [f"A{k:02d}"] * days, "open": close * 0.999}
            parts |= {"high": close * (1.01 + 0.01 * rng.random(days)), "low": close * 0.99, "close": close}
            parts["volume"] = rng.uniform(1e3, 2e3, days)
            frames.append(pl.DataFrame(parts))
        pl.concat(frames).write_csv(tmp_path / f"{name}.csv")
        code, _, told = alphaloom(
            "data", "import", tmp_path / f"{name}.csv", "--store", tmp_path / name, "--calendar", "none"
        )
        assert code == 0, told
        return tmp_path / name

    return write


def test_prices_of_the_test_change_nothing_before_the_holdout(alphaloom, config, store, tmp_path):
    """Rows after validation may say anything: pool, weights, validation and curve are the same."""
    for name, late in (("calm", 1.0), ("wild", 3.0)):
        place = store(name, late=late)
        assert alphaloom("mine", "run", config, "--data", place, "--out", f"run-{name}", "--quiet")[0] == 0
    calm, wild = (load_mining(tmp_path / f"run-{name}") for name in ("calm", "wild"))
    assert calm.formulas == wild.formulas
    assert calm.weights.tolist() == wild.weights.tolist()
    assert calm.valid == wild.valid
    assert (tmp_path / "run-calm/curves.parquet").read_bytes() == (tmp_path / "run-wild/curves.parquet").read_bytes()


@pytest.mark.parametrize(
    ("make", "extra", "words"),
    [
        ({"assets": 3}, (), ("compare at least 10 assets", "3 whose return")),
        ({"days": 60}, (), ("longer than the look-back", "60 bars")),
        ({}, ("--set", "grammar.max_lookback=400"), ("longer than the look-back", "max_lookback")),
        ({}, ("--set", "horizon=300"), ("longer than the look-back", "where: horizon", "shorter horizon")),
        ({}, ("--set", "grammar.windows=[5, 400]"), ("grammar.windows", "400 bars of 20", "shorter windows")),
        ({}, ("--set", 'grammar.operators=["ts_meen"]'), ("grammar.operators", "did you mean ts_mean")),
        ({}, ("--set", "split.train=0.9", "--set", "split.valid=0.3"), ("split.test", "do not overlap")),
        ({}, ("--set", "split.valid=0.05", "--set", "split.train=0.7"), ("at least 20 dates", "split.valid")),
        (
            {},
            ("--set", 'split.train=["2020-01-06", "2020-09-30"]', "--set", 'split.valid=["2020-09-01", "2020-12-31"]',
             "--set", 'split.test=["2021-01-01", "2021-06-30"]'),
            ("split.valid", "do not overlap"),
        ),
        (
            {},
            ("--set", 'split.train=["2020-01-06", "2020-09-30"]', "--set", 'split.valid=["2020-10-01", "2020-12-31"]',
             "--set", 'split.test=["2025-01-01", "2025-06-30"]'),
            ("at least 20 dates", "0 in test"),
        ),
        ({}, ("--set", "split.train=0"), ("split.train",)),
        ({}, ("--set", "miner.kind=ridge"), ("miner.kind", "random_search")),
        ({}, ("--set", "budget.evaluations=0", "--set", "pool.capacity=0"), ("budget.evaluations", "pool")),
        ({}, ("--set", "pool.start=nowhere.toml"), ("readable", "nowhere.toml")),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_the_way_out(alphaloom, config, store, make, extra, words):
    place = store("bad", **make)
    code, _, err = alphaloom("mine", "run", config, "--data", place, "--out", "bad-run", "--quiet", *extra)
    assert code == 2, err
    told = " ".join(err.split())
    for word in words:
        assert word in told
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda panel: {"buyable": np.zeros(panel.shape, bool)}, ("none of them", "returns over 3 bars")),
        (
            lambda panel: {"fields": {name: panel[name] for name in ("open", "high", "low", "close")}},
            ("no volume", "features = ["),
        ),
    ],
)
def test_data_without_labels_or_without_a_field_are_refused(alphaloom, config, store, monkeypatch, change, words):
    from alphaloom.app import mine

    place, real = store("plain"), mine.load_panel

    def changed(source):
        panel = real(source)
        return panel.replace(**change(panel))

    monkeypatch.setattr(mine, "load_panel", changed)
    code, _, err = alphaloom("mine", "run", config, "--data", place, "--out", "run", "--quiet")
    assert code == 2
    for word in words:
        assert word in " ".join(err.split())


def test_a_pool_of_another_grammar_is_refused_and_one_of_this_grammar_is_a_start(alphaloom, config, tmp_path):
    assert alphaloom("mine", "run", config, "--out", "first", "--quiet")[0] == 0
    start = ("--set", f"pool.start={tmp_path / 'first/pool.toml'}")
    code, _, err = alphaloom(
        "mine", "run", config, "--out", "other", "--quiet", *start, "--set", "grammar.windows=[3, 8]"
    )
    assert code == 2
    assert "another windows" in " ".join(err.split())
    few = ("--set", "budget.evaluations=4", "--set", "placebo.evaluations=4")
    code, _, err = alphaloom("mine", "run", config, "--out", "second", "--quiet", *start, *few, "--seed", "9")
    assert code == 0, err
    first, second = (load_pool(tmp_path / name / "pool.toml") for name in ("first", "second"))
    assert set(second.formulas) <= set(first.formulas)


def test_directories_that_are_not_the_search_s_are_refused(alphaloom, config, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    code, _, err = alphaloom("mine", "run", config, "--out", "full", "--quiet")
    assert (code, "other files" in err) == (2, True)
    assert alphaloom("mine", "run", config, "--out", "one", "--quiet")[0] == 0
    code, _, err = alphaloom("mine", "run", config, "--out", "one", "--quiet", "--seed", "8")
    assert code == 2
    assert "differs" in " ".join(err.split())
    assert "seed = 3, not 8" in " ".join(err.split())
    code, _, err = alphaloom("mine", "run", config, "--out", "one", "--quiet", "--set", "data.days=430")
    assert code == 2
    assert "data.days = 420, not 430" in " ".join(err.split())
    for command in (("report", "full"), ("holdout", "full"), ("export", "full", "x.toml")):
        code, _, err = alphaloom("mine", *command)
        assert code == 2
    (tmp_path / "x.toml").write_text("a study")
    code, _, err = alphaloom("mine", "export", "one", "x.toml")
    assert (code, "overwrites nothing" in err) == (2, True)
    assert (tmp_path / "x.toml").read_text() == "a study"


def test_a_holdout_on_other_data_is_refused_and_not_counted(alphaloom, config, store, tmp_path):
    one, other = store("one-store"), store("other-store", late=2.0)
    assert alphaloom("mine", "run", config, "--data", one, "--out", "run", "--quiet")[0] == 0
    code, _, err = alphaloom("mine", "holdout", "run", "--data", other, "--quiet")
    assert code == 2
    assert "data of the search" in " ".join(err.split())
    assert not (tmp_path / "run/test_reads.jsonl").exists()


def test_a_damaged_pool_or_checkpoint_is_told_before_the_test_is_read(alphaloom, config, tmp_path):
    assert alphaloom("mine", "run", config, "--out", "run", "--quiet")[0] == 0
    pool = tmp_path / "run/pool.toml"
    whole = pool.read_text()
    pool.write_text(whole.replace("[[factor]]", '[[factor]]\nname = "x"\nformula = "tz_mean(close, 5)"\n[[factor]]', 1))
    code, _, err = alphaloom("mine", "holdout", "run", "--placebos", "0", "--quiet")
    assert code == 2
    assert "ts_mean" in err
    assert not (tmp_path / "run/test_reads.jsonl").exists()
    pool.write_text(whole)
    (tmp_path / "run/result.json").unlink()
    for text in ("{", "[]", '{"format": 0}'):
        (tmp_path / "run/search/checkpoint.json").write_text(text)
        code, _, err = alphaloom("mine", "run", config, "--out", "run", "--quiet")
        assert code == 2
        assert "search again" in " ".join(err.split())


def test_a_study_is_not_a_search_and_every_fault_is_told(tmp_path):
    with pytest.raises(ConfigError) as told:
        load_search(Path("factor_model_tiny"))
    assert "alphaloom run" in str([fault.fix for fault in told.value.faults])
    path = tmp_path / "bad.toml"
    path.write_text(
        'name = "x"\n[data]\nkind = "embeded"\n[miner]\nkind = "random_search"\nbatch = 0\n[grammar]\nunit = 3\n'
    )
    with pytest.raises(ConfigError) as told:
        load_search(path)
    assert {fault.key for fault in told.value.faults} >= {"data.kind", "miner.batch", "grammar.unit"}


def test_every_shipped_search_can_be_read():
    from alphaloom.app.config import shipped_configs

    found = [
        path
        for name, path in shipped_configs().items()
        if "miner" in path.read_text() and "[miner]" in path.read_text()
    ]
    assert found
    for path in found:
        config = load_search(path)
        assert json.dumps(config.described, default=str)
