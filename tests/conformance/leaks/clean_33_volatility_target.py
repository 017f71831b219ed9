"""An equal-weight curve scaled to ten percent of the volatility that was seen before each bar."""

import numpy as np
import pandas as pd


def equity(panel):
    close = panel["close"].astype(float)
    moves = np.zeros(close.shape)
    moves[1:] = np.nan_to_num(close[1:] / close[:-1] - 1)
    returns = moves.mean(axis=1)
    seen = pd.Series(returns).rolling(40).std().shift(1).fillna(0.01).to_numpy()
    return np.cumprod(1.0 + 0.10 / (np.maximum(seen, 1e-4) * np.sqrt(252)) * returns)
