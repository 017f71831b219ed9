"""The options of a formula set: each one acts where it says, on that set alone, and equals an independent library."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from alphaloom.errors import FormulaError
from alphaloom.factors import OPERATORS, Factor, FactorSet, evaluate, evaluate_one, fields_of, parse
from alphaloom.factors.options import PLAIN, Options
from alphaloom.panel import Panel

nan = math.nan


def holed_panel(T: int = 70, N: int = 5, seed: int = 0) -> Panel:
    rng = np.random.default_rng(seed)
    fields = {}
    for name in ("x", "y"):
        values = rng.normal(1.0, 1.0, (T, N))
        values[:, 0] = np.round(values[:, 0])
        values[rng.random((T, N)) < 0.25] = nan
        values[20:30, 1] = nan
        values[40:60, 2] = 7.1
        fields[name] = values
    times = np.datetime64("2020-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D")
    return Panel(times=times, assets=tuple(f"A{j}" for j in range(N)), fields=fields)


def line(values: np.ndarray) -> tuple[float, float, float]:
    known = ~np.isnan(values)
    if known.sum() < 2:
        return nan, nan, nan
    rows = np.flatnonzero(known) + 1.0
    slope, level = np.polyfit(rows, values[known], 1)
    fit, spread = level + slope * rows, values[known].var()
    quality = 1 - ((values[known] - fit) ** 2).mean() / spread if spread > 1e-12 else nan
    return float(slope), float(quality), float(values[-1] - level - slope * len(values))


def weighted(weights: np.ndarray):
    def mean(values: np.ndarray) -> float:
        mine = weights[len(weights) - len(values) :] * ~np.isnan(values)
        return float(np.nansum(mine * values) / mine.sum())

    return mean


def of_pandas(name: str, x: pd.Series, y: pd.Series, d: int, k: int) -> pd.Series:
    """The operator over windows with at least k known values, by pandas."""
    roll = x.rolling(d, min_periods=k)
    simple = {
        "ts_sum": "sum",
        "ts_mean": "mean",
        "ts_min": "min",
        "ts_max": "max",
        "ts_median": "median",
        "ts_std": "std",
        "ts_var": "var",
        "ts_skew": "skew",
        "ts_kurt": "kurt",
    }
    if name in simple:
        return getattr(roll, simple[name])()
    pairs = {"ts_cov": "cov", "ts_corr": "corr"}
    if name in pairs:
        gone = x.isna() | y.isna()
        a, b = x.mask(gone), y.mask(gone)
        return getattr(a.rolling(d, min_periods=k), pairs[name])(b)
    functions = {
        "ts_product": lambda w: float(np.nanprod(w)),
        "ts_mad": lambda w: float(np.nanmean(np.abs(w - np.nanmean(w)))),
        "ts_count": lambda w: float(np.sum(w[~np.isnan(w)] != 0)),
        "ts_slope": lambda w: line(w)[0],
        "ts_rsquare": lambda w: line(w)[1],
        "ts_resi": lambda w: line(w)[2],
        "ts_argmax": lambda w: float(np.nanargmax(w)) + 1,
        "ts_argmin": lambda w: float(np.nanargmin(w)) + 1,
        "ts_days_since_max": lambda w: len(w) - 1.0 - float(np.nanargmax(w)),
        "ts_days_since_min": lambda w: len(w) - 1.0 - float(np.nanargmin(w)),
        "decay_linear": weighted(np.arange(1.0, d + 1)),
        "ema_cut": weighted((1 - 2 / (d + 1)) ** np.arange(d - 1.0, -1, -1)),
    }
    if name in functions:
        return roll.apply(functions[name], raw=True)
    if name == "ts_quantile":
        return roll.quantile(0.3)
    if name == "ts_rank":
        return roll.rank(pct=True).where(x.notna())
    if name == "ts_zscore":
        return (x - roll.mean()) / roll.std()
    raise AssertionError(name)


# Regressions have no form in pandas; test_operators holds them against slow code, and here they meet their own parts.
OWN_TESTS = {"ts_beta", "ts_resid", "ema", "ema_alpha", "supertrend"}
BY_PANDAS = [row for row in OPERATORS if "min_periods" in row.options and row.name not in OWN_TESTS]


def written(name: str, d: int) -> str:
    if name == "ts_quantile":
        return f"{name}(x, {d}, 0.3)"
    return f"{name}(x, y, {d})" if name in ("ts_cov", "ts_corr") else f"{name}(x, {d})"


@pytest.mark.parametrize("operator", BY_PANDAS, ids=lambda row: row.name)
@pytest.mark.parametrize(("d", "k"), [(5, 1), (9, 4), (9, 9), (6, 30)])
def test_windows_with_holes_equal_pandas(operator, d, k):
    panel = holed_panel()
    got = evaluate_one(written(operator.name, d), panel, options=Options(min_periods=k))
    for j in range(panel.shape[1]):
        x, y = pd.Series(panel["x"][:, j]), pd.Series(panel["y"][:, j])
        expected = of_pandas(operator.name, x, y, d, min(k, d)).to_numpy(copy=True)
        if operator.name in ("ts_skew", "ts_kurt", "ts_corr", "ts_zscore", "ts_rsquare"):
            # Without variance these are not known; libraries differ there, so they are told apart by hand.
            flat = np.array(
                [flat_at(a, t, d) for a in (x, y)[: 1 + ("y," in written(operator.name, d))] for t in range(70)]
            )
            flat = flat.reshape(-1, 70).any(axis=0)
            assert np.isnan(got[flat, j]).all()
            expected[flat] = nan
        np.testing.assert_allclose(got[:, j], expected, rtol=1e-7, atol=1e-9, err_msg=f"{operator.name} asset {j}")


def flat_at(x: pd.Series, t: int, d: int) -> bool:
    window = x.iloc[max(0, t - d + 1) : t + 1].dropna()
    return len(window) > 0 and float(window.max() - window.min()) < 1e-9


@pytest.mark.parametrize("name", sorted(OWN_TESTS))
def test_full_windows_are_the_same_with_and_without_the_option(name):
    rng = np.random.default_rng(5)
    panel = holed_panel(T=160).replace(fields={n: rng.normal(size=(160, 5)) for n in ("x", "y")})
    texts = {"ema": "ema(x, 6)", "ema_alpha": "ema(x, alpha=0.3)", "supertrend": "supertrend(x, y + 1, y - 1, 6)"}
    text = texts.get(name, f"{name}(y, x, 6)")
    strict, loose = evaluate_one(text, panel), evaluate_one(text, panel, options=Options(min_periods=6))
    np.testing.assert_allclose(loose[10:], strict[10:], rtol=1e-9)


def test_a_regression_over_known_pairs_alone():
    panel = holed_panel(seed=3)
    beta = evaluate_one("ts_beta(y, x, 9)", panel, options=Options(min_periods=3))
    rest = evaluate_one("ts_resid(y, x, 9)", panel, options=Options(min_periods=3))
    seen = 0
    for t in range(8, 70):
        x, y = panel["x"][t - 8 : t + 1, 4], panel["y"][t - 8 : t + 1, 4]
        known = ~np.isnan(x + y)
        if known.sum() < 3:
            assert math.isnan(beta[t, 4])
            continue
        slope, level = np.polyfit(x[known], y[known], 1)
        assert beta[t, 4] == pytest.approx(slope, rel=1e-8)
        if known[-1]:
            seen += 1
            assert rest[t, 4] == pytest.approx(y[-1] - level - slope * x[-1], abs=1e-9)
    assert seen > 20


def test_a_trailing_band_passes_over_the_rows_that_are_not_known():
    panel = holed_panel(seed=3)
    got = evaluate_one("supertrend(x, y + 1, y - 1, 9)", panel, options=Options(min_periods=3))
    seen = 0
    for t in range(8, 70):
        known = t - 8 + np.flatnonzero(~np.isnan(panel["x"] + panel["y"])[t - 8 : t + 1, 4])
        if len(known) < 3:
            assert math.isnan(got[t, 4])
            continue
        fields = {name: panel[name][known] for name in ("x", "y")}
        dense = Panel(times=panel.times[known], assets=panel.assets, fields=fields)
        assert got[t, 4] == evaluate_one(f"supertrend(x, y + 1, y - 1, {len(known)})", dense)[-1, 4]
        seen += len(known) < 9
    assert seen > 20


def test_the_exponential_mean_equals_pandas_where_its_tail_is_long_gone():
    panel = holed_panel(T=400, seed=4)
    for text, alpha in (("ema(x, 5)", 2 / 6), ("ema(x, alpha=0.25)", 0.25), ("sma(x, 4, 1)", 0.25)):
        got = evaluate_one(text, panel, options=Options(min_periods=1))
        for j in (0, 2, 4):
            x = pd.Series(panel["x"][:, j])
            expected = x.ewm(alpha=alpha, adjust=True, ignore_na=False, min_periods=1).mean().where(x.notna())
            np.testing.assert_allclose(got[:, j], expected, rtol=1e-6, atol=1e-6)


def test_what_a_constant_side_of_a_correlation_gives():
    panel = holed_panel()
    strict = evaluate_one("ts_corr(x, y, 5)", panel)
    zero = evaluate_one("ts_corr(x, y, 5)", panel, options=Options(zero_variance_corr="zero"))
    assert np.isnan(strict[50, 2])
    assert zero[50, 2] == 0.0
    same = ~np.isnan(strict)
    np.testing.assert_array_equal(zero[same], strict[same])
    unknown = np.isnan(panel["x"] + panel["y"])
    held = np.stack([unknown[max(0, t - 4) : t + 1].any(axis=0) for t in range(70)])
    assert np.isnan(zero[held]).all()


def test_population_moments_are_the_plain_ratios():
    rng = np.random.default_rng(6)
    panel = holed_panel().replace(fields={"x": rng.normal(size=(70, 5))})
    w = panel["x"][60:68, 3] - panel["x"][60:68, 3].mean()
    for least in ("full", 3):
        options = Options(moments="population", min_periods=least)
        skew, kurt = (evaluate_one(f"ts_{name}(x, 8)", panel, options=options)[67, 3] for name in ("skew", "kurt"))
        assert skew == pytest.approx(np.mean(w**3) / np.mean(w**2) ** 1.5)
        assert kurt == pytest.approx(np.mean(w**4) / np.mean(w**2) ** 2 - 3)


@pytest.mark.parametrize("symbol", ["<", "<=", ">", ">=", "==", "!="])
def test_a_comparison_with_what_is_not_known(symbol):
    panel = holed_panel()
    unknown = np.isnan(panel["x"] + panel["y"])
    strict = evaluate_one(f"x {symbol} y", panel)
    loose = evaluate_one(f"x {symbol} y", panel, options=Options(nan_compare="false"))
    assert np.isnan(strict[unknown]).all()
    assert (loose[unknown] == 0.0).all()
    np.testing.assert_array_equal(loose[~unknown], strict[~unknown])


def test_average_volume_in_shares_or_in_money(make_panel):
    panel = make_panel(T=30)
    money = Options(adv="money")
    np.testing.assert_allclose(evaluate_one("adv5", panel)[-1], panel["volume"][-5:].mean(axis=0))
    traded = panel["volume"] * panel["vwap"]
    np.testing.assert_allclose(evaluate_one("adv5", panel, options=money)[-1], traded[-5:].mean(axis=0))
    assert fields_of(parse("adv5")) == ("volume",)
    assert fields_of(parse("adv5"), money) == ("volume", "vwap")
    assert FactorSet("s", (Factor("f", parse("adv5")),), money).fields == ("volume", "vwap")


@pytest.mark.parametrize(("window", "floor", "rounded"), [(8.93, 8, 9), (2.5, 2, 3), (3.49, 3, 3), (3.5, 3, 4)])
def test_windows_that_are_not_whole_are_floored_or_rounded(window, floor, rounded):
    text = f"ts_mean(close, {window})"
    assert parse(text) == parse(f"ts_mean(close, {floor})")
    assert parse(text, options=Options(window_rounding="round")) == parse(f"ts_mean(close, {rounded})")


def test_options_belong_to_their_set_and_to_no_other():
    panel = holed_panel()
    expr = parse("ts_mean(x > y, 5)")
    strict = FactorSet("strict", (Factor("f", expr),))
    loose = FactorSet("loose", (Factor("f", expr),), Options(nan_compare="false", min_periods=1))
    before = evaluate(strict, panel, dtype=np.float64).values
    other = evaluate(loose, panel, dtype=np.float64).values
    after = evaluate(strict, panel, dtype=np.float64).values
    assert before.tobytes() == after.tobytes()
    assert np.isfinite(other).all()
    assert not np.isfinite(before).all()


@pytest.mark.parametrize(
    "operator", [row for row in OPERATORS if "min_periods" in row.options], ids=lambda row: row.name
)
def test_with_holes_allowed_a_slice_with_its_lookback_rows_gives_the_same_bits(operator):
    from alphaloom.factors import Expr, lookback

    panel = holed_panel(T=130, N=9, seed=8)
    names = iter("xyx")
    kinds = {"series": lambda _: next(names), "window": lambda _: 6.0, "constant": lambda _: 0.3}
    expr = Expr.call(operator.name, *(kinds[argument.kind](argument) for argument in operator.arguments))
    reach, options = lookback(expr), Options(min_periods=2)
    whole = evaluate_one(expr, panel, options=options)
    for start, stop in pairwise((reach, reach + 13, 130)):
        part = evaluate_one(expr, panel[start - reach : stop], options=options)
        assert part[reach:].tobytes() == whole[start:stop].tobytes()
    assert whole[:50].tobytes() == evaluate_one(expr, panel[:50], options=options).tobytes()


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ({"adv": "dollars"}, "dollars"),
        ({"min_periods": 0}, "0"),
        ({"min_periods": True}, "True"),
        ({"min_periods": 2.5}, "2.5"),
        ({"moments": 3}, "3"),
        ({"window_roundings": "floor"}, "window_roundings"),
    ],
)
def test_an_illegal_option_is_refused_with_what_is_legal(table, found):
    with pytest.raises(FormulaError) as caught:
        Options.read(table)
    assert found in str(caught.value)
    assert caught.value.where == "options"


def test_the_options_that_are_stated():
    assert PLAIN.stated == {}
    assert Options(min_periods=1, adv="money").stated == {"adv": "money", "min_periods": 1}
    assert Options.read({"adv": "money"}) == Options(adv="money")
