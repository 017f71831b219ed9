"""The metrics room: pure functions from arrays to numbers, sorted by the question that they answer.

`performance` (what did it earn), `tails` (how bad can a day be), `relative` (against an index), `trading` (what did
the trades cost), `ranking` (does the score order the assets), `inference` (could it be luck), `overfitting` (was it
picked from too many), `regimes` (when did it work), `classification` (was the direction right), `factors` (ranking and
its luck for hundreds of factors at once).
"""

from __future__ import annotations

from alphaloom.metrics import (
    classification,
    factors,
    inference,
    overfitting,
    performance,
    ranking,
    regimes,
    relative,
    tails,
    trading,
)

__all__ = [
    "classification",
    "factors",
    "inference",
    "overfitting",
    "performance",
    "ranking",
    "regimes",
    "relative",
    "tails",
    "trading",
]
