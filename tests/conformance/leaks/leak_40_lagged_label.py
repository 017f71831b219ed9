"""The last label as a feature: weekly forward returns, lagged by one bar."""

import numpy as np

from alphaloom import Market, forward_returns


def features(panel):
    label = forward_returns(panel, Market(), horizon=5).values
    lagged = np.full(panel.shape, np.nan)
    lagged[1:] = label[:-1]
    return lagged[:, :, None]
