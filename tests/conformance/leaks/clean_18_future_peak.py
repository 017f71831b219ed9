"""Drawdown from the peak so far."""

import numpy as np


def signal(panel):
    close = np.nan_to_num(panel["close"].astype(float))
    peak = np.maximum.accumulate(close, axis=0)
    return close / np.maximum(peak, 1e-9) - 1
