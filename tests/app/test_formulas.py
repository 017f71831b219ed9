"""The commands about formulas, as a person meets them."""

from __future__ import annotations

import json
import sys

import pytest

from alphaloom.app import cli


@pytest.fixture
def alphaloom(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["alphaloom", *words])
        with pytest.raises(SystemExit) as caught:
            cli.run_app()
        shown = capsys.readouterr()
        return int(caught.value.code or 0), shown.out, shown.err

    return call


def test_the_list_shows_more_than_700_factors_with_all_that_one_asks_of_them(alphaloom):
    code, out, _ = alphaloom("formula", "list", "--json")
    rows = json.loads(out)
    assert code == 0
    assert len(rows) >= 700
    assert len({(row["library"], row["name"]) for row in rows}) == len(rows)
    assert {row["library"] for row in rows} >= {
        "alpha101",
        "alpha158",
        "alpha360",
        "micro",
        "breadth",
        "style",
        "classic",
    }
    for row in rows:
        assert row["family"]
        assert row["formula"]
        assert row["source"]
        assert (row["unit"] == "mixed") == bool(row["unit_faults"])


def test_the_list_of_one_library_or_family(alphaloom):
    code, out, _ = alphaloom("formula", "list", "--library", "breadth", "--family", "rank")
    assert code == 0
    assert "6 factors of 1 libraries; 0 mix units" in out
    assert "rank(volume * vwap)" in out
    assert "histogram" not in out


def test_the_list_tells_where_units_are_mixed(alphaloom):
    _, out, _ = alphaloom("formula", "list", "--library", "alpha101")
    line = next(line for line in out.splitlines() if line.startswith("alpha001"))
    assert "mixed" in line
    line = next(line for line in out.splitlines() if line.startswith("alpha003"))
    assert "mixed" not in line
    assert "arXiv:1601.00991, formula 3" in line


def test_an_unknown_library_or_family_is_refused_with_what_there_is(alphaloom):
    code, _, err = alphaloom("formula", "list", "--library", "alpha10")
    assert code == 2
    assert "alpha101" in err
    code, _, err = alphaloom("formula", "list", "--family", "none")
    assert code == 2
    assert "momentum" in err


def test_a_formula_is_taken_apart(alphaloom):
    code, out, _ = alphaloom(
        "formula", "explain", "rank(ts_corr(volume, ts_mean(close, 20), 10)) + group_rank(cap, sector)"
    )
    assert code == 0
    for words in (
        "28 rows before today",
        "cap, close, volume",
        "groups      sector",
        "the assets of one day",
        "5 operators",
        "group_rank(cap, sector) + rank(ts_corr(ts_mean(close, 20), volume, 10))",
        "ts_mean   look-back 19, unit price",
        "a later split or dividend changes it",
    ):
        assert words in out


def test_a_factor_of_a_library_is_taken_apart_under_its_options(alphaloom):
    code, out, _ = alphaloom("formula", "explain", "alpha042", "--library", "alpha101")
    assert code == 0
    assert "zero_variance_corr = zero" in out
    assert "same close" in out
    assert "rank(vwap - close) / rank(vwap + close)" in out


def test_mixed_units_are_shown_with_their_column_and_refused_when_strict(alphaloom):
    code, out, _ = alphaloom("formula", "explain", "rank(close + volume)")
    assert code == 0
    assert "column 12" in out
    assert "price and share" in " ".join(out.split())
    code, _, err = alphaloom("formula", "explain", "rank(close + volume)", "--strict")
    assert code == 2
    assert "column 12" in err


@pytest.mark.parametrize(
    ("text", "column", "legal"),
    [
        ("rnk(close)", "column 1", "rank"),
        ("close + rank(close, 5)", "column 9", "rank(x)"),
        ("close - delay(close, -1)", "column 9", "never forward"),
        ("1 + ts_mean(close, 1000000)", "column 5", "1 to 10000"),
        ("(" * 10_000 + "close" + ")" * 10_000, "column 1001", "1000 deep"),
        ("close +", "column 8", "a name, a number"),
    ],
)
def test_bad_input_is_an_error_with_its_column_and_what_is_legal(alphaloom, text, column, legal):
    code, _, err = alphaloom("formula", "explain", text)
    assert code == 2
    assert column in err
    assert legal in err
