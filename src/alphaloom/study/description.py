"""A study written down as plain values, so that it can be stored, compared and hashed."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from alphaloom.errors import ConfigError, Fault
from alphaloom.panel import Panel

__all__ = ["code_hashes", "describe", "fingerprint", "json_text", "toml_text"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def describe(value: Any) -> Any:
    """Any value as dicts, lists, text, numbers and booleans: equal values are described equally in every process.

    A dataclass gives its class and its fields, an object that can print itself its text and any other one its
    attributes, an array its shape and a hash of its content, a panel its content hash. TOML has no word for None: in a
    table it is left out, in a list it is the word "none".
    """
    if value is None or isinstance(value, bool | int | str | float):
        return value
    for rule in (_described_number, _described_group, _described_object):
        found = rule(value)
        if found is not None:
            return found
    return _class_of(type(value))


def _described_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return str(value) if isinstance(value, np.datetime64 | np.timedelta64) else value.item()
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()).encode() if value.dtype == object else np.ascontiguousarray(value).tobytes()
        digest = hashlib.sha256(content).hexdigest()
        return {"class": "array", "dtype": value.dtype.str, "shape": list(value.shape), "sha256": digest}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, date):
        return value.isoformat()
    return value.as_posix() if isinstance(value, PurePath) else None


def _described_group(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items() if item is not None}
    if isinstance(value, Set):
        return sorted((describe(item) for item in value), key=repr)
    if isinstance(value, Sequence):
        return ["none" if item is None else describe(item) for item in value]
    return None


def _described_object(value: Any) -> Any:
    if isinstance(value, Panel):
        return {"class": _class_of(Panel), "source": value.source}
    if inspect.isclass(value) or inspect.isroutine(value):
        return _class_of(value)
    if not is_dataclass(value) and any("__str__" in vars(kind) for kind in type(value).__mro__[:-1]):
        return {"class": _class_of(type(value)), "text": str(value)}
    if is_dataclass(value):
        parts = {item.name: getattr(value, item.name) for item in fields(value)}
    else:
        slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        parts = {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})
    return {"class": _class_of(type(value)), **describe(parts)}


def _class_of(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def fingerprint(value: Any) -> str:
    """A hash of the description: equal for equal configurations, on every machine and in every process."""
    text = json.dumps(describe(value), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def code_hashes(description: Any) -> dict[str, str]:
    """A hash of each source file, outside this package, that the described classes come from.

    Missing: a class without a source file, as one typed into a console, has no entry.
    """
    found = {}
    for name in sorted(_classes(description)):
        parts = name.split(".")
        modules = (".".join(parts[:k]) for k in range(len(parts) - 1, 0, -1))
        module = next((sys.modules[each] for each in modules if each in sys.modules), None)
        path = getattr(module, "__file__", None)
        if module is not None and path and parts[0] != "alphaloom" and Path(path).suffix == ".py":
            found[module.__name__] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return found


def _classes(description: Any) -> set[str]:
    if isinstance(description, Mapping):
        own = {description["class"]} if isinstance(description.get("class"), str) else set()
        return own.union(*(_classes(item) for item in description.values()))
    return set().union(*(_classes(item) for item in description)) if isinstance(description, list) else set()


def json_text(value: Any) -> str:
    """Plain values as JSON; a number that is not finite becomes null.

    Keys keep their order, so that what is read back lists benchmarks and columns as the study did.
    """
    return json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def toml_text(table: Mapping[str, Any]) -> str:
    """Plain values as TOML; tables inside lists are written in line.

    Raises: ConfigError for a value that TOML cannot hold.
    """
    return "\n".join(_toml_lines(table, ())).lstrip("\n") + "\n"


def _toml_lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: item for key, item in table.items() if not isinstance(item, Mapping)}
    lines = [f"{_toml_key(key)} = {_toml_value(item, (*path, key))}" for key, item in plain.items()]
    for key, item in table.items():
        if isinstance(item, Mapping):
            inner = (*path, key)
            header = "[" + ".".join(_toml_key(part) for part in inner) + "]"
            lines += ["", header, *_toml_lines(item, inner)]
    return lines


def _toml_value(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _toml_string(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_toml_key(key)} = {_toml_value(item, (*path, key))}" for key, item in value.items())
        return "{" + pairs + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item, path) for item in value) + "]"
    rule = "a stored configuration holds text, numbers, booleans, lists and tables"
    raise ConfigError("study.toml", [Fault(".".join(path), rule, value)])


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_string(key)


def _toml_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
