"""Fitted forecasters and policies as readable JSON, their arrays in a safetensors file: the same bytes every time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError
from alphaloom.roles import Forecaster, Policy
from alphaloom.stored import MODELS

__all__ = ["from_state", "load_model", "save_model", "to_state"]

_FORMAT = 1
_ARRAY = "$array"

Arrays = dict[str, NDArray[Any]]


def save_model(model: Forecaster | Policy, path: str | Path) -> Path:
    """Write a fitted model as a JSON file, and its arrays, if it has any, as NAME.HASH.safetensors beside it.

    The JSON file is written last and names the hash of the arrays, so that a model appears whole or not at all.
    """
    target = Path(path)
    arrays: Arrays = {}
    state = {"format": _FORMAT, **_split(to_state(model), "", arrays)}
    if arrays:
        from safetensors.numpy import save

        blob = save({name: np.ascontiguousarray(values) for name, values in arrays.items()})
        digest = hashlib.sha256(blob).hexdigest()
        file = _beside(target, digest)
        state["arrays"] = {"file": file.name, "sha256": digest}
        _written(file, blob)
    text = json.dumps(state, indent=1, sort_keys=True, allow_nan=False)
    _written(target, (text + "\n").encode())
    kept = {state["arrays"]["file"]} if arrays else set()
    for old in target.parent.glob(f"{target.stem}.*.safetensors"):
        if old.name not in kept:
            old.unlink()
    return target


def load_model(path: str | Path) -> Any:
    """Read what `save_model` wrote: a forecaster or a policy that says the same numbers, bit by bit.

    Raises: DataError for a file that is not one.
    """
    where = str(path)
    try:
        state = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError("a model is stored as a readable JSON file", found=str(error), where=where) from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise DataError(f"a stored model has format {_FORMAT}", found=found, where=where)
    try:
        arrays = _arrays(Path(path), state["arrays"]) if "arrays" in state else {}
        return from_state(_joined(state, arrays))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, AssertionError) as error:
        raise DataError("a stored model has all its parts", found=repr(error), where=where) from None


def to_state(fitted: Forecaster | Policy) -> dict[str, Any]:
    """A fitted model as texts, numbers, lists and arrays.   Raises: DataError for one without a stored form."""
    kind = type(fitted)
    for name, place in MODELS.items():
        state: Callable[[], Mapping[str, Any]] | None = getattr(fitted, "state", None)
        if place == (kind.__module__, kind.__name__) and state is not None:
            return {"model": name, **state()}
    raise DataError("only models of this package have a stored form", found=kind.__name__)


def from_state(state: Mapping[str, Any]) -> Any:
    """The model that `to_state` described.   Raises: DataError for an unknown model."""
    model = state.get("model")
    if model not in MODELS:
        raise DataError(f"a stored model is one of {', '.join(MODELS)}", found=model, where="model")
    module, name = MODELS[str(model)]
    return getattr(import_module(module), name).from_state(state)


def _beside(target: Path, digest: str) -> Path:
    return target.with_name(f"{target.stem}.{digest[:16]}.safetensors")


def _written(path: Path, blob: bytes) -> None:
    """The file appears whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(blob)
    beside.replace(path)


def _split(value: Any, name: str, arrays: Arrays) -> Any:
    """The state with every array replaced by its name; the arrays go into `arrays`."""
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, Mapping):
        return {str(key): _split(part, f"{name}.{key}" if name else str(key), arrays) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_split(part, f"{name}.{k}", arrays) for k, part in enumerate(value)]
    return value


def _joined(value: Any, arrays: Arrays) -> Any:
    """The state with its arrays back in their places."""
    if isinstance(value, dict):
        return (
            arrays[value[_ARRAY]] if set(value) == {_ARRAY} else {k: _joined(part, arrays) for k, part in value.items()}
        )
    return [_joined(part, arrays) for part in value] if isinstance(value, list) else value


def _arrays(path: Path, says: Mapping[str, str]) -> Arrays:
    file = _beside(path, says["sha256"])
    try:
        blob = file.read_bytes()
    except OSError as error:
        raise DataError("the arrays of a forecaster lie beside it", found=str(error), where=str(file)) from None
    if hashlib.sha256(blob).hexdigest() != says["sha256"]:
        raise DataError("the arrays of a forecaster are those that were stored", found="other bytes", where=str(file))
    from safetensors.numpy import load

    found: Arrays = load(blob)
    return found
