"""The back-test: one ledger that moves the money, one engine that runs any policy, one result that any report reads."""

from alphaloom.backtest.engine import backtest
from alphaloom.backtest.result import COSTS, STATUS, BacktestResult, Orders
from alphaloom.backtest.resume import Passage, Standing, resume
from alphaloom.backtest.sizing import order_shares
from alphaloom.backtest.tape import latest_values

__all__ = [
    "COSTS",
    "STATUS",
    "BacktestResult",
    "Orders",
    "Passage",
    "Standing",
    "backtest",
    "latest_values",
    "order_shares",
    "resume",
]
