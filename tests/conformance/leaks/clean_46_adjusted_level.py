"""Weekly reversal without stocks that fell far below their last high."""

import numpy as np
import pandas as pd


def signal(panel):
    close = panel["close"].astype(float)
    move = np.full(close.shape, np.nan)
    move[5:] = close[5:] / close[:-5] - 1
    high = pd.DataFrame(close).rolling(60, min_periods=1).max().to_numpy()
    return np.where(close > 0.8 * high, -move, np.nan)
