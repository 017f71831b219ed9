"""Trend of log prices after a Butterworth low-pass filter, lag accepted."""

import numpy as np
import pandas as pd
from scipy.signal import butter, lfilter


def signal(panel):
    logs = np.log(pd.DataFrame(panel["close"].astype(float)).ffill().fillna(1.0).to_numpy())
    b, a = butter(2, 0.1)
    smooth = lfilter(b, a, logs, axis=0)
    return np.diff(smooth, axis=0, prepend=smooth[:1])
