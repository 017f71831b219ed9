"""Mistakes that published factor code makes, each with the number that shows it is not made here."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.factors import Expr, Factor, FactorSet, evaluate, evaluate_one, load_library, parse
from alphaloom.factors.canonical import canonical
from alphaloom.factors.options import Options
from alphaloom.panel import Panel


def column(*values: float) -> Panel:
    grid = np.array(values, float)[:, None]
    times = np.datetime64("2020-01-01", "ns") + np.arange(len(grid)) * np.timedelta64(1, "D")
    return Panel(times=times, assets=("A",), fields={"x": grid})


def row(*values: float) -> Panel:
    return Panel(
        times=np.array(["2020-01-01"], "datetime64[ns]"),
        assets=tuple(f"A{j}" for j in range(len(values))),
        fields={"x": np.array([values], float)},
    )


def last(formula: str, panel: Panel) -> float:
    return float(evaluate_one(formula, panel)[-1, 0])


def test_linear_decay_is_heaviest_today():
    assert last("decay_linear(x, 3)", column(1, 2, 3)) == pytest.approx(14 / 6)


def test_windows_are_floored():
    assert parse("ts_mean(x, 8.93345)") == parse("ts_mean(x, 8)")


def test_ts_rank_is_a_percentile_with_average_ties():
    assert last("ts_rank(x, 4)", column(1, 5, 3, 3)) == pytest.approx(2.5 / 4)


def test_argmax_counts_from_the_oldest_and_takes_the_earliest_tie():
    assert last("ts_argmax(x, 4)", column(1, 9, 9, 2)) == 2
    assert last("ts_days_since_max(x, 4)", column(1, 9, 9, 2)) == 2
    assert last("ts_argmax(x, 4)", column(1, 2, 3, 4)) == 4


@pytest.mark.parametrize(
    "formula",
    ["ts_sum(x, 3)", "ts_std(x, 3)", "ts_corr(x, x, 3)", "ts_skew(x, 3)", "decay_linear(x, 3)", "ts_max(x, 3)"],
)
def test_an_inf_is_forgotten_when_it_leaves_the_window(formula):
    clean = evaluate_one(formula, column(9, 9, 4, 1, 2, 7, 5))
    struck = evaluate_one(formula, column(9, np.inf, 4, 1, 2, 7, 5))
    assert np.isnan(struck[1:4]).all()
    assert struck[4:].tobytes() == clean[4:].tobytes()


def test_a_huge_value_leaves_no_drift_behind():
    tail = np.linspace(0.1, 0.9, 20)
    values = np.concatenate([np.full(5, 1e12), tail])
    got = evaluate_one("ts_std(x, 7)", column(*values))[-1, 0]
    assert got == pytest.approx(tail[-7:].std(ddof=1), rel=1e-12)


@pytest.mark.parametrize("d", [5, 20, 252])
def test_moments_survive_a_large_mean(d):
    values = 1e4 + np.random.default_rng(0).normal(0, 1, 400)
    window = values[-d:]
    centred = window - window.mean()
    skew = np.sqrt(d * (d - 1)) / (d - 2) * np.mean(centred**3) / np.mean(centred**2) ** 1.5
    panel = column(*values)
    assert last(f"ts_std(x, {d})", panel) == pytest.approx(window.std(ddof=1), rel=1e-9)
    assert last(f"ts_skew(x, {d})", panel) == pytest.approx(skew, rel=1e-7)


def test_unknown_cells_are_skipped_or_spread_but_never_zero():
    level = column(*[5.0] * 10, np.nan, *[5.0] * 10)
    assert last("ema(x, 3)", level) == pytest.approx(5.0, rel=1e-12)
    decayed = evaluate_one("decay_linear(x, 3)", level)[:, 0]
    assert np.isnan(decayed[10:13]).all()
    assert decayed[2:10] == pytest.approx(5.0)
    assert decayed[13:] == pytest.approx(5.0)


def test_ema_equals_the_textbook_recursion_once_warm():
    values = np.random.default_rng(1).normal(10, 1, 400)
    alpha, y = 2 / 13, values[0]
    for value in values[1:]:
        y = alpha * value + (1 - alpha) * y
    assert last("ema(x, 12)", column(*values)) == pytest.approx(y, rel=1e-7)


def test_correlation_of_two_points_is_a_sign():
    panel = column(1, 2, 4, 3)
    assert evaluate_one("ts_corr(x, delay(x, 1), 2)", panel)[2:, 0].tolist() == [1.0, -1.0]
    steps = column(*np.cumsum(np.random.default_rng(0).normal(size=300)))
    for options in (Options(), Options(min_periods=2)):
        signs = evaluate_one("ts_corr(x, delay(x, 1), 2)", steps, options=options)[2:, 0]
        # Not 0.9999999999999999: a rank would take such noise for an order.
        assert set(signs.tolist()) == {1.0, -1.0}


def test_correlation_with_a_constant_is_unknown_at_any_price_level():
    for level in (1e-6, 1.0, 1e6):
        values = level * np.array([1.0, 1.1, 0.9, 1.2])
        panel = column(*values)
        assert np.isfinite(last("ts_corr(x, x * x, 4)", panel))
        assert np.isnan(last(f"ts_corr(x, 0 * x + {level / 3!r}, 4)", panel))


def test_rank_is_average_tie_over_count_and_zero_has_no_sign():
    assert evaluate_one("rank(x)", row(3, 1, 3, np.nan))[0, :3] == pytest.approx([2.5 / 3, 1 / 3, 2.5 / 3])
    assert evaluate_one("rank(x)", row(-0.0, 0.0))[0] == pytest.approx([0.75, 0.75])
    assert evaluate_one("rank(x)", row(4.0))[0, 0] == 1.0


def test_comparisons_with_the_unknown_are_unknown():
    assert np.isnan(evaluate_one("x > 1", row(np.nan, 2.0))[0, 0])
    assert np.isnan(evaluate_one("where(x, 1, 2)", row(np.nan, 2.0))[0, 0])
    assert np.isnan(evaluate_one("power(x, 0)", row(np.nan, 2.0))[0, 0])


def test_equal_values_have_no_zscore_noise():
    assert (evaluate_one("zscore(x)", row(0.1, 0.1, 0.1))[0] == 0.0).all()


def the_101(options: Options | None = None) -> dict[str, Expr]:
    return {factor.name: factor.expr for factor in load_library("alpha101", options=options).factors}


def walks(T: int = 330, N: int = 30) -> Panel:
    rng = np.random.default_rng(11)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (T, N)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.006, (T, N)))
    fields = {"open": open_, "close": close, "volume": np.exp(rng.normal(13, 0.5, (T, N)))}
    fields["high"] = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.005, (T, N))))
    fields["low"] = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.005, (T, N))))
    fields["vwap"] = (fields["high"] + fields["low"] + close) / 3
    times = np.datetime64("2020-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D")
    return Panel(times=times, assets=tuple(f"A{j}" for j in range(N)), fields=fields)


def test_rounding_windows_would_change_36_of_the_101():
    floored, rounded = the_101(), the_101(Options(window_rounding="round"))
    assert sum(floored[name] != rounded[name] for name in floored) == 36


def counted(expr: Expr) -> Expr:
    """The formula with ts_rank as a count from 1 to d."""
    if not expr.args:
        return expr
    made = Expr.call(expr.op, *(counted(arg) for arg in expr.args))
    return made * expr.args[1] if expr.op == "ts_rank" else made


def test_ts_rank_as_a_count_would_make_conditions_constant():
    panel, formulas = walks(), the_101()
    for name, constant in (("alpha068", 0.0), ("alpha086", 0.0), ("alpha095", 1.0)):
        wrong = evaluate_one(counted(formulas[name]), panel)[120:]
        right = evaluate_one(formulas[name], panel)[120:]
        known = np.isfinite(wrong)
        assert known.mean() > 0.5
        assert (wrong[known] == constant).mean() > 0.98
        right = right[np.isfinite(right)]
        assert 0.05 < np.abs(right).mean() < 0.95


@pytest.mark.parametrize("name", ["alpha001", "alpha057", "alpha060", "alpha096", "alpha098", "alpha100"])
def test_the_places_that_counting_from_today_would_turn_round(name):
    text = str(the_101()[name])
    assert "ts_argmax" in text or "ts_argmin" in text
    panel = walks(T=60)
    place, age = (
        evaluate_one("rank(ts_argmax(close, 10))", panel),
        evaluate_one("rank(ts_days_since_max(close, 10))", panel),
    )
    np.testing.assert_allclose(place[9:] + age[9:], (30 + 1) / 30)


def test_what_popular_code_drops_or_divides_twice_stands_as_the_paper_has_it():
    forms = {name: str(canonical(expr)) for name, expr in the_101().items()}
    assert "ts_mean(close, 7)" in forms["alpha032"]
    assert "ts_mean(close, 200)" in forms["alpha036"]
    assert "ts_mean(high, 5)" in forms["alpha047"]
    for name in ("alpha032", "alpha036", "alpha047"):
        assert "ts_sum" not in forms[name]
    texts = {name: str(expr) for name, expr in the_101().items()}
    assert texts["alpha029"].startswith("ts_min(ts_product(")
    assert "ts_rank(close, 10)" in texts["alpha038"]
    assert texts["alpha010"].startswith("rank(where(")
    assert texts["alpha001"].endswith(" - 0.5")


def test_single_precision_storage_does_not_lose_the_spread_of_a_high_price():
    rng = np.random.default_rng(4)
    values = (1e4 + np.cumsum(rng.normal(0, 0.5, 3000))).astype(np.float32)
    values[1000] = 3e7
    panel = column(*values)
    small = panel.replace(fields={"x": values[:, None]})
    names = ("ts_std(x, 20)", "ts_var(x, 60)", "ts_zscore(x, 20)", "ts_slope(x, 20)")
    factors = FactorSet("s", tuple(Factor(name, parse(name)) for name in names))
    got = evaluate(factors, small).values[1100:, 0]
    exact = values.astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(exact, 20)[1100 - 19 :]
    np.testing.assert_allclose(got[:, 0], windows.std(axis=1, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(
        got[:, 2], (windows[:, -1] - windows.mean(1)) / windows.std(axis=1, ddof=1), rtol=1e-4, atol=1e-5
    )
    long = np.lib.stride_tricks.sliding_window_view(exact, 60)[1100 - 59 :]
    np.testing.assert_allclose(got[:, 1], long.var(axis=1, ddof=1), rtol=1e-5)
