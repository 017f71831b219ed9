"""Samples with a planted relation: two of the features say part of y, the dates have sizes of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from alphaloom.nn import Samples


@pytest.fixture
def planted() -> Callable[..., Samples]:
    def make(D: int = 40, n: int = 30, F: int = 6, seed: int = 0, *, strength: float = 1.0) -> Samples:
        rng = np.random.default_rng(seed)
        date = np.repeat(np.arange(D), rng.integers(n - 5, n + 5, D))
        x = rng.normal(size=(len(date), F)).astype(np.float32)
        y = strength * (0.5 * x[:, 0] - 0.3 * x[:, 1]) + rng.normal(size=len(date))
        return Samples(x, y, date, fit=date < 0.7 * D, held=date >= 0.75 * D)

    return make
