"""Many accounts on one tape: each is the book that a back-test has, and cash may be served by rank."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from alphaloom.backtest import backtest
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.panel import Panel

T, N = 30, 4


@dataclass(frozen=True)
class Table:
    """A schedule."""

    rows: Any
    lookback: int = 0

    def weights(self, panel: Panel) -> np.ndarray:
        return self.rows

    def decide(self, view: Panel, book: Any) -> np.ndarray:
        return self.rows[len(view) - 1]


def walks(seed: int) -> Panel:
    rng = np.random.default_rng(seed)
    close = 30.0 * np.exp(np.cumsum(rng.normal(0, 0.04, (T, N)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.03, (T, N)))
    listed = np.ones((T, N), bool)
    listed[T // 2 :, 1] = False
    close[~listed] = open_[~listed] = np.nan
    times = np.busday_offset(np.datetime64("2021-03-01"), np.arange(T), roll="forward")
    fields = {"open": open_, "close": close, "volume": np.exp(rng.normal(9, 1, (T, N)))}
    return Panel(times, tuple("ABCD"), fields, listed=listed)


@pytest.mark.parametrize("fill", ["next_open", "next_close", "same_close"])
@pytest.mark.parametrize("more", [{}, {"lot": 100.0}, {"impact": 0.8}, {"cash_rate": 0.05, "delist_loss": 0.2}])
def test_every_account_is_the_book_of_a_back_test(fill, more):
    from alphaloom.backtest.books import live, open_account, open_books

    panel, B = walks(1), 3
    market = Market(commission=0.001, slippage=0.0005, sell_tax=0.001, fill=fill, **more)
    tables = np.random.default_rng(0).dirichlet(np.ones(N + 1), (B, T))[:, :, :N]
    tables[:, ::5] = np.nan
    tables[:, :, 1] = np.where(np.isnan(tables[:, :, 0]) | panel.listed[:, 1], tables[:, :, 1], 0.0)
    books = open_books(panel, market, count=B)
    results = [backtest(Table(table), panel, market, cash=1e5) for table in tables]
    for b in range(B):
        open_account(books, b, 0, 1e5)
    for t in range(T - 1):
        for b, result in enumerate(results):
            fault, cost, traded = live(books, b, t, tables[b, t])
            assert fault == 0
            costs = sum(result.costs.values())
            at = t if fill == "same_close" else t + 1
            others = sum(result.costs[name][t + 1] for name in ("borrow", "interest"))
            paid = costs[at] + (others if at == t else 0.0)
            assert cost == pytest.approx(paid - (result.costs["interest"][t] if at == t else 0.0), abs=1e-6)
            assert traded == pytest.approx(result.traded[at])
    for b, result in enumerate(results):
        assert books.equity[b] == result.equity[-1]
        assert books.cash[b] == result.cash[-1]
        np.testing.assert_array_equal(books.shares[b], result.shares[-1])


def test_accounts_stand_where_they_like():
    from alphaloom.backtest.books import live, open_account, open_books

    panel, market = walks(2), Market()
    books = open_books(panel, market, count=2)
    weights = np.array([0.3, 0.0, 0.3, 0.4])
    open_account(books, 0, 3, 1000.0)
    open_account(books, 1, 20, 500.0)
    for t in range(4):
        live(books, 0, 3 + t, weights)
        live(books, 1, 20 + t, weights)
    for b, (start, cash) in enumerate(((3, 1000.0), (20, 500.0))):
        rows = panel[: start + 5]
        alone = backtest(Table(np.broadcast_to(weights, rows.shape)), rows, market, start=start, cash=cash)
        assert books.equity[b] == alone.equity[-1]


@pytest.mark.parametrize("lot", [0.0, 1.0])
def test_a_gap_leaves_the_last_in_rank_without(lot):
    from alphaloom.backtest.books import live, open_account, open_books

    close, open_ = np.full((2, 3), 10.0), np.full((2, 3), 20.0)
    panel = Panel(
        np.array(["2021-03-01", "2021-03-02"], "datetime64[D]"), tuple("ABC"), {"open": open_, "close": close}
    )
    market = Market(commission=0.0, slippage=0.0, lot=lot)
    # Thirty shares are ordered at 10 and filled at 20: cash for fifteen.
    weights = np.array([0.2, 0.3, 0.5])
    for ranked, shares in ((True, (0.0, 0.0, 15.0)), (False, (3.0, 4.0 if lot else 4.5, 7.0 if lot else 7.5))):
        books = open_books(panel, market, count=1, ranked=ranked)
        open_account(books, 0, 0, 300.0)
        if ranked:
            books.rank[0] = (2, 0, 1)
        assert live(books, 0, 0, weights)[0] == 0
        np.testing.assert_allclose(books.shares[0], shares, rtol=1e-9)
        assert books.cash[0] >= -1e-9


def test_a_market_that_lends_is_refused():
    from alphaloom.backtest.books import open_books

    for market in (Market(leverage=2.0), replace(Market(), short=True)):
        with pytest.raises(DataError, match="own money"):
            open_books(walks(0), market, count=1)
