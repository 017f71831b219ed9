"""Factors by name, and the formula libraries that come as TOML files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
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

__all__ = ["Factor", "FactorSet", "load_library"]

_KEYS = ("name", "formula", "family", "source", "sign")


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


def load_library(name_or_path: str | Path) -> FactorSet:
    """A formula library: one that comes with the package, by name, or any TOML file, by path.

    The file holds `[[factor]]` tables with `name` and `formula`, and optionally `family`, `source`, `sign`.
    Raises: FormulaError for an unknown name or an unreadable file; ConfigError with every fault of the file at once.
    """
    text, where = _text(name_or_path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormulaError("a formula library is a TOML file", found=str(error), where=where) from None
    faults: list[Fault] = []
    rows = document.get("factor", [])
    if not isinstance(rows, list) or not rows:
        faults.append(Fault("factor", "a library holds [[factor]] tables", fix='add name = "..." and formula = "..."'))
        rows = []
    factors = [factor for k, row in enumerate(rows) if (factor := _factor(k, row, faults)) is not None]
    names = [factor.name for factor in factors]
    for again in sorted({name for name in names if names.count(name) > 1}):
        faults.append(Fault("factor.name", "a factor's name must be unique", again))
    if faults:
        raise ConfigError(where, faults)
    return FactorSet(str(document.get("name", Path(where).stem)), tuple(factors))


def _text(name_or_path: str | Path) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix != ".toml":
        folder = resources.files("alphaloom.factors").joinpath("libraries")
        known = sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))
        if str(name_or_path) not in known:
            raise FormulaError(
                "a formula library is one of the package's or a path that ends in .toml",
                found=name_or_path,
                fix=nearest(str(name_or_path), tuple(known), "library"),
            )
        file = f"{name_or_path}.toml"
        return folder.joinpath(file).read_text(encoding="utf-8"), file
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise FormulaError("a formula library must be a readable file", found=str(error), where=str(path)) from None


def _factor(k: int, row: Any, faults: list[Fault]) -> Factor | None:
    """One table of the file as a factor; what is wrong with it goes into `faults`."""
    if not isinstance(row, Mapping):
        faults.append(Fault(f"factor[{k}]", "a factor is a table", row))
        return None
    key = f"factor[{k}] {row.get('name', '')}".rstrip()
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
        expr = parse(row["formula"])
    except AlphaloomError as error:
        faults.append(Fault(f"{key}.formula", str(error), row["formula"]))
        return None
    return Factor(row["name"], expr, row.get("family", ""), row.get("source", ""), row.get("sign", 0))
