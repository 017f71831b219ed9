"""The plain baselines: what they say, when they say it, and what their words do to an account."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.agents.signals import (
    ArimaSignals,
    DowPolicy,
    DowTracking,
    MovingAverageSignals,
    RandomSignals,
    SignalPolicy,
)
from alphaloom.agents.trading import Trading
from alphaloom.backtest import backtest
from alphaloom.errors import DataError
from alphaloom.market import Market
from alphaloom.panel import Panel
from alphaloom.testing import check_learner, check_policy

MARKET = Market(commission=0.0005, slippage=0.0, fill="same_close")


def panel_of(close, assets=None, times=None) -> Panel:
    """A panel whose open, high and low are the close."""
    close = np.asarray(close, dtype=np.float64)
    if times is None:
        times = np.array([np.busday_offset("2020-01-01", k, roll="forward") for k in range(len(close))])
    names = assets or tuple(f"A{j}" for j in range(close.shape[1]))
    fields = dict.fromkeys(("open", "high", "low", "close"), close)
    return Panel(times.astype("datetime64[ns]"), names, {**fields, "volume": np.ones_like(close)})


def agrees_with_slices(policy, panel, rows):
    """Row t says the same with no more than the look-back rows before it, and when only it is worked out."""
    whole = policy.signals(panel)
    for row in rows:
        view = panel[max(0, row - policy.lookback) : row + 1]
        assert (policy.signals(view)[-1] == whole[row]).all()
        assert (policy.signals(view, len(view) - 1)[-1] == whole[row]).all()
    return whole


# --- moving average


def test_a_cross_is_said_once_on_the_bar_it_happens():
    close = [[10.0], [10.0], [9.0], [11.0], [12.0], [12.0], [9.0], [8.0]]
    # means of 3 bars from row 2 on: 9.67, 10, 10.67, 11.67, 11, 9.67
    said = MovingAverageSignals(window=3).signals(panel_of(close))[:, 0]
    assert said.tolist() == [0, 0, 0, 1, 0, 0, -1, 0]


def test_a_close_at_its_average_counts_as_not_yet_above():
    close = [[10.0], [10.0], [10.0], [11.0], [11.0], [11.0], [11.0], [10.0]]
    said = MovingAverageSignals(window=3).signals(panel_of(close))[:, 0]
    assert said.tolist() == [0, 0, 0, 1, 0, 0, 0, -1]


def test_averages_agree_with_a_slow_loop(make_panel):
    panel = make_panel(T=90, N=5, holes=0.03)
    close, window = panel["close"], 10
    said = MovingAverageSignals(window=window).signals(panel)
    assert (said != 0).sum() > 10
    for t in range(len(panel)):
        for i in range(5):
            expected = 0
            if t >= window and np.isfinite(close[t - window : t + 1, i]).all():
                today = close[t, i] - close[t - window + 1 : t + 1, i].mean()
                before = close[t - 1, i] - close[t - window : t, i].mean()
                expected = int(today > 0 and before <= 0) - int(today < 0 and before >= 0)
            assert said[t, i] == expected


# --- lots


def test_lots_have_their_chances_and_belong_to_a_name_and_a_time(make_panel):
    panel = make_panel(T=600, N=20)
    said = RandomSignals(seed=42).signals(panel)
    shares = [(said == word).mean() for word in (1, -1, 0)]
    assert np.allclose(shares, [0.2, 0.2, 0.6], atol=0.015)
    order = np.random.default_rng(1).permutation(20)
    other = Panel(
        panel.times, tuple(panel.assets[j] for j in order), {name: v[:, order] for name, v in panel.fields.items()}
    )
    assert (RandomSignals(seed=42).signals(other) == said[:, order]).all()
    assert (RandomSignals(seed=42).signals(panel[100:]) == said[100:]).all()
    assert 0.5 < (RandomSignals(seed=43).signals(panel) != said).mean() < 0.62


def test_lots_of_neighbours_are_unrelated(make_panel):
    said = RandomSignals(seed=7).signals(make_panel(T=800, N=10)).astype(float)
    limit = 4.5 / np.sqrt(said.size)
    assert abs(np.corrcoef(said[1:].ravel(), said[:-1].ravel())[0, 1]) < limit
    assert abs(np.corrcoef(said[:, 1:].ravel(), said[:, :-1].ravel())[0, 1]) < limit


# --- the index


def test_quarters_end_on_their_last_weekday_or_the_first_bar_after_a_holiday():
    march = ["2018-03-28", "2018-03-29", "2018-04-02", "2018-06-29", "2018-07-02"]
    days = np.array([*march, "2018-09-28", "2018-10-01", "2018-12-28", "2018-12-31", "2019-01-02"])
    panel = panel_of(np.full((len(days), 1), 10.0), times=days.astype("datetime64[D]"))
    # Good Friday 2018 was 30 March, a weekday without a bar: the second of April stands in.
    due = DowPolicy().signals(panel)[:, 0]
    assert due.tolist() == [0, 0, 1, 1, 0, 1, 0, 0, 1, 0]


def test_the_index_is_bought_at_once_and_restored_each_quarter(make_panel):
    panel = make_panel(T=200, N=4)
    result = backtest(DowTracking().fit(panel, MARKET), panel, MARKET, start=5)
    decided = np.flatnonzero(np.isfinite(result.weights).all(axis=1)) + 5
    due = np.flatnonzero(DowPolicy().signals(panel)[:, 0])
    assert decided.tolist() == [5, *due[due > 5].tolist()]
    assert np.allclose(result.weights[0], 0.25)
    heavy = backtest(DowTracking(price_weighted=True).fit(panel, MARKET), panel, MARKET, start=5)
    assert np.allclose(heavy.weights[0], panel["close"][5] / panel["close"][5].sum())


# --- the autoregression


def test_forecasts_are_those_of_statsmodels_with_closes_appended():
    arima = pytest.importorskip("statsmodels.tsa.arima.model")
    rng = np.random.default_rng(3)
    moves = np.zeros(420)
    for t in range(2, 420):
        moves[t] = 0.5 * moves[t - 1] - 0.2 * moves[t - 2] + rng.normal()
    close = 100.0 + np.cumsum(moves)
    panel = panel_of(close[:, None])
    learner = ArimaSignals(window=250, refit=20, band=0.002)
    said = learner.signals(panel, 300)[:, 0]
    weekdays = np.busday_count("1970-01-01", panel.times.astype("datetime64[D]"))
    rows = np.flatnonzero(weekdays % 20 == 0)
    first = int(rows[rows >= 300][0])
    fitted = arima.ARIMA(close[first - 249 : first + 1], order=(5, 1, 0)).fit()
    expected = []
    for row in range(first, first + 20):
        if row > first:
            fitted = fitted.append(close[row : row + 1], refit=False)
        expected.append(fitted.forecast(1)[0] / close[row] - 1.0)
    words = (np.array(expected) > 0.002).astype(int) - (np.array(expected) < -0.002)
    clear = np.abs(np.abs(expected) - 0.002) > 1e-5
    assert clear.sum() >= 18
    assert (said[first : first + 20] == words)[clear].all()
    assert len(set(words)) == 3


def test_an_autoregression_says_nothing_of_closes_that_never_move_or_are_unknown():
    pytest.importorskip("statsmodels")
    close = np.full((60, 3), 20.0)
    close[:, 1] += np.random.default_rng(0).normal(size=60)
    close[:, 2] = np.nan
    close[40:, 2] = 5.0
    said = ArimaSignals(lags=2, window=30, refit=5, band=0.0).signals(panel_of(close))
    assert not said[:, 0].any()
    assert not said[:, 2].any()
    assert said[40:, 1].any()


def test_an_autoregression_needs_daily_bars(make_panel):
    panel = make_panel(T=40, N=2)
    hourly = panel.times[0] + np.arange(40) * np.timedelta64(1, "h")
    with pytest.raises(DataError, match="daily bars"):
        ArimaSignals(lags=1, window=20).signals(panel.replace(times=hourly))


# --- what a word does


def test_words_move_the_account_as_the_worked_example_says():
    panel = panel_of([[100.0, 50.0], [110.0, 45.0], [121.0, 49.5]])

    class Words:
        lookback = 0

        def signals(self, part, start=0):
            said = np.array([[1, 1], [-1, 0], [0, 0]], dtype=np.int8)
            return said[np.searchsorted(panel.times, part.times)]

        def state(self):
            return {}

    policy = SignalPolicy(Words(), Trading(mode="discrete", buy=0.2, sell=0.5), MARKET)
    result = backtest(policy, panel, MARKET, cash=1000.0)
    # A fill at the same close is in the row's equity already; the example counts equity before it.
    before = result.equity[1:] + result.costs["commission"][1:]
    assert np.allclose(before, [999.80009995, 1028.73063466], rtol=0, atol=1e-7)
    assert np.allclose(result.shares[1], [0.999500249875, 3.99800099950], atol=1e-9)
    assert np.isclose(result.cash[1], 709.89005497, atol=1e-7)


def test_full_size_is_all_in_and_all_out():
    close = np.array([[10.0], [10.0], [9.0], [11.0], [12.0], [12.0], [9.0], [8.0]])
    policy = MovingAverageSignals(window=3, sizing="full").fit(panel_of(close), MARKET)
    result = backtest(policy, panel_of(close), MARKET, cash=1000.0)
    c = MARKET.commission
    shares = 1000.0 / (11.0 * (1 + c))
    assert np.isclose(result.shares[3, 0], shares)
    assert np.allclose(result.equity[4:6], shares * 12.0)
    assert np.isclose(result.equity[-1], shares * 9.0 * (1 - c))


def test_a_fraction_buys_for_a_fifth_of_the_cash(make_panel):
    panel = make_panel(T=60, N=3)
    market = Market(commission=0.0, slippage=0.0, fill="same_close")
    result = backtest(RandomSignals(seed=1).fit(panel, market), panel, market, cash=1000.0)
    bought = RandomSignals(seed=1).signals(panel)[:-1] > 0
    assert bought.sum() > 20
    cash = 1000.0
    held = np.zeros(3)
    for row in range(len(panel) - 1):
        words = RandomSignals(seed=1).signals(panel)[row]
        price = panel["close"][row]
        cash += (0.5 * held * price)[words < 0].sum()
        held = np.where(words < 0, 0.5 * held, held)
        spend = np.where(words > 0, 0.2 * cash, 0.0)
        cash -= spend.sum()
        held = held + spend / price
        assert np.isclose(result.cash[row], cash)
        assert np.allclose(result.shares[row], held)


# --- laws


def learners():
    return {
        "random": RandomSignals(),
        "average": MovingAverageSignals(window=10),
        "arima": ArimaSignals(lags=2, window=40, refit=10, band=0.0005),
    }


@pytest.mark.parametrize("kind", ["random", "average", "arima"])
def test_a_baseline_obeys_the_law_of_time_and_reads_its_look_back(kind, make_panel):
    if kind == "arima":
        pytest.importorskip("statsmodels")
    panel = make_panel(T=150, N=3, holes=0.0)
    learner = learners()[kind]
    policy = learner.fit(panel[:90], MARKET)
    said = agrees_with_slices(policy, panel, range(100, 150, 7))
    assert set(np.unique(said[60:])) == {-1, 0, 1}
    check_policy(policy, panel, rows=5)
    check_learner(learner, panel, rows=3)


@pytest.mark.parametrize("kind", ["random", "average", "arima"])
def test_a_policy_of_signals_comes_back_from_its_stored_form(kind, make_panel):
    if kind == "arima":
        pytest.importorskip("statsmodels")
    panel = make_panel(T=80, N=3)
    policy = learners()[kind].fit(panel, MARKET)
    again = SignalPolicy.from_state(policy.state())
    assert again.rule == policy.rule
    assert (again.trading, again.market) == (policy.trading, policy.market)


def test_nothing_is_said_of_what_cannot_be_traded(make_panel):
    panel = make_panel(T=60, N=4)
    member = panel.member.copy()
    member[:, 2] = False
    said = RandomSignals().fit(panel, MARKET).signals(panel.replace(member=member))
    assert not said[:, 2].any()
    assert said[:, [0, 1, 3]].any(axis=0).all()


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: RandomSignals(buy=0.7, sell=0.5), "RandomSignals"),
        (lambda: MovingAverageSignals(window=1), "MovingAverageSignals.window"),
        (lambda: MovingAverageSignals(sizing="half"), "sizing"),
        (lambda: ArimaSignals(window=10), "ArimaSignals.window"),
        (lambda: ArimaSignals(band=1.0), "ArimaSignals.band"),
        (lambda: ArimaSignals(refit=0), "ArimaSignals.refit"),
    ],
)
def test_settings_without_a_meaning_are_refused(make, where):
    with pytest.raises(DataError) as caught:
        make()
    assert where in str(caught.value)


def test_an_unknown_rule_has_no_stored_form(make_panel):
    class Other:
        lookback = 0

        def signals(self, panel, start=0):
            return np.zeros(panel.shape, np.int8)

        def state(self):
            return {}

    with pytest.raises(DataError, match="stored form"):
        SignalPolicy(Other(), Trading(mode="discrete"), MARKET).state()
    state = RandomSignals().fit(make_panel(), MARKET).state()
    state["rule"]["kind"] = "oracle"
    with pytest.raises(DataError, match="oracle"):
        SignalPolicy.from_state(state)
