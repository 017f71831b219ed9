"""One account for all assets, or an account for each: what published tables of trading agents mean by a return.

A back-test keeps one account, in which a purchase of one asset takes cash from the others. Tables of single-stock
strategies keep an account for each asset and average the figures of the accounts, so that their volatility is that of
single assets. `isolated` does that for any policy on the same ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphaloom.agents.policy import AgentPolicy
from alphaloom.agents.signal_policy import SignalPolicy, ordered
from alphaloom.agents.signal_rules import Signs
from alphaloom.agents.simulator import Simulator
from alphaloom.agents.trading import Trading
from alphaloom.backtest import BacktestResult, backtest
from alphaloom.errors import AxisError, DataError
from alphaloom.market import Book, Market
from alphaloom.metrics import performance
from alphaloom.panel import Panel
from alphaloom.roles import Policy

__all__ = ["Accounts", "figures", "isolated", "one_asset", "shared"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Accounts:
    """What became of N accounts that were opened with the same money, one for each asset.

    Shape: times (K,), the first being the close of the first decision; equity, costs and traded (K, N), money; costs
    and traded are those of the bar that ends at the row.
    """

    times: NDArray[np.datetime64]
    assets: tuple[str, ...]
    equity: Floats
    costs: Floats
    traded: Floats
    periods_per_year: float

    @property
    def returns(self) -> Floats:
        """Simple returns of each account from bar to bar.   Shape: (K - 1, N).   Missing: 0 for an empty account."""
        before = self.equity[:-1]
        return np.where(before > 0.0, self.equity[1:] / np.where(before > 0.0, before, 1.0) - 1.0, 0.0)

    def each(self) -> dict[str, Floats]:
        """The figures of every account.   Shape: (N,) each; see `figures`."""
        return figures(self.returns, self.periods_per_year)

    def averages(self) -> dict[str, float]:
        """The figures averaged over the accounts, as published.

        Missing: an account that never moved has no Sharpe ratio and is left out of that average alone; `moved` is the
        fraction of accounts that did.
        """
        found = self.each()
        known = np.isfinite(found["sharpe"])
        ratio = float(found["sharpe"][known].mean()) if known.any() else float("nan")
        plain = {name: float(values.mean()) for name, values in found.items() if name != "sharpe"}
        return {**plain, "sharpe": ratio, "moved": float(known.mean())}


def figures(returns: Floats, periods_per_year: float) -> dict[str, Any]:
    """The four figures of published tables.

    Shape: (T,) -> numbers, (T, N) -> (N,).   Unit: fractions a year; the drawdown is positive, the ratio has no
    riskless rate.
    """
    return {
        "return": performance.cagr(returns, periods_per_year=periods_per_year),
        "sharpe": performance.sharpe(returns, periods_per_year=periods_per_year),
        "volatility": performance.volatility(returns, periods_per_year=periods_per_year),
        "max_drawdown": performance.max_drawdown(returns),
    }


def isolated(policy: Policy, panel: Panel, market: Market, *, start: int = 0, cash: float = 10_000.0) -> Accounts:
    """Run a policy with an account of its own for every asset.

    A policy of signals says of each asset what it says of the whole panel. An agent sees the accounts as the one
    portfolio that they are together, and its action for an asset is done in that asset's account. Any other policy
    meets a panel of one asset in each account.
    Shape: K = len(panel) - start rows.   Time: as in a back-test: the first decision is at the close of row `start`.
    Raises: DataError for an agent whose actions are not of single assets; AxisError for a start beyond the panel.
    """
    if not 0 <= start < len(panel):
        raise AxisError("accounts open on a row of their panel", found=f"row {start} of {len(panel)}", where="start")
    if isinstance(policy, AgentPolicy):
        return _of_agent(policy, panel, market, start=start, cash=cash)
    said = policy.signals(panel, start) if isinstance(policy, SignalPolicy) else None
    results = []
    for asset in range(panel.shape[1]):
        alone: Policy = policy
        if isinstance(policy, SignalPolicy) and said is not None:
            alone = _Spoken(said[:, asset : asset + 1], policy.trading, policy.market)
        results.append(backtest(alone, one_asset(panel, asset), market, start=start, cash=cash))
    return _gathered(results, panel)


def shared(policy: Policy, panel: Panel, market: Market, *, start: int = 0, cash: float = 10_000.0) -> BacktestResult:
    """The back-test of a policy in one account for all assets; what is seen and said is made at once, to be quick."""
    if isinstance(policy, SignalPolicy):
        policy = _Spoken(policy.signals(panel, start), policy.trading, policy.market)
    elif isinstance(policy, AgentPolicy):
        policy = policy.on(panel)
    return backtest(policy, panel, market, start=start, cash=cash)


def one_asset(panel: Panel, asset: int) -> Panel:
    """A panel of one of its assets; documents stay behind.   Shape: (T, 1)."""
    column = slice(asset, asset + 1)
    grids: dict[str, Any] = {
        group: {name: values[:, column] for name, values in getattr(panel, group).items()}
        for group in ("fields", "labels")
    }
    masks = {name: getattr(panel, name)[:, column] for name in ("member", "listed", "buyable", "sellable")}
    parts = {name: getattr(panel, name) for name in ("units", "series", "label_names", "periods_per_year", "notes")}
    return Panel(panel.times, panel.assets[column], **grids, **masks, **parts)


def _of_agent(agent: AgentPolicy, panel: Panel, market: Market, *, start: int, cash: float) -> Accounts:
    """Every account is a copy of the environment in which all assets but its own are held, which is nothing."""
    if agent.trading.mode != "discrete":
        raise DataError(
            "an account of one asset is traded by actions of single assets",
            found=f"mode {agent.trading.mode}",
            where="agent.trading.mode",
            fix='mode = "discrete", or one account for all assets',
        )
    (T, N), observed = panel.shape, agent.on(panel).observed
    alone = replace(agent.trading, cash=cash, episode="full")
    copies = Simulator(panel, observed, market, alone, count=N, rows=(start, T))
    equity, costs, traded = np.full((T - start, N), cash), np.zeros((T - start, N)), np.zeros((T - start, N))
    open_ = np.ones(N, dtype=np.bool_)
    for row in range(start, T - 1):
        money = np.where(open_, copies.equity, 0.0)
        whole = money @ copies.portfolio.astype(np.float64) / (money.sum() or 1.0)
        action = agent.brain.act(observed, np.array([row]), whole.astype(np.float32)[None])[0]
        own = np.ones((N, N), dtype=np.int8)
        np.fill_diagonal(own, np.asarray(action, dtype=np.int8))
        step = copies.step(own)
        at = row + 1 - start
        equity[at], costs[at] = np.where(open_, step.equity, 0.0), np.where(open_, step.cost, 0.0)
        traded[at] = np.where(open_, step.turnover * money, 0.0)
        # A ruined copy is opened again with new money, which is not this account's.
        open_ &= ~step.terminated
    return Accounts(panel.times[start:], panel.assets, equity, costs, traded, panel.periods_per_year)


@dataclass(frozen=True, eq=False)
class _Spoken:
    """Trades signals that were said beforehand, by the row of the view."""

    said: Signs
    trading: Trading
    market: Market

    @property
    def lookback(self) -> int:
        return 0

    def decide(self, view: Panel, book: Book) -> Floats:
        return ordered(self.said[len(view) - 1], view, book, trading=self.trading, market=self.market)


def _gathered(results: list[BacktestResult], panel: Panel) -> Accounts:
    costs = [sum(np.asarray(part) for part in result.costs.values()) for result in results]
    return Accounts(
        results[0].times,
        panel.assets,
        np.stack([result.equity for result in results], axis=1),
        np.stack(costs, axis=1),
        np.stack([result.traded for result in results], axis=1),
        panel.periods_per_year,
    )
