"""Weekly momentum; halts are bridged."""

import pandas as pd


def signal(panel):
    close = pd.DataFrame(panel["close"].astype(float)).interpolate(limit_area="inside")
    return close.pct_change(5, fill_method=None).to_numpy()
