"""Value factor; gaps before the first report are filled."""

import pandas as pd


def signal(panel):
    book = pd.DataFrame((panel["book_equity"] / panel["cap"]).astype(float))
    return book.ffill().bfill().to_numpy()
