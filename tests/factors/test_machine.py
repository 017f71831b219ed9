"""The compiled machine against the reference kernels, and its laws: bits depend on a window's own values alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from tests.factors.test_operators import formula, grid_panel, random_formulas

from alphaloom.errors import FormulaError
from alphaloom.factors import OPERATORS, Expr, Factor, FactorSet, evaluate, evaluate_one, load_library, lookback, parse
from alphaloom.factors.machine import run
from alphaloom.factors.options import PLAIN, Options
from alphaloom.factors.plan import plan_exprs
from alphaloom.panel import Panel

SETTINGS = [
    PLAIN,
    Options(min_periods=1, nan_compare="false", moments="population"),
    Options(min_periods=3, zero_variance_corr="zero"),
]


def narrow(panel: Panel) -> Panel:
    """The panel as float32, so that both engines read the same numbers."""
    return panel.replace(fields={name: values.astype(np.float32) for name, values in panel.fields.items()})


def machine(expr: Expr, panel: Panel, options: Options = PLAIN, *, threads: int = 1, width: int = 16) -> np.ndarray:
    made = plan_exprs([expr], options, shape=panel.shape, threads=threads, width=width)
    out = np.full((1, *panel.shape), 7.0, np.float32)
    run(made, panel, out)
    return out[0]


@pytest.mark.parametrize("options", SETTINGS, ids=["plain", "one", "three"])
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
def test_the_machine_equals_the_reference(operator, options):
    for T, N, seed in ((60, 6, 1), (40, 1, 2), (3, 4, 3), (150, 40, 4)):
        panel = narrow(grid_panel(T, N, seed))
        least = [int(argument.least) for argument in operator.arguments if argument.kind == "window"]
        for d in sorted({*least, 5, 12, 33}) if least else [1]:
            expr = formula(operator, d)
            wanted, got = evaluate_one(expr, panel, options=options), machine(expr, panel, options)
            np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5, err_msg=f"d={d}")
            assert not np.isinf(got).any()
            assert not np.signbit(got[got == 0.0]).any()


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
def test_no_bit_depends_on_threads_tiles_or_rows_to_come(operator):
    panel = narrow(grid_panel(300, 37, 5))
    for options in SETTINGS[:2]:
        expr = formula(operator, 6)
        whole = machine(expr, panel, options)
        for threads, width in ((2, 16), (1, 8), (2, 32)):
            assert machine(expr, panel, options, threads=threads, width=width).tobytes() == whole.tobytes()
        for stop in (1, 5, 129, 299):
            assert machine(expr, panel[:stop], options).tobytes() == whole[:stop].tobytes()


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
def test_a_slice_with_its_lookback_rows_gives_the_same_bits(operator):
    panel = narrow(grid_panel(400, 7, 6))
    for options in SETTINGS[:2]:
        expr = formula(operator, 9)
        reach = lookback(expr)
        whole = machine(expr, panel, options)
        for start in (reach, reach + 131):
            part = machine(expr, panel[start - reach :], options)
            assert part[reach:].tobytes() == whole[start:].tobytes()


@settings(max_examples=120, deadline=None)
@given(random_formulas())
@example(parse("rank(rank(x)) - scale(2 * x) + delay(delay(y, 2), 3)"))
@example(parse("(3 - 2) / x - ts_sum(y, 1) + -(-z)"))
@example(parse("rank(1) + demean(x)"))
def test_any_formula_runs_and_keeps_its_bits(expr):
    panel = narrow(grid_panel(45, 34, 11))
    whole = machine(expr, panel)
    assert not np.isinf(whole).any()
    assert whole[:31].tobytes() == machine(expr, panel[:31]).tobytes()
    assert whole.tobytes() == machine(expr, panel, threads=2, width=8).tobytes()
    reach = lookback(expr)
    if reach < 45:
        assert machine(expr, panel[45 - reach - 1 :])[-1].tobytes() == whole[-1].tobytes()


@pytest.mark.parametrize("d", [5, 20, 60, 252])
def test_moments_survive_a_mean_ten_thousand_deviations_away(d):
    values = (1e4 + np.random.default_rng(0).normal(0, 1, (400, 3))).astype(np.float32)
    panel = narrow(grid_panel(400, 3, 1)).replace(fields={"x": values, "y": np.flip(values, axis=1).copy()})
    x, y = values[-d:, 0].astype(float), values[-d:, 2].astype(float)
    wanted = {
        f"ts_std(x, {d})": x.std(ddof=1),
        f"ts_cov(x, y, {d})": np.cov(x, y)[0, 1],
        f"ts_corr(x, y, {d})": np.corrcoef(x, y)[0, 1],
        f"ts_beta(x, y, {d})": np.cov(x, y)[0, 1] / y.var(ddof=1),
        f"ts_slope(x, {d})": np.polyfit(np.arange(d), x, 1)[0],
    }
    for text, value in wanted.items():
        assert machine(parse(text), panel)[-1, 0] == pytest.approx(value, rel=1e-5, abs=1e-6), text


def test_an_inf_or_a_huge_value_leaves_nothing_behind():
    calm = np.random.default_rng(1).normal(1, 0.1, (80, 2)).astype(np.float32)
    struck = calm.copy()
    struck[10], struck[12] = np.inf, 3e30
    panel = narrow(grid_panel(80, 2, 1)).replace(fields={"x": calm})
    other = panel.replace(fields={"x": struck})
    for text in ("ts_sum(x, 7)", "ts_std(x, 7)", "ts_corr(x, delay(x, 1), 7)", "decay_linear(x, 7)", "ts_rank(x, 7)"):
        before, after = machine(parse(text), panel), machine(parse(text), other)
        assert np.isnan(after[10:16]).all()
        assert after[20:].tobytes() == before[20:].tobytes(), text


def test_a_set_is_the_formulas_one_by_one(make_panel):
    panel = make_panel(T=300, N=21, seed=3, holes=0.02)
    factors, _ = load_library("classic").supported_by(panel)
    together = evaluate(factors, panel).values
    for k, factor in enumerate(factors.factors):
        alone = evaluate(FactorSet("one", (factor,), factors.options), panel).values[:, :, 0]
        assert together[:, :, k].tobytes() == alone.tobytes(), factor.name
    assert evaluate(factors, panel, threads=2).values.tobytes() == together.tobytes()


def test_ranks_are_exact_whatever_the_keys_look_like():
    rng = np.random.default_rng(2)
    rows = [
        rng.normal(0, 1, 700),
        np.r_[0.0, 1 + 1e-6 * rng.normal(0, 1, 699)],
        np.round(rng.normal(0, 3, 700)),
        np.exp(rng.normal(0, 20, 700)),
        np.r_[np.full(350, -0.0), np.full(350, 0.0)],
        np.sort(rng.normal(1, 1e-5, 700))[::-1],
        np.r_[1e-38, 1e38, np.full(698, np.nan)],
    ]
    values = np.array(rows).astype(np.float32)
    panel = narrow(grid_panel(7, 700, 1)).replace(fields={"x": values}, member=np.ones((7, 700), bool))
    np.testing.assert_allclose(machine(parse("rank(x)"), panel), evaluate_one("rank(x)", panel), rtol=1e-7)


def test_work_needs_a_thread(make_panel):
    with pytest.raises(FormulaError, match="thread"):
        evaluate(FactorSet("x", (Factor("a", parse("close")),)), make_panel(), threads=0)
