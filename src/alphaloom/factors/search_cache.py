"""A store of arrays with a byte limit, and memory that is used again: new pages cost more than many an operator."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["ArrayCache", "CacheStatistics", "Slots"]

Grid = NDArray[Any]


@dataclass(frozen=True)
class CacheStatistics:
    """What a cache has done so far: answers found, answers made, arrays dropped, and what it holds now."""

    hits: int
    misses: int
    dropped: int
    entries: int
    bytes: int

    @property
    def hit_rate(self) -> float:
        """The share of questions answered without work; NaN before the first one."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else float("nan")


class ArrayCache:
    """Arrays by key, least recently used ones dropped when their bytes exceed the limit; safe for threads.

    Two threads that ask for the same missing key make it once: the second waits for the first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._hits = self._misses = self._dropped = 0
        self._arrays: OrderedDict[Hashable, Grid] = OrderedDict()
        self._making: dict[Hashable, threading.Event] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Grid]) -> Grid:
        """The array of a key, made by `make` where it is not held."""
        while True:
            with self._lock:
                found = self._arrays.get(key)
                if found is not None:
                    self._arrays.move_to_end(key)
                    self._hits += 1
                    return found
                pending = self._making.get(key)
                if pending is None:
                    self._making[key] = threading.Event()
                    self._misses += 1
                    break
            pending.wait()
            # An array too large to be kept is made again by each thread that waited for it.
        try:
            made = make()
            self._keep(key, made)
            return made
        finally:
            with self._lock:
                self._making.pop(key).set()

    def _keep(self, key: Hashable, made: Grid) -> None:
        with self._lock:
            if made.nbytes > self._limit:
                return
            self._arrays[key] = made
            self._bytes += made.nbytes
            while self._bytes > self._limit:
                _, old = self._arrays.popitem(last=False)
                self._bytes -= old.nbytes
                self._dropped += 1

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._arrays

    def clear(self) -> None:
        """Drop every array; the counts go on."""
        with self._lock:
            self._arrays.clear()
            self._bytes = 0

    @property
    def statistics(self) -> CacheStatistics:
        """The counts up to now."""
        with self._lock:
            return CacheStatistics(self._hits, self._misses, self._dropped, len(self._arrays), self._bytes)


class Slots:
    """Arrays of one shape that are taken and come back by themselves when nobody holds them any more.

    Who works on a view of such an array must hold the array itself until the work is done.
    """

    _AT_ONCE = 8

    def __init__(self, shape: tuple[int, int], dtype: DTypeLike) -> None:
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._slabs: list[Grid] = []
        self._free: deque[tuple[int, int]] = deque()
        self._lock = threading.Lock()

    def take(self) -> Grid:
        """An array with any content."""
        try:
            slab, place = self._free.pop()
        except IndexError:
            slab, place = self._more()
        taken: Grid = self._slabs[slab][place]
        weakref.finalize(taken, self._free.append, (slab, place)).atexit = False
        return taken

    def _more(self) -> tuple[int, int]:
        with self._lock:
            self._slabs.append(np.empty((self._AT_ONCE, *self._shape), self._dtype))
            number = len(self._slabs) - 1
        self._free.extend((number, place) for place in range(1, self._AT_ONCE))
        return number, 0
