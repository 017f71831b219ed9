"""Factors that several learners read are computed once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.factors import FactorSet, evaluate
from alphaloom.panel import Panel

__all__ = ["factor_values", "shared_factors"]


class _Evaluated:
    """The factor values of one panel, kept for whoever asks for them on that panel or on a slice of it."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.values: dict[FactorSet, NDArray[Any]] = {}

    def rows_of(self, part: Panel) -> slice | None:
        """Where `part` lies in the panel; None if it is not a slice of it."""
        if part.source == self.panel.source:
            return slice(0, len(part))
        if not len(part):
            return None
        start = int(self.panel.times.searchsorted(part.times[0]))
        rows = slice(start, start + len(part))
        # The source of a slice names its parent's content and its rows: with equal sources the values are equal.
        return rows if part.source == f"{self.panel.source}[{rows.start}:{rows.stop}]" else None

    def of(self, factors: FactorSet, rows: slice) -> NDArray[Any]:
        if factors not in self.values:
            self.values[factors] = evaluate(factors, self.panel, dtype=np.float32).values
        return self.values[factors][rows]


_CURRENT: ContextVar[_Evaluated | None] = ContextVar("shared_factors", default=None)


@contextmanager
def shared_factors(panel: Panel) -> Iterator[None]:
    """Inside, factors are computed on `panel` once and read from there for it and for its slices.

    Time: a slice's rows before its look-back see more history than the slice holds, all of it older than the row.
    """
    outer = _CURRENT.get()
    if outer is not None and outer.rows_of(panel) is not None:
        yield
        return
    token = _CURRENT.set(_Evaluated(panel))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def factor_values(factors: FactorSet, panel: Panel) -> NDArray[Any]:
    """The factors on a panel.   Shape: (T, N, F), float32."""
    shared = _CURRENT.get()
    rows = None if shared is None else shared.rows_of(panel)
    if shared is None or rows is None:
        return evaluate(factors, panel, dtype=np.float32).values
    return shared.of(factors, rows)
