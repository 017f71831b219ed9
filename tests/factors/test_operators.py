"""Every operator of the table against slow, obvious code, and the laws that all of them obey."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alphaloom.errors import UnitError
from alphaloom.factors import OPERATORS, Expr, evaluate_one, lookback, parse, split_safe, unit_of
from alphaloom.factors.analysis import dimension_of
from alphaloom.panel import Panel
from alphaloom.units import ONE, PRICE, SHARE

nan = math.nan


def ols(y, x):
    sxx = ((x - x.mean()) ** 2).sum()
    if not varied(x):
        return nan, nan
    beta = ((x - x.mean()) * (y - y.mean())).sum() / sxx
    return beta, y[-1] - y.mean() - beta * (x[-1] - x.mean())


def varied(w):
    return w.var() > 1e-12 * w.mean() ** 2


def corr(x, y):
    if not (varied(x) and varied(y)):
        return nan
    return np.mean((x - x.mean()) * (y - y.mean())) / math.sqrt(x.var() * y.var())


def skew(w):
    n, c = len(w), w - w.mean()
    return math.sqrt(n * (n - 1)) / (n - 2) * np.mean(c**3) / np.mean(c**2) ** 1.5 if varied(w) else nan


def kurt(w):
    n, c = len(w), w - w.mean()
    if not varied(w):
        return nan
    excess = np.mean(c**4) / np.mean(c**2) ** 2 - 3
    return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * excess + 6)


def line(w):
    rows = np.arange(1.0, len(w) + 1)
    beta = ((rows - rows.mean()) * (w - w.mean())).sum() / ((rows - rows.mean()) ** 2).sum()
    fit = w.mean() + beta * (rows - rows.mean())
    return beta, (1 - ((w - fit) ** 2).sum() / ((w - w.mean()) ** 2).sum() if varied(w) else nan), w[-1] - fit[-1]


# Over a full window of known values, oldest first.
WINDOW: dict[str, Callable[..., float]] = {
    "ts_sum": lambda w: math.fsum(w),
    "ts_mean": lambda w: math.fsum(w) / len(w),
    "ts_product": lambda w: math.prod(w),
    "ts_min": min,
    "ts_max": max,
    "ts_median": lambda w: float(np.median(w)),
    "ts_quantile": lambda w: float(np.quantile(w, 0.3)),
    "ts_std": lambda w: w.std(ddof=1),
    "ts_var": lambda w: w.var(ddof=1),
    "ts_skew": skew,
    "ts_kurt": kurt,
    "ts_rank": lambda w: (sum(w < w[-1]) + (sum(w == w[-1]) + 1) / 2) / len(w),
    "ts_argmax": lambda w: list(w).index(max(w)) + 1,
    "ts_argmin": lambda w: list(w).index(min(w)) + 1,
    "ts_days_since_max": lambda w: len(w) - 1 - list(w).index(max(w)),
    "ts_days_since_min": lambda w: len(w) - 1 - list(w).index(min(w)),
    "ts_zscore": lambda w: (w[-1] - w.mean()) / w.std(ddof=1) if varied(w) else nan,
    "ts_count": lambda w: sum(w != 0),
    "ts_mad": lambda w: sum(abs(v - w.mean()) for v in w) / len(w),
    "ema_cut": lambda w: ema_cut(w),
    "decay_linear": lambda w: sum((k + 1) * v for k, v in enumerate(w)) / (len(w) * (len(w) + 1) / 2),
    "ts_slope": lambda w: line(w)[0],
    "ts_rsquare": lambda w: line(w)[1],
    "ts_resi": lambda w: line(w)[2],
}
PAIR: dict[str, Callable[..., float]] = {
    "ts_cov": lambda x, y: ((x - x.mean()) * (y - y.mean())).sum() / (len(x) - 1),
    "ts_corr": corr,
    "ts_beta": lambda y, x: ols(y, x)[0],
    "ts_resid": lambda y, x: ols(y, x)[1],
    "supertrend": lambda c, upper, lower: trailed(c, upper, lower),
}


def trailed(prices, upper, lower):
    """The textbook recursion, from the first row of the window."""
    high, low = [upper[0]], [lower[0]]
    rising = [prices[0] - lower[0] >= upper[0] - prices[0]]
    for s in range(1, len(prices)):
        tighter, broken = upper[s] < high[-1], prices[s - 1] > high[-1]
        high.append(upper[s] if tighter or broken else high[-1])
        tighter, broken = lower[s] > low[-1], prices[s - 1] < low[-1]
        low.append(lower[s] if tighter or broken else low[-1])
        rising.append(not prices[s] < low[-1] if rising[-1] else bool(prices[s] > high[-1]))
    return low[-1] if rising[-1] else high[-1]


def ema_cut(window):
    weights = [(1 - 2 / (len(window) + 1)) ** k for k in range(len(window))]
    return sum(w * v for w, v in zip(weights, window[::-1], strict=True)) / sum(weights)


def ema(column, d, fade=None):
    fade, out = 1 - 2 / (d + 1) if fade is None else fade, []
    for t in range(len(column)):
        terms = [(fade**k, column[t - k]) for k in range(min(t + 1, math.ceil(8.1 * (d + 1))))]
        terms = [(w, v) for w, v in terms if not math.isnan(v)]
        enough = len(terms) >= math.ceil(d) and not math.isnan(column[t])
        out.append(sum(w * v for w, v in terms) / sum(w for w, _ in terms) if enough else nan)
    return out


# Over one asset's whole history.
HISTORY: dict[str, Callable[..., list[float]]] = {
    "delay": lambda c, d: [c[t - d] if t >= d else nan for t in range(len(c))],
    "delta": lambda c, d: [c[t] - c[t - d] if t >= d else nan for t in range(len(c))],
    "ts_backfill": lambda c, d: [
        next((v for v in c[max(0, t - d) : t + 1][::-1] if not math.isnan(v)), nan) for t in range(len(c))
    ],
    "ema": ema,
    "ema_alpha": lambda c, _: ema(c, 2 / CONSTANTS["alpha"] - 1, 1 - CONSTANTS["alpha"]),
}


def mad_held(x):
    middle = np.median(x)
    reach = 5 * 1.4826 * np.median(abs(x - middle))
    return np.clip(x, middle - reach, middle + reach)


def ranked(x):
    return np.array([(sum(x < v) + (sum(x == v) + 1) / 2) / len(x) for v in x])


def scored(x):
    return (x - x.mean()) / x.std() if len(set(x)) > 1 else x * 0


# Over the known values of one day's members (or of one group of them).
ACROSS: dict[str, Callable[..., np.ndarray]] = {
    "rank": ranked,
    "zscore": scored,
    "demean": lambda x: x - x.mean(),
    "scale": lambda x: x / abs(x).sum() if abs(x).sum() else x * nan,
    "winsorize": mad_held,
    "winsorize_sigma": lambda x: np.clip(x, x.mean() - 5 * x.std(), x.mean() + 5 * x.std()),
    "winsorize_quantile": lambda x: np.clip(x, np.quantile(x, 0.1), np.quantile(x, 0.9)),
    "indneutralize": lambda x: x - x.mean(),
    "group_mean": lambda x: x * 0 + x.mean(),
    "group_zscore": scored,
    "group_rank": ranked,
}
MARKET: dict[str, Callable[..., float]] = {
    "cs_mean": np.mean,
    "cs_std": np.std,
    "cs_frac": lambda x: np.mean(np.not_equal(x, 0)),
}


def regressed(y, x1, x2, x3=0, w=1):
    """Residuals of one day, by the library's own least squares."""
    columns = np.stack([np.ones(len(y)), x1, x2], axis=1)
    if len(y) <= np.linalg.matrix_rank(columns):
        return y * nan
    return y - columns @ np.linalg.lstsq(columns, y)[0]


# Over the assets of one day for which every series is known.
REGRESSION: dict[str, Callable[..., np.ndarray]] = {"regress_out": regressed}


def known(*values):
    return not any(math.isnan(v) for v in values)


def cells(function, count):
    def guarded(*values):
        try:
            out = function(*values) if known(*values[:count]) else nan
        except (ValueError, ZeroDivisionError, OverflowError):
            return nan
        return out if isinstance(out, (int, float)) and math.isfinite(out) else nan

    return guarded


CELL: dict[str, Callable[..., float]] = {
    "logical_or": cells(lambda a, b: float(a != 0 or b != 0), 2),
    "logical_and": cells(lambda a, b: float(a != 0 and b != 0), 2),
    "logical_not": cells(lambda a: float(a == 0), 1),
    "less": cells(lambda x, y: float(x < y), 2),
    "less_equal": cells(lambda x, y: float(x <= y), 2),
    "greater": cells(lambda x, y: float(x > y), 2),
    "greater_equal": cells(lambda x, y: float(x >= y), 2),
    "equal": cells(lambda x, y: float(x == y), 2),
    "not_equal": cells(lambda x, y: float(x != y), 2),
    "add": cells(lambda x, y: x + y, 2),
    "sub": cells(lambda x, y: x - y, 2),
    "mul": cells(lambda x, y: x * y, 2),
    "div": cells(lambda x, y: x / y, 2),
    "neg": cells(lambda x: -x, 1),
    "power": cells(lambda x, y: math.pow(x, y), 2),
    "signed_power": cells(lambda x, y: math.copysign(1, x) * math.pow(abs(x), y) if x else 0 * math.pow(0, y), 2),
    "abs": cells(abs, 1),
    "sign": cells(lambda x: float((x > 0) - (x < 0)), 1),
    "log": cells(math.log, 1),
    "log1p": cells(math.log1p, 1),
    "exp": cells(math.exp, 1),
    "sqrt": cells(math.sqrt, 1),
    "tanh": cells(math.tanh, 1),
    "normcdf": cells(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), 1),
    "minimum": cells(min, 2),
    "maximum": cells(max, 2),
    "clip": cells(lambda x, low, high: min(max(x, low), high), 1),
    "where": lambda c, x, y: nan if math.isnan(c) else (x if c != 0 else y),
    "isnan": lambda x: float(math.isnan(x)),
    "fillna": lambda x, value: value if math.isnan(x) else x,
}
CONSTANTS = {"low": -0.5, "high": 1.5, "value": 3.0, "q": 0.3, "a": 1.0, "k": 5.0, "tail": 0.1, "alpha": 0.2}


def grid_panel(T: int, N: int, seed: int = 0, *, rough: bool = True) -> Panel:
    """Three fields with NaN, inf, ties, constants, zeros and days without any value."""
    rng = np.random.default_rng(seed)
    fields = {}
    for name in ("x", "y", "z"):
        values = rng.normal(0.5, 1.5, (T, N))
        if rough:
            values[:, : N // 3] = np.round(values[:, : N // 3])
            values[rng.random((T, N)) < 0.04] = nan
            values[rng.random((T, N)) < 0.02] = np.inf
            values[rng.random((T, N)) < 0.02] = -np.inf
            values[T // 2 : T // 2 + T // 3, -1] = 7.1
            values[T // 4] = nan if T > 8 else values[T // 4]
        fields[name] = values
    times = np.datetime64("2020-01-01", "ns") + np.arange(T) * np.timedelta64(1, "D")
    member = rng.random((T, N)) < 0.8
    labels = {"sector": rng.integers(-1, 3, (T, N)).astype(np.int16)}
    return Panel(times=times, assets=tuple(f"A{j}" for j in range(N)), fields=fields, labels=labels, member=member)


def formula(operator, d, series=("x", "y", "z"), constants=CONSTANTS):
    names = iter(series)
    # A series with a default, such as a weight of 1, is left out where the caller has no more names.
    kinds = {
        "series": lambda argument: next(names, argument.default),
        "window": lambda _: float(d),
        "group": lambda _: "sector",
    }
    kinds["constant"] = lambda argument: constants[argument.name]
    return Expr.call(operator.name, *(kinds[argument.kind](argument) for argument in operator.arguments))


def oracle(operator, panel, d):
    """The operator by loops over cells, windows or days."""
    T, N = panel.shape
    fields = [np.where(np.isinf(panel[name]), nan, panel[name]) for name in ("x", "y", "z")]
    out, name = np.full((T, N), nan), operator.name
    inputs = [fields.pop(0) for argument in operator.arguments if argument.kind == "series" and fields]
    constants = [CONSTANTS[argument.name] for argument in operator.arguments if argument.kind == "constant"]
    if name in CELL:
        for t, j in np.ndindex(T, N):
            out[t, j] = CELL[name](*(float(x[t, j]) for x in inputs), *constants)
    elif name in HISTORY:
        for j in range(N):
            out[:, j] = HISTORY[name]([float(v) for v in inputs[0][:, j]], d)
    elif name in WINDOW or name in PAIR:
        for t, j in np.ndindex(T, N):
            windows = [x[t - d + 1 : t + 1, j] for x in inputs]
            if t >= d - 1 and not any(np.isnan(w).any() for w in windows):
                out[t, j] = {**WINDOW, **PAIR}[name](*windows)
    elif name in REGRESSION:
        for t in range(T):
            seen = np.flatnonzero(panel.member[t] & ~np.isnan(sum(inputs)[t]))
            out[t, seen] = REGRESSION[name](*(x[t, seen] for x in inputs)) if len(seen) else nan
    else:
        for t in range(T):
            groups = panel.labels["sector"][t] if operator.arguments[-1].kind == "group" else np.zeros(N, int)
            for g in set(groups) - {-1}:
                seen = np.flatnonzero((groups == g) & panel.member[t] & ~np.isnan(inputs[0][t]))
                if len(seen) and name in MARKET:
                    out[t] = MARKET[name](inputs[0][t, seen])
                elif len(seen):
                    out[t, seen] = ACROSS[name](inputs[0][t, seen])
    return out


def test_the_oracle_knows_every_operator():
    assert {row.name for row in OPERATORS} == {*CELL, *WINDOW, *PAIR, *HISTORY, *ACROSS, *MARKET, *REGRESSION}


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
@pytest.mark.parametrize(("T", "N", "seed"), [(60, 6, 1), (40, 1, 2), (3, 4, 3), (50, 40, 4)])
def test_operator_equals_the_slow_code(operator, T, N, seed):
    panel = grid_panel(T, N, seed)
    least = [int(argument.least) for argument in operator.arguments if argument.kind == "window"]
    windows = sorted({*least, 5, 7, 12}) if least else [1]
    for d in windows:
        got = evaluate_one(formula(operator, d), panel)
        np.testing.assert_allclose(got, oracle(operator, panel, d), rtol=1e-9, atol=1e-9, err_msg=f"d={d}")
        assert not np.isinf(got).any()


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
def test_rows_to_come_change_no_bit(operator):
    panel = grid_panel(90, 35, 5)
    expr = formula(operator, 6)
    whole = evaluate_one(expr, panel)
    for stop in (1, 5, 44, 89):
        assert whole[:stop].tobytes() == evaluate_one(expr, panel[:stop]).tobytes()


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
def test_a_slice_with_its_lookback_rows_gives_the_same_bits(operator):
    panel = grid_panel(150, 7, 6)
    expr = formula(operator, 9)
    reach = lookback(expr)
    whole = evaluate_one(expr, panel)
    assert reach < 120
    for start in (reach, reach + 11):
        part = evaluate_one(expr, panel[start - reach :])
        assert part[reach:].tobytes() == whole[start:].tobytes()


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
def test_measured_reach_is_the_declared_one(operator):
    panel = grid_panel(110, 60, 7, rough=False)
    if operator.name == "ts_backfill":
        sparse = panel["x"].copy()
        sparse[np.arange(110) % 9 != 1] = nan
        panel = panel.with_field("x", sparse, ONE)
    expr = formula(operator, 8)
    reach, today = lookback(expr), 99
    whole = evaluate_one(expr, panel)[today]

    def changed(row):
        for poison in (nan, 0.0, 50.0, -50.0):
            values = panel["x"].copy()
            values[row] = poison
            again = evaluate_one(expr, panel.with_field("x", values, ONE))[today]
            if again.tobytes() != whole.tobytes():
                return True
        return False

    assert max((back for back in range(min(reach + 15, today)) if changed(today - back)), default=-1) == reach


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda row: row.name)
def test_measured_scaling_is_the_unit_rule(operator):
    """One asset's prices are multiplied by a and its shares by b: the value answers as its dimension says."""
    rng = np.random.default_rng(8)
    plain = grid_panel(40, 6, 8, rough=False)
    fields = {"p": np.exp(rng.normal(0, 0.3, (40, 6))), "s": np.exp(rng.normal(0, 0.3, (40, 6))), "r": plain["x"]}
    fields["r"] = np.abs(fields["r"])
    units = {"p": PRICE, "s": SHARE, "r": ONE}
    a, b = 0.25, 8.0
    before = plain.replace(fields=fields, units=units)
    bent = {name: values.copy() for name, values in fields.items()}
    bent["p"][:, 2] *= a
    bent["s"][:, 2] *= b
    after = plain.replace(fields=bent, units=units)
    kinds = [parse("p"), parse("s"), parse("r"), parse("log(p)"), parse("p / delay(p, 1)"), Expr.number(0.0)]
    count = min(sum(argument.kind == "series" for argument in operator.arguments), 3)
    checked = 0
    for picked in itertools.product(kinds, repeat=count):
        expr = formula(operator, 5, picked, {**CONSTANTS, "low": 0.0, "high": 0.0, "value": 0.0})
        try:
            found = dimension_of(expr, units)
        except UnitError:
            continue
        if not found.safe:
            continue
        old, new = evaluate_one(expr, before), evaluate_one(expr, after)
        factor = a**found.unit.price * b**found.unit.share
        expected = old.copy()
        expected[:, 2] = old[:, 2] + math.log(factor) if found.shifts else old[:, 2] * factor
        np.testing.assert_allclose(new, expected, rtol=1e-7, atol=1e-9, err_msg=f"{expr} is {found}")
        checked += 1
    assert checked


@pytest.mark.parametrize("name", ["rank", "zscore", "demean", "scale", "winsorize", "cs_mean", "indneutralize"])
def test_non_members_change_no_cross_section(name):
    panel = grid_panel(40, 12, 9)
    operator = next(row for row in OPERATORS if row.name == name)
    poisoned = np.where(panel.member, panel["x"], 1e9)
    assert (poisoned[~panel.member] == 1e9).any()
    expr = formula(operator, 1)
    other = evaluate_one(expr, panel.with_field("x", poisoned, ONE))
    assert evaluate_one(expr, panel).tobytes() == other.tobytes()


def test_windows_reach_back_before_membership():
    panel = grid_panel(30, 4, 10, rough=False)
    late = panel.member.copy()
    late[:20] = False
    late[20:] = True
    assert np.isfinite(evaluate_one("rank(ts_mean(x, 15))", panel.replace(member=late))[20]).all()


def random_formulas():
    """Formulas of every operator over small windows, as the miners will make them."""
    leaves = st.one_of(
        st.sampled_from(["x", "y", "z"]).map(Expr.name), st.sampled_from([-2.0, 0.0, 0.5, 3.0]).map(Expr.number)
    )
    kinds = {"window": st.integers(4, 9), "group": st.just("sector")}

    def constant(argument):
        return st.sampled_from([v for v in (0.0, 0.5, 1.0) if argument.least <= v <= argument.most])

    def calls(inner):
        rows = [
            st.tuples(
                st.just(row.name),
                *(constant(a) if a.kind == "constant" else {"series": inner, **kinds}[a.kind] for a in row.arguments),
            )
            for row in OPERATORS
        ]
        return st.one_of(rows).map(lambda parts: Expr.call(*parts))

    return st.recursive(leaves, calls, max_leaves=8)


@settings(max_examples=150, deadline=None)
@given(random_formulas())
@example(parse("log(x) + ts_skew(x, 8)"))
@example(parse("x + -x"))
@example(parse("ts_median(minimum(-(0 * abs(x)), 0 * abs(y)), 5)"))
def test_any_formula_obeys_the_law_of_time_and_meets_typed_errors_only(expr):
    panel = grid_panel(45, 34, 11)
    whole = evaluate_one(expr, panel)
    assert not np.isinf(whole).any()
    assert whole[:31].tobytes() == evaluate_one(expr, panel[:31]).tobytes()
    reach = lookback(expr)
    if reach < 45:
        assert evaluate_one(expr, panel[45 - reach - 1 :])[-1].tobytes() == whole[-1].tobytes()
    assert isinstance(split_safe(expr), bool)
    with contextlib.suppress(UnitError):
        unit_of(expr)


@pytest.mark.parametrize("text", ["rank(p)", "zscore(p)", "demean(p)", "cs_mean(p)", "rank(log(p))", "sign(log(p))"])
def test_what_is_marked_unsafe_does_change(text):
    rng = np.random.default_rng(12)
    prices = np.exp(rng.normal(0, 0.3, (40, 6)))
    panel = grid_panel(40, 6, 12, rough=False).replace(fields={"p": prices}, units={"p": PRICE})
    split = prices.copy()
    split[:, 2] /= 4
    assert not split_safe(parse(text), panel.units)
    before, after = evaluate_one(text, panel), evaluate_one(text, panel.with_field("p", split, PRICE))
    others_moved = not np.allclose(after[:, 3], before[:, 3], equal_nan=True)
    ratio = after[:, 2] / before[:, 2]
    assert others_moved or not np.allclose(ratio, ratio[0], equal_nan=True)


def test_the_guide_lists_every_operator():
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "add_operator.md").read_text()
    for row in OPERATORS:
        names = [argument.name for argument in row.arguments]
        infix = f" {row.symbol} ".join(names) if len(names) == 2 else row.symbol + names[0]
        written = infix.replace("|", "\\|") if row.symbol else row.signature
        assert f"| `{written}` |" in guide
        assert f"| {row.meaning} |" in guide
