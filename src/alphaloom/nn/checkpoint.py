"""A training on disk: tensors and, in the same file's header, the JSON of where it stands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from alphaloom.errors import DataError

__all__ = ["grouped", "moments_of", "read_checkpoint", "recall_moments", "write_checkpoint"]

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


def grouped(tensors: Mapping[str, torch.Tensor], names: Sequence[str]) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of each group under the rest of their name, which was "group.rest"."""
    groups: dict[str, dict[str, torch.Tensor]] = {name: {} for name in names}
    for name, values in tensors.items():
        group, _, rest = name.partition(".")
        groups[group][rest] = values
    return groups


def moments_of(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """What an optimiser remembers of each weight, as "place.part"."""
    state = optimiser.state_dict()["state"]
    return {f"{place}.{part}": values for place, parts in state.items() for part, values in parts.items()}


def recall_moments(optimiser: torch.optim.Optimizer, moments: Mapping[str, torch.Tensor]) -> None:
    """Become the optimiser whose `moments_of` these are; its rates stay."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, values in moments.items():
        place, _, part = name.partition(".")
        state.setdefault(int(place), {})[part] = values
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
