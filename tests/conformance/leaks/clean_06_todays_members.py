"""The universe: the members of the index on each day, after five days of membership."""

import numpy as np


def prepare(panel):
    settled = panel.member.copy()
    for k in range(1, 6):
        settled[k:] &= panel.member[:-k]
    return panel.replace(member=settled & np.asarray(panel.listed))
