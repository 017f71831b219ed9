"""What popular readings of the 101 formulas do to their values: the measurements of docs/errata.md.

Every convention is applied to the formulas as they stand in the library, and both versions are evaluated on the same
simulated market. The agreement of two versions is the mean over days of the rank correlation between their values;
days on which a version gives all assets the same value have no rank correlation and are counted apart.

    python benchmarks/alpha101_errata.py            # print the table, half a minute
    python benchmarks/alpha101_errata.py --write    # put it into docs/errata.md
    python benchmarks/alpha101_errata.py --check    # fail where docs/errata.md says something else
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alphaloom.data import EmbeddedMarket, simulate
from alphaloom.factors import Expr, Factor, FactorSet, evaluate, load_library, parse
from alphaloom.factors.options import Options
from alphaloom.metrics import ranking
from alphaloom.panel import Panel

PAGE = Path(__file__).resolve().parents[1] / "docs" / "errata.md"
OPEN, CLOSE = "<!-- table: written by benchmarks/alpha101_errata.py -->", "<!-- end of table -->"
MARKET = EmbeddedMarket(days=900, assets=200, seed=11)
# The longest look-back is 251 rows; what an earlier row holds is a convention of its own.
WARM = 260
Grid = NDArray[np.float64]
Formulas = Mapping[str, Expr]
PLAIN = Options(zero_variance_corr="zero")


@dataclass(frozen=True)
class Reading:
    """One convention: its name, what it does to the formulas, or under which options they are read."""

    name: str
    change: Callable[[str, Expr], Expr] | None = None
    options: Options = PLAIN


def rewritten(expr: Expr, rule: Callable[[Expr], Expr]) -> Expr:
    """The formula with the rule applied to every part, innermost first."""
    if not expr.args:
        return expr
    return rule(Expr.call(expr.op, *(rewritten(arg, rule) for arg in expr.args)))


def everywhere(rule: Callable[[Expr], Expr]) -> Callable[[str, Expr], Expr]:
    """A change of all formulas."""
    return lambda _, expr: rewritten(expr, rule)


def only(names: str, rule: Callable[[Expr], Expr]) -> Callable[[str, Expr], Expr]:
    """A change of some formulas, named by their numbers."""
    chosen = {f"alpha{int(number):03d}" for number in names.split()}
    return lambda name, expr: rewritten(expr, rule) if name in chosen else expr


def counted(expr: Expr) -> Expr:
    """`ts_rank` from 1 to d."""
    return expr * expr.args[1] if expr.op == "ts_rank" else expr


def aged(expr: Expr) -> Expr:
    """`ts_argmax` as rows before today."""
    word = {"ts_argmax": "ts_days_since_max", "ts_argmin": "ts_days_since_min"}.get(expr.op)
    return Expr.call(word, *expr.args) if word else expr


def reversed_decay(expr: Expr) -> Expr:
    """`decay_linear` with the heaviest weight on the oldest row: the two weightings add up to twice the mean."""
    return 2 * Expr.call("ts_mean", *expr.args) - expr if expr.op == "decay_linear" else expr


def shrunk_decay(expr: Expr) -> Expr:
    """`decay_linear` divided by its window once more."""
    return expr / expr.args[1] if expr.op == "decay_linear" else expr


def divided_twice(expr: Expr) -> Expr:
    """A mean that is divided by its window again."""
    mean = expr.op == "div" and expr.args[0].op == "ts_sum" and expr.args[0].args[1] == expr.args[1]
    return expr / expr.args[1] if mean else expr


def rank_count(expr: Expr) -> Expr:
    """`rank` from 1 to the number of members."""
    return expr * (MARKET.assets * MARKET.members) if expr.op == "rank" else expr


def dropped(_: str, expr: Expr) -> Expr:
    """Single slips of popular code, by formula."""
    return {parse(right): parse(wrong) for right, wrong in SLIPS.values()}.get(expr, expr)


FORMULAS = {factor.name: str(factor.expr) for factor in load_library("alpha101").factors}
LONE_29 = "ts_min(rank(rank(-rank(delta(close - 1, 5)))), 2)"
SLIPS = {
    "alpha010": (FORMULAS["alpha010"], FORMULAS["alpha009"].replace(", 5)", ", 4)")),
    "alpha029": (FORMULAS["alpha029"], FORMULAS["alpha029"].replace(LONE_29, "rank(rank(-rank(delta(close - 1, 5))))")),
    "alpha038": (FORMULAS["alpha038"], FORMULAS["alpha038"].replace("ts_rank(close", "ts_rank(open")),
}

READINGS = (
    Reading("windows rounded instead of floored", options=Options(zero_variance_corr="zero", window_rounding="round")),
    Reading("`ts_rank` as a count 1..d", everywhere(counted)),
    Reading("`ts_argmax`, `ts_argmin` counted from today", everywhere(aged)),
    Reading("`decay_linear` heaviest on the oldest row", everywhere(reversed_decay)),
    Reading("`decay_linear` divided by its window twice", everywhere(shrunk_decay)),
    Reading("a mean divided by its window twice (32, 36, 47)", only("32 36 47", divided_twice)),
    Reading("`rank` as a count 1..n", everywhere(rank_count)),
    Reading("`adv` as money instead of shares", options=Options(zero_variance_corr="zero", adv="money")),
    Reading("outer rank (10), inner ts_min (29) lost; open for close (38)", dropped),
    Reading("correlation with a constant is unknown", options=Options()),
)


def market() -> Panel:
    """The simulated market with two finer groupings inside its sectors."""
    panel = simulate(MARKET)
    sector = panel.labels["sector"]
    step = np.arange(len(panel.assets), dtype=np.int16)
    finer = {"industry": sector * 3 + step % 3, "subindustry": sector * 6 + step % 6}
    labels = {"sector": sector, **{name: np.where(sector < 0, -1, codes) for name, codes in finer.items()}}
    return panel.replace(labels={name: codes.astype(np.int16) for name, codes in labels.items()}, label_names={})


def values(formulas: Formulas, options: Options, panel: Panel) -> dict[str, Grid]:
    """The warm rows of every formula over the day's members."""
    factors = FactorSet("read", tuple(Factor(name, expr) for name, expr in formulas.items()), options)
    grid = evaluate(factors, panel, dtype=np.float64).values[WARM:]
    member = panel.member[WARM:]
    return {name: np.where(member, grid[:, :, k], np.nan) for k, name in enumerate(formulas)}


@dataclass(frozen=True)
class Effect:
    """What a reading does to one formula: agreement, and the shares of cells lost and of days without any order."""

    agreement: float
    lost: float
    flat: float


def effect(right: Grid, wrong: Grid) -> Effect:
    """Compare two versions of one formula."""
    days = ranking.rank_ic(right, wrong)
    known = np.isfinite(right)
    with np.errstate(invalid="ignore"):
        spread = np.nanmax(np.where(known, wrong, -np.inf), axis=1) - np.nanmin(np.where(known, wrong, np.inf), axis=1)
    agreement = float(np.nanmean(days)) if np.isfinite(days).any() else float("nan")
    lost = float((known & ~np.isfinite(wrong)).sum() / known.sum())
    return Effect(agreement, lost, float(np.mean(spread == 0)))


def effects(reading: Reading, right: Mapping[str, Grid], panel: Panel) -> dict[str, Effect]:
    """The formulas whose values a reading changes for at least one cell by more than rounding."""
    plain = {factor.name: factor.expr for factor in load_library("alpha101").factors}
    read = {factor.name: factor.expr for factor in load_library("alpha101", options=reading.options).factors}
    if reading.change is not None:
        read = {name: reading.change(name, expr) for name, expr in plain.items()}
    same_options = reading.options.stated == PLAIN.stated
    changed = {name: expr for name, expr in read.items() if expr != plain[name] or not same_options}
    wrong = values(changed, reading.options, panel)
    alike = {name: np.allclose(wrong[name], right[name], rtol=1e-9, atol=1e-12, equal_nan=True) for name in changed}
    return {name: effect(right[name], wrong[name]) for name in changed if not alike[name]}


def table(panel: Panel) -> str:
    """The measurements as a table of the page."""
    plain = {factor.name: factor.expr for factor in load_library("alpha101").factors}
    right = values(plain, PLAIN, panel)
    lines = [
        "| reading | values change | order changes | mean agreement | least agreement | no order left | cells lost |",
        "|---|---:|---:|---:|---|---|---|",
    ]
    for reading in READINGS:
        found = effects(reading, right, panel)
        moved = {name: one for name, one in found.items() if one.agreement < 0.9995}
        flat = [_number(name) for name, one in found.items() if one.flat > 0.5]
        gone = sorted((name for name in found if found[name].lost > 0.02), key=lambda name: -found[name].lost)
        lost = [f"{_number(name)} ({found[name].lost:.0%})" for name in gone[:6]]
        worst = sorted(moved, key=lambda name: moved[name].agreement)[:6]
        mean = f"{np.mean([one.agreement for one in moved.values()]):.2f}" if moved else "-"
        least = ", ".join(f"{_number(name)} ({moved[name].agreement:.2f})" for name in worst)
        cells = (reading.name, str(len(found)), str(len(moved)), mean, least, ", ".join(flat), ", ".join(lost))
        lines.append("| " + " | ".join(cell or "-" for cell in cells) + " |")
    return "\n".join(lines)


def _number(name: str) -> str:
    return str(int(name.removeprefix("alpha")))


def main() -> int:
    """Print, write or check the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/errata.md")
    parser.add_argument("--check", action="store_true", help="fail where docs/errata.md says something else")
    chosen = parser.parse_args()
    made = table(market())
    if not (chosen.write or chosen.check):
        print(made)
        return 0
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(OPEN)
    fresh = f"{head}{OPEN}\n\n{made}\n\n{CLOSE}{rest.split(CLOSE)[1]}"
    if chosen.check:
        return 0 if fresh == page else 1
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
