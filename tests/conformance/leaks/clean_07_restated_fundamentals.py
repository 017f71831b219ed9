"""Earnings yield; each report is known from its filing on."""


def prepare(panel):
    yields = panel["net_income"].astype(float) / panel["cap"].astype(float)
    return panel.with_field("earnings_yield", yields, panel.units["net_income"] / panel.units["cap"])
