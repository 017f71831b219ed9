"""What a formula is, before any data is touched, and the list of all formulas that come with the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphaloom.errors import UnitError
from alphaloom.factors.analysis import (
    definition,
    fields_of,
    groups_of,
    is_boolean,
    lookback,
    node_count,
    split_safe,
    unit_faults,
    unit_of,
    uses_cross_section,
)
from alphaloom.factors.canonical import canonical
from alphaloom.factors.expr import Expr
from alphaloom.factors.library import Factor, FactorSet, libraries, load_library
from alphaloom.factors.options import PLAIN, Options
from alphaloom.factors.parse import columns, parse
from alphaloom.units import Unit

__all__ = ["Entry", "Explanation", "canonical", "catalogue", "checked_units", "explain", "libraries", "parts_of"]


@dataclass(frozen=True)
class Explanation:
    """All that can be said of a formula without data; `unit` is None where units are mixed, and `faults` says where."""

    expr: Expr
    canonical: Expr
    lookback: int
    fields: tuple[str, ...]
    groups: tuple[str, ...]
    unit: Unit | None
    faults: tuple[UnitError, ...]
    split_safe: bool
    cross_sectional: bool
    boolean: bool
    cost: int


@dataclass(frozen=True)
class Entry:
    """One factor of a library, with its explanation."""

    library: str
    factor: Factor
    explanation: Explanation


def explain(formula: Expr | str, *, units: Mapping[str, Unit] | None = None, options: Options = PLAIN) -> Explanation:
    """The static analysis of a formula; a fault of units names its column where the formula is given as text.

    Raises: GrammarError or LookaheadError for text that is no formula.
    """
    expr = parse(formula, options=options) if isinstance(formula, str) else formula
    places = columns(formula, options=options) if isinstance(formula, str) else {}
    found = unit_faults(expr, units, options=options)
    return Explanation(
        expr=expr,
        canonical=canonical(expr, options=options),
        lookback=lookback(expr),
        fields=fields_of(expr, options),
        groups=groups_of(expr),
        unit=None if found else unit_of(expr, units, options=options),
        faults=tuple(_located(node, fault, places) for node, fault in found),
        split_safe=split_safe(expr, units, options=options),
        cross_sectional=uses_cross_section(expr),
        boolean=is_boolean(expr),
        cost=node_count(expr, options=options),
    )


def checked_units(text: str, *, units: Mapping[str, Unit] | None = None, options: Options = PLAIN) -> Unit:
    """The unit of a formula that must keep units.

    Raises: UnitError with the column, the units found there and what is legal; GrammarError, LookaheadError.
    """
    found = explain(text, units=units, options=options)
    if found.faults:
        raise found.faults[0]
    return found.unit or Unit()


def catalogue(
    names: Sequence[str | Path] | None = None, *, units: Mapping[str, Unit] | None = None
) -> tuple[Entry, ...]:
    """Every factor of the libraries, by default of all that come with the package, explained."""
    sets = [load_library(name) for name in (libraries() if names is None else names)]
    return tuple(_entry(factors, factor, units) for factors in sets for factor in factors.factors)


def parts_of(expr: Expr, *, options: Options = PLAIN) -> tuple[Expr, ...]:
    """What a formula is made of, one step down: its arguments, or what a shorthand stands for."""
    meaning = definition(str(expr.value), options) if expr.op == "name" else None
    return expr.args if meaning is None else (meaning,)


def _entry(factors: FactorSet, factor: Factor, units: Mapping[str, Unit] | None) -> Entry:
    return Entry(factors.name, factor, explain(factor.expr, units=units, options=factors.options))


def _located(node: Expr, fault: UnitError, places: Mapping[Expr, int]) -> UnitError:
    if node not in places:
        return fault
    return UnitError(fault.rule, found=fault.found, where=f"column {places[node]}, {fault.where}", fix=fault.fix)
