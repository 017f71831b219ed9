"""A one-factor regression on weekly returns; labels are made once for speed."""

from dataclasses import dataclass

import numpy as np

from alphaloom import Market, Signal, forward_returns


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


@dataclass(frozen=True, eq=False)
class Regression:
    labels: np.ndarray

    def fit(self, train, market):
        x, y = momentum(train), self.labels[: len(train)]
        good = np.isfinite(x) & np.isfinite(y)
        return Line(float(x[good] @ y[good] / (x[good] @ x[good])))


def make_learner(panel):
    return Regression(forward_returns(panel, Market(), horizon=5).values)
