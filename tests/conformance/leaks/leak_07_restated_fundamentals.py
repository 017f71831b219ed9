"""Earnings yield; each report is put at the quarter that it describes."""

import numpy as np

REPORT_DELAY = 30  # bars from the end of a quarter to its filing


def prepare(panel):
    income = panel["net_income"].astype(float)
    by_quarter = np.full(income.shape, np.nan)
    by_quarter[:-REPORT_DELAY] = income[REPORT_DELAY:]
    by_quarter[-REPORT_DELAY:] = income[-1]
    yields = by_quarter / panel["cap"].astype(float)
    return panel.with_field("earnings_yield", yields, panel.units["net_income"] / panel.units["cap"])
