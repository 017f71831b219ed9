"""Monthly momentum with outliers clipped at the 2nd and 98th percentile."""

import numpy as np


def signal(panel):
    close = panel["close"].astype(float)
    momentum = np.full(close.shape, np.nan)
    momentum[21:] = close[21:] / close[:-21] - 1
    low, high = np.nanquantile(momentum, [0.02, 0.98])
    return np.clip(momentum, low, high)
