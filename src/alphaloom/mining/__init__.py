"""The mining room: searches for formulas, the pool that combines them, and the session that keeps them honest."""

from __future__ import annotations

from alphaloom.mining.pool import Alpha, Pool
from alphaloom.mining.session import Budget, Session, Settings

__all__ = ["Alpha", "Budget", "Pool", "Session", "Settings"]
