"""Mined pools as files: they read back, serve as libraries, and say clearly what is wrong."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.errors import AlphaloomError, ConfigError, DataError
from alphaloom.factors import load_library
from alphaloom.factors.grammar import Grammar
from alphaloom.mining import MinedPool
from alphaloom.mining.combiners import Boosting, Dynamic, Evidence, Terms, combine
from alphaloom.mining.mined_files import load_pool, read_pool

FORMULAS = ("ts_mean(close, 5) / close", "rank(volume / ts_mean(volume, 20))", "-log(open / close)")
POOL = MinedPool(
    FORMULAS,
    (0.25, -1e-05, 0.1 + 0.2),
    horizon=5,
    grammar=Grammar(windows=(5, 20), max_tokens=12),
    miner="RandomSearch",
    seeds=(7, 8),
    evaluations=20_000,
    data='abc[0:9] "quoted"',
    notes=('a "note" with \\ and ünïcode\x7f', "two\nlines"),
    name="one",
)


def trees() -> str:
    random = np.random.default_rng(0)
    z = random.normal(size=(3, 40, 20)).astype(np.float32)
    evidence = Evidence(z, random.normal(size=(40, 3)), random.normal(size=(40, 20)))
    terms = Terms(boosting=Boosting(trees=4, min_rows=20))
    return combine("gbdt", evidence, terms=terms).trees


@pytest.mark.parametrize(
    "pool",
    [
        POOL,
        replace(POOL, combiner="dynamic", dynamic=Dynamic(window=60, rank_ic=0.1), fill="same_close"),
        replace(POOL, combiner="gbdt", trees=trees()),
        MinedPool(FORMULAS[:1], (1.0,)),
    ],
    ids=["plain", "dynamic", "trees", "least"],
)
def test_a_saved_pool_is_the_same_pool(pool, tmp_path):
    path = pool.save(tmp_path / "deep" / "pool.toml")
    again = load_pool(path)
    assert again == pool
    assert again.text == pool.text == path.read_text(encoding="utf-8")
    assert MinedPool.load(path, grammar=pool.grammar) == pool
    assert [item.name for item in path.parent.iterdir()] == ["pool.toml"]


WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    WORDS,
    WORDS,
    st.lists(WORDS, max_size=3),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
)
def test_any_words_and_numbers_read_back(miner, data, notes, weights):
    pool = replace(POOL, miner=miner, data=data, notes=tuple(notes), weights=tuple(weights))
    again = read_pool(pool.text)
    assert again == pool
    assert again.text == pool.text


def test_the_same_file_is_a_formula_library(tmp_path):
    library = load_library(POOL.save(tmp_path / "pool.toml"))
    assert library.name == "one"
    assert [factor.expr for factor in library.factors] == [factor.expr for factor in POOL.factors.factors]
    assert [factor.sign for factor in library.factors] == [1, -1, 1]
    assert {factor.source for factor in library.factors} == {"RandomSearch"}
    assert library == POOL.factors


def written(tmp_path, change) -> str:
    path = POOL.save(tmp_path / "pool.toml")
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda text: text.replace("log(open", "logarithm(open"), "logarithm"),
        (lambda text: text.replace('"sign"', '"signum"'), "signum"),
        (lambda text: text.replace("format = 1", "format = 2"), "has format 1"),
        (lambda text: text[: text.index("[meta]")] + text[text.index("[[factor]]") :], "without \\[meta\\]"),
        (lambda text: text[:-30], "TOML file|must be a text|all its parts|those that were mined"),
        (lambda text: text.replace("weights = [", "weights = [1.0, "), "one weight for each"),
        (lambda text: text.replace("0.25", "0.26"), "those that were mined"),
        (lambda text: text.replace("close, 5)", "close, 20)"), "those that were mined"),
        (lambda text: text.replace("weights = ", "heights = "), "unknown: heights"),
        (lambda text: re.sub("max_tokens = .*\n", "", text), "max_tokens"),
        (lambda text: text.replace("clip = 5.0", 'clip = "much"'), "all its parts"),
        (lambda text: text.replace("0.25", "nan"), "finite"),
        (lambda text: text.replace('combiner = "lasso"', 'combiner = "vote"'), "combiner must be known"),
        (lambda text: text.replace('combiner = "lasso"', 'combiner = "gbdt"'), "trees belong"),
        (lambda text: "", "without \\[meta\\]"),
    ],
)
def test_a_file_that_is_no_pool_says_why(tmp_path, change, match):
    path = written(tmp_path, change)
    with pytest.raises((DataError, ConfigError), match=match) as caught:
        load_pool(path)
    assert "pool.toml" in str(caught.value)


def test_a_pool_of_another_grammar_is_refused(tmp_path):
    path = POOL.save(tmp_path / "pool.toml")
    with pytest.raises(DataError, match=r"another windows, max_tokens \(windows: .*, not .*; max_tokens: "):
        load_pool(path, grammar=Grammar(windows=(5, 10)))


def test_an_absent_file_and_bytes_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(DataError, match="readable"):
        load_pool(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="readable"):
        load_pool(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    "change",
    [
        {"formulas": ()},
        {"weights": (1.0,)},
        {"weights": (1.0, float("inf"), 0.0)},
        {"clip": -1.0},
        {"horizon": 0},
        {"min_pairs": 1},
        {"fill": "soon"},
        {"dynamic": Dynamic()},
        {"combiner": "dynamic"},
        {"combiner": "gbdt", "trees": "no trees"},
        {"formulas": ("close", "close +", "open")},
        {"formulas": FORMULAS[:2], "weights": (1.0, 1.0), "combiner": "gbdt", "trees": "$trees"},
    ],
    ids=str,
)
def test_parts_that_do_not_fit_are_refused(change):
    change = {name: trees() if value == "$trees" else value for name, value in change.items()}
    with pytest.raises(AlphaloomError):
        replace(POOL, **change)
