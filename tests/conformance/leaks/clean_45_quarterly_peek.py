"""Buy the ten best of the quarter, once a quarter."""

import numpy as np


def weights(panel):
    close = np.nan_to_num(panel["close"].astype(float), nan=1.0)
    out = np.full(panel.shape, np.nan)
    for row in range(62, len(panel), 63):
        best = np.argsort(-(close[row] / close[row - 62]))[:10]
        out[row] = 0.0
        out[row, best] = 0.1
    return out
