"""Daily production: orders, a paper broker, journals that survive a kill, reconciliation and guards."""

from alphaloom.production.broker import PaperBroker
from alphaloom.production.guards import Guards
from alphaloom.production.journal import Journal
from alphaloom.production.orders import Order
from alphaloom.production.reconcile import Desk

__all__ = ["Desk", "Guards", "Journal", "Order", "PaperBroker"]
