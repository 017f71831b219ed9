"""What an arena leaves behind: curves, notes, and its files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.backtest import BacktestResult
from alphaloom.errors import DataError
from alphaloom.panel import Panel
from alphaloom.study.contest import NUMBERS, Line
from alphaloom.study.controls import CALENDAR, Ground
from alphaloom.study.curves import index_curve
from alphaloom.study.description import json_text
from alphaloom.study.directory import RunDirectory

if TYPE_CHECKING:
    from alphaloom.study.arena import ArenaResult, Entry

__all__ = ["RESULT", "arena_place", "arena_summary", "curves_of", "notes_of_arena", "write_arena"]

RESULT, MARK, RUNS = "arena.json", "contest.json", "runs"

Floats = NDArray[np.float64]
_UNIVERSE = re.compile("surviv|membership", re.IGNORECASE)


def curves_of(
    entries: Sequence[Entry],
    ground: Ground,
    *,
    controls: Mapping[str, BacktestResult],
    fans: Mapping[str, Floats],
) -> dict[str, NDArray[Any]]:
    """Growth of one unit of money, bar by bar: each study's mean over seeds, the controls, the drawn portfolios."""
    span = ground.panel[ground.start :]
    found: dict[str, NDArray[Any]] = {"time": span.times}
    for entry in entries:
        grown = [result.daily["equity"] / ground.cash for result in entry.results]
        found[f"study.{entry.name}"] = np.mean(grown, axis=0)
    found |= {f"control.{name}": book.equity / ground.cash for name, book in controls.items()}
    index = index_curve(span, ground.cash)
    if index is not None:
        found["control.index"] = index / ground.cash
    for name, fan in fans.items():
        found |= {f"random.{name}.{part}": row for part, row in zip(("low", "middle", "high"), fan, strict=True)}
    return found


def notes_of_arena(
    entries: Sequence[Entry], panel: Panel, *, rate_note: str, draws: int, lines: Sequence[Line]
) -> tuple[str, ...]:
    """What a reader must know, the data's own faults first."""
    # Who is in the universe decides more than any other fault of the data.
    notes = [*sorted(panel.notes, key=lambda note: not _UNIVERSE.search(note)), rate_note]
    notes.append(
        f"random portfolios: {draws} for each study, with its median holdings, rebalancing and turnover, in equal "
        "parts, drawn by lot from the members and traded through the ledger with all costs"
    )
    notes.append(
        f"equal weight: all members in equal parts, restored every {CALENDAR} bars, with all costs, in parts of shares"
    )
    notes.append(
        "deflated Sharpe ratios: every run with its own trials is one trial, runs with equal returns once; the "
        "effective number counts clusters of runs that correlate by half or more. Worthless ratios scatter as chance "
        "alone makes them"
    )
    alone = [line.name for line in lines if len(line.seeds) == 1]
    if alone:
        notes.append(f"one seed: {', '.join(alone)}; there is no interval over seeds")
    for entry in entries:
        if entry.of:
            continue
        told = [set(result.notes) for result in entry.results]
        if len(told) > 1 and len({result.daily["returns"].tobytes() for result in entry.results}) == 1:
            notes.append(f"{entry.name}: every seed gave the same returns, so the seeds are one trial, not {len(told)}")
        shared = [note for note in entry.results[0].notes if all(note in each for each in told)]
        notes += [note if _everywhere(note, entries) else f"{entry.name}: {note}" for note in shared]
    return tuple(dict.fromkeys(notes))


def _everywhere(note: str, entries: Sequence[Entry]) -> bool:
    return all(note in result.notes for entry in entries for result in entry.results)


def arena_summary(result: ArenaResult) -> dict[str, Any]:
    """The findings as values that JSON can hold; a number that is not known is None."""
    return {
        "name": result.name,
        "verdicts": {line.name: asdict(line.verdict) for line in result.lines if line.verdict is not None},
        "studies": [asdict(replace(line, verdict=None)) for line in result.lines],
        "controls": {name: dict(numbers) for name, numbers in result.controls.items()},
        "ablations": [asdict(each) for each in result.ablations],
        "trials": {"whole": asdict(result.luck), "active": asdict(result.active_luck)},
        "picking": {
            "pbo": result.picking.pbo,
            "active_pbo": result.picking.active_pbo,
            "loss": result.picking.loss,
            "slope": result.picking.slope,
            "distinct": result.picking.distinct,
        },
        "facts": dict(result.facts),
        "notes": list(result.notes),
    }


def arena_place(directory: str | Path, contest: Mapping[str, Any]) -> Path:
    """The folder of an arena: a new one, or one that the same contest began.

    Raises: DataError when it holds something else or belongs to another contest.
    """
    place = Path(directory)
    mine = json_text(contest).encode()
    if place.exists() and not place.is_dir():
        raise DataError("an arena is a directory", found="a file", where=str(place), fix="give another directory")
    if place.is_dir() and any(place.iterdir()):
        mark = place / MARK
        if not mark.is_file():
            raise DataError(
                "an arena needs a new folder or one that an arena began",
                found=f"other files, and no {MARK}",
                where=str(place),
                fix="give another directory",
            )
        if mark.read_bytes() != mine:
            raise DataError(
                "an arena directory belongs to one contest: the same configurations, seeds and data",
                found="another contest",
                where=str(mark),
                fix="give another directory, or remove this one to start afresh",
            )
    RunDirectory(place, "").write(MARK, mine)
    return place


def write_arena(result: ArenaResult, directory: str | Path) -> ArenaResult:
    """Write every table as Parquet and the findings as arena.json, last; equal results give equal bytes.

    Files: curves, returns, random, studies, runs, picking and, where a step was left out, ablations (.parquet).
    """
    from alphaloom.study.tables import parquet_bytes

    folder = RunDirectory(Path(directory), "")
    contents = {f"{name}.parquet": parquet_bytes(columns) for name, columns in _tables(result).items() if columns}
    for name, content in contents.items():
        folder.write(name, content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    folder.write(RESULT, json_text({**arena_summary(result), "files": hashes}).encode())
    return replace(result, directory=folder.path)


def _tables(result: ArenaResult) -> dict[str, dict[str, Any]]:
    bands = result.bands
    return {
        "curves": dict(result.curves),
        "returns": dict(result.returns),
        "random": _stacked({name: dict(band) for name, band in bands.items()}, "study"),
        "studies": _studies(result.lines),
        "runs": _runs(result.lines),
        "picking": {"logit": result.picking.logits} if len(result.picking.logits) else {},
        "ablations": _rows([asdict(each) for each in result.ablations]),
    }


def _stacked(parts: Mapping[str, Mapping[str, NDArray[Any]]], key: str) -> dict[str, Any]:
    if not parts:
        return {}
    names = next(iter(parts.values())).keys()
    labels = [name for name, part in parts.items() for _ in range(len(next(iter(part.values()))))]
    return {key: labels, **{name: np.concatenate([part[name] for part in parts.values()]) for name in names}}


def _studies(lines: Sequence[Line]) -> dict[str, Any]:
    return _rows(
        [{"study": line.name, "number": name, **asdict(line.numbers[name])} for line in lines for name in NUMBERS]
    )


def _runs(lines: Sequence[Line]) -> dict[str, Any]:
    return _rows(
        [
            {"study": line.name, "seed": seed, **run}
            for line in lines
            for seed, run in zip(line.seeds, line.runs, strict=True)
        ]
    )


def _rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not rows:
        return {}
    return {
        name: [row[name] for row in rows]
        if isinstance(rows[0][name], str)
        else np.array([np.nan if row[name] is None else row[name] for row in rows])
        for name in rows[0]
    }
