"""Abnormal volume; the windows are made at the first call and kept for speed."""

import numpy as np
import pandas as pd

_WINDOW = None


def signal(panel):
    global _WINDOW
    if _WINDOW is None:
        _WINDOW = 60
    volume = pd.DataFrame(np.log1p(panel["volume"].astype(float)))
    past = volume.rolling(_WINDOW)
    return ((volume - past.mean()) / past.std()).to_numpy()
