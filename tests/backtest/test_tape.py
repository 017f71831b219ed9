"""What the ledger is told about the market: impact rates, lots, and who may trade when."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from alphaloom.backtest.tape import draw_tape, first_marks, impact_rates
from alphaloom.market import Market
from alphaloom.panel import Panel

MakePanel = Callable[..., Panel]
MARKET = Market(impact=0.4)


def slow_rate(panel: Panel, t: int, j: int) -> float:
    """One asset on one row, NaN with fewer than five known values."""
    returns, money = [], []
    for s in range(max(t - 19, 0), t + 1):
        now, before = panel["close"][s, j], panel["close"][s - 1, j] if s else np.nan
        if np.isfinite(now / before):
            returns.append(now / before - 1)
        if np.isfinite(panel["volume"][s, j] * panel["vwap"][s, j]):
            money.append(panel["volume"][s, j] * panel["vwap"][s, j])
    if len(returns) < 5 or len(money) < 5:
        return float("nan")
    return float(0.4 * np.std(returns, ddof=1) / np.sqrt(np.mean(money)))


def test_impact_rates_against_a_loop(make_panel: MakePanel) -> None:
    panel = make_panel(T=50, N=6, holes=0.25)
    slow = np.array([[slow_rate(panel, t, j) for j in range(6)] for t in range(50)])
    assert np.isnan(slow).any()
    for t in range(50):
        known = np.isfinite(slow[t]) & panel.listed[t]
        slow[t, ~known] = np.quantile(slow[t, known], 0.9) if known.any() else 0.0
    np.testing.assert_allclose(impact_rates(panel, MARKET), slow, rtol=1e-10)


def test_impact_rates_know_no_future(make_panel: MakePanel) -> None:
    panel = make_panel(T=60, N=4, holes=0.1)
    whole = impact_rates(panel, MARKET)
    for stop in (3, 21, 45):
        np.testing.assert_array_equal(impact_rates(panel[:stop], MARKET), whole[:stop])


def test_impact_falls_back_on_the_close_for_money(make_panel: MakePanel) -> None:
    panel = make_panel(T=40, N=2)
    bare = Panel(panel.times, panel.assets, {name: panel[name] for name in ("open", "close", "volume")})
    same = Panel(panel.times, panel.assets, {**bare.fields, "vwap": panel["close"]})
    np.testing.assert_array_equal(impact_rates(bare, MARKET), impact_rates(same, MARKET))


def test_dead_volume_is_not_free(make_panel: MakePanel) -> None:
    panel = make_panel(T=40, N=4)
    volume = panel["volume"].copy()
    volume[:, 2] = 0.0
    rates = impact_rates(panel.replace(fields={**panel.fields, "volume": volume}), MARKET)
    others = np.delete(rates, 2, axis=1)
    np.testing.assert_array_equal(rates[30, 2], np.quantile(others[30], 0.9))


def test_lots_follow_the_last_known_factor(make_panel: MakePanel) -> None:
    panel = make_panel(T=4, N=2)
    factor = np.array([[np.nan, 0.5], [0.25, np.nan], [np.nan, 1.0], [1.0, 1.0]])
    panel = panel.replace(fields={**panel.fields, "adj_factor": factor})
    tape = draw_tape(panel, Market(lot=100), 1)
    assert tape.lot.tolist() == [[400, 200], [400, 100], [100, 100]]
    assert draw_tape(panel, Market(lot=100), 0).lot[0, 0] == 100
    assert draw_tape(panel, Market(), 0).lot.size == 0


@pytest.mark.parametrize("start", [0, 1, 5, 12])
def test_first_marks_are_the_last_known_closes(make_panel: MakePanel, start: int) -> None:
    panel = make_panel(T=20, N=5, holes=0.4)
    marks = first_marks(panel, start)
    for j in range(5):
        known = panel["close"][:start, j]
        known = known[np.isfinite(known)]
        np.testing.assert_array_equal(marks[j], known[-1] if len(known) else np.nan)


def test_a_tape_of_the_whole_panel_is_not_a_copy(make_panel: MakePanel) -> None:
    panel = make_panel(T=10, N=3)
    tape = draw_tape(panel, Market(), 2)
    assert np.shares_memory(tape.close, panel["close"])
    assert np.shares_memory(tape.price, panel["open"])
    assert len({type(a) for a in tape}) == 1
    assert not any(a.flags.writeable for a in tape)


def test_the_ledger_and_the_result_number_things_alike() -> None:
    from alphaloom.backtest import COSTS, STATUS, ledger

    assert [getattr(ledger, word.upper()) for word in STATUS] == list(range(len(STATUS)))
    assert [getattr(ledger, word.upper()) for word in COSTS] == list(range(len(COSTS)))
