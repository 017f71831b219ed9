"""What a search is told and what it tells: its budget, how it judges, what it searches, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.factors.grammar import Grammar
from alphaloom.panel import Panel
from alphaloom.signal import Target

__all__ = ["Budget", "Settings", "Standing", "Subject"]


@dataclass(frozen=True)
class Budget:
    """What a search may spend: distinct formulas evaluated, and seconds if there is a clock."""

    evaluations: int = 20_000
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise DataError(
                "a search evaluates at least one formula", found=self.evaluations, where="Budget.evaluations"
            )
        if self.seconds is not None and self.seconds <= 0:
            raise DataError("a search takes some time", found=self.seconds, where="Budget.seconds")


@dataclass(frozen=True)
class Settings:
    """How formulas are judged.

    `clip` holds values within so many robust deviations of the date's median, 0 leaves them; a date counts with
    `min_pairs` known cells; a formula is usable with `min_coverage` of the cells and `min_days` of the dates.
    `threads` judge a batch together; results do not depend on them. `cache_bytes` bounds the kept sub-formulas.
    A checkpoint is due when `keep_seconds` have gone by, if there is a clock, beside those that the miner counts out.
    """

    clip: float = 5.0
    min_pairs: int = 10
    min_coverage: float = 0.6
    min_days: float = 0.95
    threads: int = 1
    cache_bytes: int = 512 << 20
    note_every: int = 50
    keep_seconds: float | None = 60.0

    def __post_init__(self) -> None:
        if self.clip < 0 or self.min_pairs < 2 or self.threads < 1 or self.cache_bytes < 0 or self.note_every < 1:
            raise DataError("settings of a search are counts and sizes", found=str(self), where="Settings")
        if not (0 <= self.min_coverage <= 1 and 0 <= self.min_days <= 1):
            raise DataError("a part lies in [0, 1]", found=f"{self.min_coverage}, {self.min_days}", where="Settings")
        if self.keep_seconds is not None and self.keep_seconds <= 0:
            raise DataError("a search takes some time", found=self.keep_seconds, where="Settings.keep_seconds")


@dataclass(frozen=True, eq=False)
class Subject:
    """What is searched, by whatever sessions: the data, what may be written about it, and how that is judged.

    Shape: `target` is a Target or an array (T, N).
    """

    panel: Panel
    target: Target | NDArray[Any]
    grammar: Grammar
    settings: Settings
    start_row: int


@dataclass(frozen=True)
class Standing:
    """Where a search stands, for who watches it.

    `best`: the formulas with the largest coefficients by size, best first; `rate`: evaluations per second of late, None
    without a clock; `distinct`: usable formulas whose values differ; `cached`: asked for again, at no cost; `invalid`:
    how many were refused for each reason.
    """

    evaluations: int
    budget: int
    seconds: float
    rate: float | None
    pool_ic: float
    pool_size: int
    best: tuple[tuple[str, float], ...]
    distinct: int
    asked: int
    cached: int
    duplicates: int
    invalid: Mapping[str, int]
