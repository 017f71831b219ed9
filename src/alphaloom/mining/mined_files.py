"""A mined pool as a value and as a file: the same TOML is a formula library that the factor room reads.

The formulas stand in `[[factor]]` tables as in any library; what makes them a pool (weights, combiner, grammar, where
they were found) stands in `[meta]`, which a library's reader leaves alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from alphaloom.errors import AlphaloomError, DataError
from alphaloom.factors import Factor, FactorSet, load_library, parse
from alphaloom.factors.grammar import Grammar
from alphaloom.market import Fill
from alphaloom.mining.combiners import CombinerKind
from alphaloom.mining.dynamic import Dynamic

__all__ = ["MinedPool", "load_pool", "read_pool"]

_FORMAT = 1


@dataclass(frozen=True)
class MinedPool:
    """Formulas that a search found, and how they make one score.

    `weights`, one for each formula, add the standardised values up; with `gbdt` they are shares in the gain of `trees`,
    with `dynamic` the weights of days on which its rule chooses nothing. `clip` robust deviations hold outliers and a
    date counts with `min_pairs` members, as in the search. The rest says what was searched: `horizon` and `fill` of the
    labels, the grammar, the miner and its seeds, the distinct formulas evaluated, the hash of the training data.
    Raises: DataError for parts that do not fit; FormulaError, GrammarError for a formula that is none.
    """

    formulas: tuple[str, ...]
    weights: tuple[float, ...]
    combiner: CombinerKind = "lasso"
    clip: float = 5.0
    horizon: int = 10
    min_pairs: int = 10
    fill: Fill = "next_open"
    grammar: Grammar = field(default_factory=Grammar)
    miner: str = ""
    seeds: tuple[int, ...] = ()
    evaluations: int = 0
    data: str = ""
    trees: str = ""
    dynamic: Dynamic | None = None
    notes: tuple[str, ...] = ()
    name: str = "mined"

    def __post_init__(self) -> None:
        for name in ("formulas", "weights", "seeds", "notes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
        counts = f"{len(self.weights)} weights for {len(self.formulas)} formulas"
        rules = [
            (len(self.formulas) >= 1, "a pool holds at least one formula", 0, "formulas"),
            (len(self.weights) == len(self.formulas), "a pool has one weight for each formula", counts, "weights"),
            (all(map(math.isfinite, self.weights)), "a weight is a finite number", self.weights, "weights"),
            (self.combiner in get_args(CombinerKind), "a combiner must be known", self.combiner, "combiner"),
            (0.0 <= self.clip < math.inf, "a clip is not negative", self.clip, "clip"),
            (self.horizon >= 1, "a horizon counts bars, at least one", self.horizon, "horizon"),
            (self.min_pairs >= 2, "a date counts with at least 2 members", self.min_pairs, "min_pairs"),
            (self.fill in get_args(Fill), "a fill must be known", self.fill, "fill"),
            (bool(self.trees) == (self.combiner == "gbdt"), "trees belong to gbdt", self.combiner, "trees"),
            ((self.dynamic is None) == (self.combiner != "dynamic"), "a rule belongs to dynamic", "", "dynamic"),
        ]
        for right, rule, found, where in rules:
            if not right:
                raise DataError(rule, found=found, where=f"MinedPool.{where}")
        _ = self.factors  # a formula that is none shows now
        if self.trees:
            from alphaloom.mining.boosted import tree_width

            width = tree_width(self.trees)
            if width != len(self.formulas):
                found = f"{width} for {len(self.formulas)}"
                raise DataError("trees read one value for each formula", found=found, where="MinedPool.trees")

    @cached_property
    def factors(self) -> FactorSet:
        """The formulas as factors, named in their order, with the signs of their weights."""
        signed = self.combiner not in ("gbdt", "dynamic")
        rows = (
            Factor(f"mined{k + 1:03d}", parse(text), "mined", self.miner, _sign(weight) if signed else 0)
            for k, (text, weight) in enumerate(zip(self.formulas, self.weights, strict=True))
        )
        return FactorSet(self.name, tuple(rows))

    @property
    def lag(self) -> int:
        """Bars between a decision and its fill."""
        return 0 if self.fill == "same_close" else 1

    @property
    def text(self) -> str:
        """The pool as TOML; equal pools give equal texts."""
        return "\n".join(_lines(self)) + "\n"

    def save(self, path: str | Path) -> Path:
        """Write the pool; the file appears whole or not at all.   Raises: OSError where the disk refuses."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.part")
        beside.write_text(self.text, encoding="utf-8")
        beside.replace(target)
        return target

    @classmethod
    def load(cls, path: str | Path, *, grammar: Grammar | None = None) -> MinedPool:
        """What `load_pool` reads."""
        return load_pool(path, grammar=grammar)


def load_pool(path: str | Path, *, grammar: Grammar | None = None) -> MinedPool:
    """Read a pool that was saved; with a `grammar`, only one that was mined in it.

    Raises: DataError for a file that is absent, damaged, of an unknown version or of another grammar; ConfigError,
    naming each, for formulas that cannot be read.
    """
    where = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("a mined pool is a readable TOML file", found=str(error), where=where) from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError("a mined pool is a TOML file", found=str(error), where=where) from None
    if isinstance(document.get("meta"), dict) and document["meta"].get("format") == _FORMAT:
        load_library(path)  # tells every faulty formula at once
    return read_pool(text, where=where, grammar=grammar)


def read_pool(text: str, *, where: str = "the pool", grammar: Grammar | None = None) -> MinedPool:
    """The pool of a text that `MinedPool.text` made.   Raises: as `load_pool`."""
    document = tomllib.loads(text)
    meta = document.get("meta")
    if not isinstance(meta, dict):
        raise DataError(
            "a mined pool says in [meta] how its formulas are weighted",
            found="a formula library without [meta]",
            where=where,
            fix="read it with load_library, or give a file that a search wrote",
        )
    if meta.get("format") != _FORMAT:
        raise DataError(f"a mined pool has format {_FORMAT}", found=meta.get("format"), where=f"{where}: meta.format")
    try:
        pool = _pool(document, meta)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError("a mined pool has all its parts", found=repr(error), where=where) from None
    except AlphaloomError as fault:
        raise DataError("a mined pool can be read", found=fault, where=where) from fault
    if meta.get("digest") != _digest(pool):
        raise DataError(
            "a pool's formulas, weights and trees are those that were mined",
            found="others than were stored",
            where=where,
            fix="take the file as it was written; changed formulas can be read with load_library",
        )
    if grammar is not None:
        _check_grammar(pool.grammar, grammar, where)
    return pool


def _pool(document: Mapping[str, Any], meta: Mapping[str, Any]) -> MinedPool:
    strange = sorted(set(meta) - {"format", "digest", *(item.name for item in fields(MinedPool))})
    if strange:
        raise ValueError(f"unknown: {', '.join(strange)}")
    parts = {name: value for name, value in meta.items() if name not in ("format", "digest")}
    spelt: dict[str, Any] = {item.name: parts["grammar"][item.name] for item in fields(Grammar)}
    parts["grammar"] = Grammar(**spelt)
    if "dynamic" in parts:
        parts["dynamic"] = Dynamic(**parts["dynamic"])
    formulas = tuple(str(row["formula"]) for row in document["factor"])
    return MinedPool(formulas, name=str(document.get("name", "mined")), **parts)


def _check_grammar(found: Grammar, wanted: Grammar, where: str) -> None:
    differ = [item.name for item in fields(Grammar) if getattr(found, item.name) != getattr(wanted, item.name)]
    if differ:
        told = "; ".join(_apart(name, getattr(found, name), getattr(wanted, name)) for name in differ)
        raise DataError(
            "a pool goes on in the grammar in which it was mined",
            found=f"another {', '.join(differ)} ({told})",
            where=where,
            fix="search with the pool's grammar, or give a pool of this one",
        )


def _apart(name: str, found: Any, wanted: Any) -> str:
    """Two values of one setting; of long lists only what one has and the other lacks."""
    if isinstance(found, tuple) and len(found) + len(wanted) > 12:
        parts = [("with", set(found) - set(wanted)), ("without", set(wanted) - set(found))]
        told = [f"{word} {', '.join(map(str, sorted(more)))}" for word, more in parts if more]
        return f"{name} {' and '.join(told) or 'in another order'}"
    return f"{name}: {found}, not {wanted}"


def _lines(pool: MinedPool) -> Iterator[str]:
    yield "# A mined pool: a formula library, and in [meta] how its formulas make one score and where they were found."
    yield f"name = {_value(pool.name)}"
    yield ""
    yield "[meta]"
    yield f"format = {_FORMAT}"
    yield f"digest = {_value(_digest(pool))}"
    for item in fields(pool):
        value = getattr(pool, item.name)
        if item.name not in ("formulas", "grammar", "dynamic", "name") and value not in ("", None):
            yield f"{item.name} = {_value(value)}"
    tables = {"grammar": {item.name: getattr(pool.grammar, item.name) for item in fields(Grammar)}}
    for name, table in {**tables, **({"dynamic": asdict(pool.dynamic)} if pool.dynamic else {})}.items():
        yield ""
        yield f"[meta.{name}]"
        yield from (f"{key} = {_value(value)}" for key, value in table.items())
    for factor, text in zip(pool.factors.factors, pool.formulas, strict=True):
        yield ""
        yield "[[factor]]"
        parts = {"name": factor.name, "formula": text, "family": factor.family, "source": factor.source}
        yield from (f"{key} = {_value(value)}" for key, value in parts.items())
        if factor.sign:
            yield f"sign = {factor.sign}"


def _value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(_value(part) for part in value)}]"
    return repr(value)


def _digest(pool: MinedPool) -> str:
    said = [pool.formulas, pool.weights, pool.combiner, pool.trees]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _sign(weight: float) -> int:
    return (weight > 0) - (weight < 0)
