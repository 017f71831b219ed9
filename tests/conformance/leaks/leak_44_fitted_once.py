"""Abnormal volume; the scaler is fitted at the first call and kept for speed."""

import numpy as np

_SCALE = None


def signal(panel):
    global _SCALE
    volume = np.log1p(panel["volume"].astype(float))
    if _SCALE is None:
        _SCALE = np.nanmean(volume, axis=0), np.nanstd(volume, axis=0)
    return (volume - _SCALE[0]) / _SCALE[1]
