"""Work done here and now, one item after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Local", "local"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Local:
    """Maps in this process; the yardstick that the other executors are measured by."""

    def map(self, work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """The results in the order of the items, each made when it is asked for."""
        for item in items:
            yield work(item)


def local() -> Local:
    """The executor that uses this process alone."""
    return Local()
