"""Momentum in calm markets, reversal in wild ones; calm is the lower third of what was seen so far."""

import numpy as np

from alphaloom.metrics import regimes


def signal(panel):
    close = panel["close"].astype(float)
    momentum = np.full(close.shape, np.nan)
    momentum[21:] = close[21:] / close[:-21] - 1
    codes = regimes.tercile_regime(panel.series["vix"], minimum=60).codes
    side = np.where(codes == 0, 1.0, np.where(codes == 2, -1.0, 0.0))
    return momentum * side[:, None]
