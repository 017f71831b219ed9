"""Ridge whose labels are divided by the volatility of each asset in the training slice."""

from dataclasses import dataclass

import numpy as np

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
class Linear:
    weights: np.ndarray
    lookback: int = 21

    def predict(self, panel):
        return Signal(panel.times, panel.assets, inputs(panel) @ self.weights)


@dataclass(frozen=True)
class Scaled:
    least: float = 1e-4

    def fit(self, train, market):
        later = forward_returns(train, market).values
        risk = np.array([y[np.isfinite(y)].std() if np.isfinite(y).any() else 1.0 for y in later.T])
        y = (later / np.maximum(risk, self.least)).ravel()
        x = inputs(train).reshape(-1, 5)
        x, y = x[np.isfinite(y)], y[np.isfinite(y)]
        return Linear(np.linalg.solve(x.T @ x + np.eye(5), x.T @ y))


def make_learner(panel):
    return Scaled()
