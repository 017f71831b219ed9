"""What a search for formulas is made of: grammar, miner, pool, split, budget, and how its result is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

import numpy as np

from alphaloom.errors import DataError
from alphaloom.factors import Expr
from alphaloom.factors.grammar import ALPHA2, Grammar, Units
from alphaloom.market import Market
from alphaloom.mining import Budget, Pool, Settings
from alphaloom.mining.combiners import CombinerKind, Terms
from alphaloom.mining.learner import Miner
from alphaloom.panel import Panel
from alphaloom.portfolio import TopDrop
from alphaloom.roles import Allocator
from alphaloom.study.mining_split import Parts, Split
from alphaloom.units import standard_unit

__all__ = ["Choice", "GrammarChoice", "Miner", "Mining", "Placebo", "PoolChoice"]

Names = Literal["riskminer", "alphagen", "alpha2"]


@dataclass(frozen=True)
class GrammarChoice:
    """A published set of operators by name, and what is changed in it.

    `paper` takes the published windows, lengths and unit rules instead of the safe ones.
    """

    name: Names = "riskminer"
    paper: bool = False
    operators: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    constants: tuple[float, ...] | None = None
    windows: tuple[int, ...] | None = None
    max_tokens: int | None = None
    max_depth: int | None = None
    max_lookback: int | None = None
    units: Units | None = None

    def __post_init__(self) -> None:
        if self.name not in get_args(Names):
            raise DataError("a grammar has a known name", found=self.name, where="GrammarChoice.name")
        most = self.grammar.max_lookback  # faults of the grammar show now
        if self.windows is not None and max(self.windows, default=0) > most:
            raise DataError(
                "a window fits into the look-back",
                found=f"{max(self.windows)} bars of {most}",
                where="GrammarChoice.windows",
                fix=f"shorter windows, or max_lookback = {max(self.windows)} and more",
            )

    @property
    def grammar(self) -> Grammar:
        """The grammar itself."""
        if self.name == "alpha2":
            base = Grammar(ALPHA2, constants=(0.01, 0.5, 1.0, 2.0), windows=(5, 10, 20, 30, 40))
            base = replace(base, units="paper") if self.paper else base
        else:
            made = Grammar.riskminer if self.name == "riskminer" else Grammar.alphagen
            base = made(paper=self.paper)
        changes = {item.name: getattr(self, item.name) for item in fields(self)[2:]}
        return replace(base, **{name: value for name, value in changes.items() if value is not None})


@dataclass(frozen=True)
class PoolChoice:
    """The pool of a search; `start` is a pool file whose formulas are offered before the search begins."""

    capacity: int = 20
    l1: float = 5e-3
    most_alike: float = 0.99
    start: str = ""

    def __post_init__(self) -> None:
        _ = self.pool

    @property
    def pool(self) -> Pool:
        """An empty pool."""
        return Pool(self.capacity, l1=self.l1, most_alike=self.most_alike)


@dataclass(frozen=True)
class Choice:
    """What validation may choose from: how many formulas of the pool are kept, and with which penalty.

    Another `combiner` than the lasso takes the whole pool as it is; `terms` are its settings.
    """

    sizes: tuple[int, ...] = (5, 10, 20)
    l1: tuple[float, ...] = (0.0, 5e-3, 2e-2)
    combiner: CombinerKind = "lasso"
    terms: Terms = field(default_factory=Terms)

    def __post_init__(self) -> None:
        if self.combiner not in get_args(CombinerKind):
            raise DataError(
                f"a combiner is one of {', '.join(get_args(CombinerKind))}",
                found=self.combiner,
                where="Choice.combiner",
            )
        object.__setattr__(self, "sizes", tuple(self.sizes))
        object.__setattr__(self, "l1", tuple(self.l1))
        if not self.sizes or min(self.sizes) < 1:
            raise DataError("a pool keeps at least one formula", found=str(self.sizes), where="Choice.sizes")
        if not self.l1 or min(self.l1) < 0:
            raise DataError("a penalty is not negative", found=str(self.l1), where="Choice.l1")


@dataclass(frozen=True)
class Placebo:
    """The same search on targets that mean nothing: whole days permuted in blocks.

    `runs` searches of `evaluations` each; `archive` formulas of the real search enter the count of overfitting.
    """

    runs: int = 5
    evaluations: int = 1000
    block: int = 60
    archive: int = 100

    def __post_init__(self) -> None:
        for name, least in (("runs", 0), ("evaluations", 1), ("block", 1), ("archive", 2)):
            if getattr(self, name) < least:
                raise DataError(
                    f"a placebo's {name} is at least {least}", found=getattr(self, name), where=f"Placebo.{name}"
                )


@dataclass(frozen=True)
class Mining:
    """One search for formulas and how it is judged; data come from elsewhere.

    `horizon` counts bars of the label; `trials` counts the configurations that were tried before this one, for the
    deflated Sharpe ratio. `allocator` trades the pool's score on validation and on the test.
    Raises: DataError for settings out of range.
    """

    name: str
    miner: Miner
    grammar: GrammarChoice = field(default_factory=GrammarChoice)
    pool: PoolChoice = field(default_factory=PoolChoice)
    split: Split = field(default_factory=Split)
    budget: Budget = field(default_factory=Budget)
    settings: Settings = field(default_factory=Settings)
    choice: Choice = field(default_factory=Choice)
    placebo: Placebo = field(default_factory=Placebo)
    allocator: Allocator = field(default_factory=TopDrop)
    market: Market = field(default_factory=Market)
    horizon: int = 10
    seed: int = 7
    trials: int = 1
    cash: float = 1e6

    def __post_init__(self) -> None:
        for name, least in (("horizon", 1), ("seed", 0), ("trials", 1)):
            if getattr(self, name) < least:
                raise DataError(f"a {name} is at least {least}", found=getattr(self, name), where=f"Mining.{name}")
        if not 0.0 < self.cash < np.inf:
            raise DataError("a book starts with money", found=self.cash, where="Mining.cash")

    @property
    def lag(self) -> int:
        """Bars between a decision and its fill."""
        return 0 if self.market.fill == "same_close" else 1

    def prepared(self, panel: Panel) -> tuple[Panel, tuple[str, ...]]:
        """The panel with what the grammar reads, and notes on what was put in.   Raises: DataError for what is absent.

        Missing: vwap is money traded over shares traded, or the mean of high, low and close.
        """
        grammar, notes = self.grammar.grammar, []
        if "vwap" in grammar.features and "vwap" not in panel.fields:
            panel, note = _with_vwap(panel)
            notes += [note] if note else []
        lacking = [name for name in grammar.features if name not in panel.fields]
        if lacking:
            have = [name for name in grammar.features if name in panel.fields]
            raise DataError(
                "a grammar's fields are the panel's",
                found=f"no {', '.join(lacking)}",
                where="grammar.features",
                fix=f"features = {have}".replace("'", '"') if have else "give data with prices",
            )
        return panel, tuple(notes)

    def parts(self, panel: Panel) -> Parts:
        """Training, validation and test rows of a panel."""
        warm = self.grammar.grammar.max_lookback
        return self.split.parts(panel.times, warm=warm, horizon=self.horizon, lag=self.lag)

    def started(self) -> list[Expr]:
        """The formulas of the pool file that a search begins with.

        Raises: DataError for a file that is none, or that was mined in another grammar.
        """
        if not self.pool.start:
            return []
        from alphaloom.factors import parse
        from alphaloom.mining.mined_files import load_pool

        found = load_pool(self.pool.start, grammar=self.grammar.grammar)
        return [parse(text) for text in found.formulas]


def _with_vwap(panel: Panel) -> tuple[Panel, str]:
    have: Mapping[str, Any] = panel.fields
    if {"amount", "volume"} <= set(have):
        with np.errstate(invalid="ignore", divide="ignore"):
            made = np.where(have["volume"] > 0, have["amount"] / have["volume"], np.nan)
        return panel.with_field("vwap", made, standard_unit("vwap")), "vwap: money traded over shares traded"
    if {"high", "low", "close"} <= set(have):
        made = (have["high"] + have["low"] + have["close"]) / 3.0
        return panel.with_field("vwap", made, standard_unit("vwap")), "vwap: the mean of high, low and close stands in"
    return panel, ""
