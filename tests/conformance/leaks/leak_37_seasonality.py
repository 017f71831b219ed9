"""Day-of-week seasonality of each asset."""

import numpy as np


def signal(panel):
    close = panel["close"].astype(float)
    moves = np.zeros(close.shape)
    moves[1:] = np.nan_to_num(close[1:] / close[:-1] - 1)
    weekday = (panel.times.astype("datetime64[D]").astype(int) + 3) % 7
    season = np.zeros(close.shape)
    for day in np.unique(weekday):
        season[weekday == day] = moves[weekday == day].mean(axis=0)
    return season
