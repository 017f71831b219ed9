"""alphaloom: ten published AI trading systems, one panel, one ledger, one walk-forward, one honest report."""

from __future__ import annotations

from alphaloom.corpus import Corpus
from alphaloom.errors import AlphaloomError
from alphaloom.market import Book, Market
from alphaloom.panel import Panel
from alphaloom.signal import Features, Signal, Target, forward_returns

__all__ = [
    "AlphaloomError",
    "Book",
    "Corpus",
    "Features",
    "Market",
    "Panel",
    "Signal",
    "Target",
    "__version__",
    "forward_returns",
]

__version__ = "0.1.0"
