"""Value factor; the last known report holds until the next, and before the first there is no view."""

import pandas as pd


def signal(panel):
    book = pd.DataFrame((panel["book_equity"] / panel["cap"]).astype(float))
    return book.ffill().to_numpy()
