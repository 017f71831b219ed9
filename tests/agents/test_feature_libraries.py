"""The indicator libraries against their textbook recursions, which begin with the data and never forget."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.factors import evaluate, load_library, lookback

T, N, BURNT = 900, 4, 600


@pytest.fixture(scope="module")
def bars() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    close = 40.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, (T, N)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.01, (T, N)))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.008, (T, N))))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.008, (T, N))))
    return {"open": open_, "high": high, "low": low, "close": close, "volume": np.exp(rng.normal(13, 0.5, (T, N)))}


@pytest.fixture
def found(bars, make_panel):
    panel = make_panel(T, N).replace(fields=bars)

    def values(library: str) -> dict[str, np.ndarray]:
        factors = load_library(library)
        grid = evaluate(factors, panel, dtype=np.float64).values
        return {name: grid[:, :, k] for k, name in enumerate(factors.names)}

    return values


def smoothed(x, n, weight):
    """A recursion that starts as the plain mean of its first n values."""
    out = np.full(x.shape, np.nan)
    first = int(np.isfinite(x).all(axis=1).argmax()) + n - 1
    out[first] = x[first - n + 1 : first + 1].mean(axis=0)
    for t in range(first + 1, len(x)):
        out[t] = out[t - 1] + weight * (x[t] - out[t - 1])
    return out


def ema(x, n):
    return smoothed(x, n, 2.0 / (n + 1.0))


def wilder(x, n):
    return smoothed(x, n, 1.0 / n)


def rolled(x, n, measure):
    out = np.full(x.shape, np.nan)
    for t in range(n - 1, len(x)):
        out[t] = measure(x[t - n + 1 : t + 1])
    return out


def mean(x, n):
    return rolled(x, n, lambda w: w.mean(axis=0))


def before(x, k):
    return np.concatenate([np.full((k, x.shape[1]), np.nan), x[:-k]])


def true_range(b):
    last = before(b["close"], 1)
    parts = (b["high"] - b["low"], np.abs(b["high"] - last), np.abs(b["low"] - last))
    return np.where(np.isnan(last), np.nan, np.maximum(np.maximum(*parts[:2]), parts[2]))


def strength(close, n):
    move = close - before(close, 1)
    up, down = wilder(np.maximum(move, 0.0), n), wilder(np.maximum(-move, 0.0), n)
    return 100.0 * up / (up + down)


def agree(found, expected, *, rtol=2e-6, scale=1.0):
    """Equal once the recursion has forgotten its start."""
    np.testing.assert_allclose(found[BURNT:], expected[BURNT:], rtol=rtol, atol=rtol * scale)


def test_the_sets_hold_what_they_say(found):
    assert len(found("qtmrl")) == 37
    assert len(found("finrl")) == 8
    assert len(found("ratio")) == 24


def test_averages_and_oscillators_of_the_37(found, bars):
    values, close = found("qtmrl"), bars["close"]
    for n in (5, 20, 50):
        agree(values[f"sma_{n}"], mean(close, n))
    for n in (12, 26, 50):
        agree(values[f"ema_{n}"], ema(close, n))
    line = ema(close, 12) - ema(close, 26)
    agree(values["macd"], line, scale=40.0)
    agree(values["macd_signal"], ema(line, 9), scale=40.0)
    agree(values["macd_hist"], line - ema(line, 9), scale=40.0)
    agree(values["rsi_14"], strength(close, 14))
    agree(values["sma_ratio"], mean(close, 5) / mean(close, 20))


def test_volatility_and_bars_of_the_37(found, bars):
    values, close = found("qtmrl"), bars["close"]
    agree(values["tr"], true_range(bars))
    agree(values["atr_10"], wilder(true_range(bars), 10))
    agree(values["atr_14"], wilder(true_range(bars), 14))
    agree(values["stddev_20"], rolled(close, 20, lambda w: w.std(axis=0, ddof=1)))
    width = 2.0 * rolled(close, 20, lambda w: w.std(axis=0))
    agree(values["bb_upper"], mean(close, 20) + width)
    agree(values["bb_lower"], mean(close, 20) - width)
    agree(values["bb_width"], 2.0 * width / close)
    agree(values["return"], close / before(close, 1) - 1.0)
    agree(values["range"], bars["high"] - bars["low"])
    agree(values["price_change"], close / bars["open"] - 1.0)
    agree(values["volume_change"], bars["volume"] / before(bars["volume"], 1) - 1.0)
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(values[name], bars[name])


def test_the_cloud_stands_over_today_and_was_made_26_bars_ago(found, bars):
    values = found("qtmrl")

    def middle(n):
        highest = rolled(bars["high"], n, lambda w: w.max(axis=0))
        return (highest + rolled(bars["low"], n, lambda w: w.min(axis=0))) / 2.0

    agree(values["ichi_tenkan"], middle(9))
    agree(values["ichi_kijun"], middle(26))
    agree(values["ichi_span_a"], before((middle(9) + middle(26)) / 2.0, 26))
    agree(values["ichi_span_b"], before(middle(52), 26))


def test_heikin_ashi_candles_of_the_37(found, bars):
    values = found("qtmrl")
    close = (bars["open"] + bars["high"] + bars["low"] + bars["close"]) / 4.0
    open_ = np.empty_like(close)
    open_[0] = (bars["open"][0] + bars["close"][0]) / 2.0
    for t in range(1, T):
        open_[t] = (open_[t - 1] + close[t - 1]) / 2.0
    agree(values["ha_close"], close)
    agree(values["ha_open"], open_)
    agree(values["ha_high"], np.maximum(bars["high"], np.maximum(open_, close)))
    agree(values["ha_low"], np.minimum(bars["low"], np.minimum(open_, close)))


def test_a_replay_of_126_rows_is_the_supertrend_that_never_forgets(found, bars):
    values, close = found("qtmrl"), bars["close"]
    middle, reach = (bars["high"] + bars["low"]) / 2.0, 3.0 * wilder(true_range(bars), 10)
    upper, lower = middle + reach, middle - reach
    line, rising = np.full((T, N), np.nan), np.ones((T, N), bool)
    for j in range(N):
        high, low, up = upper[10, j], lower[10, j], True
        for t in range(11, T):
            last = close[t - 1, j]
            high = upper[t, j] if upper[t, j] < high or last > high else high
            low = lower[t, j] if lower[t, j] > low or last < low else low
            up = close[t, j] >= low if up else close[t, j] > high
            line[t, j], rising[t, j] = (low if up else high), up
    agree(values["st_line"], line)
    assert np.array_equal(values["st_dir"][BURNT:] > 0, rising[BURNT:])
    flips = np.count_nonzero(np.diff(values["st_dir"][BURNT:], axis=0), axis=0)
    assert flips.min() >= 3


def test_the_eight_of_the_peer(found, bars):
    values, close, high, low = found("finrl"), bars["close"], bars["high"], bars["low"]
    agree(values["macd"], ema(close, 12) - ema(close, 26), scale=40.0)
    wide = 2.0 * rolled(close, 20, lambda w: w.std(axis=0, ddof=1))
    agree(values["boll_ub"], mean(close, 20) + wide)
    agree(values["boll_lb"], mean(close, 20) - wide)
    agree(values["rsi_30"], strength(close, 30))
    typical = (high + low + close) / 3.0
    away = rolled(typical, 30, lambda w: np.abs(w - w.mean(axis=0)).mean(axis=0))
    agree(values["cci_30"], (typical - mean(typical, 30)) / (0.015 * away), scale=100.0)
    up, down = high - before(high, 1), before(low, 1) - low
    known = ~np.isnan(up)
    plus = np.where(known, np.where((up > down) & (up > 0), up, 0.0), np.nan)
    minus = np.where(known, np.where((down > up) & (down > 0), down, 0.0), np.nan)
    size = wilder(true_range(bars), 30)
    plus_line, minus_line = 100.0 * wilder(plus, 30) / size, 100.0 * wilder(minus, 30) / size
    agree(values["dx_30"], 100.0 * np.abs(plus_line - minus_line) / (plus_line + minus_line), rtol=1e-4, scale=10.0)
    agree(values["close_30_sma"], mean(close, 30))
    agree(values["close_60_sma"], mean(close, 60))


@pytest.mark.parametrize("library", ["qtmrl", "finrl", "ratio"])
def test_each_formula_needs_the_rows_of_its_look_back_and_no_row_to_come(bars, make_panel, library):
    panel = make_panel(T, N).replace(fields=bars)
    factors = load_library(library)
    whole = evaluate(factors, panel).values
    reach = max(lookback(factor.expr) for factor in factors.factors)
    assert factors.lookback == reach < BURNT
    part = evaluate(factors, panel[700 - reach : 701]).values[-1]
    assert np.array_equal(part, whole[700])
    assert np.isfinite(whole[BURNT:]).all()


@pytest.mark.parametrize("library", ["qtmrl", "finrl", "ratio"])
def test_a_price_that_stands_still_has_indicators_too(make_panel, library):
    flat = {name: np.full((700, 3), 25.0) for name in ("open", "high", "low", "close")}
    panel = make_panel(700, 3).replace(fields={**flat, "volume": np.full((700, 3), 1000.0)})
    values = evaluate(load_library(library), panel).values[-1]
    assert np.isfinite(values).all()
