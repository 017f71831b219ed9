"""Units and split safety: which formulas mean something, and which a later split cannot change."""

from __future__ import annotations

import pytest

from alphaloom.errors import UnitError
from alphaloom.factors import parse, split_safe, unit_of
from alphaloom.units import MONEY, ONE, PRICE, SHARE, Unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("close", PRICE),
        ("close * volume", MONEY),
        ("close / open - 1", ONE),
        ("ts_var(close, 5)", Unit(2, 0)),
        ("sqrt(high * low) - vwap", PRICE),
        ("ts_cov(close, volume, 5)", MONEY),
        ("ts_beta(close, volume, 5)", PRICE / SHARE),
        ("abs(returns) / (volume * vwap)", ONE / MONEY),
        ("maximum(close - open, 0)", PRICE),
        ("rank(close)", ONE),
        ("log(close)", ONE),
        ("exp(log(close) - 0.5 * log(high) - 0.5 * log(low))", ONE),
        ("exp(ts_mean(log(close), 5))", PRICE),
        ("where(close > open, high, low)", PRICE),
        ("adv20 - volume", SHARE),
        ("power(close, 2)", Unit(2, 0)),
    ],
)
def test_unit_of(text, unit):
    assert unit_of(parse(text)) == unit


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("close + volume", "close + volume"),
        ("rank(close + 1)", "close + 1"),
        ("close < 5", "close < 5"),
        ("close > volume", "close > volume"),
        ("minimum(high, 2)", "minimum(high, 2)"),
        ("where(close, 1, 2)", "where(close, 1, 2)"),
        ("exp(close)", "exp(close)"),
        ("tanh(volume)", "tanh(volume)"),
        ("power(close, returns)", "power(close, returns)"),
        ("fillna(close, 1)", "fillna(close, 1)"),
        ("log(close) + close", "log(close) + close"),
    ],
)
def test_mixed_units_are_refused_with_the_place(text, place):
    with pytest.raises(UnitError) as caught:
        unit_of(parse(text))
    assert caught.value.where == place
    assert not split_safe(parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "close / delay(close, 5)",
        "ts_rank(close, 20)",
        "delta(log(close), 5)",
        "ts_corr(log(close), log(volume), 10)",
        "log(close / open)",
        "log(high) - log(low)",
        "close > open",
        "close > 0",
        "ts_std(log(close), 20)",
        "rank(ts_zscore(close, 20))",
        "sign(close - open)",
        "0.5 * log(high) + 0.5 * log(low) - log(close)",
        "ts_argmax(log(close), 5)",
        "log(high) > log(low)",
    ],
)
def test_split_safe(text):
    assert split_safe(parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "close",
        "rank(close)",
        "rank(log(close))",
        "log(close)",
        "sign(log(close))",
        "demean(close) / cs_mean(close)",
        "ts_rank(rank(close), 5)",
        "abs(log(close))",
        "log(close) * returns",
        "log(close) > 3",
        "indneutralize(close - open, sector)",
        "close * volume",
    ],
)
def test_not_split_safe(text):
    assert not split_safe(parse(text))


def test_units_of_the_panel_come_before_the_standard_ones():
    assert unit_of(parse("close / foo"), {"foo": PRICE}) == ONE
    assert unit_of(parse("close / foo")) == PRICE
