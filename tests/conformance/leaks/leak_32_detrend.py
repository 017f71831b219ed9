"""Mean reversion around the linear trend of log prices."""

import numpy as np
import pandas as pd
from scipy.signal import detrend


def signal(panel):
    logs = np.log(pd.DataFrame(panel["close"].astype(float)).ffill().fillna(1.0).to_numpy())
    return -detrend(logs, axis=0)
