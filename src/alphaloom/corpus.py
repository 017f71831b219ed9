"""Texts with the time at which each became available."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError

__all__ = ["Corpus"]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents in the order in which they became known.

    Shape: `available` (D,) datetime64[ns], ascending; `asset` (D,) int32, the column of the panel or -1 for the whole
    market; `text` and `kind` (D,) object arrays of str.
    Time: a document may be read by row t only if `available <= times[t]`; a slice of a panel holds no other.
    """

    available: NDArray[np.datetime64]
    asset: NDArray[np.int32]
    text: NDArray[np.object_]
    kind: NDArray[np.object_]

    def __post_init__(self) -> None:
        available = np.ascontiguousarray(self.available, dtype="datetime64[ns]")
        count = len(available)
        for name in ("asset", "text", "kind"):
            if len(getattr(self, name)) != count:
                raise DataError(
                    f"a corpus needs one {name} for each document",
                    found=f"{len(getattr(self, name))} for {count} documents",
                    where=f"corpus.{name}",
                )
        if np.isnat(available).any():
            raise DataError(
                "each document needs the time at which it became available",
                found=f"{int(np.isnat(available).sum())} without a time",
                where="corpus.available",
                fix="drop them or give the crawl time",
            )
        if count and (np.diff(available.view(np.int64)) < 0).any():
            raise DataError(
                "documents must be sorted by availability",
                where="corpus.available",
                fix="build with Corpus.from_documents, which sorts",
            )
        object.__setattr__(self, "available", _frozen(available))
        object.__setattr__(self, "asset", _frozen(np.ascontiguousarray(self.asset, dtype=np.int32)))
        object.__setattr__(self, "text", _frozen(np.asarray(self.text, dtype=object)))
        object.__setattr__(self, "kind", _frozen(np.asarray(self.kind, dtype=object)))

    @classmethod
    def empty(cls) -> Corpus:
        """A corpus without documents."""
        return cls.from_documents([], [], [])

    @classmethod
    def from_documents(
        cls,
        available: Sequence[np.datetime64] | NDArray[np.datetime64],
        asset: Sequence[int] | NDArray[np.int32],
        text: Sequence[str],
        kind: Sequence[str] | None = None,
    ) -> Corpus:
        """Sort documents by availability; ties keep their given order."""
        when = np.asarray(available, dtype="datetime64[ns]")
        order = np.argsort(when, kind="stable")
        kinds = ["news"] * len(when) if kind is None else kind
        texts = np.empty(len(when), dtype=object)
        texts[:] = list(text)
        names = np.empty(len(when), dtype=object)
        names[:] = list(kinds)
        return cls(when[order], np.asarray(asset, dtype=np.int32)[order], texts[order], names[order])

    def known(self, at: np.datetime64) -> Corpus:
        """The documents available at `at` or earlier, as views."""
        stop = int(np.searchsorted(self.available, at, side="right"))
        if stop == len(self.available):
            return self
        part = object.__new__(Corpus)
        for name in ("available", "asset", "text", "kind"):
            object.__setattr__(part, name, getattr(self, name)[:stop])
        return part

    def digest(self) -> str:
        """A content hash: equal documents give equal hashes on every machine."""
        state = hashlib.sha256()
        state.update(self.available.astype("<i8").tobytes())
        state.update(self.asset.astype("<i4").tobytes())
        for word in (*self.text, *self.kind):
            state.update(str(word).encode() + b"\0")
        return state.hexdigest()

    def __len__(self) -> int:
        return len(self.available)

    def __iter__(self) -> Iterator[tuple[np.datetime64, int, str, str]]:
        return zip(self.available, self.asset.tolist(), self.text, self.kind, strict=True)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
