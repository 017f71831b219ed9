"""The commands about formulas: the list of all named factors, and one formula taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alphaloom.app.console import out
from alphaloom.errors import FormulaError
from alphaloom.factors import Expr, Factor, load_library
from alphaloom.factors.explain import Explanation, catalogue, checked_units, explain, parts_of
from alphaloom.factors.options import Options

if TYPE_CHECKING:
    from rich.tree import Tree

__all__ = ["listed", "show_formula", "show_list"]

Row = dict[str, Any]
# A branch that is longer than this says no more than its beginning.
_DEEPEST = 12


def listed(library: Sequence[str] | None, family: str) -> list[Row]:
    """One row for each factor of the libraries, of one family if it is named.

    Raises: FormulaError for an unknown library or family.
    """
    entries = catalogue(library)
    families = sorted({entry.factor.family for entry in entries})
    if family and family not in families:
        raise FormulaError(
            "a family must be one of the listed factors'", found=family, fix=f"use {', '.join(families)}"
        )
    return [
        {
            "name": entry.factor.name,
            "library": entry.library,
            "family": entry.factor.family,
            "unit": _unit(entry.explanation),
            "lookback": entry.explanation.lookback,
            "split_safe": entry.explanation.split_safe,
            "unit_faults": [str(fault) for fault in entry.explanation.faults],
            "formula": str(entry.factor.expr),
            "source": entry.factor.source,
        }
        for entry in entries
        if not family or entry.factor.family == family
    ]


def show_list(rows: Sequence[Row]) -> None:
    """Print two lines for each factor, what it is and its formula, and how many there are."""
    from rich.text import Text

    console = out()
    words = ("name", "library", "family", "unit", "lookback")
    widths = {word: max((len(str(row[word])) for row in rows), default=0) for word in words}
    for row in rows:
        cells = [str(row[word]).ljust(widths[word]) for word in words[:-1]]
        reach = f"{row['lookback']:>{widths['lookback']}} rows"
        console.print(Text("  ".join([*cells, reach, row["source"]])), soft_wrap=True)
        console.print(Text(f"    {row['formula']}", style="cyan"), soft_wrap=True)
    mixed = sum(row["unit"] == "mixed" for row in rows)
    counts = f"{len(rows)} factors of {len({row['library'] for row in rows})} libraries"
    console.print(f"{counts}; {mixed} mix units; rows = how many rows before today a factor reads")


def show_formula(text: str, library: str, *, strict: bool = False) -> None:
    """Print one formula's analysis and its tree.

    Raises: GrammarError, LookaheadError; with `strict`, UnitError for mixed units.
    """
    from rich.table import Table
    from rich.text import Text

    factor, options = _meant(text, library)
    formula: Expr | str = text if factor is None else factor.expr
    if strict:
        checked_units(text if factor is None else str(factor.expr), options=options)
    found = explain(formula, options=options)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for word, value in _facts(found, factor, options):
        table.add_row(word, Text(value))
    console = out()
    console.print(table)
    console.print(_tree(found.expr, options))


def _meant(text: str, library: str) -> tuple[Factor | None, Options]:
    """The factor of a library that a name stands for, if it is one, and the library's options."""
    if not library:
        return None, Options()
    factors = load_library(library)
    named = [factor for factor in factors.factors if factor.name == text]
    return (named[0] if named else None), factors.options


def _facts(found: Explanation, factor: Factor | None, options: Options) -> list[tuple[str, str]]:
    facts = [("formula", str(found.expr))]
    if factor is not None:
        facts += [("factor", factor.name), ("family", factor.family), ("source", factor.source)]
    if options.stated:
        facts.append(("options", ", ".join(f"{name} = {value}" for name, value in options.stated.items())))
    safe = "no later split or dividend can change it" if found.split_safe else "a later split or dividend changes it"
    facts += [
        ("canonical", str(found.canonical)),
        ("look-back", f"{found.lookback} rows before today"),
        ("fields", ", ".join(found.fields) or "none"),
        ("groups", ", ".join(found.groups) or "none"),
        ("values", "1 or 0" if found.boolean else "numbers"),
        ("compares", "the assets of one day" if found.cross_sectional else "each asset with itself alone"),
        ("unit", _unit(found)),
        *(("unit fault", str(fault)) for fault in found.faults),
        ("split-safe", safe),
        ("cost", f"{found.cost} operators, each computed once"),
    ]
    return facts


def _unit(found: Explanation) -> str:
    return "mixed" if found.unit is None else str(found.unit)


def _tree(expr: Expr, options: Options) -> Tree:
    """The formula as a tree; a shorthand says what it stands for."""
    from rich.text import Text
    from rich.tree import Tree

    def label(node: Expr) -> Text:
        if node.op in ("name", "number"):
            (meaning, *_) = (*parts_of(node, options=options), None)
            return Text(str(node) if meaning is None else f"{node} = {meaning}")
        found = explain(node, options=options)
        return Text(node.op, style="bold") + Text(f"   look-back {found.lookback}, unit {_unit(found)}", style="dim")

    def grow(branch: Tree, node: Expr, depth: int) -> None:
        for part in node.args:
            if depth == _DEEPEST:
                branch.add(Text(str(part)[:60], style="dim"))
                continue
            grow(branch.add(label(part)), part, depth + 1)

    tree = Tree(label(expr))
    grow(tree, expr, 1)
    return tree
