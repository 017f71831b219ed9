"""The data room: sources, the store and its validation, the embedded market. Bytes in, panels out."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphaloom.data.files import MarketFiles, SeriesFile
    from alphaloom.data.findings import Finding, ValidationReport
    from alphaloom.data.importing import import_market
    from alphaloom.data.simulate import EmbeddedMarket, simulate
    from alphaloom.data.sources import read_table
    from alphaloom.data.store import Store

__all__ = [
    "EmbeddedMarket",
    "Finding",
    "MarketFiles",
    "SeriesFile",
    "Store",
    "ValidationReport",
    "import_market",
    "read_table",
    "simulate",
]

_HOME = {
    "EmbeddedMarket": "simulate",
    "Finding": "findings",
    "MarketFiles": "files",
    "SeriesFile": "files",
    "Store": "store",
    "ValidationReport": "findings",
    "import_market": "importing",
    "read_table": "sources",
    "simulate": "simulate",
}


class _Door(ModuleType):
    """The room's module: a public name stays what it is when a submodule of the same name is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in _HOME:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Door


def __getattr__(name: str) -> Any:
    # Frames and calendars take half a second to import, so a name is fetched when it is first asked for.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
