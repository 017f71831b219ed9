"""What the report reads from a study, and how it copes with parts that are empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.report.formats import date_text, number_of

__all__ = [
    "bars_per_year",
    "benchmarks_of",
    "column",
    "facts",
    "growth",
    "rival",
    "rival_of",
    "seek",
    "spelled",
    "times_of",
]

if TYPE_CHECKING:
    from alphaloom.study import StudyResult

Array = NDArray[np.float64]


def column(table: Mapping[str, NDArray[Any]], name: str) -> Array | None:
    """A column as floats, or None where it is absent, empty or without one finite value."""
    found = table.get(name)
    if found is None:
        return None
    values = np.asarray(found, dtype=np.float64)
    return values if values.size and bool(np.isfinite(values).any()) else None


def times_of(table: Mapping[str, NDArray[Any]]) -> NDArray[np.datetime64]:
    """The time column, empty where there is none.

    Time: where no day has two bars the hour of the close says nothing, and times are cut to their day.
    """
    times = np.asarray(table.get("time", ()), dtype="datetime64[ns]")
    days = times.astype("datetime64[D]")
    return days.astype("datetime64[ns]") if np.unique(days).size == times.size else times


def growth(equity: Array) -> Array:
    """Equity as the growth of one unit of money from the first finite value on."""
    first = equity[np.isfinite(equity)][0]
    return equity / first if first > 0 else np.full_like(equity, np.nan)


def benchmarks_of(result: StudyResult) -> dict[str, Array]:
    """The equity of each benchmark by its name, in the order of the result."""
    prefix = "benchmark."
    names = [name for name in result.daily if name.startswith(prefix)]
    found = {name.removeprefix(prefix): column(result.daily, name) for name in names}
    return {name: equity for name, equity in found.items() if equity is not None}


def rival_of(result: StudyResult) -> str | None:
    """The benchmark that relative figures are measured against: the index, else the first one, None without any."""
    names = list(benchmarks_of(result))
    return "index" if "index" in names else next(iter(names), None)


def spelled(name: str) -> str:
    """A name from a configuration as words: `equal_weight` reads `equal weight`."""
    return name.replace("_", " ")


def rival(name: str) -> str:
    """A benchmark as a sentence names it; the panel's own index is `the index`."""
    return "the index" if name == "index" else spelled(name)


def bars_per_year(result: StudyResult) -> float:
    """Bars in a year as the study states it, else inferred from its times and snapped to the usual calendars."""
    for source in (result.provenance, result.config):
        stated = number_of(seek(source, "periods_per_year"))
        if stated:
            return stated
    times = times_of(result.daily)
    if times.size < 2:
        return 252.0
    years = float((times[-1] - times[0]) / np.timedelta64(1, "s")) / 31_556_952
    rate = (times.size - 1) / years
    return next((usual for usual in (252.0, 365.0, 52.0, 12.0) if abs(rate / usual - 1) < 0.12), rate)


def seek(tree: Mapping[str, Any], *names: str) -> Any:
    """The value under the first of the names that occurs anywhere in a nested mapping, nearest the root first."""
    for name in names:
        level: list[Mapping[str, Any]] = [tree]
        while level:
            for branch in level:
                if name in branch and branch[name] is not None:
                    return branch[name]
            level = [leaf for branch in level for leaf in branch.values() if isinstance(leaf, Mapping)]
    return None


def facts(result: StudyResult) -> list[tuple[str, str]]:
    """What the head of the report states about the study: span, universe, fill, costs, seed, data."""
    times = times_of(result.daily)
    span = f"{date_text(times[0])} to {date_text(times[-1])}" if times.size else "no bars"
    # Provenance is written by every run in the same words; a configuration is the user's own.
    both = {"provenance": result.provenance, "config": result.config}
    market = seek(both, "market")
    market = market if isinstance(market, Mapping) else both
    stated = [("Test span", span), ("Bars", f"{times.size:,}")]
    assets = number_of(seek(both, "assets"))
    if assets is not None:
        stated.append(("Universe", f"{assets:,.0f} assets"))
    fill = seek(market, "fill")
    if fill is not None:
        stated.append(("Fill", str(fill).replace("_", " ")))
    stated.append(("Costs", costs_text(market)))
    seed = seek(both, "seed")
    if seed is not None:
        stated.append(("Seed", str(seed)))
    data = result.provenance.get("data_hash")
    if isinstance(data, str) and data:
        stated.append(("Data", data.rsplit(":", 1)[-1][:12]))
    return stated


def costs_text(tree: Mapping[str, Any]) -> str:
    """The costs of the market in words, in basis points of the traded value."""
    parts = []
    for name, label in (("commission", "commission"), ("sell_tax", "sell tax"), ("slippage", "slippage")):
        rate = number_of(seek(tree, name))
        if rate:
            parts.append(f"{1e4 * rate:g} bp {label}")
    impact = number_of(seek(tree, "impact"))
    if impact:
        parts.append(f"square-root impact {impact:g}")
    borrow = number_of(seek(tree, "borrow"))
    if borrow:
        parts.append(f"borrow {100 * borrow:g} % a year")
    return ", ".join(parts) if parts else "none"
