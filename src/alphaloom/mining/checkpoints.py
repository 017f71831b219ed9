"""Where a search stopped: files that are whole or absent, from which the same search finds the same formulas.

A checkpoint is `checkpoint.json`, which is replaced last, and the files that it names: what is known in pieces, so that
a checkpoint costs what is new since the one before, and the miner's arrays. Files that it does not name go after that.
Values are not kept: the pool's are made again from its formulas.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from alphaloom.disk import flush_folder
from alphaloom.errors import DataError
from alphaloom.factors import Expr, parse
from alphaloom.mining.pool import Alpha

if TYPE_CHECKING:
    from alphaloom.mining.session import Session

__all__ = ["Case", "Piece", "read_checkpoint", "write_checkpoint"]

HEAD = "checkpoint.json"
_FORMAT = 2
_AFRESH = "remove the directory and search again"


@dataclass
class Case:
    """A checkpoint in memory: its files by name; empty before the first one."""

    contents: dict[str, bytes] = field(default_factory=dict)


class Piece(NamedTuple):
    """A file of what became known between two checkpoints: how many formulas and fingerprints, and its hash."""

    name: str
    formulas: int
    marks: int
    hash: str


def write_checkpoint(session: Session, place: Path | Case, state: Mapping[str, Any]) -> None:
    """Write the session and the miner's state; whatever happens, the checkpoint before stays until this one is whole.

    Raises: DataError where the disk refuses.
    """
    try:
        _write(session, place, state)
    except OSError as error:
        where = place if isinstance(place, Path) else "memory"
        raise DataError(
            "a search must be able to write its checkpoints",
            found=error.strerror or str(error),
            where=str(where),
            fix="make room or give a directory that may be written; the search goes on from its last checkpoint there",
        ) from error


def _write(session: Session, place: Path | Case, state: Mapping[str, Any]) -> None:
    if isinstance(place, Path) and not place.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        flush_folder(place.parent)
    old = _read_head(place)
    number = 1 + (old["generation"] if old else 0)
    arrays = {name: np.asarray(value) for name, value in state.items() if isinstance(value, np.ndarray)}
    # What lies there may be another search's, or gone: only pieces that it still names are built on.
    there = old["files"] if old else {}
    kept = session.pieces if all(there.get(piece.name) == piece.hash for piece in session.pieces) else ()
    pieces, fresh = _pieces(session, list(kept), number)
    named = {piece.name: piece.hash for piece in pieces}
    if arrays:
        from safetensors.numpy import save

        content = save({name: np.ascontiguousarray(value) for name, value in arrays.items()})
        mark, name = hashlib.sha256(content).hexdigest(), f"miner-{number:06d}.safetensors"
        same = [before for before, hash_ in there.items() if hash_ == mark]
        if same:
            name = same[0]
        else:
            fresh[name] = content
        named[name] = mark
    head = {
        "format": _FORMAT,
        "generation": number,
        "identity": session.identity,
        "pieces": [list(piece) for piece in pieces],
        "files": named,
        "counts": dict(sorted(session.counts.items())),
        "curve": [list(point) for point in session.curve],
        "seconds": session.seconds,
        "rng": session.rng.bit_generator.state,
        "pool": {"formulas": [str(alpha.expr) for alpha in session.pool.alphas], **session.pool.memory()},
        "miner": {name: value for name, value in state.items() if name not in arrays},
    }
    if old and old | {"seconds": 0.0} == json.loads(json.dumps(head)) | {"seconds": 0.0, "generation": number - 1}:
        return  # a search that was done already and is asked again stands where it stood
    _store(place, {**fresh, HEAD: json.dumps(head, sort_keys=True).encode()}, set(named))
    session.pieces = pieces


def _pieces(session: Session, kept: list[Piece], number: int) -> tuple[tuple[Piece, ...], dict[str, bytes]]:
    """The pieces of what is known, and the contents of those that are new."""
    known, marks = list(session.known.values()), session.fingerprints
    start, seen = sum(piece.formulas for piece in kept), sum(piece.marks for piece in kept)
    if start == len(known):
        return tuple(kept), {}
    # Small pieces are joined to the next one: there are few of them, and none is written often.
    while kept and kept[-1].formulas < 2 * (len(known) - start):
        last = kept.pop()
        start, seen = start - last.formulas, seen - last.marks
    import pyarrow as pa

    # Each usable formula has a fingerprint, in the same order.
    prints = iter(marks.rows(seen))
    rows = [next(prints).tobytes() if alpha.valid else None for alpha in known[start:]]
    table = pa.table(
        {
            "formula": [str(alpha.expr) for alpha in known[start:]],
            **{name: [float(getattr(alpha, name)) for alpha in known[start:]] for name in ("ic", "icir", "coverage")},
            "fault": [alpha.fault for alpha in known[start:]],
            "mark": pa.array(rows, pa.binary()),
        }
    )
    content, name = _parquet(table), f"known-{number:06d}.parquet"
    piece = Piece(name, len(known) - start, len(marks) - seen, hashlib.sha256(content).hexdigest())
    return (*kept, piece), {name: content}


def read_checkpoint(session: Session, place: Path | Case) -> dict[str, Any] | None:
    """Bring a fresh session to where the last checkpoint stood and return the miner's state; None without one.

    Raises: DataError for a checkpoint of another search or with damaged files.
    """
    head = _read_head(place)
    if head is None:
        return None
    _check_identity(session, head["identity"], place)
    contents = {name: _content(place, name) for name in head["files"]}
    for name, content in contents.items():
        if content is None or hashlib.sha256(content).hexdigest() != head["files"][name]:
            raise DataError(
                "a checkpoint's files are as they were written",
                found="absent or another content",
                where=_where(place, name),
                fix=_AFRESH,
            )
    pieces = tuple(Piece(*piece) for piece in head["pieces"])
    session.remember(*_known([contents[piece.name] or b"" for piece in pieces]))
    session.pieces = pieces
    session.counts = Counter(head["counts"])
    session.curve = [(int(e), float(s), float(b), float(p), int(d)) for e, s, b, p, d in head["curve"]]
    session.resume_clock(head["seconds"])
    session.rng.bit_generator.state = head["rng"]
    pool = head["pool"]
    formulas = [_bare(parse(text)) for text in pool.pop("formulas")]
    session.pool.recall(map(session.filled, formulas), pool)
    state: dict[str, Any] = dict(head["miner"])
    for name in contents.keys() - {piece.name for piece in pieces}:
        from safetensors.numpy import load

        state |= load(contents[name] or b"")
    return state


def _check_identity(session: Session, found: Mapping[str, Any], place: Path | Case) -> None:
    parts = [name for name, value in session.identity.items() if found.get(name) != value]
    if parts:
        raise DataError(
            "a checkpoint belongs to one search on one set of data",
            found=f"another {', '.join(parts)}",
            where=_where(place, HEAD),
            fix="give another directory, or remove this one to start afresh",
        )


def _bare(expr: Expr) -> Alpha:
    return Alpha(expr, float("nan"), float("nan"), 0.0)


def _parquet(table: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _known(contents: list[bytes]) -> tuple[list[Alpha], list[Any], list[float]]:
    """The formulas of some pieces, and the fingerprints and coefficients of the usable ones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    known: list[Alpha] = []
    marks: list[Any] = []
    for content in contents:
        rows = pq.read_table(pa.BufferReader(content)).to_pydict()
        columns = (rows[name] for name in ("formula", "ic", "icir", "coverage", "fault"))
        known += [Alpha(parse(text), *facts) for text, *facts in zip(*columns, strict=True)]
        marks += [np.frombuffer(mark, np.float32) for mark in rows["mark"] if mark is not None]
    return known, marks, [alpha.ic for alpha in known if alpha.valid]


def _where(place: Path | Case, name: str) -> str:
    return str(place / name) if isinstance(place, Path) else f"{name} in memory"


def _content(place: Path | Case, name: str) -> bytes | None:
    if isinstance(place, Case):
        return place.contents.get(name)
    path = place / name
    return path.read_bytes() if path.is_file() else None


def _read_head(place: Path | Case) -> dict[str, Any] | None:
    content = _content(place, HEAD)
    if content is None:
        return None
    try:
        found: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise DataError(
            "a checkpoint is readable JSON", found=str(error), where=_where(place, HEAD), fix=_AFRESH
        ) from None
    version = found.get("format") if isinstance(found, dict) else None
    if version != _FORMAT:
        raise DataError(f"a checkpoint has format {_FORMAT}", found=version, where=_where(place, HEAD), fix=_AFRESH)
    return found


def _store(place: Path | Case, contents: Mapping[str, bytes], named: set[str]) -> None:
    """Put the files down, the head last, and then remove what it does not name.

    Each step is on the disk before the next one: after a power cut too, a head stands beside all that it names.
    """
    if isinstance(place, Case):
        kept = {name: content for name, content in place.contents.items() if name in named}
        place.contents = {**kept, **contents}
        return
    try:
        for name, content in contents.items():
            with (place / f"{name}.part").open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if name == HEAD:
                flush_folder(place)
            (place / f"{name}.part").replace(place / name)
    except OSError:
        # What could not be finished gives its room back; the head still names the files before.
        for name in contents:
            (place / f"{name}.part").unlink(missing_ok=True)
            if name != HEAD:
                (place / name).unlink(missing_ok=True)
        raise
    flush_folder(place)
    for path in (p for kind in ("known-*", "miner-*", "*.part") for p in place.glob(kind)):
        if path.name not in named:
            path.unlink(missing_ok=True)
