"""The spaces of actions and sights, for every interface that stands before the simulator."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from alphaloom.agents.baselines3_brain import LOGITS
from alphaloom.agents.simulator import Seen
from alphaloom.agents.trading import Trading
from alphaloom.errors import DataError

__all__ = ["acted_space", "checked_logits", "seen_space", "shown"]


def checked_logits(actions: object, count: int, N: int) -> NDArray[np.float64]:
    """Logits of weights in their space.   Shape: (B, N + 1).   Raises: DataError for an action outside the space."""
    given: Any = actions
    logits: NDArray[np.float64] = np.asarray(given, dtype=np.float64)
    if logits.shape != (count, N + 1) or not (np.abs(logits) <= LOGITS).all():
        raise DataError(
            "an action is in the space of its mode",
            found=f"shape {logits.shape}, largest {np.abs(logits).max(initial=0.0):g}",
            where="actions",
            fix=f"weights: logits of shape {(count, N + 1)} within {LOGITS:g}, cash first",
        )
    return logits


def shown(seen: Seen) -> Any:
    """What a net is shown of what a simulator shows."""
    if not isinstance(seen, dict):
        return seen
    # A part without columns is no part; a mask is a row of zeros and ones.
    parts = {name: part for name, part in seen.items() if part.size}
    return {name: part.astype(np.int8) if part.dtype == np.bool_ else part for name, part in parts.items()}


def seen_space(seen: Any, T: int) -> spaces.Space[Any]:
    """The space of one copy's part of what is shown; rows are below T."""
    if isinstance(seen, dict):
        return spaces.Dict({name: seen_space(part, T) for name, part in seen.items()})
    if seen.dtype == np.int8:
        return spaces.MultiBinary(seen.shape[1])
    if seen.dtype == np.int64:
        return spaces.Discrete(T)
    return spaces.Box(-np.inf, np.inf, seen.shape[1:], np.float32)


def acted_space(trading: Trading, N: int) -> spaces.Space[Any]:
    """The space of one copy's actions over N assets."""
    match trading.mode:
        case "weights":
            return spaces.Box(-LOGITS, LOGITS, (N + 1,), np.float32)
        case "shares":
            return spaces.Box(-1.0, 1.0, (N,), np.float32)
        case "discrete":
            return spaces.MultiDiscrete([3] * N)
        case "joint":
            return spaces.Discrete(2**N)
        case _:
            return spaces.Discrete(2)
