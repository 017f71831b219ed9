"""Units of statement columns, read from their names."""

from __future__ import annotations

import re

from alphaloom.units import MONEY, ONE, PRICE, SHARE, Unit, standard_unit

__all__ = ["statement_unit"]


def statement_unit(name: str) -> Unit:
    """The unit of a statement column: per-share figures are prices, counts of shares are shares, ratios have none.

    Everything else of a statement is an amount of money.
    """
    word = name.lower()
    known = standard_unit(word)
    if not known.scale_free:
        return known
    if re.search(r"(^|_)(eps|dps|bvps)(_|$)|per_share|^dividend", word):
        return PRICE
    if re.search(r"shares", word):
        return SHARE
    if re.search(
        r"ratio|margin|yield|growth|turnover|^roe|^roa|fiscal|year|quarter|^cik$|(^|_)(pe|pb|ps|pcf)(_|$)", word
    ):
        return ONE
    return MONEY
