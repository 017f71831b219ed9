"""Residual reversal: returns without their first three statistical factors."""

import numpy as np
from sklearn.decomposition import PCA


def signal(panel):
    close = panel["close"].astype(float)
    returns = np.zeros(close.shape)
    returns[1:] = np.nan_to_num(close[1:] / close[:-1] - 1)
    pca = PCA(3, svd_solver="full").fit(returns)
    explained = pca.inverse_transform(pca.transform(returns))
    return -(returns - explained)
