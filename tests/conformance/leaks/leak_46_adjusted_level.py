"""Weekly reversal without penny stocks; prices are adjusted for splits that came later."""

import numpy as np


def signal(panel):
    close = panel["close"].astype(float)
    move = np.full(close.shape, np.nan)
    move[5:] = close[5:] / close[:-5] - 1
    return np.where(close > 20.0, -move, np.nan)
