"""Gap trading: buy what opened today below yesterday's close."""

import numpy as np


def weights(panel):
    gap = np.zeros(panel.shape)
    gap[1:] = np.nan_to_num(panel["open"][1:].astype(float) / panel["close"][:-1] - 1)
    down = (gap < -0.002).astype(float)
    return down / np.maximum(down.sum(axis=1, keepdims=True), 1.0)
