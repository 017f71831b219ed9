"""`alphaloom factors` as a person meets it: a ranked table, a page, tables, and refusals that say the way out."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from alphaloom.app.factors_command import read_horizons
from alphaloom.errors import ConfigError

LIBRARY = """
name = "mine"
[[factor]]
name = "week"
formula = "close / delay(close, 5) - 1"
family = "momentum"
[[factor]]
name = "range"
formula = "rank((high - low) / close)"
"""


@pytest.fixture
def store(alphaloom, tmp_path):
    rng = np.random.default_rng(0)
    days = np.arange("2020-01-06", "2020-06-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    frames = []
    for k in range(14):
        close = 20 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days))))
        frames.append(
            pl.DataFrame(
                {"Date": days.astype(str), "ticker": [f"A{k:02d}"] * len(days), "open": close * 0.999}
                | {"high": close * (1.01 + 0.01 * rng.random(len(days))), "low": close * 0.99, "close": close}
                | {"volume": rng.uniform(1e3, 2e3, len(days))}
            )
        )
    pl.concat(frames).write_csv(tmp_path / "prices.csv")
    code, _, told = alphaloom(
        "data", "import", tmp_path / "prices.csv", "--store", tmp_path / "store", "--calendar", "none"
    )
    assert code == 0, told
    (tmp_path / "mine.toml").write_text(LIBRARY)
    return tmp_path / "store"


def test_a_library_is_judged_on_a_store(alphaloom, store, tmp_path):
    code, out, err = alphaloom(
        "factors", "mine.toml", "--data", store, "--horizons", "2, 4", "--start", "2020-02-03", "--out", "found"
    )
    assert code == 0, err
    assert "week" in out
    assert "range" in out
    assert "Of 2 factors" in out
    assert "report: found/factors.html" in out
    index = json.loads((tmp_path / "found/factors.json").read_text())
    assert index["horizons"] == [2, 4]
    assert index["facts"]["first"] == "2020-02-03"
    assert {row["name"] for row in index["factors"]} == {"week", "range"}
    daily = pl.read_parquet(tmp_path / "found/rank_ic.parquet")
    assert daily["week"][:20].is_finite().all()  # the bars before the start served as look-back
    page = (tmp_path / "found/factors.html").read_text()
    assert "Single-factor analysis" in page
    before = (tmp_path / "found/factors.html").read_bytes()
    assert alphaloom("factors", "mine.toml", "--data", store, "--horizons", "2,4", "--start", "2020-02-03",
                     "--out", "found")[0] == 0  # fmt: skip
    assert (tmp_path / "found/factors.html").read_bytes() == before


def test_a_folder_of_its_own_by_default(alphaloom, store, tmp_path):
    for _ in range(2):
        assert alphaloom("factors", "mine.toml", "--data", store)[0] == 0
    assert alphaloom("factors", "mine.toml", "--data", store, "--end", "2020-04-30")[0] == 0
    made = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(made) == 2
    assert all(name.startswith("factors-mine-") for name in made)


def test_misuse_is_answered_with_the_way_out(alphaloom, store, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/report.html").write_text("a study")
    for arguments, word in (
        (("no_such_library", "--data", store), "library"),
        (("mine.toml", "--data", tmp_path / "nowhere"), "alphaloom data import"),
        (("mine.toml", "--data", store, "--horizons", "0"), "--horizons"),
        (("mine.toml", "--data", store, "--start", "soon"), "--start"),
        (("mine.toml", "--data", store, "--start", "2031-01-01"), "the last bar is 2020-05-29"),
        (("mine.toml", "--data", store, "--out", tmp_path / "full"), "another directory"),
    ):
        code, _, told = alphaloom("factors", *arguments)
        assert code == 2
        assert word in told
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["report.html"]
    assert not (tmp_path / "runs").exists()


def test_horizons_are_read_or_refused():
    assert read_horizons("1,5, 20") == (1, 5, 20)
    for text in ("", "1,,2", "-1", "1.5", "x", "3,3", "²"):
        with pytest.raises(ConfigError):
            read_horizons(text)
