"""Under the conventions of common pandas code the engine gives that code's numbers."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloom.factors import Expr, evaluate_one, load_library
from alphaloom.factors.options import Options

from .parity_reference import reference

PANDAS = Options(window_rounding="round", nan_compare="false")


def counted(expr: Expr) -> Expr:
    """The formula with every ts_rank as a count, 1 to d, instead of a percentile."""
    if not expr.args:
        return expr
    made = Expr.call(expr.op, *(counted(arg) for arg in expr.args))
    return made * expr.args[1] if expr.op == "ts_rank" else made


@pytest.fixture(scope="module")
def both():
    from alphaloom.panel import Panel

    rng = np.random.default_rng(7)
    T, N = 420, 24
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (T, N)), axis=0)) * rng.uniform(0.8, 1.25, N)
    open_ = close * np.exp(rng.normal(0, 0.008, (T, N)))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.006, (T, N))))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.006, (T, N))))
    fields = {"open": open_, "high": high, "low": low, "close": close, "volume": np.exp(rng.normal(13, 0.5, (T, N)))}
    fields["vwap"] = (high + low + close) / 3
    times = np.datetime64("2018-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D")
    panel = Panel(times=times, assets=tuple(f"A{j}" for j in range(N)), fields=fields)
    return panel, reference(fields)


def test_at_least_sixty_formulas_are_compared(both):
    assert len(both[1]) >= 60


def test_every_formula_equals_the_pandas_reference(both):
    panel, frames = both
    factors = {factor.name: factor.expr for factor in load_library("alpha101", options=PANDAS).factors}
    for name, frame in frames.items():
        got = evaluate_one(counted(factors[name]), panel, options=PANDAS)
        np.testing.assert_allclose(got, frame.to_numpy(), rtol=1e-6, atol=1e-6, err_msg=name)
        assert np.isfinite(got[300:]).mean() > 0.3, name


def test_the_parity_conventions_are_not_the_defaults(both):
    panel, frames = both
    plain = {factor.name: factor for factor in load_library("alpha101").factors}
    for name in ("alpha068", "alpha066", "alpha073"):
        got = evaluate_one(plain[name].expr, panel)
        assert np.nanmax(np.abs(got[300:] - frames[name].to_numpy()[300:])) > 0.1
