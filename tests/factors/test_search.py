"""The evaluator of formula searches: what it keeps must never change what it says."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from alphaloom.errors import AlphaloomError, AxisError, FormulaError
from alphaloom.factors import evaluate_one, parse
from alphaloom.factors.options import Options
from alphaloom.factors.search import Evaluator
from alphaloom.factors.search_cache import ArrayCache, Slots
from alphaloom.market import Market
from alphaloom.metrics import ranking
from alphaloom.signal import forward_returns

FIELDS = ("open", "high", "low", "close", "volume", "vwap")
ONE = ("rank", "abs", "sign", "neg", "zscore")
WINDOW = ("ts_mean", "ts_std", "ts_max", "delay", "delta", "ts_rank", "decay_linear", "ts_sum", "ts_median")
TWO = ("add", "sub", "mul", "div", "maximum", "minimum")


def random_formula(rng: np.random.Generator, depth: int) -> str:
    """A formula of the mining operators, drawn without regard to units."""
    if depth == 0:
        return str(rng.choice(FIELDS))
    kind = rng.integers(4)
    inner = random_formula(rng, depth - 1)
    if kind == 0:
        return f"{rng.choice(ONE)}({inner})"
    if kind == 1:
        return f"{rng.choice(WINDOW)}({inner}, {rng.choice([2, 5, 10])})"
    other = random_formula(rng, int(rng.integers(depth)))
    if kind == 2:
        return f"{rng.choice(TWO)}({inner}, {other})"
    return f"ts_corr({inner}, {other}, {rng.choice([5, 10])})"


def formulas(count: int, seed: int = 0, depth: int = 3) -> list[str]:
    rng = np.random.default_rng(seed)
    return [random_formula(rng, depth) for _ in range(count)]


@pytest.fixture
def panel(make_panel):
    whole = make_panel(90, 24, seed=3, holes=0.02)
    member = np.random.default_rng(9).random(whole.shape) < 0.9
    return whole.replace(member=member)


@pytest.fixture
def target(panel):
    return forward_returns(panel, Market(), horizon=2)


def same(a: float, b: float) -> bool:
    return a == pytest.approx(b, rel=1e-9, abs=1e-12, nan_ok=True)


# Scores against the slow way


def slow_daily(values, target, member, least=10):
    """Per date: pairs, Pearson correlation over pairs, inner product with the target standardised over all it has."""
    rows = []
    for x, y, m in zip(np.asarray(values, float), target, member, strict=True):
        have = m & np.isfinite(y)
        if have.sum() < least:
            continue
        full = (y[have] - y[have].mean()) / np.linalg.norm(y[have] - y[have].mean())
        both = have & np.isfinite(x)
        if both.sum() < least or np.ptp(x[both]) == 0:
            rows.append((both.sum(), have.sum(), np.nan, 0.0))
            continue
        z = x[both] - x[both].mean()
        z = z / np.linalg.norm(z)
        pearson = np.corrcoef(x[both], y[both])[0, 1]
        rows.append((both.sum(), have.sum(), pearson, z @ full[np.isfinite(x[have])]))
    return np.array(rows, float)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("formula", ["close / delay(close, 5) - 1", "rank(volume)", "ts_corr(close, volume, 10)"])
def test_a_score_is_what_the_slow_way_finds(panel, target, formula, dtype):
    evaluator = Evaluator(panel, target, dtype=dtype)
    score = evaluator.score(formula, rank=True)
    values = evaluator.values(formula)
    daily = slow_daily(values, target.values, panel.member)
    ic = daily[:, 2][np.isfinite(daily[:, 2])]
    assert same(score.ic, ic.mean())
    assert same(score.icir, ic.mean() / ic.std(ddof=1))
    assert same(score.coverage, daily[:, 0].sum() / daily[:, 1].sum())
    assert same(score.projection, daily[:, 3].mean())
    assert score.days == len(ic)
    scored = np.where(panel.member, values, np.nan)
    assert same(score.ic, np.nanmean(ranking.ic(scored, target.values)))
    assert same(score.rank_ic, np.nanmean(ranking.rank_ic(scored, target.values)))
    assert values.dtype == dtype


def test_the_rank_ic_is_absent_unless_asked_for(panel, target):
    assert Evaluator(panel, target).score("close").rank_ic is None


def test_the_target_itself_scores_one_and_its_mirror_minus_one(panel, target):
    known = panel.with_field("later", target.values, unit=panel.units["close"])
    evaluator = Evaluator(known, target, dtype=np.float64)
    assert evaluator.score("later").ic == pytest.approx(1.0, abs=1e-12)
    assert evaluator.score("later").projection == pytest.approx(1.0, abs=1e-12)
    assert evaluator.score("-2 * later + 3", rank=True).rank_ic == pytest.approx(-1.0, abs=1e-12)
    assert evaluator.correlation("later", "-later") == pytest.approx(-1.0, abs=1e-12)


def test_rows_before_the_start_warm_up_and_are_not_scored(panel, target):
    late = Evaluator(panel, target, start_row=30)
    whole = np.asarray(late.values("ts_mean(close, 10)"))
    daily = ranking.ic(np.where(panel.member, whole, np.nan), target.values)[30:]
    score = late.score("ts_mean(close, 10)")
    assert same(score.ic, np.nanmean(daily))
    assert late.standardised("close").shape == (60, 24)


def test_non_members_and_their_targets_change_nothing(panel, target):
    formula = "rank(close / delay(close, 3))"
    poisoned = np.where(panel.member, target.values, 1e9)
    assert Evaluator(panel, poisoned).score(formula) == Evaluator(panel, target).score(formula)


# The cache


def test_what_is_kept_changes_no_bit(panel, target):
    batch = [*formulas(60), *formulas(20, seed=0, depth=4)]
    kept, bare = Evaluator(panel, target), Evaluator(panel, target, cache_bytes=0)
    small = Evaluator(panel, target, cache_bytes=7 * panel.shape[0] * panel.shape[1] * 4)
    for formula in batch:
        expected = bare.score(formula)
        for evaluator in (kept, small):
            assert repr(evaluator.score(formula)) == repr(expected)
            assert evaluator.values(formula).tobytes() == bare.values(formula).tobytes()
    assert kept.statistics.hits > 0
    assert small.statistics.dropped > 0
    assert small.statistics.bytes <= 7 * panel.shape[0] * panel.shape[1] * 4
    assert bare.statistics.entries == 0


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_batch_says_what_single_questions_say(panel, target, threads):
    batch = formulas(40, seed=5)
    batch += batch[:7]
    single = Evaluator(panel, target)
    expected = [single.score(formula, rank=True) for formula in batch]
    assert repr(Evaluator(panel, target, threads=threads).scores(batch, rank=True)) == repr(expected)


def test_values_agree_with_the_engine(panel, target):
    evaluator = Evaluator(panel, target, dtype=np.float64)
    for formula in [*formulas(40, seed=2), "adv20 * returns", "1", "close + 0 * close > 2"]:
        np.testing.assert_allclose(evaluator.values(formula), evaluate_one(formula, panel), rtol=1e-9, atol=1e-12)


WINDOWED = (
    "ts_sum",
    "ts_mean",
    "ts_var",
    "ts_std",
    "ts_skew",
    "ts_kurt",
    "ts_median",
    "ema",
    "ts_rank",
    "decay_linear",
)


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(zero_variance_corr="zero", moments="population"),
        Options(min_periods=3),
        Options(nan_compare="false", adv="money"),
    ],
    ids=str,
)
def test_the_searchs_own_windows_are_the_engines(panel, target, options):
    close = panel["close"].copy()
    # A constant stretch, a huge level with small steps, and a jump: what sums of powers are bad at.
    close[10:40, 3], close[:, 4], close[50:, 5] = 7.0, 1e3 + close[:, 4] / close[0, 4], 1e6 * close[50:, 5]
    known = panel.replace(fields={**panel.fields, "close": close.astype(np.float32).astype(float)})
    evaluator = Evaluator(known, target, options=options)
    texts = [f"{op}(close, {d})" for op in WINDOWED for d in (4, 7, 30, 89, 120)]
    texts += [f"{op}(close, volume, {d})" for op in ("ts_corr", "ts_cov") for d in (3, 10, 44, 91)]
    texts += [
        "log(close - 40)",
        "ts_quantile(close, 9, 0.3)",
        "ts_median(close, 600)",
        "adv20 > volume",
        "log1p(close)",
    ]
    for text in texts:
        np.testing.assert_allclose(
            evaluator.values(text), evaluate_one(text, known, options=options), rtol=2e-3, atol=1e-5, err_msg=text
        )


def test_text_is_read_under_the_options(panel, target):
    rounded = Evaluator(panel, target, options=Options(window_rounding="round"))
    assert rounded.values("ts_mean(close, 8.93)").tobytes() == rounded.values("ts_mean(close, 9)").tobytes()
    floored = Evaluator(panel, target)
    assert floored.values("ts_mean(close, 8.93)").tobytes() == floored.values("ts_mean(close, 8)").tobytes()


def test_a_shared_part_is_computed_once(panel, target):
    evaluator = Evaluator(panel, target)
    evaluator.score("rank(ts_mean(close, 5))")
    before = evaluator.statistics
    evaluator.score("zscore(ts_mean(close, 5))")
    after = evaluator.statistics
    assert after.misses - before.misses == 1
    assert after.hits - before.hits == 1
    assert 0.0 < after.hit_rate < 1.0


def test_what_was_used_last_stays():
    cache = ArrayCache(limit=3 * 80)
    for key in ("a", "b", "c"):
        cache.get(key, lambda: np.zeros(10))
    cache.get("a", lambda: pytest.fail("a is held"))
    cache.get("d", lambda: np.zeros(10))
    assert "a" in cache
    assert "b" not in cache
    cache.get("huge", lambda: np.zeros(1000))
    assert "huge" not in cache
    assert cache.statistics.bytes == 240
    cache.clear()
    assert cache.statistics.entries == 0


def test_memory_comes_back_when_nobody_holds_it_and_not_before():
    slots = Slots((3, 4), np.float32)
    held = [slots.take() for _ in range(20)]
    for number, array in enumerate(held):
        array[:] = number
    assert [int(array[0, 0]) for array in held] == list(range(20))
    place = held[7].ctypes.data
    del array, held[7]
    assert slots.take().ctypes.data == place


def test_two_threads_make_a_missing_array_once_and_a_failure_is_not_kept():
    cache, made = ArrayCache(limit=1000), []

    def make():
        time.sleep(0.05)
        made.append(1)
        return np.ones(3)

    workers = [threading.Thread(target=cache.get, args=("k", make)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(made) == 1

    def fail():
        raise FormulaError("no")

    with pytest.raises(FormulaError):
        cache.get("f", fail)
    assert cache.get("f", lambda: np.ones(2)).sum() == 2


def test_answers_cannot_be_used_to_change_the_cache(panel, target):
    evaluator = Evaluator(panel, target)
    first = evaluator.values("rank(close)")
    first[:] = 0.0
    assert np.nanmax(evaluator.values("rank(close)")) == 1.0
    before = evaluator.standardised("rank(close)")
    evaluator.standardised("rank(close)")[:] = 5.0
    assert evaluator.standardised("rank(close)").tobytes() == before.tobytes()


# The pool's algebra


def test_standardised_values_have_mean_zero_and_length_one(panel, target):
    evaluator = Evaluator(panel, target, dtype=np.float64)
    z = evaluator.standardised("ts_std(close, 10)")
    length = (z * z).sum(axis=1)
    assert np.all((np.abs(length - 1) < 1e-12) | (length == 0))
    assert np.abs(z.sum(axis=1)).max() < 1e-12
    assert not z[~(panel.member & np.isfinite(target.values))].any()


def test_correlations_are_inner_products_of_standardised_values(panel, target):
    evaluator = Evaluator(panel, target)
    names = formulas(6, seed=11)
    got = evaluator.correlations(names[0], names)
    z = [np.asarray(evaluator.standardised(name), float) for name in names]
    assert got == pytest.approx([(z[0] * other).sum() / evaluator.days for other in z], abs=1e-7)
    assert evaluator.correlation("close", "2 * close + 1") == pytest.approx(1.0, abs=1e-6)


# What cannot be scored says so


@pytest.mark.parametrize("formula", ["1", "close - close", "sign(close)", "ts_count(close, 1)"])
def test_a_constant_is_a_fault_and_no_exception(panel, target, formula):
    score = Evaluator(panel, target).score(formula, rank=True)
    assert score.fault == "constant"
    assert not score.valid
    assert score.days == 0
    assert np.isnan([score.ic, score.icir, score.rank_ic]).all()


@pytest.mark.parametrize("formula", ["log(0 - close)", "ts_mean(close, 5000)", "delay(close, 60)"])
def test_too_few_values_are_a_fault(panel, target, formula):
    assert Evaluator(panel, target).score(formula).fault == "sparse"


def test_a_formula_that_knows_few_assets_is_thin(panel, target):
    half = np.where(np.arange(24) % 2, np.nan, panel["close"])
    known = panel.replace(member=np.ones(panel.shape, bool)).with_field("half", half, panel.units["close"])
    assert Evaluator(known, target, min_pairs=5).score("half").fault == "thin"
    assert Evaluator(known, target, min_pairs=5, min_coverage=0.3).score("half").valid


def test_without_a_usable_target_nothing_is_scored(panel):
    evaluator = Evaluator(panel, np.full(panel.shape, np.nan))
    assert evaluator.days == 0
    assert evaluator.score("close").fault == "sparse"
    assert evaluator.correlation("close", "volume") == 0.0


def test_an_illegal_formula_is_named_before_anything_is_computed(panel, target):
    evaluator = Evaluator(panel, target)
    with pytest.raises(FormulaError, match="closs") as caught:
        evaluator.scores(["rank(close)", "rank(closs)"])
    assert "close" in caught.value.fix
    assert evaluator.statistics.misses == 0
    with pytest.raises(FormulaError, match="industry"):
        evaluator.score("group_mean(close, industry)")
    with pytest.raises(AlphaloomError):
        evaluator.score("rank(close")
    assert evaluator.score(parse("group_mean(close, sector)")).days > 0


@pytest.mark.parametrize(
    ("error", "settings"),
    [
        (FormulaError, {"dtype": np.int32}),
        (FormulaError, {"min_pairs": 1}),
        (FormulaError, {"threads": 0}),
        (FormulaError, {"cache_bytes": -1}),
        (AxisError, {"start_row": 90}),
        (AxisError, {"start_row": -1}),
    ],
)
def test_illegal_settings_are_refused(panel, target, error, settings):
    with pytest.raises(error):
        Evaluator(panel, target, **settings)


def test_a_target_of_other_axes_is_refused(panel, target):
    with pytest.raises(AxisError):
        Evaluator(panel, target.values[:-1])
    with pytest.raises(AxisError):
        Evaluator(panel[:-1], target)
