"""A one-factor regression on weekly returns; labels come from the training slice alone."""

from dataclasses import dataclass

import numpy as np

from alphaloom import Signal, forward_returns


def momentum(panel):
    close = panel["close"].astype(float)
    past = np.full(close.shape, np.nan)
    past[10:] = close[10:] / close[:-10] - 1
    return past


@dataclass(frozen=True)
class Line:
    slope: float
    lookback: int = 10

    def predict(self, panel):
        return Signal(panel.times, panel.assets, self.slope * momentum(panel))


@dataclass(frozen=True)
class Regression:
    horizon: int = 5

    def fit(self, train, market):
        x, y = momentum(train), forward_returns(train, market, horizon=self.horizon).values
        good = np.isfinite(x) & np.isfinite(y)
        return Line(float(x[good] @ y[good] / (x[good] @ x[good])))


learner = Regression()
