"""Drawdown from the peak."""

import numpy as np


def signal(panel):
    close = np.nan_to_num(panel["close"].astype(float))
    peak = np.maximum.accumulate(close[::-1], axis=0)[::-1]
    return close / np.maximum(peak, 1e-9) - 1
