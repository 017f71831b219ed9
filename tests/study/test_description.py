"""A study written down: the same words in every process, and back again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloom.errors import ConfigError
from alphaloom.market import Market
from alphaloom.study.description import describe, fingerprint, json_text, toml_text


class Colour(Enum):
    RED = 1


@dataclass(frozen=True)
class Spec:
    name: str
    grid: tuple[float, ...] = (0.5, 1.0)
    note: str | None = None


class Plain:
    def __init__(self, size: int) -> None:
        self.size = size


class Slotted:
    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


class Printed:
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def test_values_become_plain() -> None:
    value = {
        "day": date(2020, 1, 2),
        "path": Path("a/b"),
        "colour": Colour.RED,
        "number": np.float32(0.5),
        "set": {3, 1, 2},
        "none": None,
        "when": np.datetime64("2020-01-02"),
    }
    assert describe(value) == {
        "day": "2020-01-02",
        "path": "a/b",
        "colour": "RED",
        "number": 0.5,
        "set": [1, 2, 3],
        "when": "2020-01-02",
    }
    described = describe(Spec("x"))
    assert described.pop("class").endswith("Spec")
    assert described == {"name": "x", "grid": [0.5, 1.0]}


def test_fingerprint_tells_configurations_apart() -> None:
    same = fingerprint(Spec("x"))
    assert same == fingerprint(Spec("x"))
    assert same != fingerprint(Spec("y"))
    assert same != fingerprint(Spec("x", (0.5, 1.1)))
    assert fingerprint(Market()) != fingerprint(Market(commission=0.001))
    assert fingerprint(np.arange(3.0)) != fingerprint(np.arange(3.0)[::-1])
    assert fingerprint(Plain(3)) == fingerprint(Plain(3)) != fingerprint(Plain(4))
    assert fingerprint(Slotted(3)) == fingerprint(Slotted(3)) != fingerprint(Slotted(4))
    assert fingerprint(Printed("a")) == fingerprint(Printed("a")) != fingerprint(Printed("b"))
    assert fingerprint(np.mean) != fingerprint(np.std)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_LEAF = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | _TEXT
_VALUE = st.recursive(_LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3))


@given(st.dictionaries(_TEXT, _VALUE, max_size=4))
def test_toml_reads_back(table: dict[str, object]) -> None:
    assert tomllib.loads(toml_text(table)) == table


def test_what_is_described_can_be_stored() -> None:
    described = describe({"a": None, "b": [None, 1], "c": Spec("x"), "d": {"e": (Plain(2), None)}})
    assert tomllib.loads(toml_text(described)) == described
    assert described["b"] == ["none", 1]


def test_equal_formulas_are_described_equally_in_every_process() -> None:
    from alphaloom.factors import parse

    script = "from alphaloom.factors import parse; from alphaloom.study.description import fingerprint;"
    script += "print(fingerprint(parse('rank(close / delay(close, 5))')))"
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        shown = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
        found.add(shown.stdout.decode().strip())
    assert found == {fingerprint(parse("rank(close / delay(close, 5))"))}


def test_toml_is_readable() -> None:
    table = {"name": "a", "plan": {"train": 5, "deep": {"on": True}}, "list": [1, {"x": 0.1}]}
    assert toml_text(table) == 'name = "a"\nlist = [1, {x = 0.1}]\n\n[plan]\ntrain = 5\n\n[plan.deep]\non = true\n'


def test_toml_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(ConfigError, match=r"plan\.train"):
        toml_text({"plan": {"train": [1, None]}})


def test_json_has_no_infinities() -> None:
    text = json_text({"b": float("inf"), "a": [float("nan"), np.float64(1.5)], "c": np.int64(3)})
    assert json.loads(text) == {"a": [None, 1.5], "b": None, "c": 3}
    assert list(json.loads(text)) == ["b", "a", "c"]
