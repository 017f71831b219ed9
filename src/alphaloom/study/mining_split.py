"""Where training ends, where validation ends, and what is left for the one look at the end."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphaloom.errors import DataError

__all__ = ["Parts", "Rows", "Split"]

# Fewer dates with labels than this say nothing about a formula.
LEAST = 20
_DAY = np.timedelta64(1, "D")

Span = tuple[str, str] | float


class Rows(NamedTuple):
    """Rows start..stop-1 of a panel."""

    start: int
    stop: int


class Parts(NamedTuple):
    """The rows that are scored in each part; the last `purge` rows of a part have no label."""

    train: Rows
    valid: Rows
    test: Rows
    purge: int


@dataclass(frozen=True)
class Split:
    """Training, validation and test: each a fraction of the scored bars, or each a first and a last date.

    Time: a part's panel ends with the part, so the labels that would read the next part's prices do not exist: that
    is a purge of horizon and entry lag before each boundary.
    Raises: DataError for parts that overlap, stand in another order, or are written in two ways.
    """

    train: Span = 0.6
    valid: Span = 0.2
    test: Span = 0.2

    def __post_init__(self) -> None:
        for name in ("train", "valid", "test"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, list | tuple) else float(value))
        kinds = {isinstance(part, tuple) for part in self.spans}
        if len(kinds) > 1:
            raise DataError(
                "all parts of a split are dates, or all are fractions",
                found=str(self.spans),
                where="Split.train",
                fix='train = ["2010-01-01", "2019-12-31"] or train = 0.6',
            )
        if True in kinds:
            self._check_dates()
        else:
            self._check_fractions()

    @property
    def spans(self) -> tuple[Span, Span, Span]:
        """The three parts in their order."""
        return self.train, self.valid, self.test

    def _check_fractions(self) -> None:
        for name in ("train", "valid", "test"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise DataError("a part is a fraction in (0, 1)", found=getattr(self, name), where=f"Split.{name}")
        total = sum(float(part) for part in self.spans if not isinstance(part, tuple))
        if total > 1.0 + 1e-9:
            raise DataError(
                "the parts of a split do not overlap: their fractions add up to at most 1",
                found=f"{total:g}",
                where="Split.test",
            )

    def _check_dates(self) -> None:
        last: np.datetime64 | None = None
        for name in ("train", "valid", "test"):
            span = getattr(self, name)
            try:
                if len(span) != 2:
                    raise ValueError
                first, end = (np.datetime64(text, "D") for text in span)
            except ValueError:
                raise DataError(
                    "a part of a split is a first and a last date", found=str(span), where=f"Split.{name}"
                ) from None
            if first > end or (last is not None and first <= last):
                raise DataError(
                    "the parts of a split follow one another and do not overlap",
                    found=f"{name} {first} to {end}" + (f", and the part before ends {last}" if last else ""),
                    where=f"Split.{name}",
                )
            last = end

    def parts(self, times: NDArray[np.datetime64], *, warm: int, horizon: int, lag: int) -> Parts:
        """The rows of each part; the first `warm` rows of the panel fill the windows and are not scored.

        Raises: DataError where a part has fewer than 20 labelled dates, or where windows are longer than the data.
        """
        T, purge = len(times), horizon + lag
        if warm + 3 * (LEAST + purge) > T:
            raise DataError(
                "the data are longer than the look-back, three times the horizon and 60 dates to judge on",
                found=f"{T} bars; look-back {warm}, horizon {horizon}",
                where="grammar.max_lookback" if warm >= 3 * purge else "horizon",
                fix="give more bars, a shorter horizon, or a smaller max_lookback with shorter windows",
            )
        found = [Rows(*pair) for pair in self._bounds(times, warm)]
        for name, rows in zip(("train", "valid", "test"), found, strict=True):
            if rows.stop - rows.start - purge < LEAST:
                raise DataError(
                    f"each part of a split holds at least {LEAST} dates with labels",
                    found=f"{max(rows.stop - rows.start - purge, 0)} in {name}, after {warm} bars of look-back and a "
                    f"purge of {purge}; the data reach from {times[0].astype('datetime64[D]')} to "
                    f"{times[-1].astype('datetime64[D]')}",
                    where=f"split.{name}",
                    fix="give the part more bars, or take a shorter horizon or look-back",
                )
        return Parts(found[0], found[1], found[2], purge)

    def _bounds(self, times: NDArray[np.datetime64], warm: int) -> list[tuple[int, int]]:
        if not isinstance(self.train, tuple):
            edges = np.cumsum([0.0, *(float(part) for part in self.spans if not isinstance(part, tuple))])
            cuts = [warm + round(float(edge) * (len(times) - warm)) for edge in edges]
            return list(pairwise(cuts))
        spans = [
            (
                int(np.searchsorted(times, np.datetime64(first, "D").astype(times.dtype))),
                int(np.searchsorted(times, (np.datetime64(last, "D") + _DAY).astype(times.dtype))),
            )
            for first, last in (part for part in self.spans if isinstance(part, tuple))
        ]
        return [(max(start, warm), stop) for start, stop in spans]
