"""How much of an index the store holds: the size of the survivorship bias, year by year."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from alphaloom.data.findings import Finding
from alphaloom.data.knowledge import Axes

__all__ = ["YearCover", "cover", "cover_finding", "cover_sentence"]


@dataclass(frozen=True)
class YearCover:
    """Members of the index at mid-year, how many of their names the store holds, and how many had a price then."""

    year: int
    members: int
    held: int
    priced: int


def cover(spells: pl.DataFrame, lives: pl.DataFrame) -> list[YearCover]:
    """Coverage at 30 June of each year that the data span; `lives` holds asset, first, last."""
    axes = Axes(np.array([], dtype="datetime64[ns]"), lives["asset"].to_list())
    columns = axes.columns(spells["asset"])
    first, last = lives["first"].to_numpy(), lives["last"].to_numpy()
    starts, ends = spells["start"].to_numpy(), spells["end"].to_numpy()
    names = np.array(spells["asset"].to_list(), dtype=object)
    years = []
    for year in range(_year(first.min()), _year(last.max()) + 1):
        day = np.datetime64(f"{year}-06-30", "ns")
        inside = (starts <= day) & (np.isnat(ends) | (ends > day))
        if not inside.any() or not first.min() <= day <= last.max():
            continue
        columns_of = dict(zip(names[inside], columns[inside], strict=True))
        held = [column for column in columns_of.values() if column >= 0]
        priced = [column for column in held if first[column] <= day <= last[column]]
        years.append(YearCover(year, len(columns_of), len(held), len(priced)))
    return years


def _year(when: np.datetime64) -> int:
    return int(str(when)[:4])


def cover_finding(spells: pl.DataFrame, lives: pl.DataFrame) -> Finding | None:
    """Members that the store lacks altogether, with the coverage of each year."""
    if spells.height == 0 or lives.height == 0:
        return None
    axes = Axes(np.array([], dtype="datetime64[ns]"), lives["asset"].to_list())
    begun = pl.Series(lives["first"]).dt.date().min()
    relevant = spells.filter(pl.col("end").is_null() | (pl.col("end").dt.date() > begun))
    absent = sorted({name for name in relevant["asset"].to_list() if axes.column(name) < 0})
    if not absent:
        return None
    years = tuple(
        {"year": item.year, "members": item.members, "held": item.held, "priced": item.priced}
        for item in cover(spells, lives)
    )
    return Finding(
        rule="missing_members",
        severity="warning",
        count=len(absent),
        sentence=f"index members since {begun!s} that the store lacks, such as {', '.join(absent[:8])}; "
        "a back-test on the rest is biased upward",
        examples=years,
    )


def cover_sentence(years: Sequence[YearCover]) -> str:
    """The survivorship note of a panel, with up to six years spread over its span."""
    if not years:
        return ""
    pick = sorted({round(place) for place in np.linspace(0, len(years) - 1, min(6, len(years)))})
    shown = ", ".join(f"{years[place].held} of {years[place].members} ({years[place].year})" for place in pick)
    worst = min(item.held / item.members for item in years)
    if worst >= 0.995:
        return f"Survivorship: of the index members at mid-year the panel holds {shown}."
    return (
        f"Survivorship: of the index members at mid-year the panel holds {shown}. "
        "Those that are missing had often failed or been taken over, so results are biased upward."
    )
