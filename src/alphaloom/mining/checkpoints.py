"""Where a search stopped: files that are whole or absent, from which the same search finds the same formulas.

A checkpoint is a generation of files and `checkpoint.json`, which names them and is replaced last; files of older
generations go after that. Values are not kept: the pool's are made again from its formulas.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaloom.errors import DataError
from alphaloom.factors import Expr, parse
from alphaloom.mining.pool import Alpha

if TYPE_CHECKING:
    from alphaloom.mining.session import Session

__all__ = ["read_checkpoint", "write_checkpoint"]

HEAD = "checkpoint.json"
_FORMAT = 1


def write_checkpoint(session: Session, folder: Path, state: Mapping[str, Any]) -> None:
    """Write the session and the miner's state as a new generation.   Raises: OSError where the disk refuses."""
    folder.mkdir(parents=True, exist_ok=True)
    old = _head(folder)
    number = 1 + (old["generation"] if old else 0)
    arrays = {name: np.asarray(value) for name, value in state.items() if isinstance(value, np.ndarray)}
    files = {"known": f"known-{number:06d}.parquet", "marks": f"marks-{number:06d}.parquet"}
    contents = {files["known"]: _known_bytes(session), files["marks"]: _marks_bytes(session)}
    if arrays:
        from safetensors.numpy import save

        files["arrays"] = f"miner-{number:06d}.safetensors"
        contents[files["arrays"]] = save({name: np.ascontiguousarray(value) for name, value in arrays.items()})
    for name, content in contents.items():
        _put(folder / name, content)
    head = {
        "format": _FORMAT,
        "generation": number,
        "identity": session.identity,
        "files": files,
        "hashes": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        "counts": dict(sorted(session.counts.items())),
        "curve": [list(point) for point in session.curve],
        "seconds": session.seconds,
        "rng": session.rng.bit_generator.state,
        "pool": {"formulas": [str(alpha.expr) for alpha in session.pool.alphas], **session.pool.memory()},
        "miner": {name: value for name, value in state.items() if name not in arrays},
    }
    _put(folder / HEAD, json.dumps(head, sort_keys=True).encode())
    for path in (p for kind in ("known-*", "marks-*", "miner-*", "*.part") for p in folder.glob(kind)):
        if path.name not in contents:
            path.unlink(missing_ok=True)


def read_checkpoint(session: Session, folder: Path) -> dict[str, Any] | None:
    """Bring a fresh session to where the last checkpoint stood and return the miner's state; None without one.

    Raises: DataError for a checkpoint of another search or with damaged files.
    """
    head = _head(folder)
    if head is None:
        return None
    if head["identity"] != session.identity:
        parts = [name for name, value in session.identity.items() if head["identity"].get(name) != value]
        raise DataError(
            "a checkpoint belongs to one search on one set of data",
            found=f"another {', '.join(parts)}",
            where=str(folder / HEAD),
            fix="give another directory, or remove this one to start afresh",
        )
    contents = {name: (folder / name).read_bytes() if (folder / name).is_file() else b"" for name in head["hashes"]}
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != head["hashes"][name]:
            raise DataError(
                "a checkpoint's files are as they were written",
                found="absent or another content",
                where=str(folder / name),
                fix="remove the directory and search again",
            )
    _enter_known(session, contents[head["files"]["known"]], contents[head["files"]["marks"]])
    session.counts = Counter(head["counts"])
    session.curve = [(int(e), float(s), float(b), float(p), int(d)) for e, s, b, p, d in head["curve"]]
    session.resume_clock(head["seconds"])
    session.rng.bit_generator.state = head["rng"]
    pool = head["pool"]
    session.pool.recall([session.filled(_bare(parse(text))) for text in pool.pop("formulas")], pool)
    state: dict[str, Any] = dict(head["miner"])
    if "arrays" in head["files"]:
        from safetensors.numpy import load

        state |= load(contents[head["files"]["arrays"]])
    return state


def _bare(expr: Expr) -> Alpha:
    return Alpha(expr, float("nan"), float("nan"), 0.0)


def _known_bytes(session: Session) -> bytes:
    import pyarrow as pa

    known = list(session.known.values())
    table = pa.table(
        {
            "formula": [str(alpha.expr) for alpha in known],
            **{name: [float(getattr(alpha, name)) for alpha in known] for name in ("ic", "icir", "coverage")},
            "fault": [alpha.fault for alpha in known],
        }
    )
    return _parquet(table)


def _marks_bytes(session: Session) -> bytes:
    import pyarrow as pa

    marks = [row.tobytes() for row in session.fingerprints.table()]
    return _parquet(pa.table({"mark": pa.array(marks, pa.binary()), "ic": list(session.fingerprints.coefficients)}))


def _parquet(table: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _enter_known(session: Session, known: bytes, marks: bytes) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(pa.BufferReader(known)).to_pydict()
    columns = (rows[name] for name in ("formula", "ic", "icir", "coverage", "fault"))
    seen = pq.read_table(pa.BufferReader(marks)).to_pydict()
    session.remember(
        [Alpha(parse(text), ic, icir, part, fault) for text, ic, icir, part, fault in zip(*columns, strict=True)],
        [np.frombuffer(mark, np.float32) for mark in seen["mark"]],
        seen["ic"],
    )


def _head(folder: Path) -> dict[str, Any] | None:
    path = folder / HEAD
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError("a checkpoint is readable JSON", found=str(error), where=str(path)) from None
    if found.get("format") != _FORMAT:
        raise DataError(f"a checkpoint has format {_FORMAT}", found=found.get("format"), where=str(path))
    return found


def _put(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
