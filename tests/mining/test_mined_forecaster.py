"""A pool that speaks: its numbers by hand, the law of time, and its stored form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alphaloom.errors import DataError
from alphaloom.factors import evaluate_one
from alphaloom.forecast import Blend, Ridge, load_model, save_model
from alphaloom.market import Market
from alphaloom.metrics.ranking import rank_ic
from alphaloom.mining import MinedPool
from alphaloom.mining.combiners import Boosting, Dynamic, Evidence, Terms, combine, tree_scores
from alphaloom.mining.forecaster import MinedForecaster
from alphaloom.mining.scaling import member_values, standard_target
from alphaloom.panel import Panel
from alphaloom.signal import forward_returns
from alphaloom.testing import check_forecaster

FORMULAS = ("ts_mean(close, 5) / close", "delta(volume, 3) / volume", "-log(open / close)")
POOL = MinedPool(FORMULAS, (0.5, -0.25, 0.0), horizon=3, clip=3.0)
RULE = Dynamic(window=30, most=2, rank_ic=0.01, rank_icir=0.02)


@pytest.fixture
def panel(make_panel) -> Panel:
    panel = make_panel(150, 24, seed=3, holes=0.01)
    member = np.ones(panel.shape, bool)
    member[:, 22:] = False
    member[70:, 4] = False
    return panel.replace(member=member)


def with_trees(panel: Panel) -> MinedPool:
    z, _ = member_values(POOL.factors, panel, clip=3.0, least=10)
    returns = forward_returns(panel, Market(), horizon=3).values
    target = standard_target(returns, panel.member, least=10)
    evidence = Evidence(z, np.einsum("ksn,sn->sk", z, np.nan_to_num(target)), target)
    made = combine("gbdt", evidence, terms=Terms(boosting=Boosting(trees=8, min_rows=20)))
    return replace(POOL, combiner="gbdt", trees=made.trees)


def pool_of(kind: str, panel: Panel) -> MinedPool:
    if kind == "gbdt":
        return with_trees(panel)
    return replace(POOL, combiner="dynamic", dynamic=RULE) if kind == "dynamic" else POOL


def by_hand(panel: Panel, formula: str, clip: float) -> np.ndarray:
    """Date by date: hold within robust deviations of the median, subtract the mean, divide by the length."""
    out = np.zeros(panel.shape)
    for t, row in enumerate(evaluate_one(formula, panel)):
        known = np.isfinite(row) & panel.member[t]
        if known.sum() < 10:
            continue
        x = row[known]
        middle = np.median(x)
        reach = clip * 1.4826 * np.median(np.abs(x - middle))
        x = np.clip(x, middle - reach, middle + reach)
        out[t, known] = (x - x.mean()) / np.linalg.norm(x - x.mean())
    return out


def test_the_score_is_the_weighted_sum_of_what_members_show(panel):
    found = MinedForecaster(POOL).predict(panel)
    expected = 0.5 * by_hand(panel, FORMULAS[0], 3.0) - 0.25 * by_hand(panel, FORMULAS[1], 3.0)
    view = np.isfinite(found.values)
    assert found.values[view] == pytest.approx(expected[view], abs=1e-5)
    assert found.kind == "score"
    assert found.horizon == 3
    assert not view[~panel.member].any()
    assert not view[:3].any()
    one = np.isfinite(evaluate_one(FORMULAS[0], panel)) | np.isfinite(evaluate_one(FORMULAS[1], panel))
    assert (view == (one & panel.member))[5:].all()


def test_a_date_with_few_members_has_no_view(panel):
    member = np.array(panel.member)
    member[100, 9:] = False
    few = MinedForecaster(POOL).predict(panel.replace(member=member)).values
    assert np.isnan(few[100]).all()
    assert np.isfinite(few[99]).any()


@pytest.mark.parametrize("kind", ["lasso", "gbdt", "dynamic"])
def test_the_law_of_time(kind, panel):
    forecaster = MinedForecaster(pool_of(kind, panel))
    assert forecaster.lookback == (4 + 30 + 3 + 1 - 1 if kind == "dynamic" else 4)
    check_forecaster(forecaster, panel, rows=8)


@pytest.mark.parametrize("kind", ["lasso", "gbdt", "dynamic"])
def test_threads_change_no_bit(kind, panel):
    pool = pool_of(kind, panel)
    one, two = (MinedForecaster(pool, threads=threads).predict(panel).values for threads in (1, 2))
    assert np.array_equal(one, two, equal_nan=True)


@pytest.mark.parametrize("kind", ["lasso", "gbdt", "dynamic"])
def test_a_stored_forecaster_says_the_same(kind, panel, tmp_path):
    forecaster = MinedForecaster(pool_of(kind, panel))
    again = load_model(save_model(forecaster, tmp_path / "mined.json"))
    assert again == forecaster
    assert np.array_equal(again.predict(panel).values, forecaster.predict(panel).values, equal_nan=True)


def test_a_damaged_stored_form_is_refused(panel, tmp_path):
    path = save_model(MinedForecaster(POOL), tmp_path / "mined.json")
    path.write_text(path.read_text().replace("0.25", "0.35"))
    with pytest.raises(DataError, match="those that were mined"):
        load_model(path)


def test_trees_read_members_alone(panel):
    pool = with_trees(panel)
    z, _ = member_values(pool.factors, panel, clip=3.0, least=10)
    said = MinedForecaster(pool).predict(panel).values
    view = np.isfinite(said)
    assert said[view] == pytest.approx(tree_scores(pool.trees, z, panel.member)[view])
    assert not view[~panel.member].any()
    assert len(np.unique(said[view])) > 3


def test_a_dynamic_day_is_fitted_on_what_was_complete(panel):
    """One day, by the definition: rank coefficients of the window choose, least squares weighs."""
    pool, t, delay = pool_of("dynamic", panel), 120, 4
    z = np.stack([by_hand(panel, formula, 3.0) for formula in FORMULAS])
    known = np.stack([np.isfinite(evaluate_one(formula, panel)) & panel.member for formula in FORMULAS])
    complete = np.isfinite(forward_returns(panel[: t + 1], Market(), horizon=3).values).any(axis=1)
    assert np.flatnonzero(complete)[-1] == t - delay  # the last row of the window is complete on day t
    target = forward_returns(panel, Market(), horizon=3).values
    rows = range(t - delay - 29, t - delay + 1)
    seen = np.where(known, z, np.nan)
    ics = np.stack([rank_ic(part, np.where(panel.member, target, np.nan)) for part in seen], axis=1)[list(rows)]
    mean, ratio = ics.mean(axis=0), np.abs(ics.mean(axis=0) / ics.std(axis=0, ddof=1))
    good = [k for k in range(3) if abs(mean[k]) > RULE.rank_ic and ratio[k] > RULE.rank_icir]
    kept = sorted(good, key=lambda k: -ratio[k])[:2]
    assert kept
    x, y = [[] for _ in kept], []
    for r in rows:
        cells = panel.member[r] & np.isfinite(target[r])
        part = target[r][cells] - target[r][cells].mean()
        y.append(part / np.linalg.norm(part))
        for i, k in enumerate(kept):
            column = np.where(known[k][r], z[k][r], np.nan)[cells]
            column = column - np.nanmean(column)
            x[i].append(np.nan_to_num(column / np.sqrt(np.nansum(column**2))))
    weights = np.linalg.lstsq(np.stack([np.concatenate(part) for part in x], axis=1), np.concatenate(y), rcond=None)[0]
    expected = sum(w * z[k][t] for w, k in zip(weights, kept, strict=True))
    said = MinedForecaster(pool).predict(panel).values[t]
    view = np.isfinite(said)
    assert said[view] == pytest.approx(expected[view], rel=1e-2, abs=1e-4)


def test_importance_and_notes_are_the_pools(panel):
    forecaster = MinedForecaster(replace(POOL, notes=("a note",)))
    assert forecaster.importance[FORMULAS[0]] == pytest.approx(2 / 3)
    assert forecaster.notes == ("a note",)
    assert forecaster.factors.names == ("mined001", "mined002", "mined003")


def test_a_blend_with_a_line_is_stored_whole(panel, tmp_path):
    """A model of one room may hold a model of another."""

    class Known:
        def __init__(self, forecaster):
            self.forecaster = forecaster

        def fit(self, train, market):
            return self.forecaster

    blend = Blend((Ridge("classic", horizon=3, known=0.1), Known(MinedForecaster(POOL))), weighting="equal")
    fitted = blend.fit(panel, Market())
    again = load_model(save_model(fitted, tmp_path / "blend.json"))
    assert np.array_equal(again.predict(panel).values, fitted.predict(panel).values, equal_nan=True)
