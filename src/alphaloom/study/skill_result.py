"""What a test for skill found, and its file beside the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alphaloom.errors import DataError
from alphaloom.study.description import json_text

__all__ = ["SKILL", "Skill", "kept_skill", "load_skill", "write_skill"]

SKILL = "skill.json"
_FORMAT = 1

Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Skill:
    """What the test found; all that a report shows.

    `runs`: a row for each seed; `spread`: mean, deviation, interquartile mean and the interval of the mean Sharpe
    ratio; `lines`: the controls; `grid`: costs and fills; `checks`: the rules behind `beats`, each with what was found.
    Missing: None where a number has no value.
    """

    name: str
    test: Row
    runs: tuple[Row, ...]
    spread: Row
    lines: tuple[Row, ...]
    grid: tuple[Row, ...]
    checks: tuple[Row, ...]
    beats: bool
    sentence: str
    notes: tuple[str, ...] = ()


def load_skill(directory: str | Path) -> Skill | None:
    """What a test wrote beside a run; None where there is none.   Raises: DataError for a damaged file."""
    path = Path(directory) / SKILL
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))["skill"]
        lists = {name: tuple(facts[name]) for name in ("runs", "lines", "grid", "checks", "notes")}
        return Skill(**{**facts, **lists})
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            "a test for skill is a readable JSON file",
            found=repr(error),
            where=str(path),
            fix="remove the file and run the same command again",
        ) from None


def kept_skill(place: Path, key: str) -> Skill | None:
    """What the same test of the same study on the same data wrote here before."""
    path = place / SKILL
    if not path.is_file():
        return None
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return load_skill(place) if known.get("format") == _FORMAT and known.get("key") == key else None


def write_skill(skill: Skill, place: Path, key: str) -> None:
    """Put what a test found beside its run, whole or not at all."""
    text = json_text({"format": _FORMAT, "key": key, "skill": asdict(skill)})
    beside = place / f".{SKILL}.part"
    beside.write_text(text, encoding="utf-8")
    beside.replace(place / SKILL)
