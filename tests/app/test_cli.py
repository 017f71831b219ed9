"""The command line as a person meets it: what it prints, what it refuses, what it leaves behind."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

CONFIG = """
name = "cross"
[data]
kind = "embedded"
days = 260
assets = 15
[policy]
kind = "moving_average_cross"
fast = 5
slow = 20
[plan]
train = 60
test = 100
[benchmarks.equal_weight]
kind = "equal_weight"
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "cross.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def prices(tmp_path):
    rng = np.random.default_rng(0)
    days = np.arange("2020-01-06", "2020-02-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    frames = []
    for name in ("AAA", "BBB", "CCC"):
        close = 20 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days))))
        frames.append(
            pl.DataFrame(
                {"Date": days.astype(str), "ticker": [name] * len(days), "open": close, "high": close * 1.01}
                | {"low": close * 0.99, "close": close, "volume": [1000.0 + k for k in range(len(days))]}
            )
        )
    path = tmp_path / "prices.csv"
    pl.concat(frames).write_csv(path)
    return path


def test_a_study_runs_and_its_report_can_be_written_again(alphaloom, config, tmp_path):
    code, out, _ = alphaloom("run", config, "--out", tmp_path / "run")
    assert code == 0
    assert "Sharpe ratio" in out
    assert out.rstrip().endswith("report.html")
    page = (tmp_path / "run" / "report.html").read_bytes()
    code, again, _ = alphaloom("run", config, "--out", tmp_path / "run")
    assert (code, again) == (0, out), "a finished run is loaded"
    (tmp_path / "run" / "report.html").unlink()
    code, _, _ = alphaloom("report", tmp_path / "run")
    assert code == 0
    assert (tmp_path / "run" / "report.html").read_bytes() == page
    code, out, _ = alphaloom("report", tmp_path / "run", "--json")
    assert code == 0
    assert json.loads(out)


def test_a_run_lives_in_a_directory_named_after_what_it_is(alphaloom, config, tmp_path):
    alphaloom("run", config)
    alphaloom("run", config, "--set", "policy.fast=6")
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_three_faults_are_told_at_once_and_nothing_is_written(alphaloom, config, tmp_path):
    config.write_text(
        CONFIG.replace("fast = 5", "fsat = 5").replace("train = 60", "train = 0").replace("slow = 20", "slow = 2.5")
    )
    code, out, err = alphaloom("run", config)
    assert code == 2
    assert out == ""
    assert "policy.fsat" in err
    assert "did you mean 'fast'?" in err
    assert "plan.train" in err
    assert "policy.slow" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cross.toml"]


def test_a_configuration_is_shown_with_its_defaults(alphaloom, config, tmp_path):
    code, out, _ = alphaloom("config", "show", config, "--set", "plan.test=50")
    assert code == 0
    assert "slippage = 0.0005" in out
    assert "test = 50" in out
    config.write_text(out)
    assert alphaloom("config", "show", config)[1] == out


def test_configurations_that_come_along_are_found_by_name(alphaloom):
    code, out, _ = alphaloom("config", "list")
    assert code == 0
    assert "factor_model_tiny" in out
    assert "days = 1100" in alphaloom("config", "show", "factor_model_tiny")[1]
    code, _, err = alphaloom("config", "show", "factor_modle")
    assert code == 2
    assert "did you mean 'factor_model'?" in err


def test_prices_are_imported_reported_and_run(alphaloom, config, prices, tmp_path):
    code, out, _ = alphaloom("data", "import", prices, "--store", tmp_path / "market")
    assert code == 0
    assert "3 assets" in out
    code, out, _ = alphaloom("data", "show", tmp_path / "market")
    assert code == 0
    code, out, err = alphaloom(
        "run", config, "--data", tmp_path / "market", "--set", "plan.train=5", "--set", "policy.slow=6"
    )
    assert code == 0, err
    assert "Sharpe ratio" in out


def test_an_unknown_symbol_is_named(alphaloom, config, prices, tmp_path):
    alphaloom("data", "import", prices, "--store", tmp_path / "market")
    code, _, err = alphaloom(
        "run", config, "--data", tmp_path / "market", "--set", "data.kind=store", "--set", 'data.assets=["AAA", "ZZZ"]'
    )
    assert code == 2
    assert "ZZZ" in err
    assert not (tmp_path / "runs").exists()


def broken(prices, how):
    text = prices.read_text()
    lines = text.splitlines()
    if how == "missing column":
        prices.write_text(text.replace("close", "clse", 1))
    elif how == "text in a price":
        lines[4] = lines[4].replace(lines[4].split(",")[2], "n/a!")
        prices.write_text("\n".join(lines))
    elif how == "empty":
        prices.write_text("")
    elif how == "truncated":
        path = prices.with_suffix(".parquet")
        pl.read_csv(prices).write_parquet(path)
        path.write_bytes(path.read_bytes()[:200])
        return path
    elif how == "absent":
        return prices.with_name("pricse.csv")
    elif how == "not a date":
        prices.write_text(text.replace("2020-01-07", "someday"))
    return prices


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("missing column", "close"),
        ("text in a price", "n/a!"),
        ("empty", "empty"),
        ("truncated", "Parquet"),
        ("absent", "prices.csv"),
        ("not a date", "someday"),
    ],
)
def test_bad_prices_get_a_clear_error_and_leave_no_store(alphaloom, prices, tmp_path, how, told):
    code, _, err = alphaloom("data", "import", broken(prices, how), "--store", tmp_path / "market")
    assert code == 2
    assert told.lower() in err.lower()
    assert "Traceback" not in err
    assert not list((tmp_path / "market").rglob("*.parquet")) if (tmp_path / "market").exists() else True


def test_unsorted_and_doubled_dates_are_noticed(alphaloom, prices, tmp_path):
    head, *lines = prices.read_text().splitlines()
    prices.write_text("\n".join([head, *lines[::-1], lines[3]]))
    code, out, _ = alphaloom("data", "import", prices, "--store", tmp_path / "market")
    assert code == 0
    assert "unsorted" in out
    assert "duplicate" in out
    assert "1 in quarantine" in out


def test_a_full_disk_is_an_error_not_a_half_written_store(alphaloom, prices, tmp_path, monkeypatch):
    store = tmp_path / "market"
    assert alphaloom("data", "import", prices, "--store", store)[0] == 0
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    more = tmp_path / "more.csv"
    more.write_text(prices.read_text().replace("2020-01", "2021-03").replace("AAA", "DDD"))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = alphaloom("data", "import", more, "--store", store)
    monkeypatch.undo()
    assert code == 2
    assert "space" in err.lower()
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def test_an_unknown_store_and_an_unknown_run_say_the_way_out(alphaloom, config, tmp_path):
    code, _, err = alphaloom("run", config, "--data", tmp_path / "nowhere")
    assert code == 2
    assert "alphaloom data import" in err
    code, _, err = alphaloom("report", tmp_path / "nowhere")
    assert code == 2
    assert "no such directory" in err


def test_the_doctor_names_what_is_missing_and_how_to_get_it(alphaloom):
    code, out, _ = alphaloom("doctor")
    assert code == 0
    assert "numpy" in out
    if "extra vendors" in out and "missing" in out:
        assert "pip install 'alphaloom[" in out


def test_ctrl_c_leaves_a_run_that_goes_on(config, tmp_path):
    config.write_text(
        CONFIG.replace(
            '[policy]\nkind = "moving_average_cross"\nfast = 5\nslow = 20',
            '[learner]\nkind = "lightgbm"\nmin_rows = 20\ntrees = 15',
        )
        .replace("days = 260", "days = 700")
        .replace("train = 60", "train = 300")
        .replace("test = 100", "test = 20")
        + '[allocator]\nkind = "top_k"\nk = 5\n'
    )
    script = [sys.executable, "-c", "from alphaloom.app import main; main()", "run", str(config)]
    options = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = subprocess.Popen([*script, "--out", "stopped"], **options)
    folds = tmp_path / "stopped" / "folds"
    end = time.monotonic() + 120
    while time.monotonic() < end and started.poll() is None and not (folds.is_dir() and len(list(folds.iterdir())) > 2):
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 130, err
    assert "goes on from there" in err
    assert "Traceback" not in err
    assert not (tmp_path / "stopped" / "result.json").exists()
    subprocess.run([*script, "--out", "stopped"], check=True, timeout=300, **options)
    subprocess.run([*script, "--out", "whole"], check=True, timeout=300, **options)
    names = {path.name for path in Path(tmp_path / "whole").iterdir() if path.is_file()}
    for name in names:
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_name_is_text_and_chooses_no_place(alphaloom, config, tmp_path):
    code, *_ = alphaloom("run", config, "--set", 'name="../../out of/here"', "--quiet")
    assert code == 0
    made = [path.name for path in (tmp_path / "runs").iterdir()]
    assert len(made) == 1
    assert made[0].startswith("out-of-here-")


def test_a_folder_without_an_import_is_no_store(alphaloom, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = alphaloom("data", "show", "empty")
    assert code == 2
    assert "must hold an import" in err
    assert "alphaloom data import PRICES --store empty" in err


def test_a_file_or_a_foreign_folder_is_no_run(alphaloom, config, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    code, _, err = alphaloom("run", config, "--out", "file")
    assert code == 2
    assert "found:   a file" in err
    assert "free some space" not in err
    for place in ("file", "empty", "absent"):
        code, _, err = alphaloom("report", place)
        assert code == 2
        assert "a run is a directory that a study wrote" in err
        assert "way out" in err


def test_a_file_beside_the_prices_can_come_later(alphaloom, prices, tmp_path):
    sectors = tmp_path / "sectors.csv"
    sectors.write_text("ticker,sector\nAAA,tech\nBBB,oil\n")
    code, _, err = alphaloom("data", "import", "--store", "market", "--sectors", sectors)
    assert code == 2
    assert "a first import needs prices" in err
    assert not (tmp_path / "market").exists()
    assert alphaloom("data", "import", prices, "--store", "market")[0] == 0
    code, out, _ = alphaloom("data", "import", "--store", "market", "--sectors", sectors)
    assert code == 0
    assert "All labels are as of one date" in out
