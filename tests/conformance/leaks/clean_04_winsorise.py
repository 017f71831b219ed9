"""Monthly momentum with outliers clipped at five median deviations of the same day."""

import numpy as np
import pandas as pd


def signal(panel):
    close = panel["close"].astype(float)
    momentum = np.full(close.shape, np.nan)
    momentum[21:] = close[21:] / close[:-21] - 1
    frame = pd.DataFrame(momentum)
    middle = frame.median(axis=1)
    reach = 5.0 * frame.sub(middle, axis=0).abs().median(axis=1)
    return frame.clip(middle - reach, middle + reach, axis=0).to_numpy()
