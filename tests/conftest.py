"""Fixtures that every room's tests may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alphaloom.panel import Panel

SHARED = Path(os.environ.get("ALPHALOOM_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real data is absent (set ALPHALOOM_SHARED_DATA)")
    return SHARED


@pytest.fixture
def make_panel() -> Callable[..., Panel]:
    """A small random panel of business days: seeded walks with consistent open, high, low, close, vwap and volume."""

    def make(T: int = 120, N: int = 8, seed: int = 0, *, holes: float = 0.0, dtype: type = np.float64) -> Panel:
        rng = np.random.default_rng(seed)
        start = np.datetime64("2015-01-01")
        times = np.array([np.busday_offset(start, k, roll="forward") for k in range(T)], dtype="datetime64[ns]")
        steps = rng.normal(0.0003, 0.02, (T, N))
        close = 50.0 * np.exp(np.cumsum(steps, axis=0)) * rng.uniform(0.2, 4.0, N)
        open_ = close * np.exp(rng.normal(0, 0.006, (T, N)))
        high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.005, (T, N))))
        low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.005, (T, N))))
        volume = np.exp(rng.normal(13, 0.5, (T, N)))
        fields = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
        fields["vwap"] = (high + low + close) / 3
        if holes:
            missing = rng.random((T, N)) < holes
            fields = {name: np.where(missing, np.nan, values) for name, values in fields.items()}
        fields = {name: values.astype(dtype) for name, values in fields.items()}
        sector = np.broadcast_to(np.arange(N, dtype=np.int16) % 3, (T, N))
        return Panel(
            times=times,
            assets=tuple(f"A{j:03d}" for j in range(N)),
            fields=fields,
            labels={"sector": sector},
            label_names={"sector": ("alpha", "beta", "gamma")},
        )

    return make
