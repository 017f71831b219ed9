"""Weekly momentum: weekly closes, labelled by the start of the week, spread over its days."""

import pandas as pd


def signal(panel):
    close = pd.DataFrame(panel["close"].astype(float), index=pd.DatetimeIndex(panel.times))
    weekly = close.resample("W-FRI", label="left").last()
    momentum = weekly.pct_change(4, fill_method=None)
    return momentum.reindex(close.index, method="ffill").to_numpy()
