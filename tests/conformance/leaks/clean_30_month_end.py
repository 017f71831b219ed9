"""Rebalance on the first bar of each month."""

import numpy as np


def weights(panel):
    month = panel.times.astype("datetime64[M]")
    first = np.append(True, month[1:] != month[:-1])
    members = panel.member / np.maximum(panel.member.sum(axis=1, keepdims=True), 1)
    return np.where(first[:, None], members, np.nan)
