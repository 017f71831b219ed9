"""Laws of the torch back end: time, blocks, threads, sets, sharing, faults."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from alphaloom.errors import FormulaError  # noqa: E402
from alphaloom.factors import (  # noqa: E402
    OPERATORS,
    Expr,
    Factor,
    FactorSet,
    evaluate,
    evaluate_one,
    load_library,
    lookback,
    parse,
)
from alphaloom.factors.options import PLAIN, Options  # noqa: E402
from alphaloom.factors.torch_backend import evaluate_torch, evaluate_torch_one  # noqa: E402
from alphaloom.factors.torch_blocks import Each, Setting, Window, over_columns, over_rows  # noqa: E402
from alphaloom.factors.torch_kernels import KERNELS  # noqa: E402
from alphaloom.factors.torch_plan import operands, steps  # noqa: E402
from alphaloom.panel import Panel  # noqa: E402

nan = math.nan
GPU = pytest.param(
    "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
)
DEVICES = ["cpu", GPU]
CONSTANTS = {"low": -0.5, "high": 1.5, "value": 3.0, "q": 0.3, "a": 2.0, "k": 2.0, "tail": 0.1, "alpha": 0.4}


def panel_of(fields, member=None, series=None, labels=None) -> Panel:
    T, N = next(iter(fields.values())).shape
    return Panel(
        times=np.datetime64("2020-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D"),
        assets=tuple(f"A{j}" for j in range(N)),
        fields=fields,
        member=member,
        series=series or {},
        labels=labels or {},
    )


def rough_panel(T: int, N: int, seed: int = 0) -> Panel:
    rng = np.random.default_rng(seed)
    fields = {}
    for name in ("x", "y", "z"):
        values = rng.normal(0.5, 1.5, (T, N))
        values[:, : N // 3] = np.round(values[:, : N // 3])
        values[rng.random((T, N)) < 0.05] = nan
        values[rng.random((T, N)) < 0.01] = np.inf
        fields[name] = values.astype(np.float32)
    sector = rng.integers(-1, 3, (T, N)).astype(np.int16)
    return panel_of(fields, rng.random((T, N)) < 0.8, {"index": rng.normal(size=T)}, {"sector": sector})


def formula(operator, d: int) -> Expr:
    names = iter(("x", "y", "z"))
    made = []
    for argument in operator.arguments:
        if argument.kind == "series":
            made.append(next(names, argument.default))
        else:
            made.append({"window": float(d), "group": "sector"}.get(argument.kind) or CONSTANTS[argument.name])
    return Expr.call(operator.name, *made)


def factor_set(*formulas: str, options: Options = PLAIN) -> FactorSet:
    return FactorSet("test", tuple(Factor(f"f{k}", parse(text)) for k, text in enumerate(formulas)), options)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
def test_neither_the_future_nor_the_slice_nor_the_blocks_change_a_bit(operator, device):
    panel = rough_panel(150, 41, 6)
    expr = formula(operator, 7)
    whole = evaluate_torch_one(expr, panel, device=device)
    assert whole.tobytes() == evaluate_torch_one(expr, panel, device=device).tobytes()
    assert whole[:45].tobytes() == evaluate_torch_one(expr, panel[:45], device=device).tobytes()
    reach = lookback(expr)
    assert whole[120:].tobytes() == evaluate_torch_one(expr, panel[120 - reach :], device=device)[reach:].tobytes()
    # One byte asks for the least blocks there are: a few columns of a few rows with the rows before them.
    for size in (1, 1 << 30):
        assert whole.tobytes() == evaluate_torch_one(expr, panel, device=device, batch_bytes=size).tobytes()


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
def test_windows_with_holes_do_not_depend_on_the_blocks(operator):
    panel, options = rough_panel(150, 21, 7), Options(min_periods=2)
    expr = formula(operator, 9)
    whole = evaluate_torch_one(expr, panel, options=options)
    assert whole.tobytes() == evaluate_torch_one(expr, panel, options=options, batch_bytes=1).tobytes()


def test_threads_change_no_bit_and_are_restored():
    rng = np.random.default_rng(1)
    # Large enough for torch to split the work.
    panel = panel_of({name: rng.normal(size=(400, 300)).astype(np.float32) for name in "xyz"})
    factors = factor_set(
        "rank(x)", "zscore(x)", "ts_corr(x, y, 20)", "winsorize(x)", "ts_sum(exp(x), 9)", "scale(power(abs(x), y))"
    )
    before = torch.get_num_threads()
    one, two = (evaluate_torch(factors, panel, threads=k, batch_bytes=1 << 26).values for k in (1, 2))
    assert one.tobytes() == two.tobytes()
    assert torch.get_num_threads() == before
    with pytest.raises(FormulaError):
        evaluate_torch(factor_set("nothing"), panel, threads=1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("device", DEVICES)
def test_small_moves_on_large_levels_keep_their_digits_in_float32(device):
    rng = np.random.default_rng(2)
    moves = rng.normal(size=(300, 6)) + rng.normal(size=(300, 1))
    panel = panel_of({"x": (1e4 + moves[:, :3]).astype(np.float32), "y": (1e4 - moves[:, 3:]).astype(np.float32)})
    for text in ("ts_std(x, 60)", "ts_corr(x, y, 60)", "ts_zscore(x, 60)", "ts_resid(y, x, 60)", "ts_slope(x, 60)"):
        wide = evaluate_torch_one(text, panel, device=device, dtype=np.float64)
        narrow = evaluate_torch_one(text, panel, device=device)
        np.testing.assert_allclose(narrow, wide, rtol=1e-5, atol=1e-5 * np.nanmax(np.abs(wide)), err_msg=text)
        assert np.isfinite(narrow[60:]).all()


def test_no_kernel_unfolds_its_windows():
    """With small blocks no array of a whole run is much larger than one of the panel's, however long the windows."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            for tensor in made if isinstance(made, (tuple, list)) else [made]:
                if isinstance(tensor, torch.Tensor):
                    self.size = max(self.size, tensor.untyped_storage().nbytes())
            return made

    panel = rough_panel(600, 16, 13)
    for operator in OPERATORS:
        if operator.family != "elementwise":
            with Largest() as seen:
                evaluate_torch_one(formula(operator, 40), panel, batch_bytes=1 << 17)
            # Twice, for a block counts in float64; windows of 40 rows unfolded would take forty times as much.
            assert 0 < seen.size <= 2 * 600 * 16 * 4, operator.name


@pytest.mark.parametrize("options", [PLAIN, Options(min_periods=2, nan_compare="false", zero_variance_corr="zero")])
def test_every_kernel_stays_on_the_device_it_was_given(options):
    """On torch's device without memory a tensor made elsewhere on the way is refused, or shows in the result."""
    shape, setting = (40, 9), Setting(options, 1 << 20)
    for operator in OPERATORS:
        kinds = [argument.kind for argument in operator.arguments]
        makers = {
            "series": lambda _: torch.empty(shape, dtype=torch.float32, device="meta"),
            "group": lambda _: torch.empty(shape, dtype=torch.int16, device="meta"),
            "window": lambda _: 7,
            "constant": lambda argument: CONSTANTS[argument.name],
        }
        operands_ = tuple(makers[argument.kind](argument) for argument in operator.arguments)
        kernel, series = KERNELS[operator.name], kinds.count("series")
        if isinstance(kernel, Each):
            made = [kernel.kernel(setting, *operands_)]
        elif isinstance(kernel, Window):
            made = over_columns(kernel, [operands_, operands_], setting, series, 40)
        elif operator.name in ("indneutralize", "group_mean", "group_zscore"):
            continue  # these read one number back, the size of the largest group
        else:
            made = over_rows(kernel, [operands_, operands_], setting, operands_[0], (series, kinds.count("group")))
        for tensor in made:
            assert (tensor.device.type, tensor.dtype) == ("meta", torch.float32), operator.name


def test_the_moving_median_is_right_for_every_length():
    rng = np.random.default_rng(3)
    x = np.round(rng.normal(0, 2, (60, 3)), 1)
    panel = panel_of({"x": x})
    for d in range(1, 45):
        for q in (0.0, 0.37, 0.5, 1.0):
            got = evaluate_torch_one(f"ts_quantile(x, {d}, {q})", panel, dtype=np.float64)
            windows = np.lib.stride_tricks.sliding_window_view(x, d, axis=0)
            np.testing.assert_allclose(got[d - 1 :], np.quantile(windows, q, axis=-1), atol=1e-12)
            assert np.isnan(got[: d - 1]).all()


@pytest.mark.parametrize("device", DEVICES)
def test_the_classic_library_equals_the_default_engine(make_panel, device):
    panel = make_panel(T=300, N=30, seed=4, holes=0.01)
    factors, _ = load_library("classic").supported_by(panel)
    wanted = evaluate(factors, panel, dtype=np.float64)
    got = evaluate_torch(factors, panel, device=device, dtype=np.float64)
    assert got.names == wanted.names
    assert got.values.shape == wanted.values.shape
    assert got.values[:, :, 3].flags.c_contiguous
    np.testing.assert_allclose(got.values, wanted.values, rtol=1e-7, atol=1e-9)
    # In float32 a chain of operators may turn a tie or a comparison; almost all cells must agree.
    narrow = evaluate_torch(factors, panel, device=device).values
    close = np.isclose(narrow, wanted.values, rtol=1e-3, atol=1e-5, equal_nan=True)
    assert close.mean() > 0.998


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "least"), [("alpha101", 0.99), ("alpha158", 0.9999)])
def test_large_libraries_agree_in_the_storage_type(make_panel, name, least, device):
    panel = make_panel(T=300, N=25, seed=5, dtype=np.float32)
    factors, _ = load_library(name).supported_by(panel)
    wanted = evaluate(factors, panel).values
    got = evaluate_torch(factors, panel, device=device).values
    # Ranks of values that rounding alone tells apart may fall either way; that must stay rare.
    assert np.isclose(got, wanted, rtol=1e-3, atol=1e-5, equal_nan=True).mean() > least
    assert np.isfinite(got).any(axis=(0, 1)).mean() > 0.9


def test_together_or_alone_a_formula_has_the_same_bits():
    panel = rough_panel(80, 12, 8)
    texts = [f"{op}({name}, {d})" for op in ("ts_mean", "ts_rank", "ts_std") for name in "xyz" for d in (3, 8)]
    texts += ["rank(x)", "rank(y + z)", "ts_corr(rank(x), rank(y), 5)", "group_rank(x, sector)", "x", "x", "2", "index"]
    together = evaluate_torch(factor_set(*texts), panel, batch_bytes=1 << 30).values
    alone = evaluate_torch(factor_set(*texts), panel, batch_bytes=1).values
    assert together.tobytes() == alone.tobytes()
    for k, text in enumerate(texts):
        assert together[:, :, k].tobytes() == evaluate_torch_one(text, panel).tobytes()


def test_the_schedule_computes_every_part_once_in_order_and_frees_it_after_its_last_use():
    roots = [parse(t) for t in ("rank(ts_mean(x, 5)) + adv9", "ts_mean(x, 5) / y", "ts_mean(y, 5)", "ts_mean(x, 5)")]
    for held in (0, 1000):
        alive, computed, handed, most = set(), Counter(), [], 0
        for step in steps(roots, PLAIN, held):
            for node in step.nodes:
                assert alive.issuperset(operands(node, PLAIN))
            alive.update(step.nodes)
            computed.update(step.nodes)
            handed.extend(step.done)
            most = max(most, len(alive))
            assert alive.issuperset(step.freed)
            alive.difference_update(step.freed)
        assert not alive
        assert set(computed.values()) == {1}
        assert sorted(map(str, handed)) == sorted(map(str, roots))
        assert most <= (6 if held == 0 else len(computed))
    batches = [step.nodes for step in steps(roots, PLAIN, 1000)]
    assert max(map(len, batches)) == 2  # the means of x and y over 5 rows run together


def test_what_is_held_to_run_together_stays_within_the_operands_number():
    roots = list(dict.fromkeys(factor.expr for factor in load_library("alpha101").factors))
    lengths = []
    for held in (0, 60, 100, 10_000):
        alive, most, count = 0, 0, 0
        for step in steps(roots, PLAIN, held):
            alive += len(step.nodes)
            most, count = max(most, alive), count + 1
            alive -= len(step.freed)
        assert alive == 0
        assert most <= max(held, 45)
        lengths.append(count)
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < 0.8 * lengths[0]


def test_series_numbers_and_a_later_overflow():
    panel = rough_panel(30, 4, 9)
    index = panel.series["index"].astype(np.float32)
    got = evaluate_torch_one("delta(index, 3)", panel)
    np.testing.assert_array_equal(got[3:], np.broadcast_to((index[3:] - index[:-3])[:, None], (27, 4)))
    assert (evaluate_torch_one("1 / 4", panel) == 0.25).all()
    assert (evaluate_torch_one("ts_sum(2, 3)", panel)[2:] == 6.0).all()
    assert np.isnan(evaluate_torch_one("1e30 * 1e30", panel)).all()
    np.testing.assert_allclose(evaluate_torch_one("1e30 * 1e30", panel, dtype=np.float64), 1e60)
    assert not np.isinf(evaluate_torch_one("ts_product(x * 1e20, 5)", panel)).any()


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_panel_of_few_rows(make_panel, rows):
    panel = make_panel(T=5, N=3)[:rows]
    factors, _ = load_library("classic").supported_by(panel)
    wanted = evaluate(factors, panel).values
    for options in (PLAIN, Options(min_periods=1)):
        got = evaluate_torch(FactorSet("few", factors.factors, options), panel).values
        assert got.shape == wanted.shape
    np.testing.assert_allclose(evaluate_torch(factors, panel).values, wanted, rtol=1e-4, atol=1e-6)


def test_options_of_the_set_are_heard(make_panel):
    panel = make_panel(T=40, N=4)
    money = factor_set("adv5", options=Options(adv="money"))
    shares = factor_set("adv5")
    ratio = evaluate_torch(money, panel).values / evaluate_torch(shares, panel).values
    assert np.nanmin(ratio) > 1.5
    holed = factor_set("ts_mean(close, 30)", options=Options(min_periods=5))
    assert np.isfinite(evaluate_torch(holed, panel).values[4:]).all()


def random_formulas():
    leaves = st.one_of(
        st.sampled_from(["x", "y", "z", "index"]).map(Expr.name), st.sampled_from([-2.0, 0.0, 0.5]).map(Expr.number)
    )

    def constant(argument):
        return st.sampled_from([v for v in (0.25, 0.5, 1.0) if argument.least <= v <= argument.most])

    kinds = {"window": st.integers(4, 9), "group": st.just("sector")}

    def calls(inner):
        rows = [
            st.tuples(
                st.just(row.name),
                *(constant(a) if a.kind == "constant" else {"series": inner, **kinds}[a.kind] for a in row.arguments),
            )
            for row in OPERATORS
        ]
        return st.one_of(rows).map(lambda parts: Expr.call(*parts))

    return st.recursive(leaves, calls, max_leaves=6)


@settings(max_examples=120, deadline=None)
@given(random_formulas())
def test_any_formula_obeys_the_law_of_time_and_holds_no_infinity(expr):
    panel = rough_panel(45, 20, 11)
    whole = evaluate_torch_one(expr, panel)
    assert not np.isinf(whole).any()
    assert whole[:31].tobytes() == evaluate_torch_one(expr, panel[:31]).tobytes()
    reach = lookback(expr)
    if reach < 45:
        assert evaluate_torch_one(expr, panel[45 - reach - 1 :])[-1].tobytes() == whole[-1].tobytes()


def test_faults_name_the_place_and_the_way_out(make_panel):
    panel = make_panel()
    with pytest.raises(FormulaError, match="close") as caught:
        evaluate_torch_one("rank(clos)", panel)
    assert caught.value.found == "clos"
    with pytest.raises(FormulaError, match="sector"):
        evaluate_torch_one("indneutralize(close, sectr)", panel)
    with pytest.raises(FormulaError, match="float32"):
        evaluate_torch_one("close", panel, dtype=np.int32)
    for device in ("cuda:9", "nonsense", "meta"):
        with pytest.raises(FormulaError, match="use cpu"):
            evaluate_torch_one("close", panel, device=device)


def test_the_room_needs_no_torch_and_the_back_end_says_what_it_needs():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from alphaloom.errors import FormulaError\n"
        "from alphaloom.factors import evaluate_one\n"
        "from alphaloom.factors.torch_backend import evaluate_torch_one\n"
        "from alphaloom.panel import Panel\n"
        "times = np.array(['2020-01-01'], 'datetime64[ns]')\n"
        "panel = Panel(times=times, assets=('A',), fields={'x': np.ones((1, 1))})\n"
        "assert evaluate_one('x + 1', panel)[0, 0] == 2\n"
        "try:\n    evaluate_torch_one('x', panel)\n"
        "except FormulaError as error:\n    print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "alphaloom[deep]"' in found.stdout
    code = "import sys, alphaloom.factors, alphaloom.factors.torch_backend; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_one_formula_equals_the_default_engine(make_panel):
    panel = make_panel(T=80, N=9, holes=0.05)
    text = "rank(ts_corr(rank(close), rank(volume), 10)) * ts_rank(close, 20)"
    got = evaluate_torch_one(text, panel, dtype=np.float64)
    np.testing.assert_allclose(got, evaluate_one(text, panel), rtol=1e-9, atol=1e-12)
