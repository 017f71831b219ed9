"""A market in which one field foretells the next return."""

from __future__ import annotations

import numpy as np

from alphaloom.panel import Panel

__all__ = ["planted"]


def planted(T: int, N: int, seed: int, *, strength: float = 0.004) -> Panel:
    """Today's x says the sign of tomorrow's return."""
    rng = np.random.default_rng(seed)
    x, returns = rng.normal(size=(T, N)), np.zeros((T, N))
    returns[1:] = strength * np.sign(x[:-1]) + rng.normal(0.0, 0.01, (T - 1, N))
    close = 100.0 * np.cumprod(1.0 + returns, axis=0)
    start = np.datetime64("2005-01-03")
    times = np.array([np.busday_offset(start, k, roll="forward") for k in range(T)], dtype="datetime64[ns]")
    fields = {"open": close, "close": close, "volume": close, "x": x}
    return Panel(times=times, assets=tuple(f"A{k}" for k in range(N)), fields=fields)
