"""The report room: one result as one HTML page, one terminal table, one JSON value."""

from __future__ import annotations

from alphaloom.report.page import write_report
from alphaloom.report.terminal import summary_json, summary_table

__all__ = ["summary_json", "summary_table", "write_report"]
