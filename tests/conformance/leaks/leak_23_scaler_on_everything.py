"""Ridge on scaled inputs; the scaler is fitted once."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from alphaloom import Signal, forward_returns


def inputs(panel):
    close = panel["close"].astype(float)
    columns = []
    for window in (1, 3, 5, 10, 21):
        past = np.zeros(close.shape)
        past[window:] = np.nan_to_num(close[window:] / close[:-window] - 1)
        columns.append(past)
    return np.stack(columns, axis=-1)


@dataclass(frozen=True, eq=False)
class Fitted:
    scaler: StandardScaler
    model: Ridge
    lookback: int = 21

    def predict(self, panel):
        x = self.scaler.transform(inputs(panel).reshape(-1, 5))
        return Signal(panel.times, panel.assets, self.model.predict(x).reshape(panel.shape))


@dataclass(frozen=True, eq=False)
class ScaledRidge:
    scaler: StandardScaler

    def fit(self, train, market):
        y = forward_returns(train, market).values.ravel()
        x = self.scaler.transform(inputs(train).reshape(-1, 5))
        good = np.isfinite(y)
        return Fitted(self.scaler, Ridge(alpha=100.0).fit(x[good], y[good]))


def make_learner(panel):
    return ScaledRidge(StandardScaler().fit(inputs(panel).reshape(-1, 5)))
