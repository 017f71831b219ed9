"""From a configuration of a search to its directory: data, live progress, seconds, and the one look at the test."""

from __future__ import annotations

import hashlib
import json
import time
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from alphaloom.app.console import progress
from alphaloom.app.mine_config import SearchConfig, parse_search
from alphaloom.app.mine_progress import watching
from alphaloom.app.runs import file_name
from alphaloom.app.sources import StoreView, load_panel
from alphaloom.errors import DataError

if TYPE_CHECKING:
    from alphaloom.study.mining import MiningResult

__all__ = ["export_pool", "hold_search_out", "run_search"]


def run_search(config: SearchConfig, directory: Path | None, *, quiet: bool = False) -> tuple[MiningResult, Path]:
    """Load the panel and search (or go on, or load what was found).

    Without a directory the search lives in `runs/NAME-HASH`; the hash is of the configuration and the data.
    """
    from alphaloom.study.mining import run_mining

    with watching(quiet) as view:
        view.tell("reading the data")
        panel = load_panel(config.data)
        described = config.described
        text = json.dumps([described, panel.source], sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()[:8]
        place = directory or Path("runs") / f"{file_name(config.mining.name)}-{key}"
        view.tell("the first formulas")
        result = run_mining(
            config.mining,
            panel,
            place,
            config=described,
            watch=view.show,
            progress=view.tell,
            clock=time.monotonic,
        )
    return result, place


def hold_search_out(
    directory: Path, *, data: Path | None = None, placebos: int | None = None, threads: int = 1, quiet: bool = False
) -> MiningResult:
    """Read the test of a finished search.   Raises: DataError, ConfigError."""
    from alphaloom.study.mining import hold_out, load_mining

    load_mining(directory)  # a search that is not finished is refused before anything is loaded
    settings = directory / "mining.toml"
    try:
        tables = tomllib.loads(settings.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as fault:
        raise DataError("a search's settings must be readable", found=str(fault), where=str(settings)) from None
    config = parse_search(tables, str(settings), threads=threads)
    mining = config.mining
    if placebos is not None:
        mining = replace(mining, placebo=replace(mining.placebo, runs=placebos))
    source = config.data
    if data is not None:
        source = replace(source, path=str(data)) if isinstance(source, StoreView) else StoreView(str(data))
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    with progress(quiet) as report:
        return hold_out(mining, load_panel(source), directory, progress=report, stamp=stamp)


def export_pool(directory: Path, file: Path) -> int:
    """Copy a search's pool to a file that is a formula library; the number of its formulas.   Raises: DataError."""
    from alphaloom.factors import load_library
    from alphaloom.study.mining import load_mining

    load_mining(directory)
    pool = directory / "pool.toml"
    if file.suffix != ".toml":
        raise DataError(
            "a formula library is a .toml file", found=file.name, where="FILE.toml", fix=f"{file.stem}.toml"
        )
    if not file.parent.is_dir():
        raise DataError("a file goes into a folder that exists", found=str(file.parent), where="FILE.toml")
    if file.exists() and file.read_bytes() != pool.read_bytes():
        raise DataError("an export overwrites nothing", found=str(file), where="FILE.toml", fix="give another name")
    beside = file.with_name(f".{file.name}.part")
    beside.write_bytes(pool.read_bytes())
    count = len(load_library(str(pool)).factors)
    beside.replace(file)
    return count
