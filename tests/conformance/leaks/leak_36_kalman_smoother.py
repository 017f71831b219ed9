"""Distance of the price from its hidden level, estimated by a Kalman smoother."""

import numpy as np
import pandas as pd

NOISE, STEP = 1.0, 0.05


def filtered(x):
    level, spread = x[0].copy(), np.ones(x.shape[1])
    levels, spreads = [level], [spread]
    for row in x[1:]:
        ahead = spread + STEP
        gain = ahead / (ahead + NOISE)
        level = level + gain * (row - level)
        spread = (1.0 - gain) * ahead
        levels.append(level)
        spreads.append(spread)
    return np.array(levels), np.array(spreads)


def signal(panel):
    x = np.log(pd.DataFrame(panel["close"].astype(float)).ffill().fillna(1.0).to_numpy())
    levels, spreads = filtered(x)
    smooth = levels.copy()
    for t in range(len(x) - 2, -1, -1):
        pull = spreads[t] / (spreads[t] + STEP)
        smooth[t] = levels[t] + pull * (smooth[t + 1] - levels[t])
    return smooth - x
