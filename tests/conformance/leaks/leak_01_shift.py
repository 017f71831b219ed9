"""Short-term reversal, meant to use yesterday's return."""

import pandas as pd


def signal(panel):
    close = pd.DataFrame(panel["close"].astype(float))
    return -close.pct_change(fill_method=None).shift(-1).to_numpy()
