"""The torch back end against the reference kernels of the operator table, on the processor and, opted in, a GPU."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from alphaloom.factors import OPERATORS, Expr, parse  # noqa: E402
from alphaloom.factors.options import PLAIN, Options  # noqa: E402
from alphaloom.factors.reference import apply  # noqa: E402
from alphaloom.factors.torch_backend import evaluate_torch_one  # noqa: E402
from alphaloom.factors.torch_kernels import KERNELS  # noqa: E402
from alphaloom.panel import Panel  # noqa: E402

nan = math.nan
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
    ),
]
CONSTANTS = {"low": -0.5, "high": 1.5, "value": 3.0, "q": 0.3, "a": 2.0, "k": 2.0, "tail": 0.1, "alpha": 0.2}
HOLED = [
    Options(min_periods=1, moments="population", nan_compare="false", zero_variance_corr="zero"),
    Options(min_periods=4),
]


def rough_panel(T: int, N: int, seed: int, dtype: type = np.float64) -> Panel:
    """Three fields with holes, infinities, ties, zeros of both signs, constants and days without a value."""
    rng = np.random.default_rng(seed)
    fields = {}
    for name in ("x", "y", "z"):
        values = rng.normal(0.5, 1.5, (T, N))
        values[:, : N // 3 + 1] = np.round(values[:, : N // 3 + 1])
        values[rng.random((T, N)) < 0.05] = nan
        values[rng.random((T, N)) < 0.01] = np.inf
        values[rng.random((T, N)) < 0.01] = -np.inf
        values[rng.random((T, N)) < 0.02] = -0.0
        values[T // 2 : T // 2 + T // 3, -1] = 7.1
        values[T // 3] = nan if T > 8 else values[T // 3]
        values[T // 3 + 1] = 3.3
        fields[name] = values.astype(dtype)
    times = np.datetime64("2020-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D")
    return Panel(
        times=times,
        assets=tuple(f"A{j}" for j in range(N)),
        fields=fields,
        labels={"sector": rng.integers(-1, 3, (T, N)).astype(np.int16)},
        member=rng.random((T, N)) < 0.8,
        series={"index": rng.normal(size=T)},
    )


def formula(operator, d: int) -> Expr:
    names = iter(("x", "y", "z"))
    made = []
    for argument in operator.arguments:
        if argument.kind == "series":
            made.append(next(names, argument.default))
        else:
            made.append({"window": float(d), "group": "sector"}.get(argument.kind) or CONSTANTS[argument.name])
    return Expr.call(operator.name, *made)


def expected(expr: Expr, panel: Panel, options: Options) -> np.ndarray:
    """A formula by the reference kernels, part by part, in float64."""
    operator = next(row for row in OPERATORS if row.name == expr.op)
    inputs, literals = [], []
    for argument, arg in zip(operator.arguments, expr.args, strict=True):
        if argument.kind != "series":
            literals.append(arg.value)
        elif arg.op == "number":
            inputs.append(arg.value)
        elif arg.op == "name":
            values = panel[arg.value].astype(np.float64)
            inputs.append(np.where(np.isinf(values), nan, values))
        else:
            inputs.append(expected(arg, panel, options))
    return np.broadcast_to(apply(expr.op, inputs, literals, panel, options), panel.shape)


def windows_of(operator) -> list[int]:
    least = [int(argument.least) for argument in operator.arguments if argument.kind == "window"]
    return sorted({*least, 5, 12, 70}) if least else [1]


def test_every_operator_has_a_kernel():
    assert {row.name for row in OPERATORS} == set(KERNELS)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
@pytest.mark.parametrize("options", [PLAIN, *HOLED], ids=["plain", "holes-1", "holes-4"])
def test_operator_equals_the_reference_kernel(operator, options, device):
    for T, N, seed in ((60, 7, 1), (40, 1, 2), (3, 4, 3), (30, 33, 4)):
        panel = rough_panel(T, N, seed)
        for d in windows_of(operator):
            expr = formula(operator, d)
            got = evaluate_torch_one(expr, panel, options=options, device=device, dtype=np.float64)
            wanted = expected(expr, panel, options)
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9, err_msg=f"{expr} {T}x{N}")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
def test_operator_in_float32_is_the_float64_value_to_rounding(operator, device):
    panel = rough_panel(60, 20, 5, np.float32)
    for d in windows_of(operator)[:-1]:
        expr = formula(operator, d)
        got = evaluate_torch_one(expr, panel, device=device)
        wanted = expected(expr, panel, PLAIN)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted), err_msg=str(expr))
        scale = np.nanmax(np.abs(wanted), initial=0.0, where=~np.isnan(wanted))
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6 * scale, err_msg=str(expr))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("exponent", [-2, -1, -0.5, 0, 0.5, 1, 2, 2.5, 3, 5])
def test_powers_by_numbers(exponent, device):
    panel = rough_panel(40, 9, 12)
    for text in (f"power(x, {exponent})", f"signed_power(x, {exponent})", f"power({exponent}, x)"):
        expr = parse(text)
        for dtype, rtol in ((np.float64, 1e-12), (np.float32, 1e-5)):
            got = evaluate_torch_one(expr, panel, device=device, dtype=dtype)
            np.testing.assert_allclose(got, expected(expr, panel, PLAIN), rtol=rtol, atol=1e-12, err_msg=text)
