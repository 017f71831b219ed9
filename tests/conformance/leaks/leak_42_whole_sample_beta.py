"""Low-beta anomaly: each asset's beta to the index."""

import numpy as np


def signal(panel):
    close, index = panel["close"].astype(float), np.asarray(panel.series["index"])
    moves = np.nan_to_num(close[1:] / close[:-1] - 1)
    market = index[1:] / index[:-1] - 1
    centred = market - market.mean()
    beta = centred @ moves / (centred @ centred)
    return np.tile(-beta, (len(panel), 1))
