"""The last known label as a feature: weekly forward returns, lagged until their outcome is in."""

import numpy as np

from alphaloom import Market, forward_returns

HORIZON = 5
FILL = 1


def features(panel):
    label = forward_returns(panel, Market(), horizon=HORIZON).values
    lagged = np.full(panel.shape, np.nan)
    lagged[HORIZON + FILL :] = label[: -HORIZON - FILL]
    return lagged[:, :, None]
