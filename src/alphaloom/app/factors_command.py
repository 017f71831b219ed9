"""From a formula library and a store to the page and the tables of a single-factor analysis."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaloom.app.sources import StoreView, load_panel
from alphaloom.errors import ConfigError, DataError, Fault

if TYPE_CHECKING:
    from alphaloom.panel import Panel
    from alphaloom.study import FactorAnalysis

__all__ = ["analyse_library", "read_horizons"]

Progress = Callable[[str, int, int], None]


def read_horizons(text: str) -> tuple[int, ...]:
    """Horizons in bars from a text such as `1,5,10,20`.   Raises: ConfigError."""
    parts = [part.strip() for part in text.split(",")]
    faults = [
        Fault("--horizons", "is a list of numbers of bars, at least one each", part, "for example 1,5,10,20")
        for part in parts
        if not (part.isascii() and part.isdigit() and int(part) > 0)
    ]
    if not faults and len({int(part) for part in parts}) < len(parts):
        faults = [Fault("--horizons", "names every horizon once", text)]
    if faults:
        raise ConfigError("the command line", faults)
    return tuple(int(part) for part in parts)


def analyse_library(
    library: str,
    store: Path,
    *,
    horizons: tuple[int, ...] = (1, 5, 10, 20),
    span: tuple[str | None, str | None] = (None, None),
    directory: Path | None = None,
    progress: Progress,
) -> tuple[FactorAnalysis, Path]:
    """Judge every factor of a library on a store; the page and the tables go into the directory.

    The bars before the first day of `span` serve as look-back. Without a directory the analysis lives in
    `runs/factors-NAME-HASH`; the hash is of formulas, horizons, span and data.
    Raises: ConfigError, DataError, FormulaError.
    """
    from alphaloom.factors import load_library
    from alphaloom.report import write_factor_page
    from alphaloom.study import analyse_factors, analysis_place, write_analysis

    factors = load_library(library)
    progress("data", 0, 1)
    panel = load_panel(StoreView(str(store), end=span[1]))
    start = _first_row(panel, span[0])
    progress("data", 1, 1)
    formulas = [(factor.name, str(factor.expr)) for factor in factors.factors]
    identity: list[Any] = [factors.name, formulas, horizons, span, panel.source]
    key = hashlib.sha256(json.dumps(identity, default=str).encode()).hexdigest()[:8]
    place = analysis_place(directory or Path("runs") / f"factors-{factors.name}-{key}")
    found = analyse_factors(
        factors, panel, horizons=horizons, start=start, threads=os.cpu_count() or 1, progress=progress
    )
    write_analysis(found, place)
    write_factor_page(found, place / "factors.html")
    return found, place


def _first_row(panel: Panel, first: str | None) -> int:
    if first is None:
        return 0
    try:
        day = np.datetime64(first, "D").astype("datetime64[ns]")
    except ValueError:
        raise ConfigError(
            "the command line", [Fault("--start", "is a date", first, "write it as YYYY-MM-DD")]
        ) from None
    row = int(np.searchsorted(panel.times, day))
    if row == len(panel):
        raise DataError(
            "an analysis starts inside the data",
            found=first,
            where="--start",
            fix=f"the last bar is {panel.times[-1].astype('datetime64[D]')}",
        )
    return row
