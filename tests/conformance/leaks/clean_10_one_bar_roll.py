"""A small linear model on lagged returns."""

from dataclasses import dataclass

import numpy as np

from alphaloom import Signal


@dataclass(frozen=True)
class Lags:
    weights: tuple[float, ...] = (0.5, -0.3, 0.1)
    lookback: int = 3

    def predict(self, panel):
        close = panel["close"].astype(float)
        returns = np.full(close.shape, np.nan)
        returns[1:] = close[1:] / close[:-1] - 1
        values = np.zeros(close.shape)
        for k, weight in enumerate(self.weights):
            lagged = np.full(close.shape, np.nan)
            lagged[k:] = returns[: len(returns) - k]
            values = values + weight * lagged
        return Signal(panel.times, panel.assets, values)


forecaster = Lags()
