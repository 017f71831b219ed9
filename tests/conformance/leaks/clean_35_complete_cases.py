"""Weekly momentum of the assets whose last month is complete."""

import numpy as np
import pandas as pd


def signal(panel):
    close = panel["close"].astype(float)
    complete = pd.DataFrame(np.isfinite(close).astype(float)).rolling(21, min_periods=1).min().to_numpy() == 1.0
    momentum = np.full(close.shape, np.nan)
    momentum[5:] = close[5:] / close[:-5] - 1
    return np.where(complete, momentum, np.nan)
