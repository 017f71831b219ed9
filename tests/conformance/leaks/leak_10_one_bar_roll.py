"""A small linear model on lagged returns; the lags are built with np.roll."""

from dataclasses import dataclass

import numpy as np

from alphaloom import Signal


@dataclass(frozen=True)
class Lags:
    weights: tuple[float, ...] = (0.5, -0.3, 0.1)
    lookback: int = 4

    def predict(self, panel):
        close = panel["close"].astype(float)
        returns = np.full(close.shape, np.nan)
        returns[1:] = close[1:] / close[:-1] - 1
        values = sum(w * np.roll(returns, k - 1, axis=0) for k, w in enumerate(self.weights))
        return Signal(panel.times, panel.assets, values)


forecaster = Lags()
