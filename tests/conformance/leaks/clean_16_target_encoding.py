"""The sector as a number: the mean return that its assets have had up to the day."""

import numpy as np


def features(panel):
    sector = np.asarray(panel.labels["sector"])
    close = panel["close"].astype(float)
    past = np.zeros(close.shape)
    past[1:] = np.nan_to_num(close[1:] / close[:-1] - 1)
    encoded = np.full(panel.shape, np.nan)
    for code in np.unique(sector):
        here = sector == code
        total, count = np.cumsum((past * here).sum(axis=1)), np.cumsum(here.sum(axis=1))
        mean = total / np.maximum(count, 1)
        encoded[here] = np.broadcast_to(mean[:, None], panel.shape)[here]
    return encoded[:, :, None]
