"""What a net of the cross-sectional DQN sees: an asset's features, the state of the market, whether it is held."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.observation import Observed

__all__ = ["Sight"]

_TABLE = 2**26  # floats that a table of all cells may have


class Sight:
    """Gathers what is seen of single cells, or of whole rows of assets.

    Shape: D = window * features + market columns + 1, in this order; the last is 1 where the asset is held.
    """

    def __init__(self, observed: Observed, *, table: bool = False) -> None:
        self.observed = observed
        self.inputs = observed.window * len(observed.names) + len(observed.market_names) + 1
        T, N, _ = observed.shape
        fits = table and observed.window == 1 and T * N * self.inputs <= _TABLE
        self._table = self.rows(np.arange(T), np.zeros((T, N), np.bool_)).reshape(T * N, -1) if fits else None

    def cells(
        self, row: NDArray[np.integer], asset: NDArray[np.integer], held: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Some cells.   Shape: (K, m) each -> (K, m, D)."""
        seen = self.observed
        if self._table is not None:
            x = self._table[row.astype(np.int64) * seen.shape[1] + asset]
        else:
            W, F = seen.window, len(seen.names)
            x = np.empty((*row.shape, self.inputs), np.float32)
            for k in range(W):
                x[..., k * F : (k + 1) * F] = seen.features[np.maximum(row - (W - 1 - k), 0), asset]
            x[..., W * F : -1] = seen.market[row]
        x[..., -1] = held
        return x

    def rows(self, rows: NDArray[np.integer], held: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Whole rows of assets.   Shape: rows (B,), held (B, N) -> (B, N, D)."""
        seen = self.observed
        W, F = seen.window, len(seen.names)
        x = np.empty((len(rows), seen.shape[1], self.inputs), np.float32)
        for k in range(W):
            x[:, :, k * F : (k + 1) * F] = seen.features[np.maximum(rows - (W - 1 - k), 0)]
        x[:, :, W * F : -1] = seen.market[rows][:, None, :]
        x[:, :, -1] = held
        return x
