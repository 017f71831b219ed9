"""What happens to the money, in examples that a reader can do by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from alphaloom.backtest import STATUS, BacktestResult, backtest
from alphaloom.market import Book, Market
from alphaloom.panel import Panel

FREE = Market(commission=0.0, slippage=0.0)
HOLD = [np.nan, np.nan]


@dataclass(frozen=True)
class Table:
    """A schedule of weights."""

    rows: Any
    lookback: int = 0

    def weights(self, panel: Panel) -> np.ndarray:
        return np.array(self.rows, dtype=np.float64)[: len(panel)]

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        return np.array(self.rows[len(view) - 1], dtype=np.float64)


def two_assets(open_: Any, close: Any, **more: Any) -> Panel:
    fields = {"open": np.array(open_, float), "close": np.array(close, float), **more.pop("fields", {})}
    times = np.datetime64("2020-01-06") + np.arange(len(open_))
    return Panel(times=times, assets=("X", "Y"), fields=fields, periods_per_year=252.0, **more)


def flat(T: int, price: float = 10.0, **more: Any) -> Panel:
    return two_assets(np.full((T, 2), price), np.full((T, 2), price), **more)


def run(rows: Any, panel: Panel, market: Market = FREE, cash: float = 10_000.0) -> BacktestResult:
    return backtest(Table(rows), panel, market, cash=cash)


def states(result: BacktestResult) -> list[str]:
    return [STATUS[code] for code in result.orders.status]


def test_two_assets_over_four_bars_by_hand() -> None:
    panel = two_assets([[10, 20], [10, 20], [12, 21], [11, 25]], [[10, 20], [11, 20], [12, 22], [10, 25]])
    market = Market(commission=0.001, sell_tax=0.002, slippage=0.0005)
    result = run([[0.5, 0.25], HOLD, [0.0, 0.5], [0.0, 0.5]], panel, market)
    # Row 0: 5,000 / 10 = 500 X and 2,500 / 20 = 125 Y are ordered.
    # Bar 1: bought at 10 and 20 for 7,500; commission 7.50, slippage 3.75; cash 2,488.75.
    #        close: 500 * 11 + 125 * 20 = 8,000; equity 10,488.75.
    # Bar 2: held; 500 * 12 + 125 * 22 = 8,750; equity 11,238.75.
    # Row 2: X to zero: sell 500. Y to half: (5,619.375 - 2,750) / 22 = 130.42613636 more.
    # Bar 3: X sold at 11 for 5,500 less 5.50 commission, 11 tax, 2.75 slippage: cash 7,969.50.
    #        Y bought at 25 for 3,260.65340909 plus 3.26065341 and 1.63032670: cash 4,703.95561080.
    #        close: 255.42613636 * 25 = 6,385.65340909; equity 11,089.60901989.
    np.testing.assert_allclose(result.equity, [10_000, 10_488.75, 11_238.75, 11_089.60901989], rtol=1e-12)
    np.testing.assert_allclose(result.cash, [10_000, 2_488.75, 2_488.75, 4_703.95561080], rtol=1e-12)
    np.testing.assert_allclose(result.shares[3], [0.0, 255.4261363636], rtol=1e-12)
    np.testing.assert_allclose(result.costs["commission"], [0, 7.5, 0, 5.5 + 3.2606534091], rtol=1e-10)
    np.testing.assert_allclose(result.costs["tax"], [0, 0, 0, 11.0])
    np.testing.assert_allclose(result.costs["slippage"], [0, 3.75, 0, 2.75 + 1.6303267045], rtol=1e-10)
    np.testing.assert_allclose(result.traded, [0, 7_500, 0, 8_760.6534090909], rtol=1e-12)
    np.testing.assert_allclose(
        result.returns, [0, 0.048875, 11_238.75 / 10_488.75 - 1, 11_089.60901989 / 11_238.75 - 1]
    )
    np.testing.assert_allclose(result.holdings[1], [5_500 / 10_488.75, 2_500 / 10_488.75])
    orders = result.orders
    assert orders.decided.tolist() == [0, 0, 2, 2]
    assert orders.filled.tolist() == [1, 1, 3, 3]
    assert orders.asset.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(orders.done, [500, 125, -500, 130.4261363636], rtol=1e-12)
    assert orders.price.tolist() == [10, 20, 11, 25]
    assert states(result) == ["filled"] * 4


@pytest.mark.parametrize(
    ("fill", "price", "row"), [("next_open", 11.0, 1), ("next_close", 12.0, 1), ("same_close", 10.0, 0)]
)
def test_a_fill_is_where_the_market_says(fill: Any, price: float, row: int) -> None:
    panel = two_assets([[9, 9], [11, 11], [13, 13]], [[10, 10], [12, 12], [14, 14]])
    result = run([[0.5, 0.0], HOLD, HOLD], panel, replace(FREE, fill=fill))
    assert result.orders.price.tolist() == [price]
    assert result.orders.filled.tolist() == [row]
    assert result.equity[2] == pytest.approx(10_000 + 500 * (14 - price))
    assert any(note.startswith("fills:") for note in result.notes)


def test_the_same_close_pays_its_first_costs_in_row_zero() -> None:
    result = run([[0.5, 0.0], HOLD], flat(2), Market(commission=0.01, slippage=0.0, fill="same_close"))
    np.testing.assert_allclose(result.returns, [-0.005, 0.0], atol=1e-15)


def test_the_last_weights_are_recorded_but_not_traded() -> None:
    for fill in ("next_open", "next_close", "same_close"):
        result = run([HOLD, HOLD, [0.3, 0.3]], flat(3), Market(fill=fill))
        assert len(result.orders) == 0
        assert result.weights[2].tolist() == [0.3, 0.3]
        assert np.isnan(result.weights[:2]).all()


def test_purchases_are_cut_by_one_factor_so_that_cash_pays_for_their_costs() -> None:
    result = run([[0.75, 0.25], HOLD], flat(2), Market(commission=0.25, slippage=0.0))
    # 10,000 buys 10,000 / 1.25 = 8,000 worth: 600 and 200 of the 750 and 250 ordered.
    np.testing.assert_allclose(result.orders.done, [600, 200], rtol=1e-9)
    assert states(result) == ["partial", "partial"]
    assert 0.0 <= result.cash[1] < 1e-6
    assert any("cut to fit the cash" in note for note in result.notes)


def test_sales_of_a_bar_pay_for_its_purchases() -> None:
    result = run([[0.0, 1.0], [1.0, 0.0], HOLD], flat(3))
    assert result.shares.tolist() == [[0, 0], [0, 1000], [1000, 0]]
    assert states(result) == ["filled"] * 3


def test_a_sale_that_the_market_refuses_leaves_its_purchases_without_cash() -> None:
    sellable = np.array([[True, True], [True, True], [True, False]])
    result = run([[0.0, 1.0], [1.0, 0.0], HOLD], flat(3, sellable=sellable))
    assert states(result) == ["filled", "cash", "limit"]
    assert result.shares[2].tolist() == [0, 1000]
    assert any("1 cash, 1 limit of 3 were not filled" in note for note in result.notes)


def test_an_order_that_is_not_filled_lapses() -> None:
    buyable = np.array([[True, True], [False, True], [True, True]])
    result = run([[0.5, 0.0], HOLD, HOLD], flat(3, buyable=buyable))
    assert states(result) == ["limit"]
    assert np.isnan(result.orders.price[0])
    assert result.orders.ordered[0] == 500
    assert result.orders.done[0] == 0
    assert not result.shares.any()


def test_a_halted_asset_keeps_its_last_close_and_trades_nothing() -> None:
    nan = np.nan
    panel = two_assets([[10, 10], [10, 10], [nan, 10], [8, 10]], [[10, 10], [11, 10], [nan, 10], [8, 10]])
    result = run([[0.5, 0.0], [0.0, 0.0], HOLD, HOLD], panel)
    assert states(result) == ["filled", "halted"]
    assert result.prices[:, 0].tolist() == [10, 11, 11, 8]
    assert result.equity.tolist() == [10_000, 10_500, 10_500, 9_000]


def test_limits_at_the_close_are_read_from_the_close() -> None:
    panel = two_assets(
        [[10, 10], [10, 10], [10, 10]],
        [[10, 10], [11, 10], [9.9, 10]],
        fields={"limit_up": np.full((3, 2), 11.0), "limit_down": np.array([[9.0, 9], [9, 9], [9.9, 9]])},
        # The open of bar 1 was locked, its close is what counts; Y has neither side open: a halt.
        buyable=np.array([[True, True], [True, True], [True, False]]),
        sellable=np.array([[True, True], [False, True], [True, False]]),
    )
    close = replace(FREE, fill="next_close")
    assert states(run([[0.5, 0.5], HOLD, HOLD], panel, close)) == ["limit", "filled"]
    late = replace(FREE, fill="same_close")
    assert states(run([[0.5, 0.5], [0.0, 0.0], HOLD], panel, late)) == ["filled", "filled", "filled", "filled"]
    assert states(run([[0.5, 0.5], HOLD, HOLD], panel[1:], late)) == ["limit", "filled"]
    assert states(run([[0.5, 0.5], [0.0, 0.0], HOLD], panel, close)) == ["limit", "filled", "halted"]


def test_limits_at_the_open_are_read_from_the_flags() -> None:
    limits = {"limit_up": np.full((2, 2), 10.0), "limit_down": np.full((2, 2), 10.0)}
    assert states(run([[0.5, 0.0], HOLD], flat(2, fields=limits))) == ["filled"]
    assert states(run([[0.5, 0.0], HOLD], flat(2, fields=limits), replace(FREE, fill="next_close"))) == ["limit"]


def test_a_delisted_holding_is_paid_its_last_close_less_the_loss() -> None:
    listed = np.array([[True, True], [True, True], [False, True], [False, True]])
    panel = two_assets(
        [[10, 10], [10, 10], [np.nan, 10], [np.nan, 10]],
        [[10, 10], [8, 10], [np.nan, 10], [np.nan, 10]],
        listed=listed,
    )
    result = run([[0.5, 0.0], [0.25, 0.5], [0.5, 0.5], HOLD], panel, replace(FREE, delist_loss=0.25))
    # 500 X at the last close of 8, less a quarter: 3,000 of cash; the order for X dies, 450 Y are bought. Then Y is
    # 4,500 of 8,000, so half is 50 less, and X is refused again.
    assert result.equity.tolist() == [10_000, 9_000, 8_000, 8_000]
    assert result.shares[2:].tolist() == [[0, 450], [0, 400]]
    assert states(result) == ["filled", "unlisted", "filled", "unlisted", "filled"]
    assert any("1 holdings were paid their last close less 25%, a loss of 1,000.00" in note for note in result.notes)


def test_a_delisted_short_is_closed_at_the_same_terms() -> None:
    listed = np.array([[True, True], [True, True], [False, True]])
    panel = flat(3, listed=listed)
    result = run([[-0.5, 0.0], HOLD, HOLD], panel, replace(FREE, short=True, delist_loss=1.0))
    assert result.equity.tolist() == [10_000, 10_000, 15_000]
    assert result.cash[2] == 15_000


def test_lots_round_toward_zero_and_an_exit_may_be_odd() -> None:
    panel = two_assets(np.full((4, 2), 10.0), np.full((4, 2), 10.0))
    result = run([[0.257, 0.0], [0.149, 0.0], [0.0, 0.0], HOLD], panel, replace(FREE, lot=100))
    # 257 -> 200; down to 149 wants 51 fewer -> 0, no order; then out with all 200.
    assert result.orders.ordered.tolist() == [200, -200]
    assert result.shares[:, 0].tolist() == [0, 200, 200, 0]


def test_purchases_that_are_cut_stay_in_lots() -> None:
    result = run([[0.5, 0.5], HOLD], flat(2), Market(commission=0.01, slippage=0.0, lot=100))
    assert result.orders.ordered.tolist() == [500, 500]
    assert result.orders.done.tolist() == [400, 400]
    assert states(result) == ["partial", "partial"]


def test_a_lot_counts_raw_shares() -> None:
    # X was later split 2:1, so its old prices are halved: factor 0.5, raw price 20. A lot of 100 raw shares is 2,000 of
    # money, which is 200 adjusted shares at 10.
    panel = flat(2, fields={"adj_factor": np.array([[0.5, 1.0]] * 2)})
    result = run([[0.45, 0.45], HOLD], panel, replace(FREE, lot=100))
    assert result.orders.ordered.tolist() == [400, 400]
    raw = result.orders.done * np.array([0.5, 1.0])
    assert raw.tolist() == [200, 400]
    np.testing.assert_array_equal(result.orders.value, raw * np.array([20.0, 10.0]))


def test_a_cover_comes_before_purchases_and_is_never_cut() -> None:
    market = Market(commission=0.1, slippage=0.0, short=True)
    result = run([[-0.5, 0.0], [0.0, 1.0], HOLD], flat(3), market)
    # Short 500 X at 10: +5,000 - 500. Covering costs 5,500; the 9,000 that are left buy 9,000 / 1.1 of Y.
    assert result.cash[1] == pytest.approx(14_500)
    assert states(result) == ["filled", "filled", "partial"]
    assert result.shares[2, 0] == 0
    assert result.shares[2, 1] * 10 * 1.1 == pytest.approx(9_000)
    assert result.cash[2] == pytest.approx(0.0, abs=1e-6)


def test_an_order_through_zero_covers_whole_and_buys_what_cash_allows() -> None:
    market = Market(commission=0.1, slippage=0.0, short=True)
    result = run([[-0.5, 0.0], [1.0, 0.0], HOLD], flat(3), market)
    # Equity 9,500: 950 wanted, 1,450 ordered. Cover 500 for 5,500, then 9,000 / 11 = 818.18.
    assert result.orders.ordered[1] == pytest.approx(1_450)
    assert result.orders.done[1] == pytest.approx(500 + 9_000 / 11)


def test_leverage_lets_cash_fall_below_zero_by_the_same_multiple() -> None:
    result = run([[1.0, 0.5], HOLD], flat(2), Market(commission=0.02, slippage=0.0, leverage=1.5))
    assert result.cash[1] == pytest.approx(-5_000)
    assert states(result) == ["partial", "partial"]


def test_borrow_and_interest_are_paid_for_the_time_since_the_last_close() -> None:
    market = Market(commission=0, slippage=0, short=True, borrow=0.0252, cash_rate=0.252)
    result = run([[-0.5, 0.0], HOLD, HOLD], flat(3), market)
    # Per bar: borrow 0.0001, interest 0.001. Bar 1 begins with 10,000 free: +10, so 10,010 at its close, 5,000 short.
    # Bar 2 begins with cash 15,010, free 10,010: +10.01, and 0.50 for the loan of the shares.
    np.testing.assert_allclose(result.costs["interest"], [0, -10, -10.01])
    np.testing.assert_allclose(result.costs["borrow"], [0, 0, 0.5])
    np.testing.assert_allclose(result.equity, [10_000, 10_010, 10_019.51])


def test_borrowed_cash_pays_the_cash_rate_and_the_spread() -> None:
    market = Market(commission=0, slippage=0, leverage=2.0, borrow=0.252, cash_rate=0.252)
    result = run([[1.0, 1.0], HOLD, HOLD], flat(3), market)
    # Bar 1 earns 10 on 10,000; then 10,010 - 20,000 = -9,990 of cash pays 0.2 % a bar.
    np.testing.assert_allclose(result.costs["interest"], [0, -10, 19.98])


def test_bankruptcy_is_an_outcome() -> None:
    panel = two_assets([[10, 10]] * 5, [[10, 10], [10, 10], [25, 10], [1, 10], [1, 10]])
    rows = [[-1.0, 0.0], HOLD, [0.0, 0.5], [0.0, 0.5], [0.0, 0.5]]
    result = run(rows, panel, replace(FREE, short=True, cash_rate=0.1, borrow=0.1))
    paid = result.costs["interest"][:3].sum() + result.costs["borrow"][:3].sum()
    # Short 1,000 X from 10; at 25 the book is worth 10,000 - 15,000, and stays so.
    assert result.bankrupt == panel.times[2]
    np.testing.assert_allclose(result.equity[2:], -5_000 - paid)
    assert not result.shares[2:].any()
    assert np.isnan(result.weights[2:]).all()
    assert len(result.orders) == 1
    np.testing.assert_array_equal(result.returns[3:], 0.0)
    np.testing.assert_array_equal(result.holdings[2:], 0.0)
    assert any(note.startswith("bankrupt:") for note in result.notes)


def test_impact_is_the_square_root_law_and_at_most_the_value() -> None:
    rng = np.random.default_rng(3)
    close = 10 * np.exp(np.cumsum(rng.normal(0, 0.02, (40, 2)), axis=0))
    volume = np.full((40, 2), 50_000.0)
    panel = two_assets(close, close, fields={"volume": volume})
    rows = [HOLD] * 40
    rows[30] = [0.5, 0.0]
    result = run(rows, panel, replace(FREE, impact=0.7))
    sigma = np.std(close[11:31, 0] / close[10:30, 0] - 1, ddof=1)
    daily = np.mean((volume * close)[11:31, 0])
    value = result.orders.value[0]
    assert result.orders.impact[0] == pytest.approx(0.7 * sigma * np.sqrt(value / daily) * value, rel=1e-12)
    greedy = run(rows, panel, replace(FREE, impact=1e9))
    assert 0 < greedy.orders.impact[0] <= greedy.orders.value[0]
    assert greedy.cash[31] >= 0


def test_many_books_are_rows_of_the_same_arrays() -> None:
    from alphaloom.backtest.ledger import Journal, Ledger, Position, Rules, advance, place
    from alphaloom.backtest.tape import draw_tape

    B, T, N = 3, 4, 2
    panel = two_assets([[10, 20], [10, 20], [12, 21], [11, 25]], [[10, 20], [11, 20], [12, 22], [10, 25]])
    market = Market(commission=0.001, sell_tax=0.002, slippage=0.0005)
    tables = np.random.default_rng(0).dirichlet(np.ones(N + 1), (B, T))[:, :, :N]
    rules = Rules(0.001, 0.002, 0.0005, 0.0, 0.0, 1.0, 0.0, False, False)
    cash, dead = np.full(B, 10_000.0), np.zeros(B, bool)
    shares, waiting, mark = np.zeros((B, N)), np.zeros((B, N)), np.full((B, N), np.nan)
    shapes = [(T,), (T,), (T,), (T, N), (T, N), (T, N), (6, T), (2,)]
    pages = [np.zeros((B, *shape)) for shape in shapes]
    count, rows = np.zeros((B, 1), np.int64), np.zeros((B, 3, T * N), np.int32)
    numbers, status = np.zeros((B, 7, T * N)), np.zeros((B, T * N), np.int8)
    books = [
        Ledger(
            draw_tape(panel, market, 0),
            rules,
            Position(cash[b : b + 1], dead[b : b + 1], shares[b], waiting[b], mark[b]),
            Journal(*(page[b] for page in pages), count[b], rows[b], numbers[b], status[b]),
        )
        for b in range(B)
    ]
    for t in range(T):
        for b, book in enumerate(books):
            advance(book, t)
            assert place(book, t, tables[b, t]) == (0, 0)
    for b in range(B):
        alone = run(tables[b], panel, market)
        np.testing.assert_array_equal(pages[1][b], alone.equity)
        np.testing.assert_array_equal(shares[b], alone.shares[-1])
        assert count[b, 0] == len(alone.orders)
