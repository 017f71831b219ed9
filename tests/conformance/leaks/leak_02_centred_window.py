"""Distance of the price from its smoothed trend."""

import pandas as pd


def signal(panel):
    close = pd.DataFrame(panel["close"].astype(float))
    trend = close.rolling(11, center=True, min_periods=6).mean()
    return (trend / close - 1).to_numpy()
