"""Factors by name, and the formula libraries that come as TOML files."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from alphaloom.errors import AlphaloomError, ConfigError, Fault, FormulaError
from alphaloom.factors.analysis import fields_of, groups_of, lookback
from alphaloom.factors.expr import Expr, nearest
from alphaloom.factors.options import PLAIN, Options
from alphaloom.factors.parse import parse
from alphaloom.panel import Panel

__all__ = ["Factor", "FactorSet", "libraries", "load_library"]

_KEYS = ("name", "formula", "family", "source", "sign")
# What stands in "meta" belongs to whoever wrote the file; a library leaves it alone.
_TABLES = ("name", "options", "let", "factor", "sweep", "meta")
_PLACE = re.compile(r"\{(\w+)\}")
_MOST = 10_000


@dataclass(frozen=True)
class Factor:
    """One named formula; `sign` is +1 where a high value foretold high returns, -1 the reverse, 0 where unknown."""

    name: str
    expr: Expr
    family: str = ""
    source: str = ""
    sign: int = 0


@dataclass(frozen=True)
class FactorSet:
    """An ordered set of factors with distinct names, read under one set of options.

    Raises: FormulaError for a name used twice or no factor.
    """

    name: str
    factors: tuple[Factor, ...]
    options: Options = PLAIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(self.factors))
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            found = ", ".join(twice) if twice else "no factor"
            raise FormulaError("a factor set holds factors with distinct names", found=found, where=self.name)

    def __len__(self) -> int:
        return len(self.factors)

    @property
    def names(self) -> tuple[str, ...]:
        """The factors' names, in order."""
        return tuple(factor.name for factor in self.factors)

    @cached_property
    def lookback(self) -> int:
        """How many rows before today the set reads at most."""
        return max(lookback(factor.expr) for factor in self.factors)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields and series of the panel that the set reads, sorted."""
        return tuple(sorted({name for factor in self.factors for name in fields_of(factor.expr, self.options)}))

    @property
    def groups(self) -> tuple[str, ...]:
        """The labels of the panel that the set groups by, sorted."""
        return tuple(sorted({name for factor in self.factors for name in groups_of(factor.expr)}))

    def supported_by(self, panel: Panel) -> tuple[FactorSet, tuple[str, ...]]:
        """The factors that a panel has all names for, and the names of the factors left out.

        Raises: FormulaError where not one factor is left.
        """
        known = {*panel.fields, *panel.series}
        kept = tuple(
            factor
            for factor in self.factors
            if known.issuperset(fields_of(factor.expr, self.options))
            and set(panel.labels).issuperset(groups_of(factor.expr))
        )
        if not kept:
            lacking = sorted({*self.fields} - known) + sorted({*self.groups} - set(panel.labels))
            raise FormulaError(
                "a panel must hold the names of at least one factor",
                found=f"without {', '.join(lacking)}",
                where=self.name,
            )
        left_out = tuple(factor.name for factor in self.factors if factor not in kept)
        return FactorSet(self.name, kept, self.options), left_out


def load_library(name_or_path: str | Path, *, options: Options | None = None) -> FactorSet:
    """A formula library: one that comes with the package, by name, or any TOML file, by path.

    The file holds `[[factor]]` tables with `name` and `formula`, and optionally `family`, `source`, `sign`; `[[sweep]]`
    tables, where `{d}` in name and formula runs over the list `d`; a `[let]` table of names for parts of formulas; and
    an `[options]` table, which `options` replaces where given.
    Raises: FormulaError for an unknown name or an unreadable file; ConfigError with every fault of the file at once.
    """
    text, where = _text(name_or_path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormulaError("a formula library is a TOML file", found=str(error), where=where) from None
    faults = [Fault(key, "is not part of a library", fix=f"use {', '.join(_TABLES)}") for key in document]
    faults = [fault for fault in faults if fault.key not in _TABLES]
    chosen = _options(document, faults) if options is None else options
    let = _bound(document.get("let", {}), chosen, faults)
    factors: list[Factor] = []
    for key, row in _rows(document, faults):
        factor = _factor(key, row, faults, let=let, options=chosen)
        if factor is not None:
            factors.append(factor)
    names = [factor.name for factor in factors]
    for again in sorted({name for name in names if names.count(name) > 1}):
        faults.append(Fault("factor.name", "a factor's name must be unique", again))
    if faults:
        raise ConfigError(where, faults)
    return FactorSet(str(document.get("name", Path(where).stem)), tuple(factors), chosen)


def libraries() -> tuple[str, ...]:
    """The names of the formula libraries that come with the package."""
    folder = resources.files("alphaloom.factors").joinpath("libraries")
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def _text(name_or_path: str | Path) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix != ".toml":
        known = libraries()
        if str(name_or_path) not in known:
            raise FormulaError(
                "a formula library is one of the package's or a path that ends in .toml",
                found=name_or_path,
                fix=nearest(str(name_or_path), known, "library"),
            )
        file = f"{name_or_path}.toml"
        folder = resources.files("alphaloom.factors").joinpath("libraries")
        return folder.joinpath(file).read_text(encoding="utf-8"), file
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise FormulaError("a formula library must be a readable file", found=str(error), where=str(path)) from None


def _options(document: Mapping[str, Any], faults: list[Fault]) -> Options:
    table = document.get("options", {})
    if not isinstance(table, Mapping):
        faults.append(Fault("options", "is a table", table))
        return PLAIN
    try:
        return Options.read(table)
    except FormulaError as error:
        faults.append(Fault("options", error.rule, error.found, error.fix))
        return PLAIN


def _bound(table: Any, options: Options, faults: list[Fault]) -> dict[str, Expr]:
    """The formulas that the names of the library stand for; a later one may use an earlier one."""
    bound: dict[str, Expr] = {}
    if not isinstance(table, Mapping):
        faults.append(Fault("let", "is a table of names and formulas", table))
        return bound
    for name, text in table.items():
        try:
            Expr.name(name)
            bound[name] = parse(text, let=bound, options=options)
        except AlphaloomError as error:
            faults.append(Fault(f"let.{name}", str(error), text))
    return bound


def _rows(document: Mapping[str, Any], faults: list[Fault]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every factor's key and table, sweeps written out."""
    found = False
    for kind in ("factor", "sweep"):
        tables = document.get(kind, [])
        if not isinstance(tables, list) or not all(isinstance(row, Mapping) for row in tables):
            faults.append(Fault(kind, f"a library holds [[{kind}]] tables", tables))
            return
        found |= bool(tables)
        for k, row in enumerate(tables):
            key = f"{kind}[{k}] {row.get('name', '')}".rstrip()
            yield from ((key, row),) if kind == "factor" else _swept(key, row, faults)
    if not found:
        faults.append(Fault("factor", "a library holds [[factor]] tables", fix='add name = "..." and formula = "..."'))


def _swept(key: str, row: Mapping[str, Any], faults: list[Fault]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The tables that a template stands for: one for every combination of its variables, the last one runs fastest."""
    plain = {word: row[word] for word in _KEYS if word in row}
    runs = {word: _run(f"{key}.{word}", value, faults) for word, value in row.items() if word not in _KEYS}
    used = set(_PLACE.findall(str(row.get("name", ""))))
    for word in sorted(used ^ set(runs)):
        rule = "a variable must be in the name, as {x}, and have a list of its own, as x = [5, 10]"
        faults.append(Fault(f"{key}.{word}", rule, word))
        return
    for word in sorted(set(_PLACE.findall(str(row.get("formula", "")))) - set(runs)):
        faults.append(Fault(f"{key}.formula", "a variable has a list of its own, as x = [5, 10]", word))
        return
    for values in itertools.product(*runs.values()):
        filled = dict(zip(runs, values, strict=True))
        texts: dict[str, Any] = {word: _filled(plain[word], filled) for word in ("name", "formula") if word in plain}
        yield f"{key} {texts.get('name', '')}", {**plain, **texts}


def _filled(text: Any, values: Mapping[str, Any]) -> Any:
    """A template with its variables written out."""
    return _PLACE.sub(lambda match: str(values[match[1]]), text) if isinstance(text, str) else text


def _run(key: str, value: Any, faults: list[Fault]) -> list[str | int | float]:
    """What a variable runs over: a list, or all whole numbers `{ from = 59, to = 0 }`."""
    if isinstance(value, Mapping) and set(value) == {"from", "to"}:
        first, last = value["from"], value["to"]
        if all(isinstance(end, int) and abs(end) <= _MOST for end in (first, last)):
            return list(range(first, last + 1) if first <= last else range(first, last - 1, -1))
    if isinstance(value, list) and value and all(isinstance(item, (str, int, float)) for item in value):
        return value
    faults.append(Fault(key, "runs over a list or { from = 1, to = 9 }", value, f"use {', '.join(_KEYS)} otherwise"))
    return []


def _factor(
    key: str, row: Mapping[str, Any], faults: list[Fault], *, let: Mapping[str, Expr], options: Options
) -> Factor | None:
    """One table of the file as a factor; what is wrong with it goes into `faults`."""
    before = len(faults)
    for word in ("name", "formula"):
        if not isinstance(row.get(word), str) or not row[word]:
            faults.append(Fault(f"{key}.{word}", "must be a text", row.get(word)))
    for word in ("family", "source"):
        if not isinstance(row.get(word, ""), str):
            faults.append(Fault(f"{key}.{word}", "must be a text", row[word]))
    for word in sorted(set(row) - set(_KEYS)):
        faults.append(Fault(f"{key}.{word}", "is not a key of a factor", fix=f"use {', '.join(_KEYS)}"))
    if row.get("sign", 0) not in (-1, 0, 1):
        faults.append(Fault(f"{key}.sign", "must be -1, 0 or 1", row["sign"]))
    if len(faults) > before:
        return None
    try:
        expr = parse(row["formula"], let=let, options=options)
    except AlphaloomError as error:
        faults.append(Fault(f"{key}.formula", str(error), row["formula"]))
        return None
    return Factor(row["name"], expr, row.get("family", ""), row.get("source", ""), row.get("sign", 0))
