"""Low-beta anomaly: each asset's beta to the index over the last sixty bars."""

import numpy as np
import pandas as pd


def signal(panel):
    close, index = panel["close"].astype(float), np.asarray(panel.series["index"])
    moves, market = np.zeros(close.shape), np.zeros(len(close))
    moves[1:] = np.nan_to_num(close[1:] / close[:-1] - 1)
    market[1:] = index[1:] / index[:-1] - 1
    both = pd.DataFrame(moves * market[:, None]).rolling(60).mean().to_numpy()
    mean, level = pd.DataFrame(moves).rolling(60).mean().to_numpy(), pd.Series(market).rolling(60).mean().to_numpy()
    spread = pd.Series(market).rolling(60).var(ddof=0).to_numpy()
    return -(both - mean * level[:, None]) / spread[:, None]
