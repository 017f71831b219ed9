"""News tone of each asset; a story counts from the first close after it was available."""

import numpy as np

GOOD = ("beats", "raises", "upgrade", "wins", "favour", "breakthrough", "improved")
BAD = ("misses", "cuts", "downgrade", "loses", "probe", "losses", "lawsuit")


def tone(text):
    words = text.lower()
    return float(any(w in words for w in GOOD)) - float(any(w in words for w in BAD))


def signal(panel):
    said = np.zeros(panel.shape)
    corpus = panel.corpus
    rows = np.searchsorted(panel.times, corpus.available)
    for row, asset, text in zip(rows, corpus.asset, corpus.text, strict=True):
        if row < len(said) and asset >= 0:
            said[row, asset] += tone(text)
    return said
