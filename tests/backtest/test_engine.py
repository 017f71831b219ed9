"""What a policy is shown, what it may answer, and what it is told when it may not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from alphaloom.backtest import backtest
from alphaloom.errors import AxisError, DataError, DecisionError
from alphaloom.market import Book, Market
from alphaloom.panel import Panel

MakePanel = Callable[..., Panel]


@dataclass(frozen=True)
class Says:
    """Answers the same at every bar."""

    answer: Any
    lookback: int = 0

    def decide(self, view: Panel, book: Book) -> Any:
        return self.answer


@dataclass(frozen=True)
class Plans:
    """Answers with one table."""

    table: Any
    lookback: int = 0

    def weights(self, panel: Panel) -> Any:
        return self.table

    def decide(self, view: Panel, book: Book) -> Any:
        return self.table[len(view) - 1]


class Witness:
    """Remembers what it was shown; no honest policy does."""

    lookback = 0

    def __init__(self, target: float) -> None:
        self.target = target
        self.seen: list[tuple[Panel, Book]] = []

    def decide(self, view: Panel, book: Book) -> np.ndarray:
        self.seen.append((view, book))
        return np.full(len(view.assets), self.target / len(view.assets))


def test_a_policy_sees_the_past_and_its_book(make_panel: MakePanel) -> None:
    panel = make_panel(T=30, N=4)
    policy = Witness(0.8)
    result = backtest(policy, panel, Market(), start=10, cash=5_000.0)
    assert len(policy.seen) == 20
    for row, (view, book) in enumerate(policy.seen):
        assert len(view) == 11 + row
        assert book.now == view.times[-1] == result.times[row]
        assert book.equity == pytest.approx(result.equity[row], rel=1e-14)
        assert book.cash == result.cash[row]
        np.testing.assert_array_equal(book.shares, result.shares[row])
        np.testing.assert_array_equal(book.prices, panel["close"][10 + row])
        np.testing.assert_array_equal(book.history.equity, result.equity[: row + 1])
        np.testing.assert_array_equal(book.history.shares, result.shares[: row + 1])
        np.testing.assert_array_equal(book.history.times, result.times[: row + 1])
        np.testing.assert_allclose(book.weights, result.holdings[row], atol=1e-15)
    first = policy.seen[0][1]
    assert first.equity == 5_000.0
    assert not first.shares.any()


def test_at_the_same_close_the_book_is_shown_before_the_trades(make_panel: MakePanel) -> None:
    policy = Witness(0.8)
    result = backtest(policy, make_panel(T=5, N=2), Market(commission=0.1, fill="same_close"), cash=100.0)
    assert policy.seen[0][1].equity == 100.0
    assert result.equity[0] < 100.0


def test_a_book_cannot_be_written(make_panel: MakePanel) -> None:
    policy = Witness(0.5)
    result = backtest(policy, make_panel(T=6, N=2), Market())
    book = policy.seen[-1][1]
    for array in (book.shares, book.prices, book.history.equity, book.history.shares):
        with pytest.raises(ValueError):
            array[...] = 0
    for array in (result.equity, result.weights, result.costs["tax"], result.orders.done, result.orders.status):
        with pytest.raises(ValueError):
            array[...] = 0


def test_a_halted_mark_before_the_start_is_known(make_panel: MakePanel) -> None:
    panel = make_panel(T=10, N=2)
    close = panel["close"].copy()
    close[4:6, 0] = np.nan
    panel = panel.replace(fields={**panel.fields, "close": close})
    result = backtest(Says(np.array([0.5, 0.0])), panel, Market(), start=5)
    assert result.prices[0, 0] == close[3, 0]
    assert result.orders.done[0] > 0


def test_float32_panels_give_nearly_the_same(make_panel: MakePanel) -> None:
    wide, narrow = make_panel(T=40, N=3), make_panel(T=40, N=3, dtype=np.float32)
    policy = Says(np.full(3, 0.3))
    one, other = (backtest(policy, panel, Market()) for panel in (wide, narrow))
    np.testing.assert_allclose(other.equity, one.equity, rtol=1e-5)


def test_a_table_that_is_called_weights_does_not_make_a_schedule(make_panel: MakePanel) -> None:
    @dataclass(frozen=True)
    class Fixed:
        weights: tuple[float, ...]
        lookback: int = 0

        def decide(self, view: Panel, book: Book) -> np.ndarray:
            return np.array(self.weights)

    result = backtest(Fixed((0.2, 0.3)), make_panel(T=6, N=2), Market())
    np.testing.assert_array_equal(result.weights[-1], [0.2, 0.3])


FAULTY = [
    ([0.2, np.nan, 0.2], "finite", "A001", "nan"),
    ([0.2, 0.2, np.inf], "finite", "A002", "inf"),
    ([0.2, -0.2, 0.2], "short", "A001", "-0.2"),
    ([0.5, 0.5, 0.1], "leverage", "2015-01-0", "gross 1.1"),
]


@pytest.mark.parametrize(("row", "rule", "place", "found"), FAULTY)
def test_weights_that_cannot_be_traded_are_named(
    make_panel: MakePanel, row: list[float], rule: str, place: str, found: str
) -> None:
    panel = make_panel(T=6, N=3)
    table = np.full((6, 3), np.nan)
    table[4] = row
    for policy in (Plans(table), Says(np.array(row))):
        with pytest.raises(DecisionError, match=rule) as caught:
            backtest(policy, panel, Market())
        assert place in caught.value.where
        assert str(panel.times[4 if isinstance(policy, Plans) else 0])[:10] in caught.value.where
        assert found in str(caught.value.found)
        assert caught.value.fix
    table[4], table[5] = np.nan, row
    with pytest.raises(DecisionError, match=rule):
        backtest(Plans(table), panel, Market())


def test_rows_before_the_start_are_not_judged(make_panel: MakePanel) -> None:
    table = np.full((8, 2), 0.4)
    table[:3] = 7.0
    assert len(backtest(Plans(table), make_panel(T=8, N=2), Market(), start=3).times) == 5


def test_an_asset_without_a_price_cannot_be_wished(make_panel: MakePanel) -> None:
    panel = make_panel(T=6, N=2)
    close = panel["close"].copy()
    close[:4, 1] = np.nan
    late = Panel(panel.times, panel.assets, {**panel.fields, "close": close})
    with pytest.raises(DecisionError, match="known price") as caught:
        backtest(Says(np.array([0.5, 0.5])), late, Market())
    assert "A001" in caught.value.where
    assert backtest(Says(np.array([0.5, 0.0])), late, Market()).equity[-1] > 0


@pytest.mark.parametrize("answer", [np.zeros(3), np.zeros((1, 2)), 0.5, "all of it", None, ["a", "b"]])
def test_an_answer_of_another_shape_is_refused(make_panel: MakePanel, answer: Any) -> None:
    panel = make_panel(T=5, N=2)
    for policy in (Says(answer), Plans(answer)):
        with pytest.raises(DecisionError, match="weight"):
            backtest(policy, panel, Market())


def test_a_book_that_losses_lifted_above_its_leverage_may_be_held() -> None:
    price = np.array([[10.0], [10.0], [7.0], [7.0], [7.0]])
    times = np.datetime64("2020-01-01") + np.arange(5)
    panel = Panel(times, ("X",), {"open": price, "close": price})
    market = Market(commission=0, slippage=0, leverage=2.0)

    class Holder:
        lookback = 0

        def decide(self, view: Panel, book: Book) -> np.ndarray:
            return np.array([2.0]) if len(view) == 1 else book.weights

    result = backtest(Holder(), panel, market)
    assert result.holdings[2, 0] == pytest.approx(3.5)
    assert len(result.orders) == 1
    # To ask for more than the leverage while holding less is still refused.
    with pytest.raises(DecisionError, match="leverage"):
        backtest(Says(np.array([2.5])), panel, market)


def test_doors_say_what_is_wrong(make_panel: MakePanel) -> None:
    panel, policy = make_panel(T=5, N=2), Says(np.zeros(2))
    for start in (-1, 5):
        with pytest.raises(AxisError, match="starts on a row"):
            backtest(policy, panel, Market(), start=start)
    for cash in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(DataError, match="money"):
            backtest(policy, panel, Market(), cash=cash)
    bare = Panel(panel.times, panel.assets, {"open": panel["open"]})
    with pytest.raises(DataError, match="close"):
        backtest(policy, bare, Market())
    shut = Panel(panel.times, panel.assets, {"close": panel["close"]})
    with pytest.raises(DataError, match="open"):
        backtest(policy, shut, Market())
    assert len(backtest(policy, shut, Market(fill="next_close")).equity) == 5
    with pytest.raises(DataError, match="volume"):
        backtest(policy, shut, Market(fill="next_close", impact=0.1))


def test_one_bar_and_no_assets_are_legal(make_panel: MakePanel) -> None:
    result = backtest(Says(np.array([0.5, 0.5])), make_panel(T=9, N=2), Market(), start=8)
    assert result.equity.tolist() == [1e6]
    assert len(result.orders) == 0
    times = np.datetime64("2020-01-01") + np.arange(3)
    empty = Panel(times, (), {"open": np.empty((3, 0)), "close": np.empty((3, 0))})
    for policy in (Says(np.empty(0)), Plans(np.empty((3, 0)))):
        assert backtest(policy, empty, Market()).equity.tolist() == [1e6] * 3


def test_orders_make_a_table(make_panel: MakePanel) -> None:
    panel = make_panel(T=12, N=3)
    result = backtest(Says(np.full(3, 0.3)), panel, Market(lot=1000))
    table = result.orders.columns(result.times, result.assets)
    assert " ".join(table) == "decided filled asset ordered done price commission tax slippage impact status"
    assert {len(column) for column in table.values()} == {len(result.orders)}
    assert table["decided"][0] == panel.times[0]
    assert table["filled"][0] == panel.times[1]
    assert table["asset"][0] == "A000"
    assert set(table["status"]) == {"filled"}
    np.testing.assert_allclose(result.orders.value * Market().commission, result.orders.commission, rtol=1e-12)


def test_assumptions_are_noted(make_panel: MakePanel) -> None:
    market = Market(fill="same_close", lot=10, impact=0.1)
    notes = backtest(Says(np.full(3, 0.3)), make_panel(T=30, N=3), market).notes
    assert [note.split(":")[0] for note in notes] == ["fills", "impact", "lots", "limits"]
    plain = backtest(Says(np.full(3, 0.3)), make_panel(T=30, N=3), replace(market, fill="next_open", lot=0, impact=0))
    assert [note.split(":")[0] for note in plain.notes] == ["fills"]


def test_importing_the_room_does_not_import_numba() -> None:
    code = "import sys, alphaloom.backtest; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
