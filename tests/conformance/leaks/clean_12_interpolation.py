"""Weekly momentum; a halted price stays where it was."""

import pandas as pd


def signal(panel):
    close = pd.DataFrame(panel["close"].astype(float)).ffill()
    return close.pct_change(5, fill_method=None).to_numpy()
