"""Returns freed from noise: the last value of the filtered past 32 returns."""

import numpy as np


def features(panel):
    close = panel["close"].astype(float)
    returns = np.zeros(close.shape)
    returns[1:] = np.nan_to_num(close[1:] / close[:-1] - 1)
    out = np.full(close.shape, np.nan)
    if len(returns) >= 32:
        windows = np.lib.stride_tricks.sliding_window_view(returns, 32, axis=0)
        spectrum = np.fft.rfft(windows, axis=-1)
        spectrum[..., 8:] = 0
        out[31:] = np.fft.irfft(spectrum, n=32, axis=-1)[..., -1]
    return out[:, :, None]
