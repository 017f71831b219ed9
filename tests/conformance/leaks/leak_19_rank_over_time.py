"""How cheap an asset is against its own history."""

import pandas as pd


def signal(panel):
    book = pd.DataFrame((panel["book_equity"] / panel["cap"]).astype(float))
    return book.rank(pct=True).to_numpy()
