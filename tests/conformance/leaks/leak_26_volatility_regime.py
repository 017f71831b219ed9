"""Momentum in calm markets, reversal in wild ones; calm is the lower third of the volatility index."""

import numpy as np


def signal(panel):
    close = panel["close"].astype(float)
    momentum = np.full(close.shape, np.nan)
    momentum[21:] = close[21:] / close[:-21] - 1
    vix = np.asarray(panel.series["vix"])
    low, high = np.nanquantile(vix, [1 / 3, 2 / 3])
    side = np.where(vix <= low, 1.0, np.where(vix > high, -1.0, 0.0))
    return momentum * side[:, None]
