"""The embedded market: its axes, its events, and that nothing in it is known too early."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from alphaloom.data.simulate import EmbeddedMarket, planted_signal, simulate
from alphaloom.data.simulate_calendar import quarter_ends, trading_days
from alphaloom.errors import DataError
from alphaloom.panel import Panel
from alphaloom.units import MONEY, PRICE, SHARE

MARKET = EmbeddedMarket(dtype="float64")
ACCOUNTS = ("book_equity", "net_income", "revenue", "total_assets")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulate(MARKET)


def last_rows(panel: Panel) -> dict[int, int]:
    """The last bar of each asset that left, by column."""
    gone = panel.listed[:-1] & ~panel.listed[1:]
    rows, columns = np.nonzero(gone)
    return dict(zip(columns.tolist(), rows.tolist(), strict=True))


def test_the_same_seed_gives_the_same_bytes() -> None:
    small = EmbeddedMarket(days=150, assets=12)
    one, two = simulate(small), simulate(small)
    assert one.source == two.source
    for name in one.fields:
        assert one[name].tobytes() == two[name].tobytes()
    assert one.corpus.digest() == two.corpus.digest()
    assert simulate(dataclasses.replace(small, seed=8)).source != one.source


def test_axes_units_and_notes() -> None:
    panel = simulate(EmbeddedMarket(days=300, assets=20))
    assert panel.shape == (300, 20)
    assert all(values.dtype == np.float32 for values in panel.fields.values())
    expected = "open high low close volume vwap amount adj_factor split dividends shares_out cap"
    assert set(panel.fields) == {*expected.split(), *ACCOUNTS}
    assert {panel.units[name] for name in (*ACCOUNTS, "cap", "amount")} == {MONEY}
    assert {panel.units[name] for name in ("open", "high", "low", "close", "vwap", "adj_factor", "dividends")} == {
        PRICE
    }
    assert {panel.units[name] for name in ("volume", "shares_out")} == {SHARE}
    assert set(panel.series) == {"index", "vix", "risk_free"}
    assert len(panel.label_names["sector"]) == 8
    assert panel.periods_per_year in (251.0, 252.0)
    assert "seed 7" in panel.notes[0]
    assert "imulated" in panel.notes[0]
    assert "planted" in panel.notes[1]
    assert "Nothing is planted" in simulate(EmbeddedMarket(days=60, assets=5, noise=True)).notes[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("price_limit", [0.0, 0.05])
def test_bars_are_consistent(dtype: str, price_limit: float) -> None:
    panel = simulate(EmbeddedMarket(days=300, assets=40, dtype=dtype, price_limit=price_limit, halts=0.01))
    bars = {name: panel[name] for name in ("open", "high", "low", "close", "vwap")}
    known = np.isfinite(panel["close"])
    for values in bars.values():
        np.testing.assert_array_equal(np.isfinite(values), known)
    o, h, low, c, v = (values[known] for values in bars.values())
    assert (low > 0).all()
    assert (h >= np.maximum(o, c)).all()
    assert (low <= np.minimum(o, c)).all()
    slack = 1e-6 if dtype == "float32" else 1e-12
    assert (v <= h * (1 + slack)).all()
    assert (v >= low * (1 - slack)).all()
    assert (panel["volume"][known] > 0).all()


def test_prices_exist_where_the_asset_trades(panel: Panel) -> None:
    halted = panel.listed & ~np.isfinite(panel["close"])
    assert halted.sum() > 50
    assert (panel["volume"][halted] == 0).all()
    assert (panel["amount"][halted] == 0).all()
    assert not (panel.buyable & halted).any()
    assert not (panel.sellable & halted).any()
    np.testing.assert_array_equal(panel.buyable, panel.listed & ~halted)
    for values in panel.fields.values():
        assert np.isnan(values[~panel.listed]).all()
    for column in range(panel.shape[1]):
        rows = np.flatnonzero(panel.listed[:, column])
        assert len(rows) == rows[-1] - rows[0] + 1  # listed once, in one piece
        assert np.isfinite(panel["close"][rows[0], column])


def test_assets_come_and_go(panel: Panel) -> None:
    assert 5 <= (~panel.listed[0]).sum() <= 30
    ends = last_rows(panel)
    assert len(ends) >= 4
    falls = [
        panel["close"][row, j] / np.nanmax(panel["close"][max(0, row - 250) : row + 1, j]) for j, row in ends.items()
    ]
    ruined = np.array(falls) < 0.4
    assert ruined.any()  # bankruptcies come after a fall
    assert (~ruined).any()  # mergers do not
    for j, row in ends.items():
        assert np.isfinite(panel["close"][row, j])
        assert not panel.member[row + 1 :, j].any()


def test_merging_firms_trade_near_their_offer(panel: Panel) -> None:
    close = panel["close"]
    calm = [
        j
        for j, row in last_rows(panel).items()
        if row > 60 and np.nanstd(np.diff(np.log(close[row - 6 : row + 1, j]))) < 0.006
    ]
    assert calm
    for j in calm:
        row = last_rows(panel)[j]
        assert np.nanmax(np.diff(np.log(close[max(0, row - 260) : row + 1, j]))) > 0.1  # the day of the bid


def test_adjusted_returns_follow_from_raw_prices_and_events(panel: Panel) -> None:
    raw, paid = panel["close"] / panel["adj_factor"], panel["dividends"] / panel["adj_factor"]
    close = panel["close"]
    expected = raw[1:] * panel["split"][1:] / (raw[:-1] - paid[1:])
    both = np.isfinite(close[1:]) & np.isfinite(close[:-1])
    np.testing.assert_allclose((close[1:] / close[:-1])[both], expected[both], rtol=1e-10)
    split = panel.listed & (panel["split"] != 1.0)
    assert split.sum() >= 5
    assert set(np.unique(panel["split"][split])) <= {0.1, 2.0, 4.0}
    assert (panel["dividends"] > 0).sum() > 200
    last = [np.flatnonzero(panel.listed[:, j])[-1] for j in range(panel.shape[1])]
    np.testing.assert_allclose(panel["adj_factor"][last, np.arange(panel.shape[1])], 1.0)


def test_money_does_not_depend_on_the_adjustment(panel: Panel) -> None:
    factor, split = panel["adj_factor"], np.where(panel.listed, panel["split"], 1.0)
    later = np.concatenate([np.cumprod(split[::-1], axis=0)[::-1][1:], np.ones((1, panel.shape[1]))])
    raw_shares, raw_volume = panel["shares_out"] / later, panel["volume"] / later
    known = np.isfinite(panel["cap"])
    np.testing.assert_allclose((raw_shares * panel["close"] / factor)[known], panel["cap"][known], rtol=1e-10)
    np.testing.assert_allclose((raw_volume * panel["vwap"] / factor)[known], panel["amount"][known], rtol=1e-10)


def test_price_limits_bind_and_forbid() -> None:
    panel = simulate(EmbeddedMarket(days=500, assets=60, price_limit=0.05, dtype="float64"))
    up, down = panel["limit_up"], panel["limit_down"]
    for name in ("open", "high", "low", "close"):
        assert not (panel[name] > up * (1 + 1e-12)).any()
        assert not (panel[name] < down * (1 - 1e-12)).any()
    opened_up, opened_down = panel["open"] >= up * (1 - 1e-9), panel["open"] <= down * (1 + 1e-9)
    assert opened_up.sum() > 20
    assert opened_down.sum() > 20
    assert not panel.buyable[opened_up].any()
    assert panel.sellable[opened_up].all()
    assert not panel.sellable[opened_down].any()
    assert panel.buyable[opened_down].all()
    assert np.isclose(panel["close"], up, rtol=1e-9).sum() > 50
    before = np.concatenate([np.full((1, 60), np.nan), panel["close"][:-1]])
    np.testing.assert_allclose(up[np.isfinite(up)], (before * 1.05)[np.isfinite(up)])


def test_accounts_are_never_seen_before_they_are_filed(panel: Panel) -> None:
    days = panel.times.astype("datetime64[D]")
    ends = quarter_ends(days)
    book = panel["book_equity"]
    changed = np.isfinite(book[1:]) & (book[1:] != book[:-1]) & panel.listed[:-1]
    rows, _ = np.nonzero(changed)
    assert len(rows) > 1500
    day = days[rows + 1]
    age = (day - ends[np.searchsorted(ends, day, side="left") - 1]).astype(int)
    assert age.min() >= 20
    assert age.max() <= 66  # 60 days and a long weekend
    first = np.argmax(np.isfinite(book), axis=0) - np.argmax(panel.listed, axis=0)
    assert (first > 5).all()  # nothing is known on the first bars
    for name in ACCOUNTS:
        np.testing.assert_array_equal(np.isfinite(panel[name]), np.isfinite(book))
    assert (panel["total_assets"] >= book)[np.isfinite(book)].all()


def test_membership_is_the_largest_of_the_bar_before_each_quarter(panel: Panel) -> None:
    quarter = panel.times.astype("datetime64[M]").astype(int) // 3
    starts = np.flatnonzero(np.diff(quarter)) + 1
    cap = panel["cap"]
    for start in starts:
        size = np.nan_to_num(cap[start - 1])
        halted = panel.listed[start - 1] & ~np.isfinite(cap[start - 1])
        chosen = panel.member[start]
        floor = size[chosen & ~halted].min()
        left_out = ~chosen & panel.listed[start] & ~halted & (size > 0)
        assert (size[left_out] <= floor).all()
        assert 73 <= chosen.sum() <= 75
    for start, stop in pairwise([0, *starts.tolist(), len(panel)]):
        joined = panel.member[start + 1 : stop] & ~panel.member[start : stop - 1]
        assert not joined.any()  # no one joins between reviews
    assert not (panel.member & ~panel.listed).any()
    assert (~panel.member.any(axis=0)).sum() >= 3


def test_late_listings_stay_in_their_place_when_a_market_goes_on() -> None:
    short = EmbeddedMarket(days=200, assets=30, late=0.5)
    assert simulate(dataclasses.replace(short, opening=200)).source == simulate(short).source
    before, after = simulate(short), simulate(dataclasses.replace(short, days=300, opening=200))
    np.testing.assert_array_equal(before.listed, after.listed[:200])
    np.testing.assert_array_equal(before["cap"], after["cap"][:200])
    with pytest.raises(DataError, match="at least one"):
        EmbeddedMarket(opening=0)


def test_a_shorter_market_is_the_beginning_of_a_longer_one() -> None:
    short = EmbeddedMarket(days=330, assets=25, late=0.0, dtype="float64", halts=0.005)
    before, after = simulate(short), simulate(dataclasses.replace(short, days=420))[:330]
    assert before.assets == after.assets
    np.testing.assert_array_equal(before.times, after.times)
    for name in ("member", "listed", "buyable", "sellable"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    for name in ("cap", *ACCOUNTS):
        np.testing.assert_array_equal(before[name], after[name])
    for name in ("open", "high", "low", "close", "vwap"):
        np.testing.assert_allclose(before[name] / before["adj_factor"], after[name] / after["adj_factor"], rtol=1e-12)
    for name in ("index", "vix", "risk_free"):
        np.testing.assert_array_equal(before.series[name], after.series[name])
    assert before.corpus.digest() == after.corpus.digest()
    truth = planted_signal(short)
    np.testing.assert_array_equal(truth.values, planted_signal(dataclasses.replace(short, days=420)).values[:330])


def test_headlines_are_dated_inside_the_bar_that_may_read_them_first(panel: Panel) -> None:
    corpus = panel.corpus
    assert len(corpus) > 10_000
    assert set(corpus.kind) == {"news"}
    rows = np.searchsorted(panel.times, corpus.available, side="left")
    assert rows.max() < len(panel)
    assert panel.listed[rows, corpus.asset].all()
    hour = (corpus.available - corpus.available.astype("datetime64[D]")) / np.timedelta64(1, "h")
    assert 0.5 < ((hour >= 9.5) & (hour <= 16)).mean() < 0.8
    assert (hour > 16).mean() > 0.05
    assert (hour < 9.5).mean() > 0.05
    per_month = len(corpus) / (panel.listed.sum() / 21)
    assert 1.5 < per_month < 4.0
    middle = panel[:700]
    assert middle.corpus.available.max() <= middle.times[-1]
    assert len(middle.corpus) < len(corpus)


def test_headlines_name_their_firm(panel: Panel) -> None:
    texts = {}
    for _, asset, text, _ in panel.corpus:
        texts.setdefault(asset, []).append(text)
    asset, own = max(texts.items(), key=lambda item: len(item[1]))
    words = [set(text.replace(",", "").split()) for text in own]
    shared = set.intersection(*words)
    assert len(shared) >= 2  # the two words of the name stand in every headline of the firm
    other = next(j for j in texts if j != asset)
    assert not any(shared <= set(text.split()) for text in texts[other])


def test_the_calendar_knows_weekends_and_holidays() -> None:
    days = trading_days("2015-01-02", 2600)
    closed = ["2015-04-03", "2015-07-03", "2015-11-26", "2016-01-01", "2017-01-02", "2018-05-28", "2019-01-21"]
    open_days = ["2015-11-27", "2016-12-27", "2018-12-24", "2021-12-31", "2015-04-06"]
    assert not np.isin(np.array(closed, dtype="datetime64[D]"), days).any()
    assert np.isin(np.array(open_days, dtype="datetime64[D]"), days).all()
    assert np.is_busday(days).all()
    assert (np.diff(days) > np.timedelta64(0, "D")).all()
    per_year = np.unique(days.astype("datetime64[Y]"), return_counts=True)[1][:-1]
    assert per_year.min() >= 250
    assert per_year.max() <= 254


def test_quarter_ends_include_the_one_before_the_start() -> None:
    ends = quarter_ends(trading_days("2015-01-02", 130))
    assert [str(day) for day in ends] == ["2014-12-31", "2015-03-31", "2015-06-30"]


@pytest.mark.parametrize(("days", "assets"), [(1, 1), (2, 3), (15, 2), (70, 1)])
def test_the_smallest_markets_work(days: int, assets: int) -> None:
    market = EmbeddedMarket(days=days, assets=assets, late=0.9)
    panel = simulate(market)
    assert panel.shape == (days, assets)
    assert panel.listed.any(axis=0).all()
    assert planted_signal(market).values.shape == (days, assets)


@pytest.mark.parametrize(
    "wrong",
    [
        {"days": 0},
        {"assets": 0},
        {"seed": -1},
        {"members": 1.5},
        {"late": -0.1},
        {"halts": float("nan")},
        {"value": 0.9},
        {"news": float("nan")},
        {"price_limit": -0.1},
        {"delistings": -1.0},
        {"dtype": "int8"},
        {"start": "someday"},
    ],
)
def test_impossible_markets_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DataError, match="simulate"):
        EmbeddedMarket(**wrong)  # type: ignore[arg-type]
