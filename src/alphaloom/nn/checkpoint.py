"""A training on disk: tensors and, in the same file's header, the JSON of where it stands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from alphaloom.errors import DataError

__all__ = ["read_checkpoint", "write_checkpoint"]

_FORMAT = 1


def write_checkpoint(path: Path, tensors: Mapping[str, torch.Tensor], course: Mapping[str, Any]) -> None:
    """Write beside and rename: whoever is killed here leaves the last whole checkpoint."""
    text = json.dumps({"format": _FORMAT, **course}, sort_keys=True, allow_nan=False)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    beside = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside.open("wb") as file:
        file.write(to_bytes(plain, metadata={"course": text}))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `write_checkpoint` wrote.   Raises: DataError for a file that is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            course = json.loads((file.metadata() or {})["course"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise DataError(
            "a checkpoint is a safetensors file with the course of a training",
            found=repr(error),
            where=str(path),
            fix="delete the file to train from the start",
        ) from None
    if not isinstance(course, dict) or course.pop("format", None) != _FORMAT:
        raise DataError(f"a checkpoint has format {_FORMAT}", where=str(path), fix="delete it to train from the start")
    return tensors, course
