"""How cheap an asset is against its own last half year."""

import pandas as pd


def signal(panel):
    book = pd.DataFrame((panel["book_equity"] / panel["cap"]).astype(float))
    return book.rolling(126, min_periods=60).rank(pct=True).to_numpy()
