"""Optional vendor adapters: each turns a vendor's answer into the canonical long table, and asks before it connects."""

from __future__ import annotations

from alphaloom.data.vendors.ccxt import fetch_ccxt
from alphaloom.data.vendors.yahoo import fetch_yahoo

__all__ = ["fetch_ccxt", "fetch_yahoo"]
