"""A search for formulas as TOML: the same reader as a study's, every fault in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaloom.app.config import describe, overridden, read_parts
from alphaloom.errors import ConfigError, Fault

if TYPE_CHECKING:
    from alphaloom.study.mining import Mining

__all__ = ["SearchConfig", "load_search", "parse_search"]

_STUDY = ("plan", "learner", "system", "policy")


@dataclass(frozen=True)
class SearchConfig:
    """Where a search takes its panel from, and the search."""

    data: Any
    mining: Mining

    @property
    def described(self) -> dict[str, Any]:
        """All of it as plain tables with every default; what changes no result is left out."""
        whole: dict[str, Any] = {**describe(self.mining), "data": describe(self.data)}
        whole["settings"] = {name: value for name, value in whole["settings"].items() if name not in _WITHOUT}
        return whole


_WITHOUT = ("threads", "cache_bytes", "keep_seconds")


def load_search(
    path: Path,
    *,
    settings: Sequence[str] = (),
    seed: int | None = None,
    data: Path | None = None,
    threads: int | None = None,
) -> SearchConfig:
    """Read and check the configuration of a search.

    Raises: ConfigError with the file, the dotted key, the value and the way out of every fault.
    """
    tables, faults = overridden(path, settings=settings, seed=seed, data=data)
    return parse_search(tables, str(path), faults, threads=threads)


def parse_search(
    tables: Mapping[str, Any], where: str, faults: Sequence[Fault] = (), *, threads: int | None = None
) -> SearchConfig:
    """Turn tables into a search.   Raises: ConfigError with all faults at once."""
    from alphaloom.study.mining import Mining

    found = [*faults]
    if "miner" not in tables and any(name in tables for name in _STUDY):
        found.append(Fault("miner", "a search has a [miner]; this is a study", fix="alphaloom run FILE"))
        raise ConfigError(where, found)
    source, mining = read_parts(Mining, tables, where, found)
    if threads is not None:
        mining = replace(mining, settings=replace(mining.settings, threads=threads))
    return SearchConfig(source, mining)
