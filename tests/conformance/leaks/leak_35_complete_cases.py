"""Weekly momentum of the assets with a complete history."""

import numpy as np


def signal(panel):
    close = panel["close"].astype(float)
    complete = np.isfinite(close).all(axis=0)
    momentum = np.full(close.shape, np.nan)
    momentum[5:] = close[5:] / close[:-5] - 1
    return np.where(complete, momentum, np.nan)
