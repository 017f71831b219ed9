"""A market with a planted relation: what `x` and `y` say today is earned from the next open to the one after."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from alphaloom.factors import Factor, FactorSet, parse
from alphaloom.panel import Panel
from alphaloom.units import ONE


@pytest.fixture
def factors() -> FactorSet:
    return FactorSet("planted", tuple(Factor(name, parse(name)) for name in ("x", "y", "z")))


@pytest.fixture
def planted() -> Callable[..., Panel]:
    def make(T: int = 160, N: int = 40, seed: int = 0, *, strength: float = 0.01, bend: bool = False) -> Panel:
        rng = np.random.default_rng(seed)
        x, y, z = rng.normal(size=(3, T, N))
        view = np.where(np.abs(x) < 0.7, 1.0, -1.0) if bend else x - 0.5 * y
        steps = 0.02 * rng.normal(size=(T, N)) + 0.01 * rng.normal(size=(T, 1))
        steps[2:] += strength * view[:-2]
        open_ = 30.0 * np.exp(np.cumsum(steps, axis=0))
        close = open_ * np.exp(0.003 * rng.normal(size=(T, N)))
        times = (np.datetime64("2010-01-04") + np.arange(T)).astype("datetime64[ns]")
        fields = {"open": open_, "close": close, "x": x, "y": y, "z": z}
        units = dict.fromkeys("xyz", ONE)
        return Panel(times=times, assets=tuple(f"A{j:02d}" for j in range(N)), fields=fields, units=units)

    return make
