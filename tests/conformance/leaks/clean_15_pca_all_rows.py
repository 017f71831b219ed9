"""Residual reversal: returns without three statistical factors, which are fitted on the training slice."""

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

from alphaloom import Signal


def returns_of(panel):
    close = panel["close"].astype(float)
    returns = np.zeros(close.shape)
    returns[1:] = np.nan_to_num(close[1:] / close[:-1] - 1)
    return np.where(panel.member, returns, 0.0)


@dataclass(frozen=True, eq=False)
class Residual:
    loadings: np.ndarray
    centre: np.ndarray
    lookback: int = 1

    def predict(self, panel):
        moved = returns_of(panel) - self.centre
        return Signal(panel.times, panel.assets, -(moved - moved @ self.loadings.T @ self.loadings))


@dataclass(frozen=True)
class Statistical:
    factors: int = 3

    def fit(self, train, market):
        pca = PCA(self.factors, svd_solver="full").fit(returns_of(train))
        return Residual(pca.components_, pca.mean_)


learner = Statistical()
