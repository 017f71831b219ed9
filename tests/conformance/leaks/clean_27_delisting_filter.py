"""Equal weights over the firms that trade on the day."""

import numpy as np


def weights(panel):
    healthy = np.asarray(panel.listed)
    return healthy / np.maximum(healthy.sum(axis=1, keepdims=True), 1)
