"""An equal-weight curve scaled to ten percent volatility."""

import numpy as np


def equity(panel):
    close = panel["close"].astype(float)
    moves = np.zeros(close.shape)
    moves[1:] = np.nan_to_num(close[1:] / close[:-1] - 1)
    returns = moves.mean(axis=1)
    leverage = 0.10 / (returns.std() * np.sqrt(252))
    return np.cumprod(1.0 + leverage * returns)
