"""Work for workers: what the tests map, in a module that every process can import."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphaloom.errors import DataError
from alphaloom.factors import FactorSet, load_library
from alphaloom.panel import Panel


def square(x: int) -> int:
    return x * x


def process_id(_: Any) -> int:
    return os.getpid()


def late_when_early(x: int) -> int:
    """The first items take longest, so that they are finished last."""
    time.sleep(0.15 if x % 4 == 0 else 0.0)
    return x


def sleep_here(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@dataclass(frozen=True, eq=False)
class Rows:
    """Reads a big array that it carries."""

    values: np.ndarray

    def __call__(self, row: int) -> tuple[float, bool, bool]:
        base: Any = self.values
        while isinstance(base, np.ndarray):
            base = base.base
        mapped = isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap)
        return float(self.values[row].sum()), self.values.flags.writeable, mapped


@dataclass(frozen=True, eq=False)
class Spoiler:
    """Writes into the array that it carries."""

    values: np.ndarray

    def __call__(self, row: int) -> None:
        self.values[row] = 0.0


@dataclass(frozen=True)
class Mortal:
    """Kills its own worker when it meets item `at`, `times` times in all; notes every try in a folder."""

    folder: str
    at: int = 2
    times: int = 1

    def __call__(self, item: int) -> int:
        folder = Path(self.folder)
        if item == self.at:
            tries = len(list(folder.glob("try_*")))
            (folder / f"try_{tries}").touch()
            if tries < self.times:
                os.kill(os.getpid(), signal.SIGKILL)
        return item * 10


@dataclass(frozen=True)
class Signs:
    """Leaves its process number in a folder, then waits."""

    folder: str
    seconds: float

    def __call__(self, item: int) -> int:
        (Path(self.folder) / str(os.getpid())).touch()
        time.sleep(self.seconds)
        return item


class WontCopyError(Exception):
    """An error that can be written but not read again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


class Unwritable:
    """A value that cannot travel."""

    def __reduce__(self) -> Any:
        raise TypeError("this stays here")


def faulty(item: int) -> int:
    if item == 2:
        raise DataError("a price is positive", found=-1.0, where="row 2", fix="look at the source")
    return item


def fault_of_kind(kind: str) -> Any:
    faults: dict[str, BaseException] = {
        "value": ValueError("no"),
        "exit": SystemExit(3),
        "stop": StopIteration(),
        "copy": WontCopyError("a", "b"),
    }
    if kind == "result":
        return Unwritable()
    with contextlib.suppress(KeyError):
        raise faults[kind]
    return kind


def settings(_: Any) -> dict[str, str | None]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_WAIT_POLICY")
    return {name: os.environ.get(name) for name in names}


def read_standard_input(_: Any) -> str:
    try:
        return input()
    except EOFError:
        return "nothing"


def talk(x: int) -> int:
    print("a word on the standard output", x)  # noqa: T201
    return x


def classics(panel: Panel) -> FactorSet:
    """A third of the classic factors that need no field but the panel's."""
    library = load_library("classic")
    usable = tuple(one for one in library.factors if set(FactorSet("one", (one,)).fields) <= set(panel.fields))
    return FactorSet("classics", usable[::3])


def files_of(folder: Path) -> dict[str, str]:
    """Every file of a folder with a hash of its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@dataclass(frozen=True, eq=False)
class MortalSource:
    """A panel that kills the first worker that reads its second half."""

    panel: Panel
    folder: str

    @property
    def source(self) -> str:
        return self.panel.source

    def __len__(self) -> int:
        return len(self.panel)

    def rows(self, start: int, stop: int) -> Panel:
        sign = Path(self.folder) / "killed"
        if stop > len(self.panel) // 2 and not sign.exists():
            sign.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.panel[start:stop]
