"""The terms of a paper account: they are written first and hold for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from alphaloom.errors import DataError
from alphaloom.market import Market

__all__ = ["check_terms", "opening_terms"]


def opening_terms(
    market: Market, *, cash: float, participation: float, periods_per_year: float | None
) -> dict[str, Any]:
    """What an account is opened with, as plain values.   Raises: DataError for terms that no account can have."""
    if market.fill == "same_close":
        raise DataError(
            "an order is filled after the close that it was decided at",
            found=market.fill,
            where="market.fill",
            fix="open the account with next_close, or study the market with next_open",
        )
    if not 0.0 < cash < np.inf:
        raise DataError("an account starts with money", found=cash, where="cash")
    if not participation > 0.0:
        raise DataError(
            "participation is a positive fraction of the volume", found=participation, where="participation"
        )
    cap = None if np.isinf(participation) else float(participation)
    return {"market": asdict(market), "cash": float(cash), "participation": cap, "periods_per_year": periods_per_year}


def check_terms(kept: Mapping[str, Any], given: Mapping[str, Any], *, where: str) -> None:
    """Compare the terms of a journal with those that it is opened with.   Raises: DataError when they differ."""
    theirs, ours = ({**terms, **terms["market"]} for terms in (kept, given))
    for name in ours:
        # An account that took its rate from the first panel may be opened with any.
        if name not in ("market", "periods_per_year") and theirs.get(name) != ours[name]:
            raise DataError(
                f"an account keeps the terms that it was opened with, and its {name} differs",
                found=f"{ours[name]}, opened with {theirs.get(name)}",
                where=where,
                fix="open it with its own terms, or begin another account at another path",
            )
