"""The report room: one result as one HTML page, one terminal table, one JSON value."""

from __future__ import annotations

from alphaloom.report.factor_page import write_factor_page
from alphaloom.report.factor_terminal import factor_table
from alphaloom.report.page import write_report
from alphaloom.report.terminal import summary_json, summary_table

__all__ = ["factor_table", "summary_json", "summary_table", "write_factor_page", "write_report"]
