"""Daily production: orders, a paper broker, journals that survive a kill, reconciliation and guards."""

from alphaloom.production.broker import PaperBroker
from alphaloom.production.day import DailyRun, Day, run_day
from alphaloom.production.day_panel import continued, row_of
from alphaloom.production.guards import Guards
from alphaloom.production.journal import Journal
from alphaloom.production.orders import Order
from alphaloom.production.reconcile import Desk

__all__ = [
    "DailyRun",
    "Day",
    "Desk",
    "Guards",
    "Journal",
    "Order",
    "PaperBroker",
    "continued",
    "row_of",
    "run_day",
]
