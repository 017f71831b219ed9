"""The two questions before a vendor is asked: may we use the network, and is its library here?"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from alphaloom.errors import DataError

__all__ = ["check_symbols", "load_library", "read_day", "require_network"]


def require_network(allowed: bool, *, vendor: str) -> None:
    """Refuse unless the caller has said that the network may be used.   Raises: DataError."""
    if not allowed:
        raise DataError(
            f"{vendor} is reached over the network, which needs your word",
            found="allow_network=False",
            where=f"vendors.{vendor}",
            fix="pass allow_network=True, or import a file that you have",
        )


def load_library(name: str, *, vendor: str) -> Any:
    """Import a vendor's library.   Raises: DataError that names the extra where it is absent."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(
            f"the {vendor} adapter needs the library {name}",
            found=f"{name} cannot be imported ({error})",
            where=f"vendors.{vendor}",
            fix="pip install 'alphaloom[vendors]'",
        ) from error


def check_symbols(symbols: Sequence[str], *, vendor: str) -> tuple[str, ...]:
    """At least one symbol, each once.   Raises: DataError."""
    if isinstance(symbols, str):
        raise DataError("symbols are a list", found=symbols, where=f"vendors.{vendor}", fix=f"[{symbols!r}]")
    unique = tuple(dict.fromkeys(symbols))
    if not unique:
        raise DataError("a fetch needs at least one symbol", found="none", where=f"vendors.{vendor}")
    return unique


def read_day(when: str, *, where: str) -> np.datetime64:
    """A date or a UTC time.   Shape: datetime64[ms].   Raises: DataError for text that is neither."""
    try:
        return np.datetime64(when, "ms")
    except ValueError as error:
        raise DataError("a time is written like 2020-01-31", found=when, where=where) from error
