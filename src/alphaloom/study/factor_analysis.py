"""What a single-factor analysis found, and its tables on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.study.description import json_text
from alphaloom.study.directory import RunDirectory

__all__ = ["FactorAnalysis", "analysis_place", "write_analysis"]

Floats = NDArray[np.float64]
INDEX = "factors.json"


@dataclass(frozen=True, eq=False)
class FactorAnalysis:
    """The judgement of F factors over T dates; every factor is held alone against the returns that followed.

    Shape: `table` one column (F,) a measure, texts included; `decay` (F, H) each; `quantiles` (F, H, Q) mean return of
    each bucket, the best-scored last; `turnover` (F, Q); `years` (Y,) and `yearly` (F, Y) mean rank IC; `rank_ic` and
    `coverage` (T, F); `correlation` (F, F) between the factors' ranks; `order` (F,) sets related factors side by side.
    Time: the first horizon is the one that factors are ranked and judged by.   Missing: NaN where nothing was known.
    """

    name: str
    horizons: tuple[int, ...]
    times: NDArray[np.datetime64]
    table: Mapping[str, NDArray[Any]]
    decay: Mapping[str, Floats]
    quantiles: Floats
    turnover: Floats
    years: NDArray[np.int64]
    yearly: Floats
    rank_ic: NDArray[np.float32]
    coverage: NDArray[np.float32]
    correlation: Floats
    order: NDArray[np.int64]
    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("table", "decay", "facts"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __len__(self) -> int:
        return len(self.table["name"])

    @property
    def names(self) -> tuple[str, ...]:
        """The factors in the order of their library."""
        return tuple(str(name) for name in self.table["name"])

    @property
    def ranking(self) -> NDArray[np.int64]:
        """The factors from the strongest |t| of the mean rank IC to the weakest, unknown ones last.   Shape: (F,)."""
        strength = np.abs(np.asarray(self.table["rank_ic_t"], dtype=np.float64))
        found: NDArray[np.int64] = np.argsort(np.where(np.isfinite(strength), -strength, np.inf), kind="stable")
        return found


def analysis_place(directory: str | Path) -> Path:
    """The folder of an analysis: a new one, an empty one, or one that an analysis wrote.

    Raises: DataError when it holds something else, which an analysis would overwrite.
    """
    place = Path(directory)
    if place.exists() and not place.is_dir():
        raise DataError(
            "an analysis is written into a folder", found="a file", where=str(place), fix="give another directory"
        )
    if place.is_dir() and any(place.iterdir()) and not (place / INDEX).is_file():
        raise DataError(
            "an analysis needs a new folder or one that an analysis wrote",
            found=f"other files, and no {INDEX}",
            where=str(place),
            fix="give another directory",
        )
    return place


def write_analysis(analysis: FactorAnalysis, directory: str | Path) -> Path:
    """Write every table as Parquet and the ranked factors as JSON; the folder may be new or an earlier analysis.

    Files: factors, decay, quantiles, yearly, rank_ic, coverage, correlation (.parquet) and factors.json.
    Raises: DataError when the folder holds something else or cannot be written.
    """
    place = analysis_place(directory)
    from alphaloom.study.tables import parquet_bytes

    folder = RunDirectory(place, "")
    # The index comes first: it marks the folder, so that a run that was stopped half-way can be repeated.
    folder.write(INDEX, json_text(_index(analysis)).encode())
    for name, columns in _tables(analysis).items():
        folder.write(f"{name}.parquet", parquet_bytes(columns))
    return place


def _tables(analysis: FactorAnalysis) -> dict[str, dict[str, Any]]:
    from alphaloom.study.tables import named

    names, F = analysis.names, len(analysis)
    H, Q = analysis.quantiles.shape[1:]
    each = np.arange(F)
    decay = {"name": named(names, np.repeat(each, H)), "horizon": np.tile(np.array(analysis.horizons, np.int64), F)}
    buckets = {
        "name": named(names, np.repeat(each, H * Q)),
        "horizon": np.tile(np.repeat(np.array(analysis.horizons, np.int64), Q), F),
        "quantile": np.tile(np.arange(1, Q + 1), F * H),
        "mean_return": analysis.quantiles.ravel(),
        "turnover": np.repeat(analysis.turnover, H, axis=0).ravel(),
    }
    yearly = {
        "name": named(names, np.repeat(each, len(analysis.years))),
        "year": np.tile(analysis.years, F),
        "rank_ic": analysis.yearly.ravel(),
    }
    # A factor may bear the name of the column that stands beside it.
    safe = [f"{name}_" if name in ("time", "name") else name for name in names]
    return {
        "factors": dict(analysis.table),
        "decay": {**decay, **{name: values.ravel() for name, values in analysis.decay.items()}},
        "quantiles": buckets,
        "yearly": yearly,
        "rank_ic": {"time": analysis.times, **dict(zip(safe, analysis.rank_ic.T, strict=True))},
        "coverage": {"time": analysis.times, **dict(zip(safe, analysis.coverage.T, strict=True))},
        "correlation": {"name": analysis.table["name"], **dict(zip(safe, analysis.correlation.T, strict=True))},
    }


def _index(analysis: FactorAnalysis) -> dict[str, Any]:
    rows = [
        {name: _plain(column[k]) for name, column in analysis.table.items()} | {"rank": place + 1}
        for place, k in enumerate(analysis.ranking)
    ]
    return {
        "name": analysis.name,
        "horizons": list(analysis.horizons),
        "facts": dict(analysis.facts),
        "notes": list(analysis.notes),
        "factors": rows,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value.astype("datetime64[D]"))
    return value.item() if isinstance(value, np.generic) else value
