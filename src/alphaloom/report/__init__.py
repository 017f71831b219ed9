"""The report room: one result as one HTML page, one terminal table, one JSON value."""

from __future__ import annotations

from alphaloom.report.arena_page import write_arena_page
from alphaloom.report.arena_terminal import arena_table
from alphaloom.report.factor_page import write_factor_page
from alphaloom.report.factor_terminal import factor_table
from alphaloom.report.mining_page import write_mining_page
from alphaloom.report.mining_terminal import mining_table
from alphaloom.report.page import write_report
from alphaloom.report.terminal import summary_json, summary_table

__all__ = [
    "arena_table",
    "factor_table",
    "mining_table",
    "summary_json",
    "summary_table",
    "write_arena_page",
    "write_factor_page",
    "write_mining_page",
    "write_report",
]
