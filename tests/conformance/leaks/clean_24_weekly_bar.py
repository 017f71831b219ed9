"""Weekly momentum: weekly closes, labelled by the end of the week and known from there on."""

import pandas as pd


def signal(panel):
    close = pd.DataFrame(panel["close"].astype(float), index=pd.DatetimeIndex(panel.times))
    weekly = close.resample("W-FRI", label="right").last()
    momentum = weekly.pct_change(4, fill_method=None)
    return momentum.reindex(close.index, method="ffill").to_numpy()
