"""Back-test speed against `bt` and `vectorbt`, after checking that all three mean the same.

Same prices, same weights, one rebalance a day of every asset, fills at the same close, fractional shares, a fee
proportional to the traded value. The weights sum to 0.9, so cash never binds and no engine has to cut an order.
`vectorbt` sizes as we do and must agree to rounding. `bt` sizes a purchase so that its fee fits into the amount, which
shifts each trade by the fee's fraction: without a fee it must agree to rounding (checked on a part of the data), with
one to the stated tolerance. The peers are measured, never needed by the package.

    pip install -r benchmarks/requirements.txt
    python benchmarks/backtest_speed.py            # 2,520 days x 500 assets; `bt` alone takes a few minutes
    python benchmarks/backtest_speed.py --quick    # 252 days x 50 assets
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphaloom.backtest import backtest
from alphaloom.market import Book, Market
from alphaloom.panel import Panel

FEE = 0.001
CAPITAL = 1e6
EXACT = 1e-9  # relative difference of equity where all engines do the same arithmetic
SAME_MEANING = 1e-3  # the same for `bt` with a fee


@dataclass(frozen=True)
class Schedule:
    """Weights that are known beforehand."""

    table: np.ndarray
    lookback: int = 0

    def weights(self, panel: Panel) -> np.ndarray:
        return self.table[: len(panel)]

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        return self.table[len(view) - 1]


@dataclass(frozen=True)
class Watcher:
    """The same weights from a policy that looks at its book every day, and halves them after a drawdown of 90 %."""

    table: np.ndarray
    lookback: int = 0

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        sunk = book.equity < 0.1 * book.history.equity.max()
        leaning = book.weights.max() > 0.99
        return self.table[len(view) - 1] * (0.5 if sunk or leaning else 1.0)


def make_data(days: int, assets: int, seed: int = 7) -> tuple[Panel, np.ndarray]:
    """Random walks, and weights that turn over about a third of the book a day; the last row holds."""
    rng = np.random.default_rng(seed)
    times = np.busday_offset(np.datetime64("2014-01-02"), np.arange(days), roll="forward")
    market = rng.normal(0.0003, 0.01, (days, 1))
    close = 50.0 * np.exp(np.cumsum(market + rng.normal(0.0, 0.015, (days, assets)), axis=0))
    panel = Panel(times=times, assets=tuple(f"A{j:03d}" for j in range(assets)), fields={"close": close})
    raw = rng.random((days, assets))
    weights = 0.9 * raw / raw.sum(axis=1, keepdims=True)
    weights[-1] = np.nan  # no bar follows the last row, so nobody trades on it
    return panel, weights


def ours(panel: Panel, policy: Schedule | Watcher, fee: float) -> tuple[np.ndarray, int]:
    market = Market(commission=fee, slippage=0.0, fill="same_close")
    result = backtest(policy, panel, market, cash=CAPITAL)
    return result.equity, len(result.orders)


def with_vectorbt(panel: Panel, weights: np.ndarray, fee: float) -> tuple[np.ndarray, int]:
    import pandas as pd
    import vectorbt as vbt

    close = pd.DataFrame(panel["close"], index=pd.DatetimeIndex(panel.times), columns=list(panel.assets))
    portfolio = vbt.Portfolio.from_orders(
        close,
        size=weights,
        size_type="targetpercent",
        fees=fee,
        init_cash=CAPITAL,
        cash_sharing=True,
        group_by=True,
        call_seq="auto",
        freq="1D",
    )
    return np.asarray(portfolio.value(), dtype=np.float64).ravel(), len(portfolio.order_records)


def with_bt(panel: Panel, weights: np.ndarray, fee: float) -> tuple[np.ndarray, int]:
    import bt
    import pandas as pd

    frame = pd.DataFrame(panel["close"], index=pd.DatetimeIndex(panel.times), columns=list(panel.assets))
    targets = pd.DataFrame(weights, index=frame.index, columns=frame.columns).iloc[:-1]
    strategy = bt.Strategy("weights", [bt.algos.WeighTarget(targets), bt.algos.Rebalance()])
    test = bt.Backtest(
        strategy,
        frame,
        initial_capital=CAPITAL,
        commissions=lambda shares, price: abs(shares) * price * fee,
        integer_positions=False,
        progress_bar=False,
    )
    test.run()
    # The first row is the day before the data, on which `bt` books the capital.
    return np.asarray(test.strategy.values, dtype=np.float64)[1:], int(
        (test.strategy.positions.diff().iloc[1:] != 0).sum().sum()
    )


def measure(run: Callable[[], tuple[np.ndarray, int]], repeats: int) -> tuple[np.ndarray, int, float, float]:
    """(equity, orders, seconds of the first call, best seconds of the later ones)."""
    clock = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        equity, orders = run()
        clock.append(time.perf_counter() - begin)
    return equity, orders, clock[0], min(clock[1:] or clock)


def first_call(days: int, assets: int) -> float:
    """Seconds of the first back-test in a new process, imports included, with the compiled ledger cached on disk."""
    panel, weights = make_data(days, assets)
    begin = time.perf_counter()
    ours(panel, Schedule(weights), FEE)
    return time.perf_counter() - begin


def in_new_process(quick: bool) -> float:
    command = [sys.executable, __file__, "--first", *(["--quick"] if quick else [])]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.max(np.abs(one / other - 1.0))) if one.shape == other.shape else float("inf")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="252 days x 50 assets")
    parser.add_argument("--repeats", type=int, default=5, help="warm calls of the fast engines; the best counts")
    parser.add_argument("--first", action="store_true", help="only print the seconds of our first call")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own deprecations
    days, assets = (252, 50) if options.quick else (2520, 500)
    if options.first:
        print(first_call(days, assets))
        return 0
    panel, weights = make_data(days, assets)

    runs = {
        "alphaloom, schedule": (lambda: ours(panel, Schedule(weights), FEE), options.repeats),
        "alphaloom, policy": (lambda: ours(panel, Watcher(weights), FEE), options.repeats),
        "vectorbt": (lambda: with_vectorbt(panel, weights, FEE), options.repeats),
        "bt": (lambda: with_bt(panel, weights, FEE), 0),
    }
    rows = {name: measure(run, repeats) for name, (run, repeats) in runs.items()}
    reference, _, _, base = rows["alphaloom, schedule"]

    print(f"{days:,} days x {assets} assets, daily rebalance, fee {FEE:.1%}, Python {platform.python_version()}\n")
    print("| engine | orders | first call here s | warm s | times ours | equity differs by |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, (equity, orders, first, warm) in rows.items():
        apart = difference(equity, reference)
        print(f"| {name} | {orders:,} | {first:.3f} | {warm:.4f} | {warm / base:,.1f} | {apart:.1e} |")

    print(f"\nalphaloom, first call in a new process, kernels on disk: {in_new_process(options.quick):.3f} s")
    part, table = panel[:60], weights[:60].copy()
    table[-1] = np.nan
    free = difference(with_bt(part, table, 0.0)[0], ours(part, Schedule(table), 0.0)[0])
    print(f"bt without a fee, first 60 days: equity differs by {free:.1e}")
    bounds = {"alphaloom, policy": 0.0, "vectorbt": EXACT, "bt": SAME_MEANING}
    wrong = [name for name, bound in bounds.items() if not difference(rows[name][0], reference) <= bound]
    wrong += ["bt without a fee"] if not free <= EXACT else []
    print(
        f"disagrees beyond its tolerance: {', '.join(wrong)}" if wrong else "all engines agree within their tolerances"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
