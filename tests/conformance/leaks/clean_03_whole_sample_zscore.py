"""Abnormal volume of each asset, standardised by what was seen so far."""

import numpy as np
import pandas as pd


def features(panel):
    volume = pd.DataFrame(np.log1p(panel["volume"].astype(float)))
    past = volume.expanding(min_periods=60)
    z = (volume - past.mean()) / past.std()
    return z.to_numpy()[:, :, None]
