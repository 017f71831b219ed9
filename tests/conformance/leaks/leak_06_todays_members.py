"""The universe: the members of the index."""

import numpy as np


def prepare(panel):
    universe = np.tile(panel.member[-1], (len(panel), 1)) & panel.listed
    return panel.replace(member=universe)
