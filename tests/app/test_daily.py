"""The daily command as a person meets it: what it prints, what it refuses, and data that grow."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from alphaloom.app.daily_panels import open_panels
from alphaloom.app.sources import StoreView
from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.errors import DataError
from alphaloom.production import continued

CONFIG = """
name = "line"
[data]
kind = "embedded"
days = 220
assets = 12
[learner]
kind = "ridge"
horizon = 3
every = 3
[allocator]
kind = "top_k"
k = 4
buffer = 2
[market]
commission = 0.001
[plan]
train = 150
test = 40
"""

RULE = """
name = "cross"
[data]
kind = "embedded"
days = 200
assets = 10
[policy]
kind = "moving_average_cross"
fast = 3
slow = 10
[plan]
train = 60
test = 100
"""


@pytest.fixture
def run(tmp_path, alphaloom):
    (tmp_path / "line.toml").write_text(CONFIG)
    code, _, fault = alphaloom("run", "line.toml", "--out", "line", "--quiet")
    assert code == 0, fault
    return tmp_path / "line"


def bar(row, **market):
    return str(simulate(EmbeddedMarket(**market)).times[row])[:10]


def test_the_last_bar_is_run_shown_and_run_again(run, alphaloom):
    code, told, fault = alphaloom("daily", "line", "--quiet")
    assert code == 0, fault
    day = bar(219, days=220, assets=12)
    assert f"{day}  done; fold 1" in told
    assert "orders sent: buys" in told
    assert "reconciled" in told
    assert "took" in told
    code, told, _ = alphaloom("daily", "line", "--date", day)
    assert code == 0
    assert "run before, nothing changed" in told
    assert {path.name for path in (run / "days" / day).iterdir()} == {
        "book.parquet", "day.json", "orders.parquet", "signal.parquet"
    }  # fmt: skip


def test_a_span_of_days_goes_on_beyond_the_study_and_prints_a_line_a_day(run, alphaloom):
    first, last = bar(210, days=220, assets=12), bar(224, days=240, assets=12, opening=220)
    code, told, fault = alphaloom("daily", "line", "--from", first, "--to", last, "--guards", "max_order=0.9")
    assert code == 0, fault
    assert len(list((run / "days").iterdir())) == 15
    assert told.count("\n20") >= 14
    assert "a day (median)" in told
    code, told, _ = alphaloom("daily", "line", "--from", first, "--to", last, "--json")
    days = json.loads(told)
    assert code == 0
    assert [day["repeated"] for day in days] == [True] * 15
    assert all(day["reconciled"] for day in days)
    assert days[-1]["row"] == 224
    assert {"client_id", "asset", "shares", "price", "refused"} == set(days[0]["orders"][0])
    # Another process, another number of days at once: the same bytes.
    twin = json.loads((run / "days" / last / "day.json").read_text())
    assert twin == {key: days[-1][key] if key != "orders" else twin[key] for key in twin}


def test_refused_orders_say_why_and_a_run_without_a_broker_sends_nothing(run, alphaloom):
    code, told, _ = alphaloom("daily", "line", "--guards", "max_order=0.01", "--broker", "none")
    assert code == 0
    assert "refused" in told
    assert "more than 0.01" in told
    assert "0 orders not sent, there is no broker" in told
    assert not (run / "account").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--date", "2015-01-03"], ["is a bar of the panel", "the bar before it"]),
        (["--date", "2015-01-05"], ["first test bar"]),
        (["--date", "2015-99-01"], ["2024-01-31"]),
        (["--date", "2015-10-01", "--to", "2015-10-02"], ["--date"]),
        (["--from", "2015-10-20", "--to", "2015-10-12"], ["--from", "before"]),
        (["--broker", "real"], ["paper or none"]),
        (["--guards", "max_odor=1"], ["max_order"]),
        (["--guards", "max_order=big,stale_bars=1.5"], ["is a float", "is a int"]),
        (["--guards", "max_order=-1"], ["positive fraction"]),
        (["--data", "elsewhere"], ["embedded market"]),
    ],
)
def test_faults_are_told_and_leave_no_day(run, alphaloom, arguments, words):
    code, _, fault = alphaloom("daily", "line", *arguments)
    assert code == 2
    for word in words:
        assert word in " ".join(fault.split())
    assert not (run / "days").exists()


def test_a_run_that_is_not_finished_or_was_changed_is_refused(run, alphaloom):
    text = (run / "study.toml").read_text()
    (run / "study.toml").write_text(text.replace("k = 4", "k = 5"))
    code, _, fault = alphaloom("daily", "line")
    assert code == 2
    assert "study.toml" in fault
    (run / "study.toml").write_text(text)
    (run / "result.json").unlink()
    code, _, fault = alphaloom("daily", "line")
    assert code == 2
    assert "finished" in fault
    assert alphaloom("daily", "nowhere")[0] == 2


def prices(days, *, event=None):
    """Bars of five firms in raw prices; from the row `event` on firm B has split two for one and firm C paid out."""
    rng = np.random.default_rng(3)
    dates = np.array([np.busday_offset("2020-01-02", k, roll="forward") for k in range(150)])
    frames = []
    for name in "ABCDE":
        close = 30 * np.exp(np.cumsum(rng.normal(0, 0.02, 150)))
        ratio = np.where(np.arange(150) >= (event or 999), 2.0 if name == "B" else 1.0, 1.0)
        paid = (np.arange(150) == (event or 999)) & (name == "C")
        volume = np.round(1e4 * np.exp(rng.normal(0, 0.3, 150))) * ratio
        close = close / ratio * np.where(np.arange(150) >= (event or 999), 0.97 if name == "C" else 1.0, 1.0)
        frames.append(
            pl.DataFrame(
                {"date": dates, "asset": [name] * 150, "open": close, "high": close * 1.01, "low": close * 0.99}
                | {"close": close, "volume": volume, "dividend": np.where(paid, close * 0.03 / 0.97, 0.0)}
                | {"split": np.where((np.arange(150) == (event or 999)) & (name == "B"), 2.0, 1.0)}
            )[:days]
        )
    return pl.concat(frames)


STORED = """
name = "stored"
[data]
kind = "store"
path = "store"
[learner]
kind = "ridge"
horizon = 2
known = 0.2
factors = "few.toml"
[allocator]
kind = "top_k"
k = 2
[plan]
train = 60
test = 20
"""
FEW = """
name = "few"
[[factor]]
name = "reversal"
formula = "-(close / delay(close, 3) - 1)"
[[factor]]
name = "spread"
formula = "(high - low) / close"
"""


def grow(alphaloom, days, *, event=None, name="store"):
    prices(days, event=event).write_parquet(f"prices_{days}.parquet")
    code, _, fault = alphaloom(
        "data", "import", f"prices_{days}.parquet", "--store", name, "--calendar", "none", "--adjustment", "events"
    )
    assert code == 0, fault


def test_a_store_that_grows_day_by_day_is_followed_through_splits_and_dividends(tmp_path, alphaloom):
    (tmp_path / "stored.toml").write_text(STORED)
    (tmp_path / "few.toml").write_text(FEW)
    grow(alphaloom, 120)
    code, _, fault = alphaloom("run", "stored.toml", "--out", "run", "--quiet")
    assert code == 0, fault
    first = json.loads(alphaloom("daily", "run", "--json")[1])[0]
    assert first["row"] == 119
    equity = [first["book"]["equity"]]
    for days in range(121, 131):
        grow(alphaloom, days, event=125)
        code, told, fault = alphaloom("daily", "run", "--data", "store", "--json")
        assert code == 0, fault
        day = json.loads(told)[0]
        assert day["row"] == days - 1
        assert day["reconciled"]
        equity.append(day["book"]["equity"])
    # A split of two for one on a held firm, taken for a fall of one half, would show at once.
    assert np.abs(np.diff(np.log(equity))).max() < 0.1
    orders = pl.read_parquet(sorted((tmp_path / "run" / "days").iterdir())[-1] / "orders.parquet")
    table = pl.read_parquet("prices_130.parquet").filter(pl.col("date") == pl.col("date").max())
    raw = dict(zip(table["asset"], table["close"], strict=True))
    assert all(
        abs(price / raw[name] - 1) < 1e-5 for name, price in zip(orders["asset"], orders["raw_price"], strict=True)
    )
    # Every day can be made again from the store as it has become, and from nothing in another account.
    span = [str(day)[:10] for day in (first["time"], day["time"])]
    code, told, fault = alphaloom("daily", "run", "--from", span[0], "--to", span[1], "--json")
    assert code == 0, fault
    assert all(one["repeated"] for one in json.loads(told))
    code, _, fault = alphaloom("daily", "run", "--date", "2020-12-01")
    assert code == 2
    assert "once the data reach it" in " ".join(fault.split())


def test_data_that_are_no_longer_the_studys_are_refused(tmp_path, alphaloom):
    (tmp_path / "stored.toml").write_text(STORED)
    (tmp_path / "few.toml").write_text(FEW)
    grow(alphaloom, 100)
    assert alphaloom("run", "stored.toml", "--out", "run", "--quiet")[0] == 0
    grow(alphaloom, 80, name="older")
    code, _, fault = alphaloom("daily", "run", "--data", "older")
    assert code == 2
    assert "bars 80, not 100" in " ".join(fault.split())
    (tmp_path / "few.toml").write_text(FEW.replace("3)", "4)"))
    code, _, fault = alphaloom("daily", "run")
    assert code == 2
    assert "study that made it" in " ".join(fault.split())
    with pytest.raises(DataError, match="a store is a directory"):
        open_panels(StoreView("nowhere"), {"data_hash": "", "last": "2020-01-01"}, None)


def test_a_panel_that_is_continued_keeps_its_past_and_brings_new_rows_to_its_prices():
    market = EmbeddedMarket(days=150, assets=20, seed=9, late=0.4)
    known = simulate(market)
    later = simulate(EmbeddedMarket(days=400, assets=20, seed=9, late=0.4, opening=150))
    whole, vanished = continued(known, later)
    assert vanished == ()
    for name in known.fields:
        assert np.array_equal(whole[name][:150], known[name], equal_nan=True)
    ratio = later["close"][1:] / later["close"][:-1]
    ours = whole["close"][1:] / whole["close"][:-1]
    assert np.allclose(ours[148:], ratio[148:], rtol=1e-5, equal_nan=True)
    raw = whole["close"] / whole["adj_factor"]
    assert np.allclose(raw, later["close"] / later["adj_factor"], rtol=1e-5, equal_nan=True)
    assert not np.allclose(whole["close"][150:], later["close"][150:], rtol=1e-3, equal_nan=True)
    assert np.allclose(whole["amount"], later["amount"], equal_nan=True)
    bent = later["close"].copy()
    at = int(np.flatnonzero(np.isfinite(bent[100]))[0])
    bent[100, at] *= 1.02
    with pytest.raises(DataError, match="does not change") as caught:
        continued(known, later.with_field("close", bent, later.units["close"]))
    assert known.assets[at] in str(caught.value)
    with pytest.raises(DataError, match="every bar that the study read"):
        continued(known, later[1:].replace())
    keep = slice(1, None)
    less = later.replace(
        assets=later.assets[keep],
        fields={name: grid[:, keep] for name, grid in later.fields.items()},
        labels={name: grid[:, keep] for name, grid in later.labels.items()},
        corpus=type(later.corpus).empty(),
        **{name: getattr(later, name)[:, keep] for name in ("member", "listed", "buyable", "sellable")},
    )
    whole, vanished = continued(known, less)
    assert vanished == known.assets[:1]
    assert not whole.listed[150:, 0].any()


KILLED = """
import sys
from alphaloom.app.cli import run_app
sys.argv = ["alphaloom", "daily", "cross", "--from", sys.argv[1], "--to", sys.argv[2], "--quiet"]
run_app()
"""


@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_a_job_that_is_killed_at_any_moment_loses_and_doubles_nothing(tmp_path, alphaloom, kills):
    (tmp_path / "cross.toml").write_text(RULE)
    for name in ("cross", "calm"):
        assert alphaloom("run", "cross.toml", "--out", name, "--quiet")[0] == 0
    first, last = bar(60, days=200, assets=10), bar(160, days=200, assets=10)
    assert alphaloom("daily", "calm", "--from", first, "--to", last)[0] == 0
    dice, days = random.Random(1), tmp_path / "cross" / "days"
    for _ in range(kills):
        job = subprocess.Popen(
            [sys.executable, "-c", KILLED, first, last], cwd=tmp_path, stderr=subprocess.PIPE, env={**os.environ}
        )
        before, begun = len(list(days.glob("2*"))) if days.is_dir() else 0, time.monotonic()
        while job.poll() is None and time.monotonic() - begun < 60:
            if days.is_dir() and len(list(days.glob("2*"))) > before:
                break
            time.sleep(0.005)
        time.sleep(dice.random() * 0.1)
        job.send_signal(signal.SIGKILL)
        _, fault = job.communicate()
        assert job.returncode in (0, -signal.SIGKILL), fault.decode()
    assert alphaloom("daily", "cross", "--from", first, "--to", last)[0] == 0
    calm, cross = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name / "days").rglob("*.*")
         if path.is_file()}
        for name in ("calm", "cross")
    )  # fmt: skip
    assert calm == cross
    assert not list(days.glob(".*"))
    assert (tmp_path / "calm/account/broker.jsonl").read_bytes() == (
        tmp_path / "cross/account/broker.jsonl"
    ).read_bytes()
