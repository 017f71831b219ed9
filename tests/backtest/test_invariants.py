"""What holds for every policy in every market, and the same ledger once more in slow and obvious Python."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloom.backtest import COSTS, STATUS, BacktestResult, backtest
from alphaloom.market import Book, Market
from alphaloom.panel import Panel

T, N = 24, 5
EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
FILLS = ("next_open", "next_close", "same_close")


@dataclass(frozen=True)
class Table:
    """A schedule."""

    rows: Any
    lookback: int = 0

    def weights(self, panel: Panel) -> np.ndarray:
        return self.rows[: len(panel)]

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        return self.rows[len(view) - 1]


@dataclass(frozen=True)
class OneByOne:
    """The same weights, told bar by bar."""

    rows: Any
    lookback: int = 0

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        return self.rows[len(view) - 1]


def make_world(seed: int, *, wild: bool = True) -> Panel:
    """Random walks; a wild world also has late listings, delistings, halts, locked limits, a split and thin volume."""
    rng = np.random.default_rng(seed)
    close = 20.0 * np.exp(np.cumsum(rng.normal(0, 0.04, (T, N)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.02, (T, N)))
    volume = np.exp(rng.normal(9, 1, (T, N)))
    listed, factor = np.ones((T, N), bool), np.ones((T, N))
    buyable, sellable = np.ones((T, N), bool), np.ones((T, N), bool)
    if wild:
        listed[: rng.integers(0, 6), 1] = False
        listed[rng.integers(8, T) :, 2] = False
        listed[rng.integers(8, T) :, 3] = False
        halted = rng.random((T, N)) < 0.08
        close[~listed | halted] = np.nan
        open_[~listed | halted] = np.nan
        open_[rng.random((T, N)) < 0.03] = np.nan
        buyable, sellable = (np.isfinite(open_) & (rng.random((T, N)) > 0.08) for _ in range(2))
        factor[: rng.integers(1, T), 0] = 0.5
        volume[rng.random((T, N)) < 0.05] = np.nan
    fields = {"open": open_, "close": close, "volume": volume, "adj_factor": factor}
    if wild and seed % 2:
        fields["limit_up"] = np.where(rng.random((T, N)) < 0.1, close, close * 1.2)
        fields["limit_down"] = np.where(rng.random((T, N)) < 0.1, close, close * 0.8)
    times = np.busday_offset(np.datetime64("2021-03-01"), np.arange(T), roll="forward")
    masks = {"listed": listed, "buyable": buyable, "sellable": sellable}
    return Panel(times, tuple(f"A{j}" for j in range(N)), fields, **masks)


def make_weights(panel: Panel, seed: int, market: Market, *, gross: float = 1.0) -> np.ndarray:
    """Random weights within the market's rules; some rows hold, some entries leave, none lacks a price."""
    rng = np.random.default_rng(seed)
    raw = rng.random((T, N)) * (rng.random((T, N)) < 0.7)
    if market.short:
        raw *= np.sign(rng.random((T, N)) - 0.4)
    raw *= np.logical_or.accumulate(np.isfinite(panel["close"]), axis=0)
    scale = gross * market.leverage * rng.random((T, 1)) ** 0.3
    table = raw / np.maximum(np.abs(raw).sum(axis=1, keepdims=True), 1e-300) * scale
    table[rng.random(T) < 0.3] = np.nan
    return table


markets = st.builds(
    Market,
    commission=st.sampled_from([0.0, 0.001, 0.02]),
    sell_tax=st.sampled_from([0.0, 0.001]),
    slippage=st.sampled_from([0.0, 0.0005]),
    impact=st.sampled_from([0.0, 0.5]),
    borrow=st.sampled_from([0.0, 0.05]),
    cash_rate=st.sampled_from([0.0, 0.03]),
    lot=st.sampled_from([0.0, 1.0, 100.0]),
    fill=st.sampled_from(FILLS),
    short=st.booleans(),
    leverage=st.sampled_from([1.0, 1.6]),
    delist_loss=st.sampled_from([0.0, 0.3]),
)
seeds = st.integers(0, 10_000)


def same(one: BacktestResult, other: BacktestResult) -> None:
    for name in ("equity", "cash", "shares", "prices", "weights", "traded"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in COSTS:
        np.testing.assert_array_equal(one.costs[name], other.costs[name], err_msg=name)
    for name in one.orders.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one.orders, name), getattr(other.orders, name), err_msg=name)
    assert one.notes == other.notes
    assert one.bankrupt == other.bankrupt


@EXAMPLES
@given(seed=seeds, market=markets, start=st.integers(0, 10))
def test_a_schedule_and_the_same_weights_bar_by_bar_agree_to_the_bit(seed: int, market: Market, start: int) -> None:
    panel = make_world(seed)
    table = make_weights(panel, seed, market)
    first = backtest(Table(table), panel, market, start=start)
    same(first, backtest(OneByOne(table), panel, market, start=start))
    assert first.times[0] == panel.times[start]
    assert len(first.equity) == T - start


@EXAMPLES
@given(seed=seeds, market=markets)
def test_money_is_conserved(seed: int, market: Market) -> None:
    panel = make_world(seed)
    result = backtest(Table(make_weights(panel, seed, market)), panel, market)
    orders, lag = result.orders, 0 if market.fill == "same_close" else 1
    np.testing.assert_array_equal(orders.filled - orders.decided, lag)
    if result.bankrupt is not None:
        return
    cash, held = result.cash[0], result.shares[0]
    for row in range(1, T):
        gone = ~panel.listed[row] & (held != 0)
        proceeds = np.sum((held * result.prices[row - 1])[gone]) * (1 - market.delist_loss)
        mine = orders.filled == row
        paid = sum(result.costs[name][row] for name in COSTS)
        spent = np.nansum(orders.done[mine] * orders.price[mine])
        after = np.where(gone, 0.0, held)
        np.add.at(after, orders.asset[mine], orders.done[mine])
        cash = cash + proceeds - spent - paid
        np.testing.assert_allclose(result.cash[row], cash, rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(result.shares[row], after, rtol=1e-9, atol=1e-9)
        value = np.sum(np.where(after != 0, after * result.prices[row], 0.0))
        np.testing.assert_allclose(result.equity[row], cash + value, rtol=1e-9)
        cash, held = result.cash[row], result.shares[row]
    for name in ("commission", "tax", "slippage", "impact"):
        np.testing.assert_allclose(result.costs[name].sum(), getattr(orders, name).sum(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.traded.sum(), orders.value.sum())


@EXAMPLES
@given(seed=seeds, market=markets)
def test_equity_changes_by_price_moves_less_costs(seed: int, market: Market) -> None:
    market = replace(market, fill="next_close", delist_loss=0.0)
    panel = make_world(seed)
    result = backtest(Table(make_weights(panel, seed, market)), panel, market)
    stop = T if result.bankrupt is None else int(np.searchsorted(result.times, result.bankrupt))
    moves = np.diff(np.nan_to_num(result.prices), axis=0) * result.shares[:-1]
    paid = sum(result.costs[name][1:] for name in COSTS)
    change = np.where(result.shares[:-1] != 0, moves, 0.0).sum(axis=1) - paid
    np.testing.assert_allclose(np.diff(result.equity)[: stop - 1], change[: stop - 1], rtol=0, atol=1e-9 * 1e6)


@dataclass(frozen=True)
class EnterThenHold:
    """Buys once, and then asks for exactly what it holds."""

    first: Any
    lookback: int = 0

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        return self.first if len(view) == 8 else book.weights


@EXAMPLES
@given(seed=seeds, market=markets)
def test_the_weights_of_the_book_trade_exactly_nothing(seed: int, market: Market) -> None:
    panel = make_world(seed)
    first = np.nan_to_num(make_weights(panel, seed, market))[7]
    result = backtest(EnterThenHold(first), panel, market)
    assert (result.orders.decided == 7).all()


@EXAMPLES
@given(seed=seeds, market=markets)
def test_the_order_of_assets_is_irrelevant(seed: int, market: Market) -> None:
    panel = make_world(seed)
    table = make_weights(panel, seed, market)
    order = np.random.default_rng(seed).permutation(N)
    moved = Panel(
        panel.times,
        tuple(panel.assets[j] for j in order),
        {name: values[:, order] for name, values in panel.fields.items()},
        **{name: getattr(panel, name)[:, order] for name in ("listed", "buyable", "sellable")},
    )
    one, other = backtest(Table(table), panel, market), backtest(Table(table[:, order]), moved, market)
    # A sum in another order may move an order across a lot.
    if market.lot == 0:
        np.testing.assert_allclose(other.equity, one.equity, rtol=1e-9)
        np.testing.assert_allclose(other.shares, one.shares[:, order], rtol=1e-9, atol=1e-6)
        assert len(one.orders) == len(other.orders)


@EXAMPLES
@given(seed=seeds, market=markets, cut=st.integers(2, T - 2))
def test_a_poisoned_future_changes_no_past(seed: int, market: Market, cut: int) -> None:
    panel = make_world(seed)
    table = make_weights(panel, seed, market)
    rng = np.random.default_rng(seed)
    fields = {name: values.copy() for name, values in panel.fields.items()}
    masks = {name: getattr(panel, name).copy() for name in ("listed", "buyable", "sellable")}
    for values in fields.values():
        values[cut + 1 :] *= rng.uniform(0.01, 100, (T - cut - 1, N))
    for mask in masks.values():
        mask[cut + 1 :] = rng.random((T - cut - 1, N)) < 0.5
    poisoned = Panel(panel.times, panel.assets, fields, **masks)
    other_table = table.copy()
    other_table[cut + 1 :] = 0.0
    one, other = backtest(Table(table), panel, market), backtest(Table(other_table), poisoned, market)
    for name in ("equity", "cash", "shares", "weights"):
        np.testing.assert_array_equal(getattr(one, name)[: cut + 1], getattr(other, name)[: cut + 1])
    if market.fill == "next_open":
        short = backtest(Table(table), panel[: cut + 1], replace(market, borrow=0.0, cash_rate=0.0))
        long = backtest(Table(table), panel, replace(market, borrow=0.0, cash_rate=0.0))
        np.testing.assert_array_equal(short.equity, long.equity[: cut + 1])


@EXAMPLES
@given(seed=seeds, market=markets)
def test_purchases_never_take_cash_below_its_bound(seed: int, market: Market) -> None:
    # Nothing but fills may move cash here, and covers, which are never cut, are left out with the shorts.
    market = replace(market, short=False, borrow=0.0, cash_rate=0.0, delist_loss=0.0)
    panel = make_world(seed)
    result = backtest(Table(make_weights(panel, seed, market)), panel, market)
    before = np.concatenate(([1e6], result.equity[:-1]))
    if market.fill == "same_close":
        before = result.equity + sum(result.costs[name] for name in COSTS)
    bound = -(market.leverage - 1.0) * before
    bought = np.zeros(T, bool)
    bought[result.orders.filled[result.orders.done > 0]] = True
    assert (result.cash[bought] >= bound[bought] - 1e-6).all()
    if market.leverage == 1.0:
        assert (result.cash >= 0.0).all()


@EXAMPLES
@given(seed=seeds, market=markets)
def test_nothing_fills_where_the_market_is_shut_and_lots_are_whole(seed: int, market: Market) -> None:
    panel = make_world(seed)
    result = backtest(Table(make_weights(panel, seed, market)), panel, market)
    orders = result.orders
    at = (orders.filled, orders.asset)
    done, traded = orders.done, orders.done != 0
    assert panel.listed[at][traded].all()
    open_side = np.where(done > 0, panel.buyable[at], panel.sellable[at])
    if market.fill == "next_open" or "limit_up" not in panel.fields:
        assert open_side[traded].all()
    else:
        assert (panel.buyable | panel.sellable)[at][traded].all()
        assert (panel["close"][at] < panel["limit_up"][at])[done > 0].all()
        assert (panel["close"][at] > panel["limit_down"][at])[done < 0].all()
    words = np.array(STATUS)[orders.status]
    np.testing.assert_array_equal(traded, (words == "filled") | (words == "partial"))
    np.testing.assert_array_equal(words == "filled", done == orders.ordered)
    assert (np.abs(done) <= np.abs(orders.ordered)).all()
    if not market.short:
        assert (result.shares >= 0).all()
    if market.lot and market.fill == "same_close" and not market.short:
        lots = done * panel["adj_factor"][at] / market.lot
        # A purchase that was not cut to the cash is whole lots, too; only a full exit may be odd.
        whole = np.abs(lots - np.round(lots)) < 1e-6
        assert (whole | (result.shares[at] == 0)).all()


@EXAMPLES
@given(
    seed=seeds,
    name=st.sampled_from(["commission", "sell_tax", "slippage", "impact", "borrow"]),
    fill=st.sampled_from(FILLS),
)
def test_more_cost_never_leaves_more(seed: int, name: str, fill: Any) -> None:
    """Enter once and leave once, with cash to spare: the shares are the same, so only the cost differs."""
    panel = make_world(seed, wild=False)
    rng = np.random.default_rng(seed)
    table = np.full((T, N), np.nan)
    table[8] = rng.dirichlet(np.ones(N)) * 0.5 * np.array([1, 1, 1, -1, -1])
    table[16] = 0.0
    ends = []
    for rate in (0.0, 0.001, 0.01, 0.03):
        market = replace(Market(commission=0, slippage=0, short=True, fill=fill), **{name: rate})
        result = backtest(Table(table), panel, market)
        paid = sum(result.costs[cost].sum() for cost in COSTS)
        assert paid >= 0
        ends.append(result.equity[-1])
        np.testing.assert_allclose(ends[0] - ends[-1], paid, atol=1e-6)
    assert (np.diff(ends) < 0).all()


def slow_ledger(
    panel: Panel, market: Market, table: np.ndarray, cash: float
) -> tuple[list[float], list[dict[int, float]]]:
    """Long and short books, proportional costs, no lots and no impact: dictionaries and loops."""
    shares: dict[int, float] = {}
    mark: dict[int, float] = {}
    equity, rows = [], []
    wanted: dict[int, float] = {}
    price = panel["open"] if market.fill == "next_open" else panel["close"]
    year = panel.periods_per_year
    for t in range(len(panel)):
        if t:
            short = sum(-q * mark[j] for j, q in shares.items() if q < 0)
            free = cash - short
            rate = market.cash_rate if free > 0 else market.cash_rate + market.borrow
            cash += rate / year * free - market.borrow / year * short
            for j in [j for j in shares if not panel.listed[t, j]]:
                cash += shares.pop(j) * mark[j] * (1 - market.delist_loss)
            live = {}
            for j, q in wanted.items():
                side = panel.buyable[t, j] if q > 0 else panel.sellable[t, j]
                if panel.listed[t, j] and np.isfinite(price[t, j]) and side:
                    live[j] = q
            worth = cash + sum(q * mark[j] for j, q in shares.items())
            buys = {}
            for j, q in live.items():
                covered = min(max(-shares.get(j, 0.0), 0.0), q) if q > 0 else q
                rate = market.commission + market.slippage + (market.sell_tax if q < 0 else 0.0)
                cash -= covered * price[t, j] + abs(covered) * price[t, j] * rate
                shares[j] = shares.get(j, 0.0) + covered
                if q > covered:
                    buys[j] = q - covered
            charge = 1 + market.commission + market.slippage
            need = sum(q * price[t, j] * charge for j, q in buys.items())
            room = max(cash + (market.leverage - 1) * max(worth, 0.0), 0.0)
            for j, q in buys.items():
                part = q * min(1.0, room / need)
                cash -= part * price[t, j] * charge
                shares[j] = shares.get(j, 0.0) + part
        mark.update({j: float(panel["close"][t, j]) for j in range(N) if np.isfinite(panel["close"][t, j])})
        shares = {j: q for j, q in shares.items() if abs(q) > 1e-9}
        total = cash + sum(q * mark[j] for j, q in shares.items())
        equity.append(total)
        rows.append(dict(shares))
        wanted = {}
        if total <= 0:
            break
        if not np.isnan(table[t]).all():
            for j in range(N):
                held = shares.get(j, 0.0)
                if table[t, j] or held:
                    wanted[j] = table[t, j] * total / mark[j] - held
            wanted = {j: q for j, q in wanted.items() if abs(q) > 1e-9}
    return equity, rows


@EXAMPLES
@given(seed=seeds, market=markets)
def test_the_ledger_agrees_with_a_slow_one(seed: int, market: Market) -> None:
    market = replace(market, lot=0.0, impact=0.0, fill="next_open" if market.fill == "same_close" else market.fill)
    panel = make_world(seed - seed % 2)  # even worlds have no limit fields
    table = make_weights(panel, seed, market)
    result = backtest(Table(table), panel, market, cash=1e5)
    equity, rows = slow_ledger(panel, market, table, 1e5)
    np.testing.assert_allclose(result.equity[: len(equity)], equity, rtol=1e-8)
    if result.bankrupt is None:
        slow = np.array([[held.get(j, 0.0) for j in range(N)] for held in rows])
        np.testing.assert_allclose(result.shares, slow, rtol=1e-7, atol=1e-5)
    else:
        assert result.bankrupt == panel.times[len(equity) - 1]


def test_the_random_worlds_meet_every_status() -> None:
    met: set[str] = set()
    for seed in range(40):
        market = Market(commission=0.02, fill="next_open", lot=100.0)
        panel = make_world(seed)
        result = backtest(Table(make_weights(panel, seed, market)), panel, market, cash=2e4)
        met |= {STATUS[code] for code in result.orders.status}
    assert met == set(STATUS)


@pytest.mark.parametrize("fill", FILLS)
def test_two_runs_give_the_same_bits(fill: Any) -> None:
    panel = make_world(5)
    market = Market(fill=fill, impact=0.3, lot=10)
    table = make_weights(panel, 5, market)
    same(backtest(Table(table), panel, market), backtest(Table(table), panel, market))
