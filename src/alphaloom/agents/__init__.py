"""The agents room: one exact environment over the ledger, what an agent sees, and those who learn in it."""

from __future__ import annotations

__all__: list[str] = []
