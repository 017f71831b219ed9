"""Equal weights over healthy firms: those that still trade."""

import numpy as np


def weights(panel):
    healthy = np.asarray(panel.listed) & panel.listed[-1]
    return healthy / np.maximum(healthy.sum(axis=1, keepdims=True), 1)
