"""Trend of log prices after a Butterworth low-pass filter without lag."""

import numpy as np
import pandas as pd
from scipy.signal import butter, filtfilt


def signal(panel):
    logs = np.log(pd.DataFrame(panel["close"].astype(float)).ffill().fillna(1.0).to_numpy())
    b, a = butter(2, 0.1)
    smooth = filtfilt(b, a, logs, axis=0)
    return np.diff(smooth, axis=0, prepend=smooth[:1])
