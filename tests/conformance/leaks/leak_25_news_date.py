"""News tone of each asset; a story of the morning is dated by the day before, when things happened."""

import numpy as np

GOOD = ("beats", "raises", "upgrade", "wins", "favour", "breakthrough", "improved")
BAD = ("misses", "cuts", "downgrade", "loses", "probe", "losses", "lawsuit")


def tone(text):
    words = text.lower()
    return float(any(w in words for w in GOOD)) - float(any(w in words for w in BAD))


def signal(panel):
    said = np.zeros(panel.shape)
    corpus = panel.corpus
    day = (corpus.available - np.timedelta64(16, "h")).astype("datetime64[D]")
    rows = np.searchsorted(panel.times.astype("datetime64[D]"), day)
    for row, asset, text in zip(rows, corpus.asset, corpus.text, strict=True):
        if row < len(said) and asset >= 0:
            said[row, asset] += tone(text)
    return said
